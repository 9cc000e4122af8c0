"""The features of a network as vectors, level by level, for probes and pictures."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from uir.core.progress import progress_bar
from uir.layers.features import FeatureTap, points_of
from uir.layers.padding import outer_multiple_of, pad_to_multiple

Pool = Literal["mean", "flatten"]
PIXELS = "pixels"


def features_of(
    network: nn.Module,
    images: Tensor,
    *,
    pool: Pool = "mean",
    device: torch.device | str = "cpu",
    batch_size: int = 8,
    progress: bool = False,
) -> dict[str, Tensor]:
    """The features of each image, by level.

    The levels are the network's feature points in their order, or the fields of a degradation encoder's code
    (`vector`, `map`, `projection`, ...), or `output` for a network that returns one vector. A copy of the network runs
    in evaluation mode, so the network itself is unchanged.

    Args:
        network: declares `feature_points()`, or is an encoder.
        images: [N, 3, H, W] in [0, 1].
        pool: `mean` over space (or tokens), or `flatten`, as in DCPT's published protocol (large).
        device: where to compute.
        batch_size: images in one batch.
        progress: show a progress bar.

    Returns:
        float32 [N, D] on the CPU by level.

    Raises:
        ValueError: the network has no feature points and is no encoder.
    """
    read = _reader(copy.deepcopy(network).to(device).eval())
    parts_by_level: dict[str, list[Tensor]] = {}
    with torch.no_grad(), progress_bar(batch_size, visible=progress) as bar:
        batches = images.split(batch_size)
        task = bar.add_task("Reading features", total=len(batches), note="")
        for batch in batches:
            for level, feature in read(batch.to(device)).items():
                own = "flatten" if level == "kernel" else pool  # the mean of a kernel is always the same
                parts_by_level.setdefault(level, []).append(_as_vectors(feature, own).float().cpu())
            bar.advance(task)
    return {level: torch.cat(parts) for level, parts in parts_by_level.items()}


def pixel_features(images: Tensor) -> Tensor:
    """The images [N, 3, H, W] themselves as vectors [N, 3·H·W]: the control for every probe."""
    return images.flatten(1).float()


def _reader(network: nn.Module) -> Callable[[Tensor], Mapping[str, Tensor]]:
    if not callable(getattr(network, "feature_points", None)):
        return lambda image: _of_encoder(network, image)
    tap = FeatureTap(network, stop_at_last=True)
    multiple = outer_multiple_of(network)

    def read(image: Tensor) -> dict[str, Tensor]:
        features = tap(pad_to_multiple(image, multiple))[1]
        return {point.name: feature for point, feature in zip(tap.points, features, strict=True)}

    return read


def _of_encoder(network: nn.Module, image: Tensor) -> dict[str, Tensor]:
    code = network(image)
    if isinstance(code, Tensor) and code.ndim == 2:
        return {"output": code}
    if not is_dataclass(code):
        points_of(network)  # its error says what is missing
    code_fields = {field.name: getattr(code, field.name) for field in fields(code)}
    return {name: value for name, value in code_fields.items() if isinstance(value, Tensor) and name != "mask"}


def _as_vectors(feature: Tensor, pool: Pool) -> Tensor:
    """[B, C, h, w] or tokens [B, N, C], pooled to [B, C] or flattened; a score [B] becomes [B, 1]."""
    if pool == "mean" and feature.ndim == 4:
        return feature.mean((2, 3))
    if pool == "mean" and feature.ndim == 3:
        return feature.mean(1)
    return feature.reshape(len(feature), -1)
