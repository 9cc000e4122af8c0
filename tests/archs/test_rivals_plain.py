"""The plain networks that the benchmark of the rivals measures against give the published numbers."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from scripts import load_script

ROOT = Path(__file__).resolve().parents[2]
FIXTURES = ROOT / "../shared/fixtures"
SMALL = {"frequency_grid": 2, "gate_reduction": 4}


@pytest.fixture(scope="module")
def benchmark():
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        return load_script("benchmarks/rivals.py")
    finally:
        sys.path.remove(str(ROOT / "benchmarks"))


@pytest.mark.skipif(not FIXTURES.is_dir(), reason="../shared/fixtures is absent")
@pytest.mark.parametrize(
    ("fixture", "name", "arguments"),
    [
        ("adair/adair_small", "AdaIR", SMALL),
        ("moceir/moceir", "MoCEIR", {}),
        ("transweather/transweather_small", "TransWeather", {"embed_dims": [4, 8, 12, 16], "normalise": False}),
    ],
)
def test_plain_network_gives_the_published_output(benchmark, fixture, name, arguments):
    folder = FIXTURES / fixture
    meta, stored = json.loads((folder / "meta.json").read_text()), np.load(folder / "io.npz")
    network = benchmark.plain(benchmark.NETWORKS[name](**meta["constructor"], **arguments)).eval()
    weights = {key: value.float() for key, value in load_file(folder / "weights.safetensors").items()}
    network.load_state_dict(network.convert_state_dict(weights), strict=True)
    noise = [torch.from_numpy(stored[key]) for key in stored.files if key.startswith("in_n")]
    with torch.no_grad():
        restored = network(torch.from_numpy(stored["in_x"]), *([torch.stack(noise, 1)] if noise else []))
    np.testing.assert_allclose(restored.numpy(), stored["out_out"], **meta["tolerance"]["out"])


@pytest.mark.skipif(not FIXTURES.is_dir(), reason="../shared/fixtures is absent")
def test_the_plain_diffuir_gives_the_published_output(benchmark):
    folder = FIXTURES / "diffuir/unet_res"
    meta, stored = json.loads((folder / "meta.json").read_text()), np.load(folder / "io.npz")
    sizes = {key: meta["constructor"][key] for key in ("dim", "dim_mults")}
    network = benchmark.plain(benchmark.NETWORKS["DiffUIR"](**sizes)).eval()
    weights = {key: value.float() for key, value in load_file(folder / "weights.safetensors").items()}
    network.load_state_dict(weights, strict=True)
    state, degraded = torch.from_numpy(stored["in_x"]).chunk(2, 1)
    with torch.no_grad():
        residual = network((degraded + 1) / 2, state, torch.from_numpy(stored["in_t_res"]))
    np.testing.assert_allclose(residual.numpy(), stored["out_out"], **meta["tolerance"]["out"])


@pytest.mark.thorough
@pytest.mark.parametrize("name", ["AdaIR", "DiffUIR", "MoCEIR", "TransWeather"])
def test_both_networks_give_the_same(benchmark, name):
    plain, ours = benchmark.make_pair(name, **benchmark.SMALL[name])
    lq = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(ours(lq), plain(lq), atol=1e-5, rtol=1e-4)
