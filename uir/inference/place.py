"""The part of whole images that is being restored."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from uir.diffusion.noise import NoiseField
from uir.layers.padding import pad_to_size
from uir.layers.turns import turned


@dataclass(frozen=True)
class Place:
    """The part of the whole images that is being restored.

    Attributes:
        rows, columns: position in the degraded images.
        padded: height and width of the network's input before it is turned, at least those of the part.
        turn: how the network's input is flipped and turned after padding (see `uir.layers.turns`).
    """

    rows: slice
    columns: slice
    padded: tuple[int, int]
    turn: int = 0

    def of(self, image: Tensor) -> Tensor:
        """The same part of another image [B, C, H, W] with the size of the whole one, padded and turned alike."""
        return turned(pad_to_size(image[..., self.rows, self.columns], *self.padded), self.turn)

    def noise(self, field: NoiseField, step: int = 0, stride: int = 1) -> Tensor:
        """The noise of this part [B, C, h, w] on the CPU, turned as the network's input; padding gets noise, too.

        Args:
            field: the noise of the whole images.
            step: which noise of the field.
            stride: pixels of the images for each pixel of the noise.
        """
        height, width = (side // stride for side in self.padded)
        return turned(
            field.part(self.rows.start // stride, self.columns.start // stride, height, width, step), self.turn
        )
