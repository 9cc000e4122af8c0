"""Haze by the atmospheric scattering model, on procedural or given depth."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from uir.degradations.base import Degradation, Params, Size, check_image, working
from uir.degradations.fields import plasma, ramp
from uir.degradations.values import Numbers, Values
from uir.registry import DEGRADATION_REGISTRY
from uir.seeds import torch_generator


@DEGRADATION_REGISTRY.register()
class Haze(Degradation):
    """Haze: I = J·t + A·(1 − t), t = exp(−β·d) (Koschmieder; ranges of RESIDE indoor, Li et al., TIP 2019).

    Args:
        airlight: A, brightness of the haze in [0, 1], alike in all channels.
        beta: scattering per unit of depth, at least 0.
        depth_gradient: share in [0, 1] of a linear ramp (far at the top, as outdoors) in the procedural depth; the rest
            is plasma.
        depth_angle: degrees by which the ramp is turned, clockwise.
        depth: a depth file that replaces the procedural depth: an 8- or 16-bit grey image or an `.npy` array [H, W], 0
            near, 1 (full scale) far. It is taken to show the same frame as the image and is resized to it. The record
            holds its name.
    """

    def __init__(
        self,
        airlight: Numbers = (0.7, 1.0),
        beta: Numbers = (0.6, 1.8),
        depth_gradient: Numbers = (0.2, 0.8),
        depth_angle: Numbers = (-30.0, 30.0),
        depth: Path | None = None,
    ) -> None:
        self.airlight = Values.of("Haze.airlight", airlight, 0, 1)
        self.beta = Values.of("Haze.beta", beta, 0)
        self.depth_gradient = Values.of("Haze.depth_gradient", depth_gradient, 0, 1)
        self.depth_angle = Values.of("Haze.depth_angle", depth_angle)
        self.depth = None if depth is None else str(depth)
        if self.depth is not None:
            read_depth(self.depth)

    def sample(self, seed: int, size: Size) -> Params:
        """`airlight`, `beta` and either `depth_file` or `depth_gradient`, `depth_angle_deg` and `seed`."""
        params: Params = {"airlight": self.airlight.draw(seed), "beta": self.beta.draw(seed)}
        if self.depth is not None:
            return {**params, "depth_file": self.depth}
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
        height, width = image.shape[-2:]
        clear = working(image)
        t = transmission(params, (height, width)).to(clear)
        return (clear * t + params["airlight"] * (1 - t)).clamp(0, 1).to(image.dtype)


def transmission(params: Mapping[str, Any], size: Size) -> Tensor:
    """t = exp(−β·d) in (0, 1], [1, H, W] on the CPU."""
    return torch.exp(-params["beta"] * depth_of(params, size))


def depth_of(params: Mapping[str, Any], size: Size) -> Tensor:
    """The depth that a record speaks of, in [0, 1], [1, H, W] on the CPU."""
    if "depth_file" in params:
        depth = read_depth(params["depth_file"])[None]
        return F.interpolate(depth, size=size, mode="bilinear", align_corners=False)[0]
    share = params["depth_gradient"]
    surface = plasma(size, torch_generator(params["seed"]))
    return (1 - share) * surface + share * ramp(size, params["depth_angle_deg"])


@functools.lru_cache(maxsize=8)
def read_depth(path: str) -> Tensor:
    """A depth file as [1, H, W] in [0, 1].

    Raises:
        ValueError: there is no such file, it is no grey image or array, or its values are outside [0, 1].
    """
    if not Path(path).is_file():
        raise ValueError(f"Haze.depth: there is no file '{path}'")
    if path.endswith(".npy"):
        depth = np.load(path, allow_pickle=False)
    else:
        import cv2

        depth = cv2.imread(path, cv2.IMREAD_UNCHANGED)
        if depth is None:
            raise ValueError(f"Haze.depth: '{path}' cannot be read as an image")
    if np.issubdtype(depth.dtype, np.integer):
        depth = depth / np.iinfo(depth.dtype).max
    depth = depth.astype(np.float32)
    if depth.ndim == 3 and (depth == depth[..., :1]).all():
        depth = depth[..., 0]
    if depth.ndim != 2 or not np.isfinite(depth).all() or depth.min() < 0 or depth.max() > 1:
        raise ValueError(
            f"Haze.depth: '{path}' must be one grey plane in [0, 1] (0 near, 1 far), got shape {list(depth.shape)}, "
            f"values {depth.min():g} to {depth.max():g}"
        )
    return torch.from_numpy(depth)[None]
