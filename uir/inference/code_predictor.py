"""Restoring by a degradation code: one code for a whole image, for any size and any number of tiles.

Validation, test, restoring and analysis all use this module.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from functools import cache
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from uir.degradations.record import RecordBatch
from uir.degradations.record_vectoriser import Severity, centred_kernel
from uir.inference.controls import Control
from uir.inference.predictor import Place, Predictor, Whole
from uir.inference.tiling import Read, tile_starts
from uir.layers.degradation_code import DegradationCode
from uir.registry import DEGRADATION_REGISTRY, PREDICTORS

CodeUse = Literal["own", "zero", "shuffled", "record", "kernel"]

KERNEL_SIDE = 21
"""Side in pixels of the kernels that `code: kernel` gives."""

CODE_SIDE = 1024
"""Largest side in pixels of an image that an encoder gets whole."""


def global_code(
    encoder: Callable[[Tensor], DegradationCode],
    read: Read,
    size: tuple[int, int],
    device: torch.device,
    side: int = CODE_SIDE,
) -> DegradationCode:
    """The code of a whole image.

    The encoder gets an image up to `side` × `side` whole; for a larger one, the codes of evenly spread squares of that
    side are averaged. The tiles of restoring do not change the code, so the result is the same with any tiles (with
    one code for each tile, the borders between tiles would be visible).

    Args:
        encoder: gives the code of [B, 3, h, w].
        read: gives a part of the image.
        size: height and width of the image.
        device: the encoder's device.
        side: in pixels.

    Returns:
        Every field that the encoder fills; a map is averaged over all positions to [B, M, 1, 1]. `local` and `detail`
        are for losses, and left out.
    """
    corners = [(top, left) for top in tile_starts(size[0], side, 0) for left in tile_starts(size[1], side, 0)]
    codes = []
    for top, left in corners:
        code: DegradationCode = encoder(read(slice(top, top + side), slice(left, left + side)).to(device))
        mean = None if code.map is None else code.map.mean((2, 3), keepdim=True)
        codes.append(replace(code, map=mean, local=None, detail=None))
    return mean_code(codes)


def mean_code(codes: Sequence[DegradationCode]) -> DegradationCode:
    """The mean of each field; the `mask` of known values is the first code's."""
    if len(codes) == 1:
        return codes[0]
    names = [field.name for field in fields(DegradationCode) if getattr(codes[0], field.name) is not None]
    means = {name: torch.stack([getattr(code, name) for code in codes]).mean(0) for name in names if name != "mask"}
    return replace(codes[0], **means)


def takes_code(network: nn.Module) -> bool:
    """Whether a backbone restores by a degradation code: it declares a width, or has parameters and takes a `code`.

    Baselines without parameters also take a code, but do not use it.
    """
    if hasattr(network, "code_channels") or hasattr(network, "map_channels"):
        return True
    has_parameters = next(network.parameters(), None) is not None
    return has_parameters and "code" in inspect.signature(network.forward).parameters


def takes_map(network: nn.Module) -> bool:
    """Whether it uses a code with a value for every position; yes if it does not declare this.

    The map of a tile is computed from the pixels of the tile.
    """
    may = hasattr(network, "map_channels") or not hasattr(network, "code_channels")
    return may and getattr(network, "condition", "map") == "map"


def code_as(
    use: CodeUse,
    code: DegradationCode,
    before: DegradationCode | None = None,
    records: RecordBatch | None = None,
) -> DegradationCode:
    """The code [B, ...] that is used for a batch: its own, zeros, that of another image, or what the records say.

    Args:
        use: "shuffled" is the code of the image before in the batch; for a single image it is `before`. "record" is
            what was done to the images, `code_of_records`; "kernel" is the blur that was applied, `code_of_kernels`.
        code: the batch's own.
        before: the code of the image that was restored before; None gives zeros.
        records: what was done to the images, for "record" and "kernel".
    """
    if use == "own":
        return code
    if use == "kernel":
        return code_of_kernels(code, records)
    if use == "record":
        return code_of_records(code, records)
    if use == "zero":
        return code.zeros_like()
    tensor = next(value for value in vars(code).values() if value is not None)
    if len(tensor) > 1:
        return code.index_select(torch.arange(len(tensor), device=tensor.device).roll(1))
    return code.zeros_like() if before is None else before


@cache
def families() -> list[str]:
    """The families of all degradations that uir has, by name."""
    own = [entry.name for entry in DEGRADATION_REGISTRY.entries() if entry.origin == "uir"]
    return sorted({getattr(DEGRADATION_REGISTRY.get(name), "family", "") for name in own} - {""})


