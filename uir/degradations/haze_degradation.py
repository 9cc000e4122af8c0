"""Haze by the atmospheric scattering model, with procedural depth or depth from files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from uir.core.seeds import derive_seed
from uir.degradations.base import Degradation, Params, Size, check_image, working
from uir.degradations.channels import per_channel
from uir.degradations.field_files import FieldFiles, read_field
from uir.degradations.fields import field_generator, plasma, ramp
from uir.degradations.values import Numbers, Values
from uir.registry import DEGRADATION_REGISTRY

DEPTH_FORMS = ("linear", "cdd11")
CDD11_BLUR_PX = 22
CDD11_LIMIT = 0.7
STRONGEST_BETA = 2.5  # MiOIR


@DEGRADATION_REGISTRY.register()
class Haze(Degradation):
    """Haze: I = J·t + A·(1 − t), t = exp(−β·d) (Koschmieder; ranges of RESIDE indoor, Li et al., TIP 2019).

    Args:
        airlight: A, brightness of the haze in [0, 1].
        beta: scattering per unit of depth, at least 0.
        depth_gradient: fraction in [0, 1] of a linear ramp (far at the top, as outdoors) in the procedural depth; the
            rest is plasma.
        depth_angle: degrees by which the ramp is turned, clockwise.
        depth: a depth file that replaces the procedural depth, or a folder of them: 8- or 16-bit grey images or `.npy`
            arrays [H, W], 0 near, 1 (full scale) far. It must show the same frame as the image and is resized to it.
            The record contains its name.
        depth_form: `linear`: d is the depth. `cdd11` (OneRestore, Guo et al., ECCV 2024, with A in [0.6, 0.9] and β in
                [1, 2]): d = min(1 − blur(n), 0.7), blur a 22-pixel box; the file then contains the nearness n, 1 near.
        per_channel: each of three channels gets its own A, as in RESIDE; a grey image gets their mean.
    """

    family: ClassVar[str] = "haze"
    severities: ClassVar[tuple[dict[str, Any], ...]] = (
        {"beta": 0.6, "airlight": 0.8},
        {"beta": 1.2, "airlight": 0.8},
        {"beta": 2.0, "airlight": 0.8},
    )

    def __init__(
        self,
        airlight: Numbers = (0.7, 1.0),
        beta: Numbers = (0.6, 1.8),
        depth_gradient: Numbers = (0.2, 0.8),
        depth_angle: Numbers = (-30.0, 30.0),
        depth: Path | None = None,
        depth_form: Literal["linear", "cdd11"] = "linear",
        per_channel: bool = False,
    ) -> None:
        self.airlight = Values.of("Haze.airlight", airlight, 0, 1)
        self.beta = Values.of("Haze.beta", beta, 0)
        self.depth_gradient = Values.of("Haze.depth_gradient", depth_gradient, 0, 1)
        self.depth_angle = Values.of("Haze.depth_angle", depth_angle)
        self.depth = FieldFiles.of("Haze.depth", depth)
        if depth_form not in DEPTH_FORMS:
            raise ValueError(f"Haze.depth_form: expected one of {', '.join(DEPTH_FORMS)}, got {depth_form!r}")
        self.depth_form = depth_form
        if not isinstance(per_channel, bool):
            raise ValueError(f"Haze.per_channel: expected true or false, got {per_channel!r}")
        self.per_channel = per_channel

    def sample(self, seed: int, size: Size) -> Params:
        """`airlight`, `beta`, `depth_form`, and `depth_file` or `depth_gradient`, `depth_angle_deg` and `seed`."""
        airlight: float | list[float] = self.airlight.draw(seed)
        if self.per_channel:
            airlight = [self.airlight.draw(derive_seed(seed, "channel", channel)) for channel in range(3)]
        params: Params = {"airlight": airlight, "beta": self.beta.draw(seed), "depth_form": self.depth_form}
        if self.depth is not None:
            return {**params, "depth_file": self.depth.draw(seed)}
        return {
            **params,
            "depth_gradient": self.depth_gradient.draw(seed),
            "depth_angle_deg": self.depth_angle.draw(seed),
            "seed": seed,
        }

    @staticmethod
    def apply(image: Tensor, params: Mapping[str, Any]) -> Tensor:
        """See `Degradation.apply`."""
        check_image(image, "Haze")
        channels, height, width = image.shape[-3:]
        return scatter(image, transmission(params, (height, width)), per_channel(params["airlight"], channels))

    @classmethod
    def apply_each(cls, images: Tensor, params: Sequence[Mapping[str, Any]]) -> Tensor:
        """See `Degradation.apply_each`."""
        check_image(images, "Haze")
        channels, height, width = images.shape[-3:]
        t = torch.stack([transmission(own, (height, width)) for own in params])
        airlight = torch.stack([per_channel(own["airlight"], channels).expand(channels, 1, 1) for own in params])
        return scatter(images, t, airlight)

    @staticmethod
    def severity(params: Mapping[str, Any]) -> float:
        """Optical depth of the farthest point, divided by 2.5 (the strongest of MiOIR)."""
        farthest = CDD11_LIMIT if params["depth_form"] == "cdd11" else 1.0
        return min(1.0, params["beta"] * farthest / STRONGEST_BETA)


def scatter(image: Tensor, t: Tensor, airlight: Tensor) -> Tensor:
    """J·t + A·(1 − t), clipped, in the image's type; `t` [..., 1, H, W] and `airlight` [..., C or 1, 1, 1]."""
    clear = working(image)
    t, airlight = t.to(clear), airlight.to(clear)
    return (clear * t).add_(airlight * (1 - t)).clamp_(0, 1).to(image.dtype)


def transmission(params: Mapping[str, Any], size: Size) -> Tensor:
    """t = exp(−β·d) in (0, 1], [1, H, W] on the CPU."""
    return torch.exp(-params["beta"] * depth_of(params, size))


def depth_of(params: Mapping[str, Any], size: Size) -> Tensor:
    """The depth d of a record, in [0, 1], [1, H, W] on the CPU."""
    if "depth_file" in params:
        field = read_field("Haze.depth", params["depth_file"], size)
        return _cdd11_depth(1 - field) if params["depth_form"] == "cdd11" else field
    share = params["depth_gradient"]
    depth = (1 - share) * plasma(size, field_generator(params)) + share * ramp(size, params["depth_angle_deg"])
    return _cdd11_depth(depth) if params["depth_form"] == "cdd11" else depth


def _cdd11_depth(depth: Tensor) -> Tensor:
    """min(blur(depth), 0.7): blurring the nearness 1 − d and inverting it equals blurring d."""
    import cv2

    return torch.from_numpy(cv2.blur(depth[0].numpy(), (CDD11_BLUR_PX, CDD11_BLUR_PX)))[None].clamp(max=CDD11_LIMIT)
