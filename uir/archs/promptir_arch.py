"""PromptIR: Prompting for All-in-One Blind Image Restoration (Potlapalli et al., NeurIPS 2023)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from uir.layers.features import FeaturePoint
from uir.layers.pointwise import PointwiseConv2d
from uir.layers.restormer_unet import RestormerUNet, sizes_of
from uir.layers.transposed_attention import TransformerBlock
from uir.registry import ARCH_REGISTRY

# Convolutions that the published network contains but never runs.
_UNUSED = tuple(f"{name}{level}." for name in ("chnl_reduce", "reduce_noise_channel_") for level in (1, 2, 3))
_LIGHTNING = "net."


class PromptGenBlock(nn.Module):
    """A prompt for each image, mixed from learned components (paper Eq. 2).

    Args:
        prompt_dim: channels of the prompt.
        prompt_len: number of components.
        prompt_size: their height and width; the mixture is resized to the features.
        lin_dim: channels of the features.
    """

    def __init__(self, prompt_dim: int, prompt_len: int, prompt_size: int, lin_dim: int) -> None:
        super().__init__()
        self.prompt_param = nn.Parameter(torch.rand(1, prompt_len, prompt_dim, prompt_size, prompt_size))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.linear_layer = nn.Linear(lin_dim, prompt_len)
        self.conv3x3 = nn.Conv2d(prompt_dim, prompt_dim, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """[B, lin_dim, H, W] to the prompt [B, prompt_dim, H, W]."""
        shares = self.linear_layer(self.pool(x).flatten(1)).softmax(1)
        prompt = (shares[:, :, None, None, None] * self.prompt_param).sum(1)
        prompt = F.interpolate(prompt, x.shape[-2:], mode="bilinear", align_corners=False)
        mapped: Tensor = self.conv3x3(prompt.contiguous(memory_format=torch.channels_last))
        return mapped

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> PromptGenBlock:
        """Called by `to`, `half` and others; `to(memory_format=torch.channels_last)` refuses five dimensions."""
        return super()._apply(lambda t: fn(t.squeeze(0)).unsqueeze(0) if t.ndim == 5 else fn(t), recurse)


@ARCH_REGISTRY.register()
class PromptIR(RestormerUNet):
    """Restormer with prompts that tell the decoder about the degradation. Input and output [B, C, H, W]; any H, W.

    Argument and parameter names are the authors', so their checkpoints load with `strict=True`, with the prefix `net.`
    of their trainer, and without six convolutions that never run. DCPT's class of this name is also this network.

    Args:
        inp_channels: channels of the image.
        out_channels: channels of the output; equal to `inp_channels`.
        dim: channels at full resolution, even; the next levels have 2, 4 and 8 times as many.
        num_blocks: blocks at each of the four levels, fine to coarse.
        num_refinement_blocks: blocks at full resolution after the decoder.
        heads: attention heads at each level; the blocks after the prompts have those of the third level.
        ffn_expansion_factor: width of the feed-forward, as a multiple of a level's channels.
        bias: whether the convolutions have one.
        LayerNorm_type: `WithBias` or `BiasFree`.
        decoder: prompts in the decoder; must be true, because the published network cannot run without them.
        window_size: from DCPT; raises `pad_multiple` to a multiple of it; this has no other effect.
        prompt_dims: channels of the prompts, fine to coarse.
        prompt_len: components of each prompt.
        prompt_sizes: height and width of the components, fine to coarse.

    Raises:
        ValueError: an argument does not fit the others.
    """

    def __init__(
        self,
        inp_channels: int = 3,
        out_channels: int = 3,
        dim: int = 48,
        num_blocks: Sequence[int] = (4, 6, 6, 8),
        num_refinement_blocks: int = 4,
        heads: Sequence[int] = (1, 2, 4, 8),
        ffn_expansion_factor: float = 2.66,
        bias: bool = False,
        LayerNorm_type: str = "WithBias",  # noqa: N803
        decoder: bool = True,
        window_size: int = 1,
        prompt_dims: Sequence[int] = (64, 128, 320),
        prompt_len: int = 5,
        prompt_sizes: Sequence[int] = (64, 32, 16),
    ) -> None:
        if not decoder:
            raise ValueError(
                "PromptIR.decoder: false removes the prompts, and the published network cannot run without them; "
                "Restormer is this network without them"
            )
        for key, numbers in (("prompt_dims", prompt_dims), ("prompt_sizes", prompt_sizes)):
            if len(numbers) != 3 or min(numbers) < 1:
                raise ValueError(
                    f"PromptIR.{key}: expected three numbers of at least 1, fine to coarse, got {list(numbers)}"
                )
        if prompt_len < 1:
            raise ValueError(f"PromptIR.prompt_len: expected at least 1, got {prompt_len}")
        super().__init__(
            inp_channels, out_channels, dim, num_blocks, num_refinement_blocks, heads, ffn_expansion_factor, bias,
            LayerNorm_type, window_size=window_size, bottleneck_channels=4 * dim,
        )  # fmt: skip
        widths, reduced = (2 * dim, 4 * dim, 8 * dim), (2 * dim, 4 * dim, 4 * dim)
        for level, prompt_dim, size, width, out in zip(
            (1, 2, 3), prompt_dims, prompt_sizes, widths, reduced, strict=True
        ):
            joined = width + prompt_dim
            block = TransformerBlock(joined, heads[2], ffn_expansion_factor, bias, LayerNorm_type)
            self.add_module(f"prompt{level}", PromptGenBlock(prompt_dim, prompt_len, size, width))
            self.add_module(f"noise_level{level}", block)
            self.add_module(f"reduce_noise_level{level}", PointwiseConv2d(joined, out, bias))

    def feature_points(self) -> list[FeaturePoint]:
        """One point after each prompt, coarse to fine; DCPT classifies these features."""
        widths = {3: 4 * self._dim, 2: 4 * self._dim, 1: 2 * self._dim}
        return [FeaturePoint(f"reduce_noise_level{level}", width, 2**level) for level, width in widths.items()]

    def decoder_blocks(self) -> list[str]:
        """The blocks after the encoder, with those that mix the prompts in."""
        mixing = {f"decoder_level{level}": f"noise_level{level}" for level in (3, 2, 1)}
        blocks = super().decoder_blocks()
        for decoder, mix in mixing.items():
            blocks.insert(blocks.index(f"{decoder}.0"), mix)
        return blocks

    def depths(self) -> list[list[str]]:
        """All modules in groups, from the input to the output; a prompt belongs to the level that follows it."""
        groups = super().depths()
        for level in (1, 2, 3):
            group = next(names for names in groups if f"decoder_level{level}" in names)
            group[:0] = [f"prompt{level}", f"noise_level{level}", f"reduce_noise_level{level}"]
        return groups

    def _refine_level(self, level: int, x: Tensor, image: Tensor) -> Tensor:
        """Append the prompt of this level, and mix it in with one block."""
        prompt, mix, reduce = (
            getattr(self, f"{part}{level}") for part in ("prompt", "noise_level", "reduce_noise_level")
        )
        refined: Tensor = reduce(mix(torch.cat([x, prompt(x)], 1)))
        return refined

    @staticmethod
    def convert_state_dict(state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Replace the keys of published checkpoints by the network's: without `net.` and the unused convolutions."""
        if any(key.startswith(_LIGHTNING) for key in state):
            state = {key[len(_LIGHTNING) :]: value for key, value in state.items() if key.startswith(_LIGHTNING)}
        return {key: value for key, value in state.items() if not key.startswith(_UNUSED)}

    @staticmethod
    def arch_of(state: Mapping[str, Tensor]) -> dict[str, Any] | None:
        """The network of published weights; None if they are another's (see `uir.inference.recognition`)."""
        state = PromptIR.convert_state_dict(dict(state))
        sizes = sizes_of(state)
        if sizes is None or "prompt1.prompt_param" not in state:
            return None
        prompts = [state[f"prompt{level}.prompt_param"].shape for level in (1, 2, 3)]
        return {
            "type": "PromptIR",
            **sizes,
            "prompt_dims": [shape[2] for shape in prompts],
            "prompt_len": prompts[0][1],
            "prompt_sizes": [shape[3] for shape in prompts],
        }
