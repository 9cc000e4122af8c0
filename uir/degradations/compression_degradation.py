"""Lossy coding: the real JPEG and WebP codecs, a differentiable JPEG, and fewer grey levels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from uir.degradations.base import Degradation, Params, Size, check_image, working
from uir.degradations.diffjpeg import diff_jpeg
from uir.degradations.noise_degradation import check_flag
from uir.degradations.values import Numbers, Values
from uir.registry import DEGRADATION_REGISTRY

LOWEST_QUALITY = 5  # the lowest quality in the literature


@DEGRADATION_REGISTRY.register()
class JPEG(Degradation):
    """JPEG: encoded and decoded by libjpeg-turbo, colour at half resolution (quality of BSRGAN and Real-ESRGAN).

    The image is rounded to 8 bits and encoded on the CPU, whatever its device is.

    Args:
        quality: libjpeg's scale, whole numbers from 1 to 100. Artefact removal uses {choice: [10, 20, 30, 40]}.
    """

    family: ClassVar[str] = "compression"
    severities: ClassVar[tuple[dict[str, Any], ...]] = ({"quality": 60}, {"quality": 30}, {"quality": 10})

    def __init__(self, quality: Numbers = (30, 95)) -> None:
        self.quality = Values.of("JPEG.quality", quality, 1, 100, integer=True)

    def sample(self, seed: int, size: Size) -> Params:
        """`quality`; there is no field."""
        return {"quality": self.quality.draw(seed)}

    @staticmethod
    def apply(image: Tensor, params: Mapping[str, Any]) -> Tensor:
        """See `Degradation.apply`.

        Raises:
            ValueError: the image has neither one nor three channels.
        """
        check_image(image, "JPEG")
        return through_codec(image, "JPEG", params["quality"])

    @staticmethod
    def severity(params: Mapping[str, Any]) -> float:
        """(100 − quality) / 95."""
        return codec_severity(params["quality"])


@DEGRADATION_REGISTRY.register()
class WebP(Degradation):
    """WebP: encoded and decoded by libwebp, lossy (the quality range of JPEG in Real-ESRGAN).

    The image is rounded to 8 bits and encoded on the CPU, whatever its device is.

    Args:
        quality: libwebp's scale, whole numbers from 1 to 100.
    """

    family: ClassVar[str] = "compression"
    severities: ClassVar[tuple[dict[str, Any], ...]] = ({"quality": 60}, {"quality": 30}, {"quality": 10})

    def __init__(self, quality: Numbers = (30, 95)) -> None:
        self.quality = Values.of("WebP.quality", quality, 1, 100, integer=True)

    def sample(self, seed: int, size: Size) -> Params:
        """`quality`; there is no field."""
        return {"quality": self.quality.draw(seed)}

    @staticmethod
    def apply(image: Tensor, params: Mapping[str, Any]) -> Tensor:
        """See `Degradation.apply`.

        Raises:
            ValueError: the image has neither one nor three channels.
        """
        check_image(image, "WebP")
        return through_codec(image, "WebP", params["quality"])

    @staticmethod
    def severity(params: Mapping[str, Any]) -> float:
        """(100 − quality) / 95."""
        return codec_severity(params["quality"])


@DEGRADATION_REGISTRY.register()
class DiffJPEG(Degradation):
    """JPEG simulated by differentiable operations (Shin & Song, 2017; as in Real-ESRGAN's training, quality 30–95).

    It differs from the codec by several grey levels in colour images; `JPEG` is the codec.

    Args:
        quality: libjpeg's scale, from 1 to 100, fractions allowed.
        differentiable: round coefficients softly, so that gradients pass.
        legacy: the published implementations' tables, padding and missing bounds; see `diff_jpeg`.
    """

    family: ClassVar[str] = "compression"
    severities: ClassVar[tuple[dict[str, Any], ...]] = ({"quality": 60}, {"quality": 30}, {"quality": 10})

    def __init__(self, quality: Numbers = (30.0, 95.0), differentiable: bool = False, legacy: bool = False) -> None:
        self.quality = Values.of("DiffJPEG.quality", quality, 1, 100)
        self.differentiable = check_flag("DiffJPEG.differentiable", differentiable)
        self.legacy = check_flag("DiffJPEG.legacy", legacy)

    def sample(self, seed: int, size: Size) -> Params:
        """`quality`, `differentiable` and `legacy`; there is no field."""
        return {"quality": self.quality.draw(seed), "differentiable": self.differentiable, "legacy": self.legacy}

    @staticmethod
    def apply(image: Tensor, params: Mapping[str, Any]) -> Tensor:
        """See `Degradation.apply`.

        Raises:
            ValueError: the image has neither one nor three channels.
        """
        check_image(image, "DiffJPEG")
        clear = working(image)
        return diff_jpeg(clear, params["quality"], params["differentiable"], params["legacy"]).to(image.dtype)

    @staticmethod
    def severity(params: Mapping[str, Any]) -> float:
        """(100 − quality) / 95."""
        return codec_severity(params["quality"])

    @classmethod
    def apply_each(cls, images: Tensor, params: Sequence[Mapping[str, Any]]) -> Tensor:
        """See `Degradation.apply_each`; all qualities at once."""
        if len({(own["differentiable"], own["legacy"]) for own in params}) != 1:
            return super().apply_each(images, params)
        check_image(images, cls.__name__)
        clear = working(images)
        quality = torch.tensor([own["quality"] for own in params], dtype=clear.dtype, device=clear.device)
        return diff_jpeg(clear, quality, params[0]["differentiable"], params[0]["legacy"]).to(images.dtype)


@DEGRADATION_REGISTRY.register()
class Quantise(Degradation):
    """Quantisation: I = round(J·(L − 1)) / (L − 1), L grey levels in each channel.

    Args:
        bits: log2 of L, whole numbers from 1 to 16. Default, without `levels`: [2, 6].
        levels: L itself instead, whole numbers from 2 to 65536.
    """

    family: ClassVar[str] = "quantisation"
    severities: ClassVar[tuple[dict[str, Any], ...]] = ({"bits": 5}, {"bits": 4}, {"bits": 2})

    def __init__(self, bits: Numbers | None = None, levels: Numbers | None = None) -> None:
        if bits is not None and levels is not None:
            raise ValueError("Quantise: `bits` and `levels` have the same meaning; give one of them")
        self.by_bits = levels is None
        if levels is None:
            self.values = Values.of("Quantise.bits", (2, 6) if bits is None else bits, 1, 16, integer=True)
        else:
            self.values = Values.of("Quantise.levels", levels, 2, 65536, integer=True)

    def sample(self, seed: int, size: Size) -> Params:
        """`levels`; there is no field."""
        value = int(self.values.draw(seed))
        return {"levels": 2**value if self.by_bits else value}

    @staticmethod
    def apply(image: Tensor, params: Mapping[str, Any]) -> Tensor:
        """See `Degradation.apply`."""
        check_image(image, "Quantise")
        steps = params["levels"] - 1
        return (working(image).clamp(0, 1) * steps).round_().div_(steps).to(image.dtype)

    @staticmethod
    def severity(params: Mapping[str, Any]) -> float:
        """(8 − log2 levels) / 7: 0 for eight bits or more, 1 for one."""
        return min(max((8 - float(np.log2(params["levels"]))) / 7, 0.0), 1.0)


def codec_severity(quality: float) -> float:
    """Severity of a codec's quality: linear, 0 at 100 and 1 from 5 down."""
    return min(max((100 - quality) / (100 - LOWEST_QUALITY), 0.0), 1.0)


def through_codec(image: Tensor, codec: str, quality: int) -> Tensor:
    """Encode and decode each image.

    Args:
        image: [C, H, W] or [B, C, H, W], C 1 or 3, in [0, 1]; rounded to 8 bits.
        codec: JPEG or WebP.
        quality: 1–100.

    Returns:
        The decoded images, in the shape and type and on the device of `image`.

    Raises:
        ValueError: another number of channels, or a side that is too long for the codec.
    """
    if image.shape[-3] not in (1, 3):
        raise ValueError(f"{codec}: expected 1 or 3 channels, got shape {list(image.shape)}")
    if image.is_meta:
        return torch.empty_like(image, memory_format=torch.contiguous_format)
    if image.ndim == 4:
        return torch.stack([through_codec(single, codec, quality) for single in image])
    import cv2

    suffix, flag = {"JPEG": (".jpg", cv2.IMWRITE_JPEG_QUALITY), "WebP": (".webp", cv2.IMWRITE_WEBP_QUALITY)}[codec]
    pixels = _to_bytes(image.detach().cpu().float())
    grey = pixels.shape[-1] == 1
    is_encoded, stream = cv2.imencode(
        suffix, pixels if grey else cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), [flag, quality]
    )
    if not is_encoded:
        raise ValueError(f"{codec}: an image of {pixels.shape[0]} x {pixels.shape[1]} pixels cannot be encoded")
    decoded = np.asarray(cv2.imdecode(stream, cv2.IMREAD_GRAYSCALE if grey else cv2.IMREAD_COLOR))
    decoded = decoded[..., None] if grey else cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB)
    planes = torch.from_numpy(decoded).permute(2, 0, 1).to(torch.float32, memory_format=torch.contiguous_format)
    return planes.div_(255).to(image)


def _to_bytes(image: Tensor) -> np.ndarray:
    """[C, H, W] in [0, 1] as uint8 [H, W, C], rounded to the nearest, ties to even."""
    pixels = (image * 255).round_().clamp_(0, 255).to(torch.uint8)
    return np.ascontiguousarray(pixels.permute(1, 2, 0).numpy())
