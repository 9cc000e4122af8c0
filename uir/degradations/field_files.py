"""Fields that belong to a data set (depth, illumination, rain and snow masks), read from files."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from uir.core.files import read_npy
from uir.core.images import UnreadableImageError, read_image
from uir.core.seeds import numpy_generator

SUFFIXES = (".npy", ".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")


@dataclass(frozen=True)
class FieldFiles:
    """A file, or a folder of files; each draw takes one file.

    Attributes:
        where: `Op.parameter`, for messages.
        files: their names, sorted.
    """

    where: str
    files: tuple[str, ...]

    @classmethod
    def of(cls, where: str, given: Path | str | None) -> FieldFiles | None:
        """Check the user's value; None is returned as None.

        Raises:
            ValueError: there is no such file, it contains no field, or no file of the folder has a usable type.
        """
        if given is None:
            return None
        path = Path(given)
        if not path.is_dir():
            read_field(where, str(path))
            return cls(where, (str(path),))
        files = tuple(sorted(str(file) for file in path.iterdir() if file.suffix.lower() in SUFFIXES))
        if not files:
            raise ValueError(f"{where}: the folder '{path}' contains no file of the types {', '.join(SUFFIXES)}")
        return cls(where, files)

    def draw(self, seed: int) -> str:
        """One file name, all equally likely, from a generator keyed by (seed, the parameter's name)."""
        if len(self.files) == 1:
            return self.files[0]
        return self.files[int(numpy_generator(seed, self.where.rpartition(".")[2]).integers(len(self.files)))]


@functools.lru_cache(maxsize=16)
def read_field(where: str, path: str, size: tuple[int, int] | None = None) -> Tensor:
    """One grey plane as float32 [1, H, W] in [0, 1]; callers share the tensor, so do not change it.

    Args:
        where: `Op.parameter`, for messages.
        path: an 8- or 16-bit grey image, or an `.npy` array [H, W].
        size: the size to resize to: by area if it shrinks, bilinear otherwise. Default: the file's size.

    Raises:
        ValueError: there is no such file, it is not a grey image or array, or its values are outside [0, 1].
    """
    import cv2

    if not Path(path).is_file():
        raise ValueError(f"{where}: there is no file '{path}'")
    field = read_npy(path, where) if path.endswith(".npy") else _read_image(path, where)
    if field.dtype.kind not in "uif":
        raise ValueError(f"{where}: '{path}' must hold numbers, got {field.dtype}")
    if np.issubdtype(field.dtype, np.integer):
        field = field / np.iinfo(field.dtype).max
    field = field.astype(np.float32)
    if field.ndim == 3 and (field == field[..., :1]).all():
        field = field[..., 0]
    if field.ndim != 2 or not field.size or not np.isfinite(field).all() or field.min() < 0 or field.max() > 1:
        values = f", values {field.min():g} to {field.max():g}" if field.size else ""
        raise ValueError(f"{where}: '{path}' must be one grey plane in [0, 1], got shape {list(field.shape)}{values}")
    if size is not None and field.shape != size:
        shrinks = size[0] <= field.shape[0] and size[1] <= field.shape[1]
        field = cv2.resize(field, size[::-1], interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    return torch.from_numpy(field)[None]


def _read_image(path: str, where: str) -> np.ndarray:
    try:
        return read_image(path)
    except UnreadableImageError as error:
        raise ValueError(f"{where}: {error}") from error
