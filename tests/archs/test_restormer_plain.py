"""The plain Restormer that the benchmark measures against gives the published numbers, and uir's gradients."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from scripts import load_script

ROOT = Path(__file__).resolve().parents[2]
FIXTURES = ROOT / "../shared/fixtures/restormer"


@pytest.fixture(scope="module")
def benchmark():
    return load_script("benchmarks/restormer.py")


@pytest.mark.skipif(not FIXTURES.is_dir(), reason="../shared/fixtures is absent")
@pytest.mark.parametrize(
    ("name", "kind", "heads"), [("withbias", "WithBias", (1, 2, 2, 4)), ("biasfree", "BiasFree", (1, 2, 4, 8))]
)
def test_plain_network_gives_the_published_output(benchmark, name, kind, heads):
    network = benchmark.PlainRestormer(4, [1, 1, 1, 1], 1, heads, kind)
    network.load_state_dict(load_file(FIXTURES / name / "weights.safetensors"), strict=True)
    stored = np.load(FIXTURES / name / "io.npz")
    with torch.no_grad():
        restored = network(torch.from_numpy(stored["in_x"]))
    np.testing.assert_allclose(restored.numpy(), stored["out_out"], atol=3e-4, rtol=1e-4)


@pytest.mark.thorough
@pytest.mark.parametrize("kind", ["WithBias", "BiasFree"])
def test_both_networks_take_the_same_training_step(benchmark, kind):
    with torch.random.fork_rng(devices=[]):
        plain, ours = benchmark.make_pair(dim=8, num_blocks=[1, 1, 1, 1], num_refinement_blocks=1, LayerNorm_type=kind)
        lq = torch.rand(2, 3, 32, 32)
    for network in (plain.double(), ours.double()):
        benchmark.train_step(network, lq.double())
    own = dict(ours.named_parameters())
    for key, parameter in plain.named_parameters():
        torch.testing.assert_close(own[key].grad, parameter.grad)
