"""Restoring without learning: what photographs were repaired with before, to compare a network with.

Each takes and gives an image, float32 [H, W, 3] RGB in [0, 1]. Strengths are those that the sources recommend; where
one must be known (the noise's deviation), it is estimated from the image, as a user would have to.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from skimage.restoration import denoise_wavelet, estimate_sigma


def non_local_means(image: np.ndarray) -> np.ndarray:
    """Averages of alike patches (Buades et al., CVPR 2005), OpenCV's for colours; as strong as the estimated noise."""
    strength = 255 * float(np.mean(estimate_sigma(image, channel_axis=-1)))
    pixels = _bytes(image)
    return _floats(cv2.fastNlMeansDenoisingColored(pixels, None, strength, strength, 7, 21))


def wavelet(image: np.ndarray) -> np.ndarray:
    """Wavelet shrinking, BayesShrink (Chang et al., TIP 2000), scikit-image's, in YCbCr, the noise estimated."""
    return np.clip(denoise_wavelet(image, channel_axis=-1, convert2ycbcr=True, rescale_sigma=True), 0, 1).astype(
        np.float32
    )


def dark_channel(image: np.ndarray) -> np.ndarray:
    """Dehazing by the dark channel (He et al., CVPR 2009): ω 0.95, patches of 15, t at least 0.1, a guided filter."""
    dark = cv2.erode(image.min(axis=2), np.ones((15, 15)))
    brightest = np.argsort(dark.ravel())[-max(1, dark.size // 1000) :]
    candidates = image.reshape(-1, 3)[brightest]
    air = candidates[candidates.sum(axis=1).argmax()]
    through = 1 - 0.95 * cv2.erode((image / np.maximum(air, 1e-3)).min(axis=2), np.ones((15, 15)))
    through = _guided(image.mean(axis=2), through.astype(np.float32), radius=60, eps=1e-3)
    return np.clip((image - air) / np.maximum(through, 0.1)[..., None] + air, 0, 1).astype(np.float32)


def clahe(image: np.ndarray) -> np.ndarray:
    """Histogram equalisation of 8×8 parts with a limit of 2 on the lightness (Zuiderveld, 1994), OpenCV's."""
    lab = cv2.cvtColor(_bytes(image), cv2.COLOR_RGB2LAB)
    lab[..., 0] = cv2.createCLAHE(clipLimit=2.0, tileGridSize=(8, 8)).apply(lab[..., 0])
    return np.ascontiguousarray(_floats(lab_to_rgb(lab)))


def lab_to_rgb(lab: np.ndarray) -> np.ndarray:
    """8-bit Lab to RGB."""
    return cv2.cvtColor(lab, cv2.COLOR_LAB2RGB)


def unsharp(image: np.ndarray) -> np.ndarray:
    """Unsharp masking: the difference to a Gaussian blur of deviation 2 is added once."""
    return np.clip(2 * image - cv2.GaussianBlur(image, (0, 0), 2), 0, 1)


def median(image: np.ndarray) -> np.ndarray:
    """The median of 3×3 pixels, OpenCV's."""
    return _floats(cv2.medianBlur(_bytes(image), 3))


def _guided(guide: np.ndarray, image: np.ndarray, radius: int, eps: float) -> np.ndarray:
    """The guided filter (He et al., ECCV 2010), grey: the image becomes a local linear function of the guide."""
    side = (2 * radius + 1, 2 * radius + 1)

    def mean(values: np.ndarray) -> np.ndarray:
        return cv2.blur(values, side, borderType=cv2.BORDER_REFLECT)

    mean_guide, mean_image = mean(guide), mean(image)
    slope = (mean(guide * image) - mean_guide * mean_image) / (mean(guide * guide) - mean_guide**2 + eps)
    return mean(slope) * guide + mean(mean_image - slope * mean_guide)


def _bytes(image: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray((image.clip(0, 1) * 255).round().astype(np.uint8))


def _floats(image: np.ndarray) -> np.ndarray:
    return image.astype(np.float32) / 255


CLASSICS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "non-local means": non_local_means,
    "wavelet": wavelet,
    "dark channel": dark_channel,
    "CLAHE": clahe,
    "unsharp mask": unsharp,
    "median": median,
}
"""By name."""
