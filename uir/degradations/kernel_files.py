"""Blur kernels from files, measured or drawn by somebody."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from uir.core.files import read_npy
from uir.core.images import UnreadableImageError, read_image


@lru_cache(maxsize=8)
def read_kernels(path: str) -> tuple[Tensor, ...]:
    """The kernels of a file, each [K, K] float32, K odd, summing to 1, as stored (not flipped).

    Args:
        path: `.npy` ([K, L] or [N, K, L]), `.mat` (every matrix and cell of matrices in it, by name), or a grey image
                whose brightness is the weight. Kernels of other shapes are centred in a square of odd side.

    Raises:
        ValueError: there is no such file, it cannot be read, or its content is not a kernel.
    """
    if not Path(path).is_file():
        raise ValueError(f"kernels: there is no file '{path}'")
    suffix = Path(path).suffix.lower()
    read = {".npy": _read_npy, ".mat": _read_mat}.get(suffix, _read_image)
    kernels = tuple(squared(array, path) for array in read(path))
    if not kernels:
        raise ValueError(f"kernels: '{path}' contains no matrix")
    return kernels


def squared(array: Any, where: str) -> Tensor:
    """A matrix of weights as a kernel [K, K] float32, K odd, that sums to 1.

    Raises:
        ValueError: not a finite matrix of numbers with a positive sum.
    """
    try:
        weights = np.asarray(array, np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"kernels: '{where}': expected a matrix of numbers, got {array!r}") from None
    if weights.ndim != 2 or not weights.size or not np.isfinite(weights).all() or weights.sum() <= 0:
        raise ValueError(
            f"kernels: '{where}': expected a finite matrix with a positive sum, got shape {list(weights.shape)} "
            f"with sum {weights.sum():g}"
        )
    side = max(weights.shape) // 2 * 2 + 1
    top, left = ((side - length) // 2 for length in weights.shape)
    margins = (left, side - left - weights.shape[1], top, side - top - weights.shape[0])
    return F.pad(torch.from_numpy(weights / weights.sum()), margins).float()


def _read_npy(path: str) -> list[np.ndarray]:
    array = read_npy(path, "kernels")
    return list(array) if array.ndim == 3 else [array]


def _read_image(path: str) -> list[np.ndarray]:
    try:
        image = read_image(path)
    except UnreadableImageError as error:
        raise ValueError(f"kernels: expected .npy, .mat or an image; {error}") from error
    if image.ndim == 3:
        if (image[..., :3] != image[..., :1]).any():
            raise ValueError(f"kernels: '{path}' is a colour image; a kernel is grey")
        image = image[..., 0]
    return [image]


def _read_mat(path: str) -> list[np.ndarray]:
    with open(path, "rb") as file:
        hdf5 = b"MATLAB 7.3" in file.read(128)
    package = "h5py" if hdf5 else "scipy"
    try:
        return _read_mat_hdf5(path) if hdf5 else _read_mat_classic(path)
    except ImportError:
        raise ValueError(f"kernels: '{path}' needs {package} to be read: pip install {package}") from None
    except Exception as error:  # a damaged file makes the readers fail in any way
        raise ValueError(f"kernels: '{path}' cannot be read as a file of MATLAB ({error})") from error


def _read_mat_classic(path: str) -> list[np.ndarray]:
    from scipy.io import loadmat

    content = loadmat(path)
    return [matrix for name in sorted(content) if not name.startswith("__") for matrix in _matrices(content[name])]


def _read_mat_hdf5(path: str) -> list[np.ndarray]:
    import h5py

    with h5py.File(path, "r") as file:
        arrays = [file[name] for name in sorted(file) if not name.startswith("#") and hasattr(file[name], "dtype")]
        return [
            np.asarray(matrix).T  # MATLAB stores column by column
            for array in arrays
            for matrix in ([file[cell] for cell in np.ravel(array[()])] if array.dtype == object else [array[()]])
        ]


def _matrices(array: np.ndarray) -> Iterator[np.ndarray]:
    """A matrix, the cells of a cell array, or the [K, L] slices of a stack [K, L, N]."""
    if array.dtype == object:
        for cell in array.ravel():
            yield from _matrices(cell)
    elif array.ndim == 3:
        yield from np.moveaxis(array, 2, 0)
    else:
        yield array
