"""Runs an ONNX model as a network."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from uir.core.checkpoint import CheckpointError
from uir.layers.padding import crop, pad_to_size

METADATA_KEY = "uir"
_TRIED = 64  # side in pixels of the image that shows the scale of a model without a card


class OnnxNetwork(nn.Module):
    """A restorer in ONNX form. Input and output [B, C, H, W] in [0, 1]; runs in onnxruntime, on its best provider.

    Args:
        path: the model, of `uir export` or of another program; it takes one image and gives one.

    Attributes:
        card: what `uir export` wrote into the file.
        only_size: side in pixels of the one size that it takes; None if it takes any.

    Raises:
        CheckpointError: onnxruntime is not installed, or the file is no such model.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        if not path.is_file():
            raise CheckpointError(f"{path}: there is no such file")
        try:
            import onnxruntime
        except ImportError:
            raise CheckpointError(f"{path}: needs onnxruntime: pip install 'uir[export]'") from None
        wished = ("CUDAExecutionProvider", "CPUExecutionProvider")
        providers = [name for name in wished if name in onnxruntime.get_available_providers()]
        try:
            self._session: Any = onnxruntime.InferenceSession(str(path), providers=providers)
        except Exception as error:  # each kind of damage has an error of its own
            reason = (str(error).splitlines() or ["no reason"])[0][:200]
            raise CheckpointError(f"{path}: onnxruntime cannot load it ({reason})") from None
        inputs = self._session.get_inputs()
        if len(inputs) != 1 or len(inputs[0].shape) != 4:
            raise CheckpointError(f"{path}: expected a model that takes one image [B, C, H, W]")
        self._input = inputs[0].name
        _, channels, height, width = inputs[0].shape
        self.in_channels = channels if isinstance(channels, int) else 3
        sides = [side for side in (height, width) if isinstance(side, int)]
        if sides and (len(sides) == 1 or height != width):
            raise CheckpointError(f"{path}: expected a model for images of any size, or of one square size")
        self.only_size: int | None = sides[0] if sides else None
        text = self._session.get_modelmeta().custom_metadata_map.get(METADATA_KEY)
        self.card: dict[str, Any] = json.loads(text) if text else {}
        self.pad_multiple: int = int(self.card.get("pad_multiple", 1))
        side = self.only_size or -(-_TRIED // self.pad_multiple) * self.pad_multiple
        try:
            self.scale: int = self.forward(torch.zeros(1, self.in_channels, side, side)).shape[-1] // side
        except RuntimeError as error:
            raise CheckpointError(f"{path}: fails on an image of {side}×{side} pixels ({error})") from None

    def forward(self, lq: Tensor) -> Tensor:
        """Restore images, one after another, on the CPU or a GPU of onnxruntime's choice.

        Raises:
            RuntimeError: the model fails on images of this size.
        """
        sides = (self.only_size or lq.shape[-2], self.only_size or lq.shape[-1])
        padded = pad_to_size(lq, *sides).cpu().float()
        try:
            images = [self._session.run(None, {self._input: image[None].numpy()})[0] for image in padded]
        except Exception as error:  # onnxruntime's own errors are of no common class
            raise RuntimeError((str(error).splitlines() or [type(error).__name__])[0][:200]) from None
        restored = torch.cat([torch.from_numpy(image) for image in images]).to(lq.device)
        scale = restored.shape[-1] // sides[1]
        return crop(restored, lq.shape[-2] * scale, lq.shape[-1] * scale)
