"""Changes of resolution: resizing, direct subsampling, pixelation, and down-and-up at the same size."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from uir.core.seeds import numpy_generator
from uir.degradations.base import Degradation, DrawContext, Params, Size, check_image, registered_name, working
from uir.degradations.record import Step
from uir.degradations.values import Numbers, Values
from uir.layers.resize import imresize, resample
from uir.registry import DEGRADATION_REGISTRY

Names = str | list[str] | dict[str, float]

MODES = ("area", "bilinear", "bicubic", "lanczos", "matlab_bicubic")
DRIFTING_MODES = ("bilinear", "bicubic")
DIRECTIONS = ("up", "down", "keep")
REAL_ESRGAN_RANGES: dict[str, Numbers] = {"up": [1.0, 1.5], "down": [0.15, 1.0], "keep": 1.0}
REAL_ESRGAN_WEIGHTS = {"up": 0.2, "down": 0.7, "keep": 0.1}
REAL_ESRGAN_MODES: Names = ["area", "bilinear", "bicubic"]
SMALLEST_SCALE = 1e-3
SLACK_PX = 0.01  # so that a third written as 0.3333 gives 16 for 48


@dataclass(frozen=True)
class Choice:
    """A checked parameter with one of several names as its value, at random.

    Attributes:
        name: the parameter's name; draws are keyed by it.
        names: the possible values.
        weights: the weight of each; their sum is 1.
    """

    name: str
    names: tuple[str, ...]
    weights: tuple[float, ...]

    @classmethod
    def of(cls, where: str, given: Names, known: Sequence[str]) -> Choice:
        """Check the user's value.

        Args:
            where: `Op.parameter`, for messages.
            given: a name, a list of names (equally likely), or `{name: weight, ...}`.
            known: the existing names.

        Raises:
            ValueError: the value has none of the three forms, a name is unknown, or the weights are not usable.
        """
        weighted = {given: 1.0} if isinstance(given, str) else given
        if isinstance(weighted, (list, tuple)) and all(isinstance(name, str) for name in weighted):
            weighted = dict.fromkeys(weighted, 1.0)
        if not isinstance(weighted, Mapping) or not weighted or not set(weighted) <= set(known):
            raise ValueError(f"{where}: expected one or some of {', '.join(known)}, or {{name: weight}}, got {given!r}")
        weights = list(weighted.values())
        if any(isinstance(w, bool) or not isinstance(w, (int, float)) or not 0 <= w < math.inf for w in weights):
            raise ValueError(f"{where}: expected weights of at least 0, got {given!r}")
        if sum(weights) <= 0:
            raise ValueError(f"{where}: at least one weight must be above 0, got {given!r}")
        return cls(where.rpartition(".")[2], tuple(weighted), tuple(weight / sum(weights) for weight in weights))

    def draw(self, seed: int) -> str:
        """One name, from a generator keyed by (seed, the parameter's name)."""
        if len(self.names) == 1:
            return self.names[0]
        return self.names[int(numpy_generator(seed, self.name).choice(len(self.names), p=self.weights))]


@DEGRADATION_REGISTRY.register()
class Resize(Degradation):
    """Resize: change the size by a random method (Real-ESRGAN, Wang et al., ICCVW 2021; its first stage).

    Three forms: by `scale`; to `size`; or up, down or neither at random, the default. Sides are rounded down, as in
    torch; only `matlab_bicubic` rounds up, as MATLAB does. A difference of a hundredth of a pixel is ignored.

    Args:
        scale: size of the result divided by that of the image.
        size: side of the result in pixels, or [height, width].
        up, down, keep: the scale in each direction; default [1, 1.5], [0.15, 1] and 1. Without `weights`, only the
            directions that are set are used.
        weights: weight of each direction; default {up: 0.2, down: 0.7, keep: 0.1}.
        modes: a method, several equally likely, or `{name: weight}`: `area` (the exact mean), `bilinear`, `bicubic`
            and `lanczos` as in OpenCV, not antialiased; `matlab_bicubic`, MATLAB's antialiased imresize. Default: the
            first three.
        of: the reference for the scale: the `current` image, or the `input` of the whole pipeline.
        legacy: interpolate at steps of 1/scale, as published pipelines do, instead of fitting the whole image into the
            rounded size: the content is then shifted, by up to a pixel of the result at the far border.
        even_in: a range is drawn evenly in the `scale`, or in 1/scale, the `factor` (BSRGAN).

    Raises:
        ValueError: more than one of the three forms is used, or a scale, size, method or weight is not valid.
    """

    family: ClassVar[str] = "resolution"
    severities: ClassVar[tuple[dict[str, Any], ...]] = ({"scale": 0.5}, {"scale": 0.25}, {"scale": 0.125})
    changes_size = True

    def __init__(
        self,
        scale: Numbers | None = None,
        size: int | list[int] | None = None,
        up: Numbers | None = None,
        down: Numbers | None = None,
        keep: Numbers | None = None,
        weights: dict[str, float] | None = None,
        modes: Names | None = None,
        of: str = "current",
        legacy: bool = False,
        even_in: Literal["scale", "factor"] = "scale",
    ) -> None:
        directions = {
            name: value for name, value in zip(DIRECTIONS, (up, down, keep), strict=True) if value is not None
        }
        forms = [scale is not None, size is not None, bool(directions) or weights is not None]
        if sum(forms) > 1:
            raise ValueError("Resize: use one of `scale`, `size`, or directions (`up`, `down`, `keep`, `weights`)")
        if of not in ("current", "input"):
            raise ValueError(f"Resize.of: expected current or input, got {of!r}")
        if not isinstance(legacy, bool) or (legacy and (of == "input" or size is not None)):
            raise ValueError(f"Resize.legacy: expected true or false; true needs a scale `of: current`, got {legacy!r}")
        if even_in not in ("scale", "factor"):
            raise ValueError(f"Resize.even_in: expected scale or factor, got {even_in!r}")
        self.of, self.legacy, self.exponent = of, legacy, -1 if even_in == "factor" else 1
        self.size = None if size is None else _check_size(size)
        self.modes = Choice.of("Resize.modes", REAL_ESRGAN_MODES if modes is None else modes, MODES)
        if weights is None:
            weights = {name: REAL_ESRGAN_WEIGHTS[name] for name in directions or DIRECTIONS}
        self.direction = Choice.of("Resize.weights", weights, DIRECTIONS)
        self.scale = None if scale is None else Values.of("Resize.scale", scale, SMALLEST_SCALE)
        self.scales = {
            name: Values.of(f"Resize.{name}", directions.get(name, REAL_ESRGAN_RANGES[name]), SMALLEST_SCALE)
            for name in DIRECTIONS
        }

    def sample(self, seed: int, size: Size) -> Params:
        """`height`, `width`, `mode`, and for information `scale` (as drawn) and `of`; there is no field."""
        return self._drawn(seed, size, size)

    def draw(self, seed: int, size: Size, context: DrawContext | None = None) -> list[Step]:
        """One step; relative to the pipeline's input if `of` is `input`."""
        input_size = size if context is None else context.input_size
        params = self._drawn(self.shared_seed(seed, context), size, input_size if self.of == "input" else size)
        return [{"op": registered_name(type(self)), **params}]

    def _drawn(self, seed: int, size: Size, reference: Size) -> Params:
        mode = self.modes.draw(seed)
        if self.size is not None:
            height, width = self.size
            scale = math.sqrt(height * width / (reference[0] * reference[1]))
        else:
            values = self.scale if self.scale is not None else self.scales[self.direction.draw(seed)]
            scale = values.draw(seed, self.exponent)
            height, width = scaled_size(reference, scale, mode == "matlab_bicubic")
            if self.legacy:
                height, width = (max(math.floor(side * scale), 1) for side in reference)
        params: Params = {"height": height, "width": width, "mode": mode, "scale": scale, "of": self.of}
        drifts = self.legacy and mode in DRIFTING_MODES and min(reference) * scale >= 1
        return {**params, "legacy": True} if drifts else params

    @staticmethod
    def apply(image: Tensor, params: Mapping[str, Any]) -> Tensor:
        """See `Degradation.apply`."""
        check_image(image, "Resize")
        if params.get("legacy"):
            batch = working(image).reshape(-1, 1, *image.shape[-2:])
            drifted = F.interpolate(
                batch, scale_factor=params["scale"], mode=params["mode"], recompute_scale_factor=False
            )
            drifted = drifted[..., : params["height"], : params["width"]].clamp(0, 1)
            return drifted.reshape(*image.shape[:-2], *drifted.shape[-2:]).to(image.dtype)
        return resized(image, (params["height"], params["width"]), params["mode"]).to(image.dtype)

    @staticmethod
    def output_size(params: Mapping[str, Any], size: Size) -> Size:
        """`height` and `width`."""
        return params["height"], params["width"]

    @staticmethod
    def severity(params: Mapping[str, Any]) -> float:
        """Lost octaves divided by 3: 0 if nothing shrinks, 1 for an eighth of `of`'s size."""
        return octaves_lost(params["scale"])

    @classmethod
    def apply_each(cls, images: Tensor, params: Sequence[Mapping[str, Any]]) -> Tensor:
        """See `Degradation.apply_each`; all images at once if they are resized in the same way."""
        if len({(own["height"], own["width"], own["mode"], own.get("legacy")) for own in params}) != 1:
            return super().apply_each(images, params)
        return cls.apply(images, params[0])


@DEGRADATION_REGISTRY.register()
class SFold(Degradation):
    """Direct s-fold subsampling: I = J[::s, ::s], from the top left pixel on (KAIR; Zhang et al., CVPR 2018).

    Args:
        scale: s, whole numbers of at least 1. Sides are rounded up.
    """

    family: ClassVar[str] = "resolution"
    severities: ClassVar[tuple[dict[str, Any], ...]] = ({"scale": 2}, {"scale": 4}, {"scale": 8})
    changes_size = True

    def __init__(self, scale: Numbers = 4) -> None:
        self.scale = Values.of("SFold.scale", scale, 1, integer=True)

    def sample(self, seed: int, size: Size) -> Params:
        """`scale`; there is no field."""
        return {"scale": int(self.scale.draw(seed))}

    @staticmethod
    def apply(image: Tensor, params: Mapping[str, Any]) -> Tensor:
        """See `Degradation.apply`."""
        check_image(image, "SFold")
        step = params["scale"]
        return image[..., ::step, ::step].clamp(0, 1).contiguous()

    @staticmethod
    def output_size(params: Mapping[str, Any], size: Size) -> Size:
        """Both sides divided by `scale`, rounded up."""
        return -(-size[0] // params["scale"]), -(-size[1] // params["scale"])

    @staticmethod
    def severity(params: Mapping[str, Any]) -> float:
        """Lost octaves divided by 3, as for `Resize`: 1 for s = 8."""
        return octaves_lost(1 / params["scale"])


@DEGRADATION_REGISTRY.register()
class Pixelate(Degradation):
    """Pixelation: reduced by area, enlarged by the nearest pixel (ImageNet-C, Hendrycks & Dietterich, ICLR 2019).

    Args:
        scale: reduced size divided by the image's, at most 1; ImageNet-C uses 0.6, 0.5, 0.4, 0.3 and 0.25.
    """

    family: ClassVar[str] = "resolution"
    severities: ClassVar[tuple[dict[str, Any], ...]] = ({"scale": 0.6}, {"scale": 0.4}, {"scale": 0.25})

    def __init__(self, scale: Numbers = (0.25, 0.6)) -> None:
        self.scale = Values.of("Pixelate.scale", scale, SMALLEST_SCALE, 1)

    def sample(self, seed: int, size: Size) -> Params:
        """`scale`; there is no field."""
        return {"scale": self.scale.draw(seed)}

    @staticmethod
    def apply(image: Tensor, params: Mapping[str, Any]) -> Tensor:
        """See `Degradation.apply`."""
        check_image(image, "Pixelate")
        height, width = image.shape[-2:]
        small = resized(image, scaled_size((height, width), params["scale"]), "area")
        for dim, length in ((-1, width), (-2, height)):  # first the short lines
            short = small.shape[dim]
            nearest = (2 * torch.arange(length, device=image.device) + 1) * short // (2 * length)
            small = small.index_select(dim, nearest)
        return small.to(image.dtype)

    @staticmethod
    def severity(params: Mapping[str, Any]) -> float:
        """Lost octaves divided by 3, as for `Resize`."""
        return octaves_lost(params["scale"])


@DEGRADATION_REGISTRY.register()
class DownUp(Degradation):
    """Low resolution at the same size: reduced, then enlarged again (MiOIR, Kong et al., 2024: ×4 bicubic).

    Args:
        scale: reduced size divided by the image's, at most 1.
        down_modes, up_modes: methods of reducing and enlarging; see `Resize`.
    """

    family: ClassVar[str] = "resolution"
    severities: ClassVar[tuple[dict[str, Any], ...]] = ({"scale": 0.5}, {"scale": 0.25}, {"scale": 0.125})

    def __init__(
        self, scale: Numbers = 0.25, down_modes: Names = "matlab_bicubic", up_modes: Names = "matlab_bicubic"
    ) -> None:
        self.scale = Values.of("DownUp.scale", scale, SMALLEST_SCALE, 1)
        self.down_modes = Choice.of("DownUp.down_modes", down_modes, MODES)
        self.up_modes = Choice.of("DownUp.up_modes", up_modes, MODES)

    def sample(self, seed: int, size: Size) -> Params:
        """`scale`, `down_mode` and `up_mode`; there is no field."""
        return {
            "scale": self.scale.draw(seed),
            "down_mode": self.down_modes.draw(seed),
            "up_mode": self.up_modes.draw(seed),
        }

    @staticmethod
    def apply(image: Tensor, params: Mapping[str, Any]) -> Tensor:
        """See `Degradation.apply`."""
        check_image(image, "DownUp")
        height, width = image.shape[-2:]
        between = scaled_size((height, width), params["scale"], params["down_mode"] == "matlab_bicubic")
        small = resized(image, between, params["down_mode"])
        return resized(small, (height, width), params["up_mode"]).to(image.dtype)

    @staticmethod
    def severity(params: Mapping[str, Any]) -> float:
        """Lost octaves divided by 3, as for `Resize`."""
        return octaves_lost(params["scale"])


def scaled_size(size: Size, scale: float, round_up: bool = False) -> Size:
    """Both sides in pixels, at least 1; a difference of a hundredth of a pixel is ignored."""
    height, width = (
        max(math.ceil(side * scale - SLACK_PX) if round_up else math.floor(side * scale + SLACK_PX), 1) for side in size
    )
    return height, width


def octaves_lost(scale: float) -> float:
    """log2(1 / scale) / 3, within [0, 1]."""
    return min(max(-math.log2(scale) / 3, 0.0), 1.0)


def resized(image: Tensor, size: Size, mode: str) -> Tensor:
    """[..., C, H, W] in [0, 1] resized by one of `MODES`, clamped; float64 is kept, everything else becomes float32."""
    clear = working(image)
    if mode == "matlab_bicubic":
        return imresize(clear, size=size).clamp_(0, 1)
    in_opencv = clear.device.type == "cpu" and clear.dtype == torch.float32 and not clear.requires_grad
    enlarges = size[0] > clear.shape[-2] or size[1] > clear.shape[-1]
    if not in_opencv or (mode == "area" and enlarges):  # OpenCV's area means something else when a side grows
        return resample(clear, size, mode).clamp_(0, 1)
    return _resized_by_opencv(clear, size, mode).clamp_(0, 1)


def _resized_by_opencv(image: Tensor, size: Size, mode: str) -> Tensor:
    import cv2

    interpolation = {
        "area": cv2.INTER_AREA,
        "bilinear": cv2.INTER_LINEAR,
        "bicubic": cv2.INTER_CUBIC,
        "lanczos": cv2.INTER_LANCZOS4,
    }[mode]
    planes = image.contiguous().reshape(-1, *image.shape[-2:]).numpy()
    results = np.stack([cv2.resize(plane, size[::-1], interpolation=interpolation) for plane in planes])
    return torch.from_numpy(results).reshape(*image.shape[:-2], *size)


def _check_size(given: Any) -> Size:
    sides = [given, given] if isinstance(given, int) else given
    whole = isinstance(sides, (list, tuple)) and all(type(side) is int and side >= 1 for side in sides)
    if not whole or len(sides) != 2:
        raise ValueError(f"Resize.size: expected a side in pixels or [height, width], got {given!r}")
    return sides[0], sides[1]
