"""The numbers of each protocol, computed again with numpy and scikit-image from the protocol's description."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from skimage.color import rgb2ycbcr
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from uir.metrics.protocol_metrics import metrics_of_protocol
from uir.registry import PROTOCOLS


@pytest.fixture
def pair() -> tuple[torch.Tensor, torch.Tensor]:
    """A restored image that leaves [0, 1], and its 8-bit ground truth."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(1, 3, 9, 8, generator=generator)
    gt = (torch.nn.functional.interpolate(coarse, size=(53, 61), mode="bicubic").clamp(0, 1) * 255).round() / 255
    return gt + 0.08 * torch.randn(gt.shape, generator=generator), gt


def saved(image: np.ndarray) -> np.ndarray:
    return (image.clip(0, 1) * 255).round()


def centre(image: np.ndarray) -> np.ndarray:
    """Centre crop of 53 x 61 to multiples of 16."""
    return image.clip(0, 1)[2:50, 6:54] * 255


def luma(image: np.ndarray) -> np.ndarray:
    return rgb2ycbcr(saved(image) / 255)[..., :1]


def gaussian_ssim(x: np.ndarray, y: np.ndarray) -> float:
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 255, "full": True}
    maps = structural_similarity(x, y, channel_axis=2, **options)[1]  # type: ignore[no-untyped-call]
    return float(maps[5:-5, 5:-5].mean())


def uniform_ssim(x: np.ndarray, y: np.ndarray) -> float:
    return float(structural_similarity(x, y, channel_axis=2, data_range=255))  # type: ignore[no-untyped-call]


@pytest.mark.parametrize(
    ("name", "scale", "prepared", "ssim"),
    [
        ("basicsr", 3, lambda image: saved(image)[3:-3, 3:-3], gaussian_ssim),
        ("basicsr_y", 4, lambda image: luma(image)[4:-4, 4:-4], gaussian_ssim),
        ("basicsr_y", 1, luma, gaussian_ssim),
        ("blindsr_y", 2, lambda image: luma(image)[2:-2, 2:-2], gaussian_ssim),
        ("dcpt", 1, saved, gaussian_ssim),
        ("maskdcpt", 1, lambda image: image.clip(0, 1) * 255, gaussian_ssim),
        ("promptir", 1, centre, uniform_ssim),
        ("restormer_y", 1, lambda image: luma(image).round(), gaussian_ssim),
    ],
)
def test_a_protocol_is_what_its_publication_computes(
    name: str,
    scale: int,
    prepared: Callable[[np.ndarray], np.ndarray],
    ssim: Callable[[np.ndarray, np.ndarray], float],
    pair: tuple[torch.Tensor, torch.Tensor],
) -> None:
    metrics = metrics_of_protocol(name, scale).metrics
    x, y = (prepared(image[0].double().permute(1, 2, 0).numpy()) for image in pair)
    expected = peak_signal_noise_ratio(y, x, data_range=255)  # type: ignore[no-untyped-call]
    assert metrics["psnr"](*pair) == pytest.approx(expected, abs=2e-3)
    assert metrics["ssim"](*pair) == pytest.approx(ssim(x, y), abs=2e-4)


def test_protocols_share_a_metric_that_measures_the_same() -> None:
    shared: dict = {}
    first, second = (metrics_of_protocol(name, 1, shared).metrics for name in ("raim2024", "raim2024_printed"))
    assert first["psnr"] is second["psnr"]


def test_the_page_has_every_protocol_with_its_noise() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "measuring.md").read_text(encoding="utf-8")
    rows = {line.split("`")[1]: line for line in page.splitlines() if line.startswith("| `")}
    for name, protocol in PROTOCOLS:
        noise = protocol.noise.describe() if protocol.noise else "as the file says"
        assert name == "sr_y" or f"| {noise} |" in rows[name]
