"""A trained network as a function from photograph to photograph."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from uir.checkpoint import CheckpointError, fit_state, read_weights
from uir.components import build
from uir.data.images import to_float
from uir.layers.padding import call_padded
from uir.models.building import pick_device
from uir.options import load_plugins_of, read_merged
from uir.precision import autocast
from uir.registry import ARCH_REGISTRY
from uir.schema import Precision


class Restorer:
    """Restores images of any size, bit depth and channel count.

    Args:
        network: takes and gives [B, 3, H, W] in [0, 1].
        scale: size of the restored image over that of the input.
        device: where to compute.
        precision: fp32, or the type to autocast to.
    """

    def __init__(
        self, network: nn.Module, scale: int = 1, device: torch.device | str = "cpu", precision: Precision = "fp32"
    ) -> None:
        self.device = torch.device(device)
        self.network = network.to(self.device).eval()
        self.scale, self.precision = scale, precision

    @classmethod
    def from_pretrained(
        cls,
        path: str | Path,
        *,
        opt: str | Path | None = None,
        param_key: str | None = None,
        device: str | torch.device | None = None,
        precision: Precision = "fp32",
    ) -> Restorer:
        """Load a checkpoint.

        Args:
            path: a file of uir (its card tells the network), or of BasicSR together with `opt`.
            opt: the option file whose `network_g` describes the network.
            param_key: which weights; default the moving average where the file has one.
            device: default the best there is.

        Raises:
            CheckpointError: the file does not fit the network, or nothing tells which network it is.
        """
        state, card = read_weights(Path(path), param_key, must_have=True)
        if opt is not None:
            raw, marks = read_merged(Path(opt))
            load_plugins_of(raw, marks, Path(opt))
            arch, scale = raw.get("network_g"), raw.get("scale", 1)
            if not isinstance(arch, dict):
                raise CheckpointError(f"{opt}: holds no network_g, which would describe the network of {path}")
        elif "arch" in card:
            arch, scale = card["arch"], card.get("scale", 1)
        else:
            raise CheckpointError(
                f"{path}: has no card that tells its network; give the option file it was trained with (-opt)"
            )
        network: nn.Module = build(ARCH_REGISTRY, arch)
        fit_state(network, state, str(path))
        return cls(network, int(scale), device or pick_device("auto"), precision)

    def restore_tensor(self, image: Tensor) -> Tensor:
        """Restore [B, 3, h, w] in [0, 1]; [B, 3, h·scale, w·scale] in [0, 1] on the CPU, float32."""
        lq = image.to(self.device, torch.float32)
        with torch.inference_mode(), autocast(self.device, self.precision):
            restored = call_padded(self.network, lq, self.scale)
        return restored.float().clamp(0, 1).cpu()

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Restore an array [H, W], [H, W, 1], [H, W, 3] or [H, W, 4] (alpha last): uint8, uint16 or float in [0, 1].

        The result has the input's type and channels; alpha is carried over, resized where the scale asks for it.

        Raises:
            ValueError: another shape or type.
        """
        channels = image.shape[2] if image.ndim == 3 else 1
        if image.ndim not in (2, 3) or channels not in (1, 3, 4):
            raise ValueError(f"expected an image [H, W] or [H, W, 1|3|4], got shape {image.shape}")
        pixels = torch.from_numpy(to_float(image.reshape(*image.shape[:2], channels))).permute(2, 0, 1)
        colour = pixels[:3] if channels > 1 else pixels.expand(3, -1, -1)
        restored = self.restore_tensor(colour[None])[0]
        if channels == 1:
            restored = restored.mean(0, keepdim=True)
        if channels == 4:
            alpha = pixels[None, 3:]
            if self.scale != 1:
                alpha = nn.functional.interpolate(alpha, size=restored.shape[-2:], mode="bilinear", align_corners=False)
            restored = torch.cat([restored, alpha[0].clamp(0, 1)])
        array = restored.permute(1, 2, 0).numpy()
        if image.ndim == 2:
            array = array[:, :, 0]
        if np.issubdtype(image.dtype, np.integer):
            return (array.astype(np.float64) * np.iinfo(image.dtype).max).round().astype(image.dtype)
        return array.astype(image.dtype)
