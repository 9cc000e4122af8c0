"""What every training method of uir keeps to: it extends named phases and offers values, and reaches into nothing."""

from __future__ import annotations

from typing import Any

import pytest

from uir.data.scenes_dataset import ScenesDataset
from uir.models.base_model import BaseModel
from uir.models.values import offers_of
from uir.registry import MODEL_REGISTRY, PREDICTORS, REGISTRIES
from uir.registry.components import signature_of

METHODS = [
    cls
    for _, cls in MODEL_REGISTRY
    if isinstance(cls, type) and issubclass(cls, BaseModel) and "uir." in cls.__module__
]


def base_names(cls: type) -> set[str]:
    return {name for base in cls.__mro__[1:] if base is not object for name in vars(base)}


@pytest.mark.parametrize("cls", METHODS, ids=lambda cls: cls.__name__)
def test_no_method_overrides_a_private_name(cls: type) -> None:
    own = {name for name, value in vars(cls).items() if callable(value) or isinstance(value, property)}
    assert not [name for name in own & base_names(cls) if name.startswith("_") and not name.startswith("__")]


@pytest.mark.parametrize("cls", METHODS, ids=lambda cls: cls.__name__)
def test_no_setter_does_work(cls: type) -> None:
    assert not [name for name, value in vars(cls).items() if isinstance(value, property) and value.fset is not None]


@pytest.mark.parametrize("cls", METHODS, ids=lambda cls: cls.__name__)
def test_it_restores_by_a_predictor_that_a_checkpoint_can_name(cls: Any) -> None:
    predictor = PREDICTORS.get(cls.predictor_type.__name__)
    assert predictor is cls.predictor_type
    assert set(predictor.roles) <= set(cls.network_roles)


@pytest.mark.parametrize("cls", METHODS, ids=lambda cls: cls.__name__)
def test_offers_name_networks_of_the_method(cls: Any) -> None:
    for offer in offers_of(cls).values():
        assert offer.runs <= set(cls.network_roles), offer.name


def test_every_loss_of_uir_can_be_called_by_some_method() -> None:
    offered = {"lq", "gt", *ScenesDataset.gives}.union(*(offers_of(cls) for cls in METHODS))
    for name, loss in REGISTRIES["losses"]:
        if signature_of(loss).takes_opt or "uir." not in loss.__module__:
            continue
        inputs = [entry for entry in getattr(loss, "inputs", ()) if not entry.startswith("record.")]
        assert set(inputs) <= offered, name
