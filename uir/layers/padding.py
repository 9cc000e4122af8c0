"""Padding images to the sizes that a network accepts, and cutting the result back."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


def pad_to_multiple(image: Tensor, multiple: int, mode: str = "reflect") -> Tensor:
    """Pad the right and bottom edges of [B, C, H, W] so that H and W become multiples of `multiple`.

    Args:
        image: [B, C, H, W], or clips [B, T, C, H, W].
        multiple: at least 1.
        mode: one of `torch.nn.functional.pad`'s: reflect, replicate, constant (zeros), circular. Reflection needs an
            image larger than the padding; a smaller one is padded by repeating its edge.

    Raises:
        ValueError: `multiple` is less than 1.
    """
    if multiple < 1:
        raise ValueError(f"pad_to_multiple: expected a multiple of at least 1, got {multiple}")
    height, width = image.shape[-2:]
    return pad_to_size(image, height + -height % multiple, width + -width % multiple, mode)


def padded_for(network: nn.Module, image: Tensor) -> Tensor:
    """An image of the size that a network needs: a multiple of its `pad_multiple`, or any size if it has none."""
    return pad_to_multiple(image, multiple_of(network))


def multiple_of(network: nn.Module) -> int:
    """Height and width of an image should be multiples of this for a network; 1 if it does not say."""
    return int(getattr(network, "pad_multiple", 1))


def outer_multiple_of(network: nn.Module) -> int:
    """The multiple to which somebody else must pad: 1 for a network that pads by itself."""
    return 1 if getattr(network, "pads_itself", False) else multiple_of(network)


def pad_to_size(image: Tensor, height: int, width: int, mode: str = "reflect") -> Tensor:
    """Pad the right and bottom edges of [B, C, H, W] up to a height and a width, as `pad_to_multiple` does."""
    bottom, right = height - image.shape[-2], width - image.shape[-1]
    if bottom == right == 0:
        return image
    if image.ndim == 5:
        return pad_to_size(image.flatten(0, 1), height, width, mode).unflatten(0, image.shape[:2])
    fits = mode != "reflect" or (bottom < image.shape[-2] and right < image.shape[-1])
    return F.pad(image, (0, right, 0, bottom), mode=mode if fits else "replicate")


def crop(image: Tensor, height: int, width: int) -> Tensor:
    """The upper left [B, C, height, width] of an image."""
    return image[..., :height, :width]
