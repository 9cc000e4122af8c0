"""DiffUIR: Selective Hourglass Mapping for Universal Image Restoration (Zheng et al., CVPR 2024)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from uir.core.state_keys import count_of
from uir.diffusion.residual import ResidualSchedule, residual_schedule
from uir.layers.features import FeaturePoint
from uir.layers.padding import crop, pad_to_multiple
from uir.layers.time_unet import GROUPS, TimeUNet
from uir.registry import ARCH_REGISTRY


@ARCH_REGISTRY.register()
class DiffUIR(nn.Module):
    """Estimates the residual of degraded images in steps of a diffusion. [B, 3, H, W] is kept; any H, W.

    Argument and parameter names are the authors' (`UnetRes`), so their checkpoints load with `strict=True`. Published
    sizes: T `dim: 32, dim_mults: [1, 1, 1, 1]`, S `32, [1, 2, 2, 4]`, B `64, [1, 2, 2, 4]`, L `64, [1, 2, 4, 8]`.

    Args:
        dim: channels at full resolution, a multiple of 8.
        dim_mults: channels of each level as multiples of `dim`, fine to coarse.
        channels: channels of the image.
        timesteps: number of times of the diffusion that the weights are for.
        delta_end: as in `uir.diffusion.residual.residual_schedule`; 1.8e-3 is published.

    Raises:
        ValueError: a width does not fit.
    """

    scale = 1
    predictor: ClassVar[str] = "ResidualPredictor"

    def __init__(
        self,
        dim: int = 64,
        dim_mults: Sequence[int] = (1, 2, 4, 8),
        channels: int = 3,
        timesteps: int = 1000,
        delta_end: float = 1.8e-3,
    ) -> None:
        super().__init__()
        if dim < GROUPS or dim % GROUPS:
            raise ValueError(f"DiffUIR.dim: expected a multiple of {GROUPS}, got {dim}")
        if not dim_mults or min(dim_mults) < 1:
            raise ValueError(f"DiffUIR.dim_mults: expected numbers of at least 1, got {list(dim_mults)}")
        residual_schedule(timesteps, delta_end)
        self._process, self.in_channels = (timesteps, delta_end), channels
        self.unet0 = TimeUNet(2 * channels, channels, dim, [dim * factor for factor in dim_mults], normed=True)

    @property
    def schedule(self) -> ResidualSchedule:
        """The diffusion that the weights are for."""
        return residual_schedule(*self._process)

    @property
    def pad_multiple(self) -> int:
        """Height and width of a batch should be multiples of this; other sizes are padded by reflection."""
        return int(2**self.unet0.levels)

    def feature_points(self) -> list[FeaturePoint]:
        """One point after each decoder level, coarse to fine."""
        return self.unet0.points("unet0.")

    def encoder_blocks(self) -> list[str]:
        """The blocks of the encoder, without the middle's; masked pre-training masks their output."""
        return [f"unet0.downs.{level}.{part}" for level in range(self.unet0.levels) for part in (0, 2)]

    def decoder_blocks(self) -> list[str]:
        """The blocks after the encoder."""
        levels = [f"unet0.ups.{level}.{part}" for level in range(self.unet0.levels) for part in (0, 2)]
        return ["unet0.mid_attn", "unet0.mid_block2", *levels, "unet0.final_res_block"]

    def depths(self) -> list[list[str]]:
        """All modules in groups, from the input to the output; a learning rate may fall from group to group."""
        levels = range(self.unet0.levels)
        groups = [
            ["init_conv", "time_mlp"],
            *([f"downs.{level}"] for level in levels),
            ["mid_block1", "mid_attn", "mid_block2"],
            *([f"ups.{level}"] for level in levels),
            ["final_res_block", "final_conv"],
        ]
        return [[f"unet0.{name}" for name in group] for group in groups]

    def forward(self, lq: Tensor, noisy: Tensor | None = None, timestep: Tensor | None = None) -> Tensor:
        """The residual in a state of the diffusion; without a state, the image that one step without noise restores.

        Args:
            lq: degraded images [B, 3, H, W] in [0, 1]; any H, W.
            noisy: states of the diffusion [B, 3, H, W] of images in [-1, 1].
            timestep: time of each state [B], as the schedule gives it to networks.

        Returns:
            The residual of images in [-1, 1]; or the restored images in [0, 1], not clipped.
        """
        degraded = 2 * lq - 1
        if noisy is not None and timestep is not None:
            return self._residual(noisy, degraded, timestep)
        last = torch.tensor([self.schedule.timesteps - 1])
        time = self.schedule.network_time(last).to(lq.device).expand(len(lq))
        state = (1 - self.schedule.shares(int(last))[2]) * degraded
        return lq - self._residual(state, degraded, time) / 2

    def _residual(self, state: Tensor, degraded: Tensor, time: Tensor) -> Tensor:
        padded = pad_to_multiple(torch.cat([state, degraded], 1), self.pad_multiple)
        return crop(self.unet0(padded, time), *state.shape[-2:]).contiguous()

    @staticmethod
    def convert_state_dict(state: dict[str, Tensor]) -> dict[str, Tensor]:
        """The network of a published checkpoint, which also holds the schedule's buffers."""
        prefix = next((p for p in ("ema_model.model.", "model.") if any(key.startswith(p) for key in state)), "")
        if not prefix:
            return state
        return {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(f"{prefix}unet0.")}

    @staticmethod
    def arch_of(state: Mapping[str, Tensor]) -> dict[str, Any] | None:
        """The network of published weights, with the published diffusion; None if they are another's."""
        state = DiffUIR.convert_state_dict(dict(state))
        if not {"unet0.init_conv.weight", "unet0.final_conv.weight"} <= set(state):
            return None
        dim = state["unet0.init_conv.weight"].shape[0]
        widths = [state[f"unet0.downs.{i}.3.weight"].shape[0] for i in range(count_of(state, "unet0.downs"))]
        channels = state["unet0.final_conv.weight"].shape[0]
        return {"type": "DiffUIR", "dim": dim, "dim_mults": [width // dim for width in widths], "channels": channels}
