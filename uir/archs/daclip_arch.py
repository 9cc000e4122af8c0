"""The restorer of DA-CLIP (Luo et al., ICLR 2024): IR-SDE's network, led by the image's content and degradation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from uir.archs.conditional_unet_arch import ConditionalUNet
from uir.diffusion.mean_reverting import Kind
from uir.layers.degradation_code import DegradationCode
from uir.layers.padding import crop, pad_to_multiple
from uir.layers.spatial_transformer import SpatialTransformer
from uir.registry import ARCH_REGISTRY


@ARCH_REGISTRY.register()
class DACLIPUNet(ConditionalUNet):
    """IR-SDE's network with two embeddings of each image. [B, 3, H, W] is kept; any H, W.

    The embedding of the degradation (`vector` of the code) weighs a learned prompt, which is added to the time. That of
    the content (`content` of the code, else its `vector`) is the context of transformers, which stand for the linear
    attention at the deep levels. Without a code both are left out, as in pre-training.

    Args:
        code_channels: numbers of the embedding of the degradation; the encoder's by default.
        content_channels: numbers of the embedding of the content; the encoder's by default.
        context_level: the first level with transformers, counted from 0; their channels are multiples of 32.
        in_nc, out_nc, nf, ch_mult, timesteps, max_sigma, eps, schedule_type: as in `ConditionalUNet`.

    Raises:
        ValueError: an argument is out of range.
    """

    predictor: ClassVar[str] = "DACLIPPredictor"

    def __init__(
        self,
        in_nc: int = 3,
        out_nc: int = 3,
        nf: int = 64,
        ch_mult: Sequence[int] = (1, 2, 4, 8),
        code_channels: int = 512,
        content_channels: int = 512,
        context_level: int = 3,
        timesteps: int = 100,
        max_sigma: float = 50.0,
        eps: float = 0.005,
        schedule_type: Kind = "cosine",
    ) -> None:
        super().__init__(
            in_nc, out_nc, nf, ch_mult=ch_mult, timesteps=timesteps, max_sigma=max_sigma, eps=eps,
            schedule_type=schedule_type,
        )  # fmt: skip
        self.code_channels, self.content_channels = code_channels, content_channels
        time_channels = 4 * nf
        self.prompt = nn.Parameter(torch.rand(1, time_channels))
        self.text_mlp = nn.Sequential(
            nn.Linear(code_channels, time_channels), nn.SiLU(), nn.Linear(time_channels, time_channels)
        )
        self.prompt_mlp = nn.Linear(time_channels, time_channels)
        for level in range(context_level, self.levels):
            down, up = self.downs[level], self.ups[self.levels - 1 - level]
            down.register_module("2", SpatialTransformer(self._widths[level], content_channels))
            up.register_module("2", SpatialTransformer(self._widths[level + 1], content_channels))
        self.register_module("mid_attn", SpatialTransformer(self._widths[-1], content_channels))

    def depths(self) -> list[list[str]]:
        """All modules in groups, from the input to the output; the prompt's are with the first."""
        first, *others = super().depths()
        return [[*first, "prompt", "text_mlp", "prompt_mlp"], *others]

    def forward(  # type: ignore[override]
        self,
        lq: Tensor,
        code: DegradationCode | None = None,
        noisy: Tensor | None = None,
        timestep: Tensor | None = None,
    ) -> Tensor:
        """The noise in a state of the diffusion; without a state, the degraded image is the state at the last time.

        Args:
            lq: degraded images [B, C, H, W] in [0, 1]; any H, W.
            code: the embeddings of each image.
            noisy: states of the diffusion [B, C, H, W].
            timestep: time of each state [B], 1 to T.

        Returns:
            The noise; or, without a state, the image minus the output, not clipped.
        """
        if noisy is not None and timestep is not None:
            return self.estimate(torch.cat([noisy - lq, lq], 1), timestep, code)
        last = torch.full((len(lq),), float(self.schedule.timesteps), device=lq.device)
        return lq - self.estimate(torch.cat([torch.zeros_like(lq), lq], 1), last, code)

    def estimate(self, pair: Tensor, time: Tensor, code: DegradationCode | None = None) -> Tensor:
        """The output for [state − degraded, degraded] at times [B]."""
        embedded, context = self.time_mlp(time), None
        if code is not None:
            degradation = code.require("vector", "DACLIPUNet", self.code_channels)
            weights = self.text_mlp(degradation).softmax(1)
            embedded = embedded + self.prompt_mlp(weights * self.prompt)
            context = code.require("vector" if code.content is None else "content", "DACLIPUNet", self.content_channels)
        padded = pad_to_multiple(pair, self.pad_multiple)
        return crop(self._run_with(padded, embedded, context), *pair.shape[-2:]).contiguous()

    def _run_with(self, x: Tensor, time: Tensor, context: Tensor | None) -> Tensor:
        """As `TimeUNet.run`; transformers also get the context."""

        def attend(part: nn.Module, features: Tensor) -> Tensor:
            attended: Tensor = part(features, context) if isinstance(part, SpatialTransformer) else part(features)
            return attended

        x = stem = self.init_conv(x.contiguous(memory_format=torch.channels_last))
        skips = []
        for first, second, attention, down in map(nn.ModuleList.children, self.downs):
            x = first(x, time)
            skips.append(x)
            x = attend(attention, second(x, time))
            skips.append(x)
            x = down(x)
        x = self.mid_block2(attend(self.mid_attn, self.mid_block1(x, time)), time)
        for first, second, attention, up in map(nn.ModuleList.children, self.ups):
            x = first(torch.cat([x, skips.pop()], 1), time)
            x = up(attend(attention, second(torch.cat([x, skips.pop()], 1), time)))
        last: Tensor = self.final_conv(self.final_res_block(torch.cat([x, stem], 1), time))
        return last
