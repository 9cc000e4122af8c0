"""Snow: flakes in the air by the formula of Snow100K, procedural or from files; and the snow of ImageNet-C."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from uir.degradations.base import Degradation, Params, Size, check_image, working
from uir.degradations.channels import grey_plane
from uir.degradations.field_files import FieldFiles, read_field
from uir.degradations.fields import normal, uniform
from uir.degradations.stamps import stamp
from uir.degradations.values import Numbers, Values
from uir.registry import DEGRADATION_REGISTRY

READ_MASK_COVERS = 0.5


@DEGRADATION_REGISTRY.register()
class Snow(Degradation):
    """Snow: I = T·(J·(1 − M) + C·M) + A·(1 − T), flakes with a veil (Snow100K, Liu et al., TIP 2018).

    M = Z·R of the paper: the snow mask times its opacity. CDD-11 (OneRestore, ECCV 2024) is J·(1 − M) + M with masks of
    Snow100K: `mask: FOLDER, opacity: 1, brightness: 1, transmission: 1, clip: false`. Snow100K's flakes were painted;
    the flakes here, and the ranges, are our own: soft discs smeared along their fall, a few near ones up to 2.5 times
    as large as the many far ones.

    Args:
        density: flakes in 100×100 pixels, at least 0.
        size: diameter of a medium flake in pixels, above 0.
        streak: pixels that a medium flake falls during the exposure, at least 0.
        angle: degrees of the fall from the vertical; positive leans its lower end to the right.
        opacity: opacity of the densest flake, in [0, 1]. It also multiplies a mask from a file.
        brightness: C, in [0, 1].
        transmission: T of the veil, in [0, 1]; 1 for none.
        airlight: A, brightness of the veil, in [0, 1].
        mask: a file that contains the snow mask instead, or a folder of them (grey images or `.npy` arrays [H, W],
            resized to the image). The record contains its name.
        clip: clip the result to [0, 1]; this has an effect if an earlier step left that range.
    """

    family: ClassVar[str] = "snow"
    severities: ClassVar[tuple[dict[str, Any], ...]] = (
        {"density": 8, "size": 2, "transmission": 0.98},
        {"density": 20, "size": 4, "transmission": 0.92},
        {"density": 40, "size": 6, "transmission": 0.85},
    )

    def __init__(
        self,
        density: Numbers = (5.0, 40.0),
        size: Numbers = (2.0, 6.0),
        streak: Numbers = (0.0, 6.0),
        angle: Numbers = (-45.0, 45.0),
        opacity: Numbers = (0.7, 1.0),
        brightness: Numbers = (0.9, 1.0),
        transmission: Numbers = (0.85, 1.0),
        airlight: Numbers = (0.7, 1.0),
        mask: Path | None = None,
        clip: bool = True,
    ) -> None:
        self.density = Values.of("Snow.density", density, 0)
        self.size = Values.of("Snow.size", size, 0.1)
        self.streak = Values.of("Snow.streak", streak, 0)
        self.angle = Values.of("Snow.angle", angle)
        self.opacity = Values.of("Snow.opacity", opacity, 0, 1)
        self.brightness = Values.of("Snow.brightness", brightness, 0, 1)
        self.transmission = Values.of("Snow.transmission", transmission, 0, 1)
        self.airlight = Values.of("Snow.airlight", airlight, 0, 1)
        self.mask = FieldFiles.of("Snow.mask", mask)
        if not isinstance(clip, bool):
            raise ValueError(f"Snow.clip: expected true or false, got {clip!r}")
        self.clip = clip

    def sample(self, seed: int, size: Size) -> Params:
        """`mask_file`, or `density`, `size_px`, `streak_px`, `angle_deg` and `seed`; the rest under its own name."""
        params: Params = {
            "opacity": self.opacity.draw(seed),
            "brightness": self.brightness.draw(seed),
            "transmission": self.transmission.draw(seed),
            "airlight": self.airlight.draw(seed),
            "clip": self.clip,
        }
        if self.mask is not None:
            return {**params, "mask_file": self.mask.draw(seed)}
        return {
            **params,
            "density": self.density.draw(seed),
            "size_px": self.size.draw(seed),
            "streak_px": self.streak.draw(seed),
            "angle_deg": self.angle.draw(seed),
            "seed": seed,
        }

    @staticmethod
    def apply(image: Tensor, params: Mapping[str, Any]) -> Tensor:
        """See `Degradation.apply`. If `clip` is false, the result is in [0, 1] only if the input is."""
        check_image(image, "Snow")
        height, width = image.shape[-2:]
        mask, passes = snow_mask(params, (height, width)), params["transmission"]
        share = passes * (1 - mask)
        light = (passes * params["brightness"]) * mask + (1 - passes) * params["airlight"]
        clear = working(image)
        snowy = (clear * share.to(clear)).add_(light.to(clear))
        return (snowy.clamp_(0, 1) if params["clip"] else snowy).to(image.dtype)

    @staticmethod
    def severity(params: Mapping[str, Any]) -> float:
        """Fraction of the scene's light that is lost: 1 − T·(1 − opacity·(covered fraction of the image)).

        The fraction is that of this many discs and streaks at random positions; a mask from a file counts as a half.
        """
        covered = READ_MASK_COVERS
        if "density" in params:
            flake = params["size_px"] * (math.pi / 4 * params["size_px"] + params["streak_px"])
            covered = 1 - math.exp(-params["density"] * flake / 1e4)
        return float(1 - params["transmission"] * (1 - params["opacity"] * covered))


def snow_mask(params: Mapping[str, Any], size: Size) -> Tensor:
    """M in [0, 1], [1, H, W] on the CPU: each flake a soft disc smeared along its fall."""
    if "mask_file" in params:
        return params["opacity"] * read_field("Snow.mask", params["mask_file"], size)
    largest = 1.25 * (params["size_px"] + params["streak_px"]) + 1
    height, width = size[0] + 2 * largest, size[1] + 2 * largest
    number = round(params["density"] * height * width / 1e4)
    draws = uniform(params, number, 5).cpu()
    centres = draws[:, :2] * torch.tensor([height, width]) - largest
    scale = 0.4 + 2.1 * draws[:, 2] * draws[:, 2] * draws[:, 2]
    radius = scale * params["size_px"] / 2
    half_fall = scale * params["streak_px"] * (0.25 + 0.25 * draws[:, 3])
    opacity = params["opacity"] * (0.4 + 0.6 * draws[:, 4])
    angle = math.radians(params["angle_deg"])
    down, right = math.cos(angle), math.sin(angle)

    def flake(indices: Tensor, dy: Tensor, dx: Tensor) -> Tensor:
        own_radius, own_fall = radius[indices, None, None], half_fall[indices, None, None]
        along = dy * down + dx * right
        beyond = (along.abs() - own_fall).clamp(min=0)
        across = dy * right - dx * down
        distance = (beyond * beyond + across * across).sqrt()
        softness = (0.6 * own_radius).clamp(min=1)
        # a flake smaller than a pixel covers only a part of it
        peak = opacity[indices, None, None] * (2 * own_radius).clamp(max=1)
        return peak * ((own_radius + 0.5 * softness - distance) / softness).clamp(0, 1)

    return stamp(size, centres, 1.3 * radius + half_fall + 1, flake)[None]


# level: mean, standard deviation, zoom, threshold, radius and sigma of the blur in pixels, fraction of the scene
IMAGENET_C_SNOW = {
    1: (0.1, 0.3, 3.0, 0.5, 10, 4.0, 0.8),
    2: (0.2, 0.3, 2.0, 0.5, 12, 4.0, 0.7),
    3: (0.55, 0.3, 4.0, 0.9, 12, 8.0, 0.7),
    4: (0.55, 0.3, 4.5, 0.85, 12, 8.0, 0.65),
    5: (0.55, 0.3, 2.5, 0.85, 12, 12.0, 0.55),
}


@DEGRADATION_REGISTRY.register()
class ImageNetCSnow(Degradation):
    """Snow of ImageNet-C: I = clip(b·J + (1 − b)·max(J, 1.5·grey(J) + 0.5) + S + S turned by 180°).

    Hendrycks & Dietterich, ICLR 2019: S is Gaussian noise N(mean, deviation), enlarged, set to 0 below a threshold and
    blurred by a one-sided Gaussian along a line. Made for images of 224 pixels.

    Args:
        level: the published severity, 1 to 5.
        angle: direction of the blur in degrees, counter-clockwise from the x axis.
    """

    family: ClassVar[str] = "snow"
    severities: ClassVar[tuple[dict[str, Any], ...]] = ({"level": 1}, {"level": 2}, {"level": 5})

    def __init__(self, level: Numbers | None = None, angle: Numbers = (-135.0, -45.0)) -> None:
        levels: Numbers = {"choice": [1, 2, 3, 4, 5]} if level is None else level
        self.level = Values.of("ImageNetCSnow.level", levels, 1, 5, integer=True)
        self.angle = Values.of("ImageNetCSnow.angle", angle)

    def sample(self, seed: int, size: Size) -> Params:
        """`mean`, `deviation`, `zoom`, `threshold`, `radius_px`, `sigma_px`, `scene_share`, `angle_deg` and `seed`."""
        names = ("mean", "deviation", "zoom", "threshold", "radius_px", "sigma_px", "scene_share")
        constants = IMAGENET_C_SNOW[int(self.level.draw(seed))]
        return {**dict(zip(names, constants, strict=True)), "angle_deg": self.angle.draw(seed), "seed": seed}

    @staticmethod
    def apply(image: Tensor, params: Mapping[str, Any]) -> Tensor:
        """See `Degradation.apply`."""
        check_image(image, "ImageNetCSnow")
        clear = working(image)
        height, width = image.shape[-2:]
        layer = _blown_noise(params, (height, width))
        layer = (layer + layer.flip(-2, -1)).to(clear)
        whitened = torch.maximum(clear, 1.5 * grey_plane(clear) + 0.5)
        share = params["scene_share"]
        return (share * clear).add_((1 - share) * whitened).add_(layer).clamp_(0, 1).to(image.dtype)

    @staticmethod
    def severity(params: Mapping[str, Any]) -> float:
        """The part of the scene lost by whitening, 1 − b, divided by 0.45, that of level 5."""
        return float(min(1.0, (1 - params["scene_share"]) / 0.45))


def _blown_noise(params: Mapping[str, Any], size: Size) -> Tensor:
    """S in [0, 1], [1, H, W] on the CPU."""
    height, width = size
    small = (math.ceil(height / params["zoom"]), math.ceil(width / params["zoom"]))
    noise = params["mean"] + params["deviation"] * normal(params, 1, 1, *small).cpu()
    large = (max(height, round(small[0] * params["zoom"])), max(width, round(small[1] * params["zoom"])))
    layer = F.interpolate(noise, size=large, mode="bilinear", align_corners=True)[0]
    top, left = (large[0] - height) // 2, (large[1] - width) // 2
    layer = layer[:, top : top + height, left : left + width]
    layer = torch.where(layer < params["threshold"], 0.0, layer).clamp(0, 1)
    return blur_one_way(layer, params["radius_px"], params["sigma_px"], params["angle_deg"])


def blur_one_way(plane: Tensor, radius_px: int, sigma_px: float, angle_deg: float) -> Tensor:
    """Blur [1, H, W] along a ray by a one-sided Gaussian of 2·radius + 1 samples; edges are repeated."""
    height, width = plane.shape[-2:]
    weights = [math.exp(-(step**2) / (2 * sigma_px**2)) for step in range(2 * radius_px + 1)]
    angle, pad, blurred = math.radians(angle_deg), 2 * radius_px, torch.zeros(1, height, width)
    padded = F.pad(plane, (pad, pad, pad, pad), mode="replicate")
    for step, weight in enumerate(weights):
        top, left = pad + round(-step * math.sin(angle)), pad + round(step * math.cos(angle))
        blurred.add_(padded[:, top : top + height, left : left + width], alpha=weight / sum(weights))
    return blurred
