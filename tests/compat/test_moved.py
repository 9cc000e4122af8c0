"""What plugins of earlier versions import."""

from __future__ import annotations

import importlib

import pytest

from uir.compat.moved import MOVED


@pytest.mark.parametrize("old", MOVED)
def test_an_old_path_gives_the_very_module_that_took_its_place(old: str) -> None:
    place = importlib.import_module(MOVED[old])
    assert importlib.import_module(old) is place
    assert place.__spec__ is not None
    assert place.__spec__.name == MOVED[old]


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("uir.registry", "ARCH_REGISTRY"),
        ("uir.layers.degradation_code", "DegradationCode"),
        ("uir.layers.features", "FeaturePoint"),
        ("uir.models.base_model", "BaseModel"),
        ("uir.degradations.base", "Degradation"),
    ],
)
def test_the_paths_that_plugins_are_told_of_stay(module: str, name: str) -> None:
    assert hasattr(importlib.import_module(module), name)
