"""`import uir`: light, and holding what a user needs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from torch import nn

import uir
from uir.cli.listing import KINDS, list_names
from uir.registry import REGISTRIES

PINNED = json.loads((Path(__file__).parent / "public_names.json").read_text(encoding="utf-8"))


def test_every_public_name_is_there() -> None:
    assert set(PINNED["uir"]) <= set(dir(uir))
    assert all(getattr(uir, name) is not None for name in PINNED["uir"])


@pytest.mark.parametrize("kind", REGISTRIES)
def test_no_registered_name_disappears(kind: str) -> None:
    own = {entry.name for entry in REGISTRIES[kind].entries() if "uir" in (entry.origin, *entry.shadows)}
    assert sorted(set(PINNED[kind]) - own) == []


@pytest.mark.thorough
def test_importing_it_loads_no_torch_until_a_name_is_used() -> None:
    code = "import uir, sys; dir(uir); early = 'torch' in sys.modules; uir.replay; print(early, 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.split() == ["False", "True"]


def test_a_network_is_built_from_its_mapping() -> None:
    network = uir.build_network({"type": "Bicubic", "scale": 3})
    assert isinstance(network, nn.Module)
    assert network.scale == 3


def test_an_unknown_name_tells_what_there_is() -> None:
    with pytest.raises(AttributeError, match=r"no 'Restore'; it has Restorer, build_network"):
        _ = uir.Restore


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_lists_its_names(kind: str) -> None:
    names = list_names(kind)
    assert names == sorted(names)
    assert bool(names) or kind == "weights"


def test_encoders_are_archs_but_no_backbones() -> None:
    assert {"CBDE", "FeatureClassifier"} <= set(list_names("encoders")) < set(list_names("archs"))
    assert "NAFNet" not in list_names("encoders")


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="there is no kind 'arch'; there are archs"):
        list_names("arch")
