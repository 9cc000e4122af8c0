"""What uir-small promises: small, honest about itself, harmless to clean photographs, and without a grid."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

import uir
from uir.core.checkpoint import read_file
from uir.core.images import read_rgb, to_tensor
from uir.metrics.psnr_metric import psnr
from uir.registry.components import build
from uir.weights import shipped_weights

NOISY_PERIODS = (2, 4, 8)  # pixels: the sizes that its levels enlarge by


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


def test_clean_photographs_lose_less_than_by_jpeg_95(restorer: uir.Restorer, photographs: list) -> None:
    ours, jpeg = [], []
    for file in photographs:
        image = middle(to_tensor(read_rgb(file)))[None]
        ours.append(float(psnr(restorer.restore_tensor(image), image, protocol="dcpt")))
        pixels = np.ascontiguousarray((image[0].permute(1, 2, 0) * 255).round().byte().numpy()[..., ::-1])
        saved = cv2.imdecode(cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 95])[1], cv2.IMREAD_COLOR)
        again = torch.from_numpy(saved[..., ::-1].copy()).permute(2, 0, 1)[None] / 255
        jpeg.append(float(psnr(again, image, protocol="dcpt")))
    assert np.mean(ours) >= max(40.0, np.mean(jpeg)), (ours, jpeg)


def spectral_peak(image: np.ndarray, period: int) -> float:
    """How far the spectrum of an image stands out at the frequencies of a period, against its surroundings; [H, W]."""
    side = image.shape[0]
    window = np.hanning(side)[:, None] * np.hanning(side)
    energy = np.abs(np.fft.fft2((image - image.mean()) * window)) ** 2
    step, peaks = side // period, []
    for row in range(0, side, step):
        for column in range(0, side, step):
            if row == column == 0:
                continue
            around = np.roll(energy, (5 - row, 5 - column), (0, 1))[:11, :11]
            inner = around[4:7, 4:7].mean()
            peaks.append(inner / (around.sum() - around[4:7, 4:7].sum()) * (121 - 9))
    return float(np.mean(peaks))


@pytest.mark.parametrize("period", NOISY_PERIODS)
def test_the_measure_of_a_grid_sees_a_weak_one(period: int) -> None:
    noise = np.random.default_rng(0).normal(0, 1, (192, 192))
    grid = np.zeros((192, 192))
    grid[::period, ::period] = 1
    assert spectral_peak(noise, period) < 1.6
    assert spectral_peak(noise + 0.5 * period * grid, period) > 3


@pytest.mark.parametrize("name", ["noise", "haze", "low_light"])
def test_its_pictures_have_no_grid(restorer: uir.Restorer, photographs: list, name: str) -> None:
    recipe = {
        "noise": {"type": "GaussianNoise", "sigma": 25}, "haze": {"type": "Haze"},
        "low_light": {"type": "LowLight", "gamma": [1.5, 2.5]},
    }[name]  # fmt: skip
    peaks = {period: [] for period in NOISY_PERIODS}
    for number, file in enumerate(photographs[:4]):
        clean = to_tensor(read_rgb(file))
        degraded, _ = build("degradations", recipe)(clean, number)
        restored = restorer.restore_tensor(middle(degraded)[None])[0].mean(0).numpy()
        for period in NOISY_PERIODS:
            peaks[period].append(spectral_peak(restored, period))
    assert all(np.mean(values) < 2 for values in peaks.values()), peaks
