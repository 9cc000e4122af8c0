"""How a fixture is compared: by what it holds, on made-up fixtures of DAA's restorer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from adapters_archs import adapter_of
from comparing import assert_near, compare_arch
from fixtures import Fixture
from safetensors.torch import save_file

DIFFERENCES = [f"diff{index}" for index in range(7)]


def write_fixture(folder: Path, names: dict[str, str]) -> Fixture:
    """A fixture of a small DAA restorer, its numbers from the network itself.

    Args:
        names: the outputs that it holds: as the adapter calls them -> as they are called here.
    """
    meta: dict[str, Any] = {
        "fixture": "made/up", "source_repo": "wangyue7777/blindsr_daa", "class_name": "IMDN", "mode": "eval",
        "constructor": {"nf": 16, "upscale": 2}, "weights": "stored", "feature_hooks": {},
        "patched_hardcoded_values": {"encoder widths": "64/128/256 -> 8/10/12", "embedding": "256 -> 12"},
        "tolerance": {name: {"atol": 1e-5, "rtol": 0.0} for name in names.values()},
    }  # fmt: skip
    adapter = adapter_of(meta)
    assert adapter is not None
    network = adapter.build(meta).eval()
    inputs = {"x": torch.rand(1, 3, 9, 11), "rep": torch.randn(1, 12)}
    with torch.no_grad():
        outputs = adapter.call(network, inputs)
    folder.mkdir(parents=True)
    (folder / "meta.json").write_text(json.dumps(meta))
    save_file(network.state_dict(), folder / "weights.safetensors")
    arrays = {f"in_{name}": value.numpy() for name, value in inputs.items()}
    np.savez(folder / "io.npz", **arrays, **{f"out_{theirs}": outputs[ours].numpy() for ours, theirs in names.items()})
    return Fixture("made/up", folder)


def compared(fixture: Fixture) -> list[str]:
    """The names of what was compared, all of it near."""
    adapter = adapter_of(fixture.meta)
    assert adapter is not None
    comparisons = compare_arch(fixture, adapter)
    for name, (got, expected, atol, rtol) in comparisons.items():
        assert_near(name, got, expected, atol, rtol)
    return sorted(comparisons)


@pytest.mark.parametrize("held", [["sr"], ["sr", "diff0", "diff6"], ["diff3", "sr"], [*DIFFERENCES, "sr"]])
def test_exactly_what_the_fixture_holds_is_compared(tmp_path: Path, held: list[str]) -> None:
    assert compared(write_fixture(tmp_path / "fixture", {name: name for name in held})) == sorted(held)


def test_a_single_output_may_have_any_name(tmp_path: Path) -> None:
    assert compared(write_fixture(tmp_path / "fixture", {"sr": "restored"})) == ["restored"]


def test_an_output_that_the_adapter_does_not_give_is_told(tmp_path: Path) -> None:
    fixture = write_fixture(tmp_path / "fixture", {"sr": "sr", "diff6": "diff7"})
    with pytest.raises(AssertionError, match=r"made/up holds \['diff7'\], which its adapter does not give; it gives"):
        compared(fixture)


def test_other_numbers_are_told(tmp_path: Path) -> None:
    fixture = write_fixture(tmp_path / "fixture", {"sr": "sr"})
    stored = dict(fixture.arrays)
    stored["out_sr"] = stored["out_sr"] + np.float32(1e-3)
    np.savez(fixture.path / "io.npz", **stored)
    with pytest.raises(AssertionError, match="sr"):
        compared(Fixture(fixture.name, fixture.path))