def code_of_records(code: DegradationCode, records: RecordBatch | None) -> DegradationCode:
    """What was done to the images, as a code of an encoder's width: an upper bound for what an encoder can say.

    `vector` [B, C] holds the severity of each family of degradations (0 to 1, families by name), repeated until it is
    full; for a blur alone this is its width. The other fields are zeros.

    Raises:
        ValueError: a record is missing or unknown, or the encoder gives no vector as wide as there are families.
    """
    vector = code.require("vector", "`code: record`")
    targets = Severity(families())(records) if records is not None else None
    if targets is None or not bool(targets.mask.all()):
        raise ValueError(
            "`code: record` needs a record of what was done to each image; use a dataset that degrades clean images"
        )
    width, known = vector.shape[1], targets.values.shape[1]
    if width < known:
        raise ValueError(f"`code: record` needs a code of at least {known} numbers, but network_e gives {width}")
    repeated = targets.values.to(vector).repeat(1, -(-width // known))[:, :width]
    return replace(code.zeros_like(), vector=repeated)


def code_of_kernels(code: DegradationCode, records: RecordBatch | None) -> DegradationCode:
    """The true kernel of each image's first blur, `kernel` [B, 1, 21, 21] (no blur: the identity); all else is zeros.

    Raises:
        ValueError: a record is missing or unknown, or a blur has no kernel, or a larger one.
    """
    if records is None or not all(record.is_known for record in records):
        raise ValueError(
            "`code: kernel` needs a record of what was done to each image; use a dataset that degrades clean images"
        )
    device = next(value.device for value in vars(code).values() if value is not None)
    kernels = torch.stack([centred_kernel(record, KERNEL_SIDE) for record in records])
    return replace(code.zeros_like(), kernel=kernels[:, None].to(device))


@PREDICTORS.register()
class CodePredictor(Predictor):
    """Restores by a degradation code: `network_g(lq, code=network_e(lq))`, one code for the whole image.

    The encoder gets an image up to 1024 × 1024 whole; for a larger one, codes of evenly spread squares are averaged
    (`global_code`), with tiles or without. A code's `map` is computed from the same pixels that are restored.

    Args:
        networks: `g` and `e`.
        scale, labels: as in every predictor.
        code: the code that `network_g` was trained with: each image's own, zeros, another image's, or the record's
            (its severity, or its kernel).
    """

    roles: ClassVar[tuple[str, ...]] = ("g", "e")
    supplies: ClassVar[tuple[str, ...]] = ("code",)
    controls: ClassVar[tuple[Control, ...]] = (
        Control("code_from", "image", "Restore with the degradation code of this image."),
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
                "was trained with `code: shuffled`, which needs the code of another image, and a single image has no "
                "other; `uir test` restores with shuffled codes"
            )
        elif code in ("record", "kernel"):
            self.refusal = (
                f"was trained with `code: {code}`, which needs a record of what was done to the image; `uir test` "
                "restores with it, on a dataset that degrades clean images"
            )

    def settings(self) -> dict[str, Any]:
        """The use of the code."""
        return {"code": self.code}

    def restart(self) -> None:
        """Forget the earlier images: the next one is the first."""
        self._before = None

    def encode(self, image: Tensor) -> DegradationCode:
        """The encoder's code of [B, 3, h, w], without change."""
        code: DegradationCode = self.networks["e"](image)
        return code

    def conditions(self, whole: Whole) -> dict[str, Any]:
        """The code of the whole images, and whether its map is computed again for each part."""
        if whole.controls.get("code_from") is not None:
            image = whole.value("code_from")
            read, size = (lambda rows, columns: image[..., rows, columns]), (image.shape[-2], image.shape[-1])
            code = global_code(self.networks["e"], read, size, whole.device)
            return {"code": expanded(code, len(whole)), "maps": False}
        if whole.batch.get("code") is not None:
            code = whole.batch["code"].apply(lambda values: values.to(whole.device))
            return {"code": expanded(code, len(whole)), "maps": False}
        code = global_code(self.networks["e"], whole.read, whole.size, whole.device)
        used = code_as(self.code, code, self._before, whole.batch.get("degradation"))
        self._before = code
        return {"code": used, "maps": self.code == "own" and code.map is not None and takes_map(self.network)}

    def run(self, lq: Tensor, conditions: Mapping[str, Any], place: Place) -> Tensor:
        """Restore a part with the code of the whole image; a map is computed from the part."""
        code = conditions["code"]
        if conditions["maps"]:
            code = replace(code, map=self.encode(lq).map)
        restored: Tensor = self.network(lq, code=code)
        return restored

    def extras(self, conditions: Mapping[str, Any]) -> dict[str, Any]:
        """`code`: the code that the images were restored with."""
        return {"code": conditions["code"]}


def expanded(code: DegradationCode, images: int) -> DegradationCode:
    """One image's code, repeated for each of some images; the codes of several images do not change."""
    return code.apply(lambda values: values.expand(images, *values.shape[1:]))
