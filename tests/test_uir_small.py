"""What uir-small promises: small, honest about itself, harmless to clean photographs, and without a grid."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from scripts import load_script
from torch import Tensor

import uir
from uir.core.checkpoint import read_file
from uir.core.images import read_rgb, to_tensor
from uir.metrics.psnr_metric import psnr
from uir.registry.components import build
from uir.weights import shipped_weights

PERIODS = (2, 4, 8)  # pixels: what its levels enlarge by


@pytest.fixture(scope="module")
def restorer() -> uir.Restorer:
    return uir.Restorer.from_pretrained("uir-small")


def middle(image: Tensor, size: int = 192) -> Tensor:
    top, left = ((length - size) // 2 for length in image.shape[-2:])
    return image[..., top : top + size, left : left + size]


def test_it_is_small(restorer: uir.Restorer) -> None:
    networks = [restorer.network, restorer.diagnoser.classifier]
    assert sum(parameter.numel() for network in networks for parameter in network.parameters()) <= 2_000_000
    assert shipped_weights()["uir-small"].stat().st_size <= 8_000_000


@pytest.mark.parametrize("role", ["g", "dc"])
def test_its_card_says_how_it_was_made(role: str) -> None:
    card = read_file(shipped_weights()["uir-small"], role)["card"]
    assert "options/train/uir_small.yml" in card["trained"]
    for word in ("seed", "iterations", "hours"):
        assert word in card["trained"]
    assert "BSDS500" in card["data"]
    assert "research only" in card["licence"]


def test_clean_photographs_lose_less_than_by_jpeg_95(restorer: uir.Restorer, photographs: list[Path]) -> None:
    ours, jpeg = [], []
    for file in photographs:
        image = middle(to_tensor(read_rgb(file)))[None]
        ours.append(float(psnr(restorer.restore_tensor(image), image, protocol="dcpt")))
        pixels = np.ascontiguousarray((image[0].permute(1, 2, 0) * 255).round().byte().numpy()[..., ::-1])
        saved = cv2.imdecode(cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 95])[1], cv2.IMREAD_COLOR)
        again = torch.from_numpy(saved[..., ::-1].copy()).permute(2, 0, 1)[None] / 255
        jpeg.append(float(psnr(again, image, protocol="dcpt")))
    assert np.mean(ours) >= max(40.0, np.mean(jpeg)), (ours, jpeg)


def grid_amplitude(image: np.ndarray, period: int, side: int = 48) -> float:
    """How strong a grid of a period is in an image [H, W] in [0, 1], in grey levels of 8 bits.

    The energy at the frequencies of the period, in the mean over overlapping blocks, less that of the frequencies
    around them, which is what an image without a grid has there.
    """
    window = np.hanning(side + 1)[:side, None] * np.hanning(side + 1)[:side]
    energies = []
    for top in range(0, image.shape[0] - side + 1, side // 2):
        for left in range(0, image.shape[1] - side + 1, side // 2):
            block = image[top : top + side, left : left + side]
            energies.append(np.abs(np.fft.fft2((block - block.mean()) * window)) ** 2)
    energy = np.mean(energies, 0) / window.sum() ** 2
    ring = np.ones((9, 9), bool)
    ring[2:7, 2:7] = False
    excess = 0.0
    for row, column in itertools.product(range(0, side, side // period), repeat=2):
        if row or column:
            around = np.roll(energy, (4 - row, 4 - column), (0, 1))[:9, :9]
            excess += around[4, 4] - around[ring].mean()
    return 255 * max(excess, 0.0) ** 0.5


@pytest.mark.parametrize("period", PERIODS)
def test_the_measure_of_a_grid_is_in_grey_levels(period: int) -> None:
    noise = np.random.default_rng(0).normal(0, 10 / 255, (192, 192))
    grid = np.zeros((192, 192))
    grid[::period, ::period] = period / 255
    assert grid_amplitude(noise, period) < 0.5
    assert grid_amplitude(noise + grid, period) == pytest.approx(255 * grid.std(), abs=0.2)


@pytest.mark.parametrize(
    "recipe",
    [
        {"type": "GaussianNoise", "sigma": 25},
        {"type": "Haze"},
        {"type": "LowLight", "gamma": [1.5, 2.5]},
        {"type": "JPEG", "quality": 20},
    ],
    ids=lambda recipe: recipe["type"],
)
def test_its_pictures_have_no_grid_of_half_a_grey_level(
    restorer: uir.Restorer, photographs: list[Path], recipe: dict[str, Any]
) -> None:
    amplitudes = []
    for number, file in enumerate(photographs):
        clean = to_tensor(read_rgb(file))
        if max(grid_amplitude(middle(clean).mean(0).numpy(), period) for period in PERIODS) > 0.1:
            continue  # the scene itself has such a period, as roof tiles have
        degraded, _ = build("degradations", recipe)(clean, number)
        restored = restorer.restore_tensor(middle(degraded)[None])[0].mean(0).numpy()
        amplitudes += [grid_amplitude(restored, period) for period in PERIODS]
    assert len(amplitudes) >= 12
    assert max(amplitudes) < 0.5, amplitudes


def test_evening_brings_the_pixels_of_a_square_together_in_flat_areas() -> None:
    release = load_script("benchmarks/experiments/release_uir_small.py")
    network = build("archs", {"type": "HalfNAFNet", "width": 4, "enc_blk_nums": [1], "dec_blk_nums": [1]})
    with torch.no_grad():
        for parameter in network.ending.parameters():
            parameter.normal_(generator=torch.Generator().manual_seed(0))
    state = network.state_dict()
    evened = release.evened(state)

    def differences(state: dict[str, Tensor]) -> Tensor:
        flat = state["ending.weight"].sum((-1, -2)).sum(1) + state["ending.bias"]  # of features that are 1 everywhere
        squares = flat.view(-1, 4)
        return squares - squares.mean(1, keepdim=True)

    torch.testing.assert_close(differences(evened), (1 - release.EVENED) * differences(state))
    assert all(torch.equal(evened[key], value) for key, value in state.items() if not key.startswith("ending."))
