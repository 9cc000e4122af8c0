"""A trained network as a function that takes a photograph and gives the restored one."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np
import torch
from torch import Tensor, nn

from uir.core.devices import device_named
from uir.core.images import to_float
from uir.core.precision import Precision, autocast
from uir.inference.code_predictor import CodePredictor, global_code, takes_code
from uir.inference.controls import Control
from uir.inference.diagnosis import Diagnoser, Diagnosis, load_diagnoser
from uir.inference.image_kinds import as_array, as_pillow
from uir.inference.loading import load_predictor
from uir.inference.model_files import model_file
from uir.inference.network_predictor import NetworkPredictor
from uir.inference.pixels import Pixels, as_type, colours_of, pixel_reader
from uir.inference.predictor import Predictor, Running, Whole
from uir.inference.tiling import OVERLAP, Read, check_tiling
from uir.layers.degradation_code import DegradationCode
from uir.layers.image_channels import image_channels

if TYPE_CHECKING:
    from PIL.Image import Image


_ROWS = 64
"""Rows that become pixels at a time: the copies on the way are then small."""


class NonFiniteImageError(ValueError):
    """A network gave NaN or infinity, which no picture can hold."""


class Restorer:
    """Restores images of any size, bit depth and channel count.

    A backbone that is steered by a degradation code gets one code for the whole image, tiled or not. A backbone of one
    channel restores a grey image as grey, and a colour image channel by channel.

    Args:
        network: takes and gives [B, 3, H, W] in [0, 1], or [B, 1, H, W]; or a predictor with its networks, as
            `load_predictor` gives it.
        scale: size of the restored image over that of the input; a predictor knows it.
        device: where to compute.
        precision: fp32, or the type to autocast to.
        encoder: gives the degradation code that the network takes.
        tile: side of the tiles in pixels, a multiple of the network's `pad_multiple`. With tiles, the device's memory
            is enough for an image of any size. None restores the image whole; "auto" does so if it fits into less than
            half of the free memory, and else takes the largest tiles that do. What does not fit after all is divided
            and repeated, whatever the tile.
        overlap: smallest number of pixels that neighbouring tiles share; default 64, or half the tile. If it is at
            least four times the distance that the network looks, the result is that of the whole image.

    Raises:
        ValueError: tile or overlap do not fit, the network takes a code and there is no encoder, or it is no network.
    """

    def __init__(
        self,
        network: nn.Module | Predictor,
        scale: int = 1,
        device: torch.device | str = "cpu",
        precision: Precision = "fp32",
        encoder: nn.Module | None = None,
        tile: int | Literal["auto"] | None = None,
        overlap: int | None = None,
    ) -> None:
        if not isinstance(network, nn.Module | Predictor):
            given = f"'{network}'" if isinstance(network, str | Path) else f"an object of type {type(network).__name__}"
            raise ValueError(
                f"Restorer takes a network, not {given}; Restorer.from_pretrained(path) loads one from a file, "
                "and the restorer then takes photographs: restorer('photo.png')"
            )
        predictor = network if isinstance(network, Predictor) else _predictor_of(network, encoder, scale)
        predictor.check()
        self.predictor, self.device = predictor, torch.device(device)
        self.file: Path | None = None
        self.param_key: str | None = None
        for part in predictor.networks.values():
            part.to(self.device).eval()
        self.scale = predictor.scale
        self.multiple: int = predictor.grid
        self.tile, self.overlap = self._tiling(tile, overlap)
        self._running = Running(self.device, precision, self.tile, self.overlap, torch.inference_mode)

    def with_tile(self, tile: int | Literal["auto"] | None, overlap: int | None = None) -> Restorer:
        """The same networks on the same device, with other tiles.

        Args:
            tile, overlap: as in the constructor.

        Raises:
            ValueError: tile or overlap do not fit.
        """
        other = copy.copy(self)
        other.tile, other.overlap = self._tiling(tile, overlap)
        other._running = replace(self._running, tile=other.tile, overlap=other.overlap)
        return other

    def _tiling(
        self, tile: int | Literal["auto"] | None, overlap: int | None
    ) -> tuple[int | Literal["auto"] | None, int]:
        """Tile and overlap after a check."""
        only_size: int | None = getattr(self.predictor.network, "only_size", None)
        tile = tile if only_size is None else only_size  # an exported network may take a single size
        if tile is None and overlap is not None:
            raise ValueError("overlap: it needs tiles; give a tile too")
        if isinstance(tile, int):
            overlap = min(OVERLAP, tile // 2) if overlap is None else overlap
            check_tiling(tile, overlap, self.multiple)
        elif tile not in ("auto", None):
            raise ValueError(f"tile: expected a number of pixels, 'auto' or None, got {tile!r}")
        return tile, overlap or 0

    @classmethod
    def from_pretrained(
        cls,
        path: str | Path | None = None,
        *,
        opt: str | Path | None = None,
        param_key: str | None = None,
        device: str | torch.device | None = None,
        precision: Precision = "fp32",
        encoder: str | Path | None = None,
        tile: int | Literal["auto"] | None = "auto",
        overlap: int | None = None,
    ) -> Restorer:
        """Load a trained network.

        Args:
            path: a file of uir (its card names the network), or of BasicSR together with `opt`; a folder, a name or an
                id of Hugging Face, see `model_file`. None is uir-small, which comes with uir.
            opt: the option file whose `network_g` (and `network_e`) describes the network.
            param_key: the key of the weights; default the moving average if the file has one.
            device: default the best device of this computer.
            precision: fp32, or the type to autocast to.
            encoder: weights of the encoder, for a network that takes a degradation code; default the file in the same
                folder with `net_e_` in its name instead of `net_g_`, see `load_predictor`.
            tile, overlap: as in the constructor; default "auto".

        Raises:
            CheckpointError: the file does not fit the network, nothing describes its network, or a network that it
                needs is not found.
            ValueError: tile or overlap do not fit.
        """
        file = model_file(path)
        predictor = load_predictor(file, _path(opt), param_key, {"e": _path(encoder)})
        restorer = cls(predictor, device=device_named(device), precision=precision, tile=tile, overlap=overlap)
        restorer.file, restorer.param_key = file, param_key
        return restorer

    @property
    def network(self) -> nn.Module:
        """The backbone."""
        return self.predictor.network

    @property
    def encoder(self) -> nn.Module | None:
        """The encoder of the degradation code; None if the backbone takes no code."""
        return self.predictor.encoder

    @property
    def controls(self) -> tuple[Control, ...]:
        """The values that can be set for restoring, by keyword: `restorer(image, steps=4, ensemble=8)`."""
        return self.predictor.offered

    @cached_property
    def diagnoser(self) -> Diagnoser | None:
        """What names the degradation of an image; None if no classifier was trained with the network.

        Raises:
            CheckpointError: the classifier's file is damaged, or does not fit the network.
        """
        if self.file is None:
            return None
        return load_diagnoser(self.file, self.network, self.device, param_key=self.param_key)

    def diagnose(self, image: np.ndarray | str | Path | Image) -> Diagnosis:
        """Which degradation an image has, and how sure that is.

        Args:
            image: as for restoring.

        Raises:
            ValueError: no classifier was trained with the network, or the image has another shape or type.
        """
        if self.diagnoser is None:
            what = self.file or type(self.network).__name__
            raise ValueError(
                f"{what}: comes with no classifier of degradations; methods such as DCTModel and DCPTModel train one "
                "(net_dc_* beside net_g_*)"
            )
        return self.diagnoser(image)

    def code_of(self, image: np.ndarray | str | Path | Image) -> DegradationCode:
        """The degradation code of a whole image, to restore this or another one by.

        Args:
            image: as for restoring.

        Raises:
            ValueError: the network takes no code, or the image has another shape or type.
        """
        if self.encoder is None:
            raise ValueError(f"{type(self.network).__name__} takes no degradation code")
        image = as_array(image)
        with torch.inference_mode(), autocast(self.device, self._running.precision):
            return global_code(
                self.encoder,
                pixel_reader(image, image_channels(self.encoder)),
                (image.shape[0], image.shape[1]),
                self.device,
            )

    def restore_tensor(self, image: Tensor, code: DegradationCode | None = None, **controls: Any) -> Tensor:
        """Restore [B, 3, h, w] in [0, 1] to [B, 3, h·scale, w·scale] in [0, 1] on the CPU, float32.

        Args:
            image: on any device; [B, 1, h, w] for a backbone of one channel.
            code: to restore by, of one image or of each; default what the encoder says.
            controls: what the method lets a user set (see `controls`).

        Raises:
            ValueError: a code is given, but the network takes none; or a control does not exist or fit.
        """

        def read(rows: slice, columns: slice) -> Tensor:
            return image[..., rows, columns]

        names = tuple(str(index) for index in range(len(image)))
        return torch.cat(list(self._rows(read, (image.shape[-2], image.shape[-1]), names, code, controls)), -2)

    @overload
    def __call__(
        self, image: np.ndarray | str | Path, code: DegradationCode | None = None, *, name: str = "", **controls: Any
    ) -> np.ndarray: ...

    @overload
    def __call__(
        self, image: Image, code: DegradationCode | None = None, *, name: str = "", **controls: Any
    ) -> Image: ...

    def __call__(
        self,
        image: np.ndarray | str | Path | Image,
        code: DegradationCode | None = None,
        *,
        name: str = "",
        **controls: Any,
    ) -> np.ndarray | Image:
        """Restore an array [H, W] or [H, W, 1|2|3|4] of uint8, uint16 or float in [0, 1].

        The channels are grey, grey and alpha, RGB, or RGBA. The result has the input's type and channels; alpha is
        copied, and resized if the scale is not 1.

        Args:
            image: the photograph; or the path of a file, or an image of Pillow, both of which are turned upright. A
                path gives an array, an image of Pillow gives one.
            code: to restore by, as `code_of` gives it of another image; default this one's.
            name: of the image; what a method draws at random depends on it and on the control `seed`. Default for a
                path: the file's name without its extension.
            controls: what the method lets a user set (see `controls`).

        Raises:
            FileNotFoundError: there is no file of that path.
            UnreadableImageError: the file cannot be read as one image.
            ValueError: another shape or type, a code for a network that takes none, or a control that does not exist
                or fit.
        """
        if isinstance(image, str | Path):
            name = name or Path(image).stem
        restored = self._restored(as_array(image), code, name, controls)
        return restored if isinstance(image, np.ndarray | str | Path) else as_pillow(restored)

    def bands(
        self, image: np.ndarray | Pixels, code: DegradationCode | None = None, *, name: str = "", **controls: Any
    ) -> Iterator[np.ndarray]:
        """Restore an image in bands of rows [rows, W·scale, C] of the image's type and channels, from top to bottom.

        With tiles, the memory does not grow with the height of the image.

        Args:
            image: an array as for a call, or a page that is read by strips.
            code, name, controls: as for a call.

        Raises:
            ValueError: as for a call.
        """
        takes = image_channels(self.network)
        read = pixel_reader(image, takes)
        colours = colours_of(image)
        names = (name,) * (colours if takes == 1 else 1)
        alpha = self._alpha(image) if image.ndim == 3 and image.shape[2] > colours else None
        top = 0
        for rows in self._rows(read, (image.shape[0], image.shape[1]), names, code, controls):
            colour = rows[:, 0] if takes == 1 else rows[0]
            # in 64 bits, so that three equal channels give their value to the bit
            colour = colour.double().mean(0, keepdim=True).float() if colours == 1 else colour
            band = as_type(colour.permute(1, 2, 0).numpy(), image.dtype)
            yield band if alpha is None else np.concatenate([band, alpha[top : top + len(band)]], 2)
            top += len(band)

    def _alpha(self, image: np.ndarray | Pixels) -> np.ndarray:
        """The alpha of an image in the size of the result, [H·scale, W·scale, 1], of the image's type."""
        alpha = image[: image.shape[0], : image.shape[1], image.shape[2] - 1 :]
        if np.issubdtype(alpha.dtype, np.integer) and self.scale == 1:
            return alpha
        values = torch.from_numpy(to_float(alpha)).permute(2, 0, 1)[None]
        if self.scale != 1:
            values = nn.functional.interpolate(
                values, scale_factor=self.scale, mode="bilinear", align_corners=False
            ).clamp(0, 1)
        return as_type(values[0].permute(1, 2, 0).numpy(), image.dtype)

    def _restored(
        self, image: np.ndarray, code: DegradationCode | None, name: str, controls: Mapping[str, Any]
    ) -> np.ndarray:
        pixel_reader(image, None)  # refuses what is no image
        height, width = image.shape[:2]
        channels = image.shape[2] if image.ndim == 3 else 1
        restored = np.empty((height * self.scale, width * self.scale, channels), image.dtype)
        top = 0
        for band in self.bands(image, code, name=name, **controls):
            restored[top : top + len(band)] = band
            top += len(band)
        return restored[:, :, 0] if image.ndim == 2 else restored

    def _rows(
        self,
        read: Read,
        size: tuple[int, int],
        names: tuple[str, ...],
        code: DegradationCode | None,
        controls: Mapping[str, Any],
    ) -> Iterator[Tensor]:
        """The restored images in bands of rows [B, 3, rows, w·scale], clipped.

        Raises:
            NonFiniteImageError: the network gave NaN or infinity.
        """
        predictor = self.predictor
        if code is not None and "code" not in predictor.supplies:
            raise ValueError(f"{type(predictor.network).__name__} takes no degradation code")
        values, strategies = predictor.read(controls)
        whole = Whole.of(predictor, read, size, names, self.device, {"code": code}, values)
        bands = self._running.rows(predictor, whole, strategies)
        for rows in (rows for band in bands for rows in band.split(_ROWS, -2)):
            if not rows.isfinite().all():
                advice = "" if self._running.precision == "fp32" else "; restore in fp32 (--precision fp32)"
                raise NonFiniteImageError(
                    f"{type(predictor.network).__name__} gave values for {names[0] or 'the image'} that are NaN or "
                    f"infinity{advice}"
                )
            yield rows.clamp(0, 1)


def _predictor_of(network: nn.Module, encoder: nn.Module | None, scale: int) -> Predictor:
    """The predictor of a network without a card."""
    if encoder is not None:
        return CodePredictor({"g": network, "e": encoder}, scale)
    if takes_code(network):
        raise ValueError(f"{type(network).__name__} restores by a degradation code; give the encoder of the code")
    return NetworkPredictor({"g": network}, scale)


def _path(path: str | Path | None) -> Path | None:
    return None if path is None else Path(path)
