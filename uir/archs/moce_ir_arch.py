"""MoCE-IR: Complexity Experts are Task-Discriminative Learners for Any Image Restoration (Zamfir et al., CVPR 2025)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Literal, overload

import torch
from torch import Tensor, nn

from uir.core.state_keys import count_of
from uir.layers.complexity_experts import ExpertAdapter
from uir.layers.features import FeaturePoint
from uir.layers.padding import crop, pad_to_multiple
from uir.layers.pointwise import PointwiseConv2d
from uir.layers.restormer_unet import Downsample, PatchEmbed, Upsample
from uir.layers.transposed_attention import (
    ChannelNorm,
    CrossTransposedAttention,
    GatedFeedForward,
    TransposedAttention,
)
from uir.registry import ARCH_REGISTRY

EXPANSION = 2.0
"""Width of every feed-forward, as a multiple of the channels."""


class EncoderBlock(nn.Module):
    """Restormer's block with biases, under other keys. Keeps [B, C, H, W].

    Args:
        channels, heads: as in `TransposedAttention`.
    """

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(ChannelNorm(channels, "WithBias", 1e-5) for _ in range(2))
        self.mixer = TransposedAttention(channels, heads, bias=True)
        self.ffn = GatedFeedForward(channels, EXPANSION, bias=True)

    def forward(self, x: Tensor) -> Tensor:
        """One block."""
        x = x + self.mixer(self.norms[0](x))
        return x + self.ffn(self.norms[1](x))


class DecoderBlock(nn.Module):
    """A shared path for all images, and experts that a router chooses (paper Fig. 3). Keeps [B, C, H, W].

    Args:
        channels, heads: as in `TransposedAttention`.
        frequency_channels, experts, topk, with_complexity: as in `ExpertAdapter`.
    """

    def __init__(
        self, channels: int, heads: int, frequency_channels: int, experts: int, topk: int, with_complexity: bool
    ) -> None:
        super().__init__()
        self.norms = nn.ModuleList(ChannelNorm(channels, "WithBias", 1e-5) for _ in range(2))
        self.proj = nn.ModuleList(PointwiseConv2d(channels, channels) for _ in range(2))
        self.shared = TransposedAttention(channels, heads)
        self.adapter = ExpertAdapter(channels, frequency_channels, experts, topk, with_complexity)
        self.mixer = CrossTransposedAttention(channels, heads, kernel=7)
        self.ffn = GatedFeedForward(channels, EXPANSION)

    def forward(self, x: Tensor, embedding: Tensor, noise: Tensor | None) -> tuple[Tensor, Tensor]:
        """The features and the balance of the router."""
        normed = self.norms[0](x)
        shared = self.shared(self.proj[0](normed))
        adapted, balance = self.adapter(self.proj[1](normed), embedding, shared, noise)
        x = x + self.mixer(adapted, shared)
        return x + self.ffn(self.norms[1](x)), balance


class EncoderStage(nn.Module):
    """Blocks in a row under the key `layers`."""

    def __init__(self, count: int, channels: int, heads: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(*(EncoderBlock(channels, heads) for _ in range(count)))

    def forward(self, x: Tensor) -> Tensor:
        """Run them."""
        encoded: Tensor = self.layers(x)
        return encoded


class DecoderStage(nn.Module):
    """Blocks in a row under the key `layers`; arguments of each as in `DecoderBlock`."""

    def __init__(self, blocks: Iterable[DecoderBlock]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(blocks)

    def forward(self, x: Tensor, embedding: Tensor, noise: Sequence[Tensor | None], balances: list[Tensor]) -> Tensor:
        """Run them; the balance of each router is added to `balances`."""
        for layer, drawn in zip(self.layers, noise, strict=True):
            x, balance = layer(x, embedding, drawn)
            balances.append(balance)
        return x


class HighPass(nn.Module):
    """A depthwise 3×3 convolution that starts as the Laplacian: 8 in the middle, -1 around it. Keeps [B, C, H, W].

    Args:
        channels: C.
        trained: whether it is trained.
    """

    def __init__(self, channels: int, trained: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)
        with torch.no_grad():
            self.conv.weight.fill_(-1)
            self.conv.weight[:, :, 1, 1] = 8
        self.conv.requires_grad_(trained)

    def forward(self, x: Tensor) -> Tensor:
        """Filter."""
        filtered: Tensor = self.conv(x)
        return filtered


class FrequencyEmbedding(nn.Module):
    """What an image has of high frequencies: [B, C, H, W] to [B, C].

    Args:
        channels: C.
        trained: whether the high-pass filter is trained.
    """

    def __init__(self, channels: int, trained: bool) -> None:
        super().__init__()
        self.high_conv = nn.Sequential(HighPass(channels, trained), nn.GELU())
        self.mlp = nn.Sequential(nn.Linear(channels, 2 * channels), nn.GELU(), nn.Linear(2 * channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        """Embed."""
        embedded: Tensor = self.mlp(self.high_conv(x).mean((2, 3)))
        return embedded


@ARCH_REGISTRY.register()
class MoCEIR(nn.Module):
    """A U-Net whose decoder blocks send every image to experts of growing size. [B, 3, H, W] is kept; any H, W.

    Argument and parameter names are the authors', so their checkpoints load with `strict=True`. In training the router
    gets noise from torch's generator; otherwise only what `noise` holds. The authors' evaluation draws it too: the
    control `router_noise` of `MoCEIRModel`'s predictor does that.

    Args:
        inp_channels, out_channels: channels of the image.
        dim: channels at full resolution, even; each level has twice as many.
        num_blocks: blocks of the encoder levels and of the latent, fine to coarse.
        num_dec_blocks: blocks of the decoder levels, fine to coarse.
        levels: number of levels with the latent.
        heads: attention heads of each level.
        num_refinement_blocks: blocks at full resolution after the decoder.
        topk: experts for each image.
        num_experts: experts of each decoder block.
        rank: not used by the authors' code with `rank_type: spread`; accepted for their option files.
        with_complexity: weight the balance by the experts' parameters, so that small experts are preferred.
        depth_type, stage_depth: without effect in the authors' code; accepted for their option files.
        rank_type: `spread`, widths that double from expert to expert.
        complexity_scale: `max`, parameters as fractions of the largest expert's.
        train_high_pass: train the filter of the frequency embedding, as the authors' code does by mistake.

    Raises:
        ValueError: an argument does not fit the others.
    """

    scale = 1
    adds_input = True
    predictor: ClassVar[str] = "RouterPredictor"

    def __init__(
        self,
        inp_channels: int = 3,
        out_channels: int = 3,
        dim: int = 48,
        num_blocks: Sequence[int] = (4, 6, 6, 8),
        num_dec_blocks: Sequence[int] = (2, 4, 4),
        levels: int = 4,
        heads: Sequence[int] = (1, 2, 4, 8),
        num_refinement_blocks: int = 4,
        topk: int = 1,
        num_experts: int = 4,
        rank: int = 2,
        with_complexity: bool = True,
        depth_type: str = "constant",
        stage_depth: Sequence[int] = (1, 1, 1),
        rank_type: Literal["spread"] = "spread",
        complexity_scale: Literal["max"] = "max",
        train_high_pass: bool = False,
    ) -> None:
        super().__init__()
        _check(inp_channels, out_channels, dim, levels, num_experts, topk)
        for key, numbers, count in (
            ("num_blocks", num_blocks, levels),
            ("heads", heads, levels),
            ("num_dec_blocks", num_dec_blocks, levels - 1),
        ):
            if len(numbers) != count or min(numbers) < 1:
                raise ValueError(f"MoCEIR.{key}: expected {count} numbers of at least 1, got {list(numbers)}")
        for key, value, known in (("rank_type", rank_type, "spread"), ("complexity_scale", complexity_scale, "max")):
            if value != known:
                raise ValueError(f"MoCEIR.{key}: only '{known}' is published, got {value!r}")
        self.experts_per_router, self.levels, self._dim = num_experts, levels, dim
        self._encoder_depths = tuple(num_blocks[:-1])
        self._decoder_depths = tuple(num_dec_blocks[::-1])
        deepest = dim * 2 ** (levels - 1)
        self.patch_embed = PatchEmbed(inp_channels, dim)
        self.freq_embed = FrequencyEmbedding(deepest, train_high_pass)
        self.enc = nn.ModuleList(
            nn.ModuleList([EncoderStage(num_blocks[i], dim * 2**i, heads[i]), Downsample(dim * 2**i)])
            for i in range(levels - 1)
        )
        self.latent = EncoderStage(num_blocks[-1], deepest, heads[-1])
        self.dec = nn.ModuleList()
        for level in reversed(range(levels - 1)):
            channels = dim * 2**level
            blocks = (
                DecoderBlock(channels, heads[level], deepest, num_experts, topk, with_complexity)
                for _ in range(num_dec_blocks[level])
            )
            parts = [Upsample(2 * channels), PointwiseConv2d(2 * channels, channels, bias=False), DecoderStage(blocks)]
            self.dec.append(nn.ModuleList(parts))
        self.refinement = EncoderStage(num_refinement_blocks, dim, heads[0])
        self.output = nn.Conv2d(dim, out_channels, 3, padding=1, bias=False)

    @property
    def pad_multiple(self) -> int:
        """Height and width of a batch should be multiples of this; other sizes are padded by reflection."""
        return int(2 ** (self.levels - 1))

    @property
    def num_routers(self) -> int:
        """Number of decoder blocks, which all have a router."""
        return sum(self._decoder_depths)

    def feature_points(self) -> list[FeaturePoint]:
        """One point after each decoder level, coarse to fine."""
        levels = reversed(range(self.levels - 1))
        return [FeaturePoint(f"dec.{i}.2", self._dim * 2**level, 2**level) for i, level in enumerate(levels)]

    def encoder_blocks(self) -> list[str]:
        """The blocks of the encoder, without the latent's; masked pre-training masks their output."""
        return [f"enc.{i}.0.layers.{j}" for i, count in enumerate(self._encoder_depths) for j in range(count)]

    def decoder_blocks(self) -> list[str]:
        """The blocks after the encoder: those of the latent, the decoder's levels and the refinement's blocks."""
        latent, refined = (
            [f"{name}.layers.{j}" for j in range(len(getattr(self, name).layers))] for name in ("latent", "refinement")
        )
        return [*latent, *(point.name for point in self.feature_points()), *refined]

    def depths(self) -> list[list[str]]:
        """All modules in groups, from the input to the output; a learning rate may fall from group to group."""
        return [
            ["patch_embed"],
            *([f"enc.{i}"] for i in range(len(self.enc))),
            ["latent", "freq_embed"],
            *([f"dec.{i}"] for i in range(len(self.dec))),
            ["refinement"],
            ["output"],
        ]

    @overload
    def forward(self, lq: Tensor, noise: Tensor | None = None, *, with_balance: Literal[False] = False) -> Tensor: ...
    @overload
    def forward(
        self, lq: Tensor, noise: Tensor | None = None, *, with_balance: Literal[True]
    ) -> tuple[Tensor, Tensor]: ...
    def forward(
        self, lq: Tensor, noise: Tensor | None = None, *, with_balance: bool = False
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Restore a batch.

        Args:
            lq: [B, inp_channels, H, W] in [0, 1]; any H, W.
            noise: unit normal noise of the routers, [B, num_routers, num_experts], in the order of the decoder blocks;
                None draws it in training, and leaves it out otherwise.
            with_balance: also give the balance of every router [num_routers], 0 if it uses all experts evenly.

        Returns:
            [B, out_channels, H, W], not clipped; with the balance.
        """
        padded = pad_to_multiple(lq, self.pad_multiple).contiguous(memory_format=torch.channels_last)
        if noise is None and self.training:
            noise = torch.randn(len(lq), self.num_routers, self.experts_per_router, device=lq.device)
        drawn: list[Tensor | None] = [None] * self.num_routers if noise is None else list(noise.unbind(1))
        x, skips = self.patch_embed(padded), []
        for level in self.enc:
            stage, down = level.children()
            x = stage(x)
            skips.append(x)
            x = down(x)
        x = self.latent(x)
        embedding = self.freq_embed(x)
        balances: list[Tensor] = []
        for level, count in zip(self.dec, self._decoder_depths, strict=True):
            up, fuse, stage = level.children()
            x = fuse(torch.cat([up(x), skips.pop()], 1))
            first = len(balances)
            x = stage(x, embedding, drawn[first : first + count], balances)
        restored = crop(self.output(self.refinement(x)) + padded, *lq.shape[-2:]).contiguous()
        return (restored, torch.stack(balances)) if with_balance else restored

    @staticmethod
    def convert_state_dict(state: dict[str, Tensor]) -> dict[str, Tensor]:
        """The keys of published checkpoints without the trainer's `net.`."""
        if any(key.startswith("net.") for key in state):
            return {key.removeprefix("net."): value for key, value in state.items() if key.startswith("net.")}
        return state

    @staticmethod
    def arch_of(state: Mapping[str, Tensor]) -> dict[str, Any] | None:
        """The network of published weights, which send each image to one expert; None if they are another's."""
        state = MoCEIR.convert_state_dict(dict(state))
        adapter = "dec.0.2.layers.0.adapter"
        if not {"patch_embed.proj.weight", f"{adapter}.routing.complexity", "output.weight"} <= set(state):
            return None
        dim, channels = state["patch_embed.proj.weight"].shape[:2]
        shallower = range(count_of(state, "enc"))
        stages = [*(f"enc.{level}.0.layers" for level in shallower), "latent.layers"]
        return {
            "type": "MoCEIR",
            "inp_channels": channels,
            "out_channels": channels,
            "dim": dim,
            "levels": len(stages),
            "num_blocks": [count_of(state, stage) for stage in stages],
            "num_dec_blocks": [count_of(state, f"dec.{level}.2.layers") for level in reversed(shallower)],
            "heads": [state[f"{stage}.0.mixer.temperature"].shape[0] for stage in stages],
            "num_refinement_blocks": count_of(state, "refinement.layers"),
            "num_experts": count_of(state, f"{adapter}.experts"),
            "with_complexity": bool((state[f"{adapter}.routing.complexity"] < 1).any()),
        }


def _check(inp_channels: int, out_channels: int, dim: int, levels: int, num_experts: int, topk: int) -> None:
    """Raise ValueError if the sizes do not fit each other."""
    if inp_channels != out_channels:
        raise ValueError(f"MoCEIR: out_channels must be inp_channels ({inp_channels}), got {out_channels}")
    if dim < 2 or dim % 2:
        raise ValueError(f"MoCEIR.dim: expected an even number of channels, got {dim}")
    if levels < 2:
        raise ValueError(f"MoCEIR.levels: expected at least 2, got {levels}")
    if num_experts < 2:
        raise ValueError(f"MoCEIR.num_experts: expected at least 2, got {num_experts}")
    if not 1 <= topk <= num_experts:
        raise ValueError(f"MoCEIR.topk: expected 1 to {num_experts}, the number of experts, got {topk}")
