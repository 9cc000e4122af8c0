"""Kernel PCA: describes a blur kernel by a few numbers, as in SRMD, IKC and MANet."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from uir.core.seeds import derive_seed
from uir.degradations.base import Degradation
from uir.degradations.blur_degradation import kernel_of


def draw_kernels(blur: Degradation, count: int, seed: int) -> Tensor:
    """`count` kernels [N, K, K] float32 drawn from a blur; all have the same side.

    Raises:
        ValueError: the op does not have one kernel, or its kernels differ in side.
    """
    steps = (blur.draw(derive_seed(seed, index), (256, 256)) for index in range(count))
    kernels = [kernel_of(step) for steps_of_draw in steps for step in steps_of_draw]
    sides = sorted({kernel.shape[-1] for kernel in kernels})
    if len(sides) != 1:
        raise ValueError(f"draw_kernels: the kernels have the sides {sides}; fix the blur's `kernel_size`")
    return torch.stack(kernels)


def pca_matrix(kernels: Tensor, components: int, centred: bool = False) -> Tensor:
    """The leading principal directions of flattened kernels, one per row, the strongest first.

    SRMD (15 components; Zhang et al., CVPR 2018) uses the second moment of the kernels themselves; IKC (10; Gu et al.,
    CVPR 2019) and MANet (15) first subtract the mean. In both cases the kernels themselves are encoded. The sign of a
    row makes its largest entry positive; among entries equal to within a thousandth, the first one counts.

    Args:
        kernels: [N, K, K].
        components: number of directions, at most min(N, K²).
        centred: first subtract the mean of the kernels.

    Returns:
        [components, K²] float32, orthonormal rows.

    Raises:
        ValueError: the shape is wrong, or there are fewer directions than components.
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
    """Kernels [..., K, K] nearest to the encoded ones, from codes [..., components]."""
    side = round(matrix.shape[1] ** 0.5)
    return (codes.to(matrix) @ matrix).unflatten(-1, (side, side))
