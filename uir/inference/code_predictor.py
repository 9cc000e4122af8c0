"""Restoring by a degradation code: one for a whole image, however large it is and in however many tiles it is restored.

Validation, test, restoring and analysis all use what stands here.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from uir.inference.controls import Control
from uir.inference.predictor import Place, Predictor, Whole
from uir.inference.tiling import Read, tile_starts
from uir.layers.degradation_code import DegradationCode
from uir.registry import PREDICTORS

CodeUse = Literal["own", "zero", "shuffled"]

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


def code_as(use: CodeUse, code: DegradationCode, before: DegradationCode | None = None) -> DegradationCode:
    """The code [B, ...] by which a batch is steered: its own, zeros, or that of another image.

    Args:
        use: "shuffled" is the code of the image before in the batch, and of a single image `before`.
        code: the batch's own.
        before: the code of the image that was restored before; None gives zeros.
    """
    if use == "own":
        return code
    if use == "zero":
        return code.zeros_like()
    tensor = next(value for value in vars(code).values() if value is not None)
    if len(tensor) > 1:
        return code.index_select(torch.arange(len(tensor), device=tensor.device).roll(1))
    return code.zeros_like() if before is None else before


@PREDICTORS.register()
class CodePredictor(Predictor):
    """Restores by a degradation code: `network_g(lq, code=network_e(lq))`, one code for the whole image.

    The encoder sees an image up to 1024 × 1024 whole; of a larger one, the mean of the codes of evenly spread squares
    counts (`global_code`), tiled or not. A code's `map` is made of the very pixels that are restored.

    Args:
        networks: `g` and `e`.
        scale, labels: as of every predictor.
        code: what steers `network_g`, as it was trained: each image's own code, zeros, or another image's.
    """

    roles: ClassVar[tuple[str, ...]] = ("g", "e")
    supplies: ClassVar[tuple[str, ...]] = ("code",)
    controls: ClassVar[tuple[Control, ...]] = (
        Control("code_from", "image", "Restore as if degraded like this image."),
    )

    def __init__(
        self,
        networks: Mapping[str, nn.Module],
        scale: int = 1,
        labels: tuple[str, ...] = (),
        code: CodeUse = "own",
    ) -> None:
        super().__init__(networks, scale, labels)
        self.code = code
        self._before: DegradationCode | None = None
        if code == "shuffled":
            self.refusal = (
                "was trained with `code: shuffled`, by the codes of other images, and one image has no other; "
                "`uir test` restores as it was trained"
            )

    def settings(self) -> dict[str, Any]:
        """The use of the code."""
        return {"code": self.code}

    def restart(self) -> None:
        """The next image is the first one: no code comes before it."""
        self._before = None

    def encode(self, image: Tensor) -> DegradationCode:
        """The code of [B, 3, h, w], as it is."""
        code: DegradationCode = self.networks["e"](image)
        return code

    def conditions(self, whole: Whole) -> dict[str, Any]:
        """The code of the whole images, and whether its map is made anew of each part."""
        if whole.controls.get("code_from") is not None:
            image = whole.value("code_from")
            read, size = (lambda rows, columns: image[..., rows, columns]), (image.shape[-2], image.shape[-1])
            code = global_code(self.networks["e"], read, size, whole.device)
            return {"code": expanded(code, len(whole)), "maps": False}
        if whole.batch.get("code") is not None:
            code = whole.batch["code"].apply(lambda values: values.to(whole.device))
            return {"code": expanded(code, len(whole)), "maps": False}
        code = global_code(self.networks["e"], whole.read, whole.size, whole.device)
        used = code_as(self.code, code, self._before)
        self._before = code
        return {"code": used, "maps": self.code == "own" and code.map is not None and takes_map(self.network)}

    def run(self, lq: Tensor, conditions: Mapping[str, Any], place: Place) -> Tensor:
        """Restore a part by the code of the whole; a map is that of the part."""
        code = conditions["code"]
        if conditions["maps"]:
            code = replace(code, map=self.encode(lq).map)
        restored: Tensor = self.network(lq, code=code)
        return restored

    def extras(self, conditions: Mapping[str, Any]) -> dict[str, Any]:
        """`code`: what the images were restored by."""
        return {"code": conditions["code"]}


def expanded(code: DegradationCode, images: int) -> DegradationCode:
    """One image's code for each of some images; the codes of several are left as they are."""
    return code.apply(lambda values: values.expand(images, *values.shape[1:]))
