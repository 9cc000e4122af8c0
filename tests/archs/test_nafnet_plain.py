"""The plain NAFNet that the benchmark measures against gives the published numbers, and uir's."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from scripts import load_script

ROOT = Path(__file__).resolve().parents[2]
FIXTURE = ROOT / "../shared/fixtures/nafnet/nafnet"


@pytest.fixture(scope="module")
def benchmark():
    return load_script("benchmarks/nafnet.py")


@pytest.mark.skipif(not FIXTURE.is_dir(), reason="../shared/fixtures is absent")
def test_plain_network_gives_the_published_output(benchmark):
    network = benchmark.PlainNAFNet(width=8, enc_blk_nums=[1, 2], dec_blk_nums=[1, 1])
    network.load_state_dict(load_file(FIXTURE / "weights.safetensors"), strict=True)
    stored = np.load(FIXTURE / "io.npz")
    with torch.no_grad():
        restored = network(torch.from_numpy(stored["in_x"]))
    np.testing.assert_allclose(restored.numpy(), stored["out_out"], atol=2e-5, rtol=1e-4)


def test_both_networks_take_the_same_training_step(benchmark):
    with torch.random.fork_rng(devices=[]):
        plain, ours = benchmark.make_pair(width=4, enc_blk_nums=[1], dec_blk_nums=[1])
        lq = torch.rand(2, 3, 32, 32)
    for network in (plain.double(), ours.double()):
        benchmark.train_step(network, lq.double())
    own = dict(ours.named_parameters())
    for key, parameter in plain.named_parameters():
        torch.testing.assert_close(own[key].grad, parameter.grad)
