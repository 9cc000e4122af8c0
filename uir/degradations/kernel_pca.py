"""Kernel PCA: a blur kernel as a few numbers, as SRMD, IKC and MANet condition on it."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from uir.core.seeds import derive_seed
from uir.degradations.base import Degradation
from uir.degradations.blur_degradation import kernel_of


def draw_kernels(blur: Degradation, count: int, seed: int) -> Tensor:
    """`count` kernels [N, K, K] float32 that a blur draws; all of one side.

    Raises:
        ValueError: it is no op with one kernel, or its kernels differ in side.
    """
    steps = (blur.draw(derive_seed(seed, index), (256, 256)) for index in range(count))
    kernels = [kernel_of(step) for drawn in steps for step in drawn]
    sides = sorted({kernel.shape[-1] for kernel in kernels})
    if len(sides) != 1:
        raise ValueError(f"draw_kernels: the kernels have the sides {sides}; fix the blur's `kernel_size`")
    return torch.stack(kernels)


def pca_matrix(kernels: Tensor, components: int, centred: bool = False) -> Tensor:
    """The leading principal directions of flattened kernels, one a row, the strongest first.

    SRMD (15 components; Zhang et al., CVPR 2018) takes those of the second moment of the kernels as they are; IKC (10;
    Gu et al., CVPR 2019) and MANet (15) take the mean away first. Either way kernels are encoded as they are. A row's
    sign makes its largest entry positive, the first of those that are as large up to a thousandth.

    Args:
        kernels: [N, K, K].
        components: how many directions, at most min(N, K²).
        centred: take the mean of the kernels away first.

    Returns:
        [components, K²] float32, orthonormal rows.

    Raises:
        ValueError: the shape is another, or there are fewer directions than asked for.
    """
    if kernels.ndim != 3:
        raise ValueError(f"pca_matrix: expected kernels [N, K, K], got shape {list(kernels.shape)}")
    flat = kernels.double().flatten(1).numpy()
    if not 1 <= components <= min(flat.shape):
        raise ValueError(f"pca_matrix: expected 1 to {min(flat.shape)} components, got {components}")
    if centred:
        flat = flat - flat.mean(0)
    directions = np.linalg.svd(flat, full_matrices=False)[2][:components]
    sizes = np.abs(directions)
    largest = (sizes > 0.999 * sizes.max(1, keepdims=True)).argmax(1)
    signs = np.sign(directions[np.arange(components), largest])
    return torch.from_numpy(directions * signs[:, None]).float()


def encode_kernels(kernels: Tensor, matrix: Tensor) -> Tensor:
    """Codes [..., components] of kernels [..., K, K]: the flattened kernels projected on the rows of `pca_matrix`."""
    return kernels.flatten(-2).to(matrix) @ matrix.T


def decode_kernels(codes: Tensor, matrix: Tensor) -> Tensor:
    """Kernels [..., K, K] nearest to what was encoded, of codes [..., components]."""
    side = round(matrix.shape[1] ** 0.5)
    return (codes.to(matrix) @ matrix).unflatten(-1, (side, side))
