"""uir against the numbers of the published implementations: one test per fixture, named by its path.

`UIR_FIXTURES=<folder> pytest tests/parity` walks another folder of the same form. A fixture without an adapter skips.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from adapters_archs import adapter_of, convert_keys
from adapters_functions import FUNCTION_ADAPTERS, function_adapter_of
from comparing import assert_near, compare_arch
from fixtures import DEFAULT_FOLDER, FOLDER, Fixture, find_fixtures, find_key_maps
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

pytestmark = pytest.mark.thorough

COVERED = [
    line
    for line in (Path(__file__).parent / "covered.txt").read_text().splitlines()
    if line and not line.startswith("#")
]
FIXTURES, KEY_MAPS = find_fixtures(), find_key_maps()

if not FOLDER.is_dir():
    pytest.skip(f"there is no folder of fixtures at {FOLDER}; name one in UIR_FIXTURES", allow_module_level=True)


@pytest.mark.parametrize("fixture", FIXTURES, ids=lambda fixture: fixture.name)
def test_fixture(fixture: Fixture):
    arch, function = adapter_of(fixture.meta), function_adapter_of(fixture.name)
    if arch is not None:
        comparisons = compare_arch(fixture, arch)
    elif function is not None:
        comparisons = {
            name: (got, expected, atol, 0.0)
            for name, (got, expected, atol) in function(fixture.meta, fixture.arrays).items()
        }
    else:
        pytest.skip(f"no adapter for {fixture.meta['source_repo']} {fixture.meta.get('class_name') or fixture.name}")
    assert comparisons, f"{fixture.name}: its adapter compared nothing"
    for name, (got, expected, atol, rtol) in comparisons.items():
        assert_near(f"{fixture.name} {name}", got, expected, atol, rtol)


@pytest.mark.parametrize("key_map", [pytest.param(meta, id=name) for name, meta in KEY_MAPS])
def test_keys_and_cost_of_a_published_network(key_map: dict[str, Any]):
    adapter = adapter_of(key_map)
    if adapter is None:
        pytest.skip(f"no adapter for {key_map['source_repo']} {key_map['class_name']}")
    with torch.device("meta"):
        network = adapter.build(key_map)
    published = {key: torch.empty(shape, device="meta") for key, shape in key_map["state_dict"].items()}
    assert shapes(network.state_dict()) == shapes(convert_keys(network, published))
    assert sum(p.numel() for p in network.parameters()) == key_map["n_params"]
    if "macs" in key_map:
        assert count_macs(network, key_map["macs_input"]) == key_map["macs"]


@pytest.mark.skipif(not DEFAULT_FOLDER.is_dir(), reason=f"there is no folder {DEFAULT_FOLDER}")
@pytest.mark.parametrize("prefix", COVERED)
def test_covered_fixtures_stay_covered(prefix: str):
    named = [name for name in coverage(DEFAULT_FOLDER) if name.startswith(prefix)]
    if not named:
        pytest.skip(f"there is no fixture {prefix} in {DEFAULT_FOLDER}")
    missing = [name for name in named if not coverage(DEFAULT_FOLDER)[name]]
    assert not missing, f"covered.txt lists {prefix}, but no adapter compares {missing}"


@pytest.mark.skipif(not DEFAULT_FOLDER.is_dir(), reason=f"there is no folder {DEFAULT_FOLDER}")
def test_every_compared_fixture_is_listed():
    compared = [name for name, has_adapter in coverage(DEFAULT_FOLDER).items() if has_adapter]
    missing = [name for name in compared if not name.startswith(tuple(COVERED))]
    assert not missing, f"add to covered.txt: {missing}"


def test_function_adapters_are_listed():
    assert [prefix for prefix in FUNCTION_ADAPTERS if not prefix.startswith(tuple(COVERED))] == []


def coverage(folder: Path) -> dict[str, bool]:
    """Every fixture and key map of a folder, and whether an adapter compares it."""
    found = {f.name: bool(adapter_of(f.meta) or function_adapter_of(f.name)) for f in find_fixtures(folder)}
    return found | {name: adapter_of(meta) is not None for name, meta in find_key_maps(folder)}


def shapes(state: Mapping[str, Tensor]) -> dict[str, list[int]]:
    return {key: list(value.shape) for key, value in sorted(state.items())}


def count_macs(network: nn.Module, input_shape: list[int]) -> int:
    """Multiply-adds of convolutions, linear layers and matrix products, counted on the meta device."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network.eval()(torch.empty(input_shape, device="meta"))
    return counter.get_total_flops() // 2
