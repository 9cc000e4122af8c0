"""A trained network as a function from photograph to photograph."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from uir.core.devices import pick_device
from uir.core.images import to_float
from uir.core.precision import Precision, autocast
from uir.inference.global_code import Steered, global_code, takes_code, takes_map
from uir.inference.loading import load_restorer
from uir.inference.tiling import OVERLAP, Read, check_tiling, tiled_rows
from uir.layers.degradation_code import DegradationCode
from uir.layers.padding import call_padded


class Restorer:
    """Restores images of any size, bit depth and channel count.

    A backbone that is steered by a degradation code gets one code for the whole image, tiled or not.

    Args:
        network: takes and gives [B, 3, H, W] in [0, 1].
        scale: size of the restored image over that of the input.
        device: where to compute.
        precision: fp32, or the type to autocast to.
        encoder: gives the degradation code that the network takes.
        tile: side in pixels of the tiles that an image is cut into, so that the device's memory suffices for one of any
            size; a multiple of the network's `pad_multiple`. None restores it whole.
        overlap: pixels that neighbouring tiles share at least; default 64, or half the tile. From four times the
            distance on that the network looks, the result is that of the whole image.

    Raises:
        ValueError: tile or overlap do not fit, or the network takes a code and there is no encoder.
    """

    def __init__(
        self,
        network: nn.Module,
        scale: int = 1,
        device: torch.device | str = "cpu",
        precision: Precision = "fp32",
        encoder: nn.Module | None = None,
        tile: int | None = None,
        overlap: int | None = None,
    ) -> None:
        self.device = torch.device(device)
        self.network = network.to(self.device).eval()
        self.scale, self.precision = scale, precision
        if takes_code(network) and encoder is None:
            raise ValueError(f"{type(network).__name__} restores by a degradation code; give the encoder that makes it")
        self.encoder = encoder.to(self.device).eval() if encoder is not None else None
        self.multiple: int = getattr(network, "pad_multiple", 1)
        if tile is None and overlap is not None:
            raise ValueError("overlap: an image that is restored whole has none; give a tile too")
        if tile is not None:
            overlap = min(OVERLAP, tile // 2) if overlap is None else overlap
            check_tiling(tile, overlap, self.multiple)
        self.tile, self.overlap = tile, overlap or 0

    @classmethod
    def from_pretrained(
        cls,
        path: str | Path,
        *,
        opt: str | Path | None = None,
        param_key: str | None = None,
        device: str | torch.device | None = None,
        precision: Precision = "fp32",
        encoder: str | Path | None = None,
        tile: int | None = None,
        overlap: int | None = None,
    ) -> Restorer:
        """Load a checkpoint.

        Args:
            path: a file of uir (its card tells the network), or of BasicSR together with `opt`.
            opt: the option file whose `network_g` (and `network_e`) describes the network.
            param_key: which weights; default the moving average where the file has one.
            device: default the best there is.
            precision: fp32, or the type to autocast to.
            encoder: weights of the encoder, for a network that takes a degradation code; default what lies beside
                `path` with `net_e_` in its name for `net_g_`, see `load_restorer`.
            tile, overlap: as in the constructor.

        Raises:
            CheckpointError: the file does not fit the network, nothing tells which network it is, or the encoder that
                it needs is not found.
            ValueError: tile or overlap do not fit.
        """
        loaded = load_restorer(Path(path), _path(opt), param_key, _path(encoder))
        return cls(
            loaded.network, loaded.scale, device or pick_device("auto"), precision, loaded.encoder, tile, overlap
        )

    def code_of(self, image: np.ndarray) -> DegradationCode:
        """The degradation code of a whole image, to restore this or another one by.

        Args:
            image: as for restoring.

        Raises:
            ValueError: the network takes no code, or the image has another shape or type.
        """
        return self._code(_reader(image), (image.shape[0], image.shape[1]))

    def restore_tensor(self, image: Tensor, code: DegradationCode | None = None) -> Tensor:
        """Restore [B, 3, h, w] in [0, 1]; [B, 3, h·scale, w·scale] in [0, 1] on the CPU, float32.

        Args:
            image: on any device.
            code: to restore by, of one image or of each; default what the encoder says.

        Raises:
            ValueError: a code is given, and the network takes none.
        """

        def read(rows: slice, columns: slice) -> Tensor:
            return image[..., rows, columns]

        if code is not None and len(image) > 1:
            code = code.apply(lambda field: field.expand(len(image), *field.shape[1:]))
        return torch.cat(list(self._rows(read, (image.shape[-2], image.shape[-1]), code)), -2)

    def __call__(self, image: np.ndarray, code: DegradationCode | None = None) -> np.ndarray:
        """Restore an array [H, W], [H, W, 1], [H, W, 3] or [H, W, 4] (alpha last): uint8, uint16 or float in [0, 1].

        The result has the input's type and channels; alpha is carried over, resized where the scale asks for it.

        Args:
            image: the photograph.
            code: to restore by, as `code_of` gives it of another image; default this one's.

        Raises:
            ValueError: another shape or type, or a code for a network that takes none.
        """
        read = _reader(image)
        height, width = image.shape[:2]
        channels = image.shape[2] if image.ndim == 3 else 1
        restored = np.empty((height * self.scale, width * self.scale, channels), image.dtype)
        top = 0
        for rows in self._rows(read, (height, width), code):
            colour = rows[0].mean(0, keepdim=True) if channels == 1 else rows[0]
            part = restored[top : top + rows.shape[-2]]
            part[..., : min(channels, 3)] = _as_type(colour.permute(1, 2, 0).numpy(), image.dtype)
            top += rows.shape[-2]
        if channels == 4:
            alpha = torch.from_numpy(to_float(image[..., 3:])).permute(2, 0, 1)[None]
            if self.scale != 1:
                size = restored.shape[:2]
                alpha = nn.functional.interpolate(alpha, size=size, mode="bilinear", align_corners=False)
            restored[..., 3] = _as_type(alpha[0, 0].clamp(0, 1).numpy(), image.dtype)
        return restored[:, :, 0] if image.ndim == 2 else restored

    def _rows(self, read: Read, size: tuple[int, int], code: DegradationCode | None) -> Iterator[Tensor]:
        """The restored image in bands of rows [B, 3, rows, w·scale], clipped."""
        network, run_encoder = self.network, None
        if self.encoder is not None:
            # A map belongs to the very pixels; with another image's code it says the same of all of them.
            run_encoder = self.encoder if code is None and takes_map(network) else None
            known = self._code(read, size) if code is None else code.apply(lambda field: field.to(self.device))
            network = Steered(network, known, run_encoder)
        elif code is not None:
            raise ValueError(f"{type(self.network).__name__} takes no degradation code")
        run = partial(self._run, network)
        if self.tile is None:
            yield run(read(slice(0, size[0]), slice(0, size[1]))).clamp(0, 1)
            return
        settings = {"tile": self.tile, "overlap": self.overlap, "multiple": self.multiple, "scale": self.scale}
        for rows in tiled_rows(read, run, size, **settings):
            yield rows.clamp(0, 1)

    def _run(self, network: nn.Module, pixels: Tensor) -> Tensor:
        lq = pixels.to(self.device, torch.float32)
        with torch.inference_mode(), autocast(self.device, self.precision):
            restored = call_padded(network, lq, self.scale)
        return restored.float().cpu()

    def _code(self, read: Read, size: tuple[int, int]) -> DegradationCode:
        encoder = self.encoder
        if encoder is None:
            raise ValueError(f"{type(self.network).__name__} takes no degradation code")
        with torch.inference_mode(), autocast(self.device, self.precision):
            return global_code(encoder, read, size, self.device)


def _path(given: str | Path | None) -> Path | None:
    return None if given is None else Path(given)


def _reader(image: np.ndarray) -> Read:
    """Parts of an image file's pixels as colour [1, 3, h, w] in [0, 1]."""
    channels = image.shape[2] if image.ndim == 3 else 1
    if image.ndim not in (2, 3) or channels not in (1, 3, 4):
        raise ValueError(f"expected an image [H, W] or [H, W, 1|3|4], got shape {image.shape}")
    pixels = image.reshape(*image.shape[:2], channels)

    def read(rows: slice, columns: slice) -> Tensor:
        part = torch.from_numpy(to_float(np.ascontiguousarray(pixels[rows, columns, :3]))).permute(2, 0, 1)
        return part[None].expand(-1, 3, -1, -1)

    return read


def _as_type(values: np.ndarray, kind: np.dtype) -> np.ndarray:
    """Floats in [0, 1] as pixels of a type."""
    if np.issubdtype(kind, np.integer):
        return (values.astype(np.float64) * np.iinfo(kind).max).round().astype(kind)
    return values.astype(kind)
