"""Running a uir network on a fixture, and comparing what it gives with what the fixture holds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from adapters_archs import ArchAdapter, convert_keys, convert_module_name
from fixtures import Fixture
from torch import Tensor, nn


def compare_arch(fixture: Fixture, adapter: ArchAdapter) -> dict[str, tuple[Any, Any, float, float]]:
    """Run the uir network on the fixture's weights and inputs: output or feature -> (got, expected, atol, rtol).

    The fixture says what is compared: all of its outputs and features, whatever else an adapter gives.
    """
    meta, arrays = fixture.meta, fixture.arrays
    network = adapter.build(meta)
    load_published(network, fixture.weights())
    network.train(meta["mode"] == "train")
    features: dict[str, Tensor] = {}
    for name, module in meta["feature_hooks"].items():
        network.get_submodule(convert_module_name(network, module)).register_forward_hook(
            lambda _module, _args, output, name=name: features.__setitem__(name, output)
        )
    inputs = {key.removeprefix("in_"): torch.from_numpy(a) for key, a in arrays.items() if key.startswith("in_")}
    with torch.no_grad():
        outputs = named_outputs(adapter.call(network, inputs), arrays)
    results = outputs | features
    expected = {key.removeprefix("out_"): a for key, a in arrays.items() if key.startswith(("out_", "feat_"))}
    missing = sorted(expected.keys() - results.keys())
    assert not missing, f"{fixture.name} holds {missing}, which its adapter does not give; it gives {sorted(results)}"
    tolerance = {name: meta["tolerance"][name] for name in expected}
    return {
        name: (results[name], expected[name], tolerance[name]["atol"], tolerance[name]["rtol"]) for name in expected
    }


def named_outputs(result: Any, arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """What a network returned, under the fixture's names of its outputs.

    Outputs without names are taken in the fixture's order; it may hold the first of them alone. Where it holds a single
    output by a name that the adapter does not know, that is the adapter's first.
    """
    names = [key.removeprefix("out_") for key in arrays if key.startswith("out_")]
    if isinstance(result, Mapping):
        if len(names) == 1 and names[0] not in result:
            return {names[0]: next(iter(result.values()))}
        return dict(result)
    values: Iterable[Any] = result if isinstance(result, tuple | list) else (result,)
    return dict(zip(names, values, strict=False))  # what the adapter does not give is told by the caller


def load_published(network: nn.Module, weights: dict[str, Tensor]) -> None:
    """Load published weights strictly; only buffers (indices, masks, counters) may be missing from them."""
    missing, unexpected = network.load_state_dict(convert_keys(network, weights), strict=False)
    parameters = dict(network.named_parameters())
    assert not unexpected, f"keys that {type(network).__name__} has not: {unexpected}"
    assert not [key for key in missing if key in parameters], f"parameters without weights: {missing}"


def assert_near(what: str, got: Any, expected: Any, atol: float, rtol: float) -> None:
    got, expected = (np.asarray(torch.as_tensor(value).detach(), dtype=np.float64) for value in (got, expected))
    np.testing.assert_allclose(got, expected, rtol=rtol, atol=atol, err_msg=what)
