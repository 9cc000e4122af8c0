"""One degradation code for a whole image, however large it is and in however many tiles it is restored."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import fields, replace

import torch
from torch import Tensor, nn

from uir.inference.tiling import Read, tile_starts
from uir.layers.degradation_code import DegradationCode

CODE_SIDE = 1024
"""Side in pixels up to which an encoder sees an image whole."""


def global_code(
    encoder: nn.Module, read: Read, size: tuple[int, int], device: torch.device, side: int = CODE_SIDE
) -> DegradationCode:
    """The code of a whole image.

    The encoder sees an image up to `side` × `side` whole; of a larger one, the codes of evenly spread squares of that
    side are averaged. How the image is tiled for restoring plays no part, so that it is restored alike in any tiling
    (codes of single tiles differ, and seams would show).

    Args:
        encoder: gives the code of [B, 3, h, w].
        read: gives a part of the image.
        size: height and width of the image.
        device: where the encoder is.
        side: in pixels.

    Returns:
        Every field that the encoder fills; a map is averaged over all places to [B, M, 1, 1].
    """
    corners = [(top, left) for top in tile_starts(size[0], side, 0) for left in tile_starts(size[1], side, 0)]
    codes = []
    for top, left in corners:
        code: DegradationCode = encoder(read(slice(top, top + side), slice(left, left + side)).to(device))
        codes.append(code if code.map is None else replace(code, map=code.map.mean((2, 3), keepdim=True)))
    return mean_code(codes)


def mean_code(codes: Sequence[DegradationCode]) -> DegradationCode:
    """The mean of each field; the `mask`, which says what is known, is the first code's."""
    if len(codes) == 1:
        return codes[0]
    held = [field.name for field in fields(DegradationCode) if getattr(codes[0], field.name) is not None]
    means = {name: torch.stack([getattr(code, name) for code in codes]).mean(0) for name in held if name != "mask"}
    return replace(codes[0], **means)


def takes_code(network: nn.Module) -> bool:
    """Whether a backbone restores by a degradation code: it says how wide, or has parameters and takes a `code`.

    Baselines without parameters take one as well, and do not use it.
    """
    if hasattr(network, "code_channels") or hasattr(network, "map_channels"):
        return True
    has_parameters = next(network.parameters(), None) is not None
    return has_parameters and "code" in inspect.signature(network.forward).parameters


def takes_map(network: nn.Module) -> bool:
    """Whether it is steered by a code for every place, which goes with the pixels of a tile; it may be if unsaid."""
    may = hasattr(network, "map_channels") or not hasattr(network, "code_channels")
    return may and getattr(network, "condition", "map") == "map"


class Steered(nn.Module):
    """A backbone with the code of the image at hand, as a function of its pixels alone.

    Args:
        network: the backbone; `forward(lq, code)`.
        code: of the whole image.
        encoder: where given, the map of the code is its map of the very pixels that are restored.
    """

    def __init__(self, network: nn.Module, code: DegradationCode, encoder: nn.Module | None = None) -> None:
        super().__init__()
        self.network, self.encoder, self.code = network, encoder, code
        self.pad_multiple = getattr(network, "pad_multiple", 1)
        self.pads_itself = getattr(network, "pads_itself", False)

    def forward(self, lq: Tensor) -> Tensor:
        """Restore [B, 3, H, W]."""
        code = self.code if self.encoder is None else replace(self.code, map=self.encoder(lq).map)
        restored: Tensor = self.network(lq, code)
        return restored
