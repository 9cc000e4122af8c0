"""The plain DASR that the benchmark measures against gives the published numbers, and uir's."""

import importlib
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from scripts import load_script

ROOT = Path(__file__).resolve().parents[2]
FIXTURES = ROOT / "../shared/fixtures/dasr_wang"


@pytest.fixture(scope="module")
def benchmark():
    return load_script("benchmarks/dasr.py")


@pytest.mark.skipif(not FIXTURES.is_dir(), reason="../shared/fixtures is absent")
@pytest.mark.parametrize("scale", [2, 3, 4])
@torch.no_grad()
def test_plain_network_gives_the_published_output(benchmark, scale):
    folder = FIXTURES / f"dasr_x{scale}"
    network = benchmark.PlainDASR(scale, n_groups=2, n_blocks=2, n_feats=16, code_channels=16)
    state = {key: value.float() for key, value in load_file(folder / "weights.safetensors").items()}
    network.load_state_dict(state, strict=True)
    stored = np.load(folder / "io.npz")
    restored = network(torch.from_numpy(stored["in_x"]), torch.from_numpy(stored["in_k_v"]))
    np.testing.assert_allclose(restored.numpy(), stored["out_out"], atol=0.006, rtol=1e-4)


@pytest.mark.parametrize("scale", [2, 3, 4])
@torch.no_grad()
def test_both_networks_give_the_same_large_image(benchmark, scale):
    with torch.random.fork_rng(devices=[]):
        plain, ours = benchmark.make_pair(scale=scale, n_groups=1, n_blocks=2, n_feats=8, code_channels=256)
        lq, vector = torch.rand(1, 3, 50, 56), torch.randn(1, 256)
    expected, restored = (benchmark.run(network, lq, vector) for network in (plain, ours))
    torch.testing.assert_close(restored, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.thorough
def test_a_measurement_that_fails_in_its_process_is_told(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")  # where the process finds the module, too
    module = importlib.import_module("dasr")
    with pytest.raises(RuntimeError, match="PlainDASR"):  # it has no scale 5
        module.memory_of_both(5, (8, 8))
