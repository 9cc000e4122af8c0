"""Masks of a region of each image, in a folder beside the clean images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from uir.data.colors import colored
from uir.data.image_sources import open_images, without_extension


class RegionMasks:
    """The masks of one region, matched with the clean images by name.

    Args:
        region: its name.
        root: folder of the masks.
        names: names of the clean images; each must have a mask, in any image format.

    Raises:
        ValueError: the folder is missing or empty, or an image has no mask.
    """

    def __init__(self, region: str, root: Path, names: Sequence[str]) -> None:
        self.region = region
        self.images = open_images(f"regions.{region}", str(root), None)
        self.by_stem = {without_extension(name): name for name in self.images.names}
        missing = [name for name in names if without_extension(name) not in self.by_stem]
        if missing:
            raise ValueError(
                f"regions.{region}: {root} lacks the masks of {len(missing)} images, the first of '{missing[0]}'"
            )

    def read(self, name: str, height: int, width: int) -> Tensor:
        """The mask of a clean image, float [1, H, W] in [0, 1], cut at the bottom and right as the image is.

        Raises:
            ValueError: it is smaller than the image.
        """
        mask_name = self.by_stem[without_extension(name)]
        path = self.images.path(mask_name)
        mask = colored(self.images.read(mask_name), "grey", path)
        if mask.shape[-2] < height or mask.shape[-1] < width:
            raise ValueError(
                f"{path}: the mask is {mask.shape[-2]}x{mask.shape[-1]} (height x width), its image {height}x{width}"
            )
        return mask[:, :height, :width]
