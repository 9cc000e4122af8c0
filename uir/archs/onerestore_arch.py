"""OneRestore: A Universal Restoration Framework for Composite Degradation (Guo et al., ECCV 2024): its restorer."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from uir.layers.degradation_code import DegradationCode
from uir.layers.features import FeaturePoint
from uir.layers.padding import crop, pad_to_multiple
from uir.layers.pointwise import PointwiseConv2d, pointwise
from uir.layers.transposed_attention import ChannelNorm, GatedFeedForward, TransposedAttention, branches
from uir.registry import ARCH_REGISTRY

LEVELS = 4


class SceneAttention(nn.Module):
    """Attention whose query is a scene descriptor (SDCA, paper Eq. 2). Keeps [B, channels, H, W].

    The keys are the channels, resized to as many pixels as the descriptor has numbers. All channels of a head have the
    same query, so they all get the same weighted mean of the head's values.

    Args:
        channels: C, a multiple of `heads`.
        heads: groups of channels.
        descriptor: numbers of a descriptor; a square.
    """

    def __init__(self, channels: int, heads: int, descriptor: int) -> None:
        super().__init__()
        if channels % heads:
            raise ValueError(f"heads: {channels} channels cannot be divided into {heads} heads of equal size")
        self.heads, self.side = heads, math.isqrt(descriptor)
        self.temperature = nn.Parameter(torch.ones(heads, 1))
        self.q = nn.Linear(descriptor, descriptor)
        self.kv = PointwiseConv2d(channels, 2 * channels, bias=False)
        self.kv_dwconv = nn.Conv2d(2 * channels, 2 * channels, 3, padding=1, groups=2 * channels, bias=False)
        self.project_out = PointwiseConv2d(channels, channels, bias=False)

    def forward(self, x: Tensor, descriptor: Tensor | None) -> Tensor:
        """Attend by a descriptor [B, D]; without one every channel has the same weight."""
        keys, values = branches(x, self.kv, self.kv_dwconv, 2)
        values = values.unflatten(1, (self.heads, -1))
        if descriptor is None:
            means = values.mean(2)
        else:
            small = F.interpolate(keys, (self.side, self.side), mode="bilinear", align_corners=False)
            directions = F.normalize(small.flatten(2).float(), dim=2).unflatten(1, (self.heads, -1))
            query = F.normalize(self.q(descriptor).float(), dim=1)
            scores = torch.einsum("bhcd,bd->bhc", directions, query) * self.temperature
            means = torch.einsum("bhc,bhcij->bhij", scores.softmax(2).to(values.dtype), values)
        # The projection of C channels of which each head's are equal.
        weight = self.project_out.weight.unflatten(1, (self.heads, -1)).sum(2)
        return pointwise(means.contiguous(memory_format=torch.channels_last), weight)


class SceneBlock(nn.Module):
    """Attention to the scene, attention between channels, and a gated feed-forward (SDTB). Keeps [B, channels, H, W].

    Args:
        channels, heads, descriptor: as in `SceneAttention`.
        expansion: width of the feed-forward, as a multiple of C.
    """

    def __init__(self, channels: int, heads: int, descriptor: int, expansion: float) -> None:
        super().__init__()
        self.norm1, self.norm2, self.norm3 = (ChannelNorm(channels, "WithBias", 1e-5) for _ in range(3))
        self.cross = SceneAttention(channels, heads, descriptor)
        self.attn = TransposedAttention(channels, heads)
        self.ffn = GatedFeedForward(channels, expansion)

    def forward(self, x: Tensor, descriptor: Tensor | None) -> Tensor:
        """One block."""
        x = x + self.cross(self.norm1(x), descriptor)
        x = x + self.attn(self.norm2(x))
        return x + self.ffn(self.norm3(x))


class SceneStage(nn.Module):
    """Blocks in a row; arguments of each as in `SceneBlock`."""

    def __init__(self, count: int, channels: int, heads: int, descriptor: int, expansion: float) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(SceneBlock(channels, heads, descriptor, expansion) for _ in range(count))

    def forward(self, x: Tensor, descriptor: Tensor | None) -> Tensor:
        """Run them."""
        for block in self.blocks:
            x = block(x, descriptor)
        return x


@ARCH_REGISTRY.register()
class OneRestore(nn.Module):
    """Restores composite degradations by a scene descriptor, the `vector` of a code. [B, 3, H, W] is kept; any H, W.

    The descriptor comes from `SceneEmbedder`. Without a code every channel of a head counts alike, so that the network
    can be pre-trained by methods that give it an image alone.

    Args:
        channels: at full resolution; the next levels have 2, 4 and 8 times as many.
        num_blocks: blocks of each encoder and decoder level, fine to coarse.
        num_middle_blocks: blocks between them.
        heads: attention heads, at every level.
        ffn_expansion_factor: width of the feed-forward, as a multiple of a level's channels.
        code_channels: numbers of the descriptor; a square, such as 324.

    Raises:
        ValueError: an argument does not fit.
    """

    scale = 1
    pad_multiple = 8
    condition = "vector"

    def __init__(
        self,
        channels: int = 32,
        num_blocks: Sequence[int] = (1, 1, 1, 1),
        num_middle_blocks: int = 2,
        heads: int = 8,
        ffn_expansion_factor: float = 2.66,
        code_channels: int = 324,
    ) -> None:
        super().__init__()
        if len(num_blocks) != LEVELS or min(num_blocks) < 1:
            raise ValueError(f"OneRestore.num_blocks: expected {LEVELS} numbers of at least 1, got {list(num_blocks)}")
        if math.isqrt(code_channels) ** 2 != code_channels:
            raise ValueError(f"OneRestore.code_channels: expected a square, such as 324, got {code_channels}")
        self.code_channels, self._channels = code_channels, channels
        widths = [channels * 2**level for level in range(LEVELS)]

        def stage(count: int, width: int) -> SceneStage:
            return SceneStage(count, width, heads, code_channels, ffn_expansion_factor)

        self.embed = PointwiseConv2d(3, channels)
        self.encoder = nn.ModuleList(stage(count, width) for count, width in zip(num_blocks, widths, strict=True))
        self.down = nn.ModuleList(PointwiseConv2d(width, 2 * width) for width in widths[:-1])
        self.middle = stage(num_middle_blocks, widths[-1])
        self.decoder = nn.ModuleList(
            stage(count, width) for count, width in zip(num_blocks[::-1], widths[::-1], strict=True)
        )
        self.up = nn.ModuleList(PointwiseConv2d(2 * width, width) for width in widths[-2::-1])
        self.output = PointwiseConv2d(channels, 3)

    def feature_points(self) -> list[FeaturePoint]:
        """One point after each decoder level, coarse to fine."""
        levels = reversed(range(LEVELS))
        return [FeaturePoint(f"decoder.{i}", self._channels * 2**level, 2**level) for i, level in enumerate(levels)]

    def encoder_blocks(self) -> list[str]:
        """The levels of the encoder; masked pre-training masks their output."""
        return [f"encoder.{level}" for level in range(LEVELS)]

    def decoder_blocks(self) -> list[str]:
        """The blocks between encoder and decoder, and the levels of the decoder."""
        return ["middle", *(f"decoder.{level}" for level in range(LEVELS))]

    def depths(self) -> list[list[str]]:
        """All modules in groups, from the input to the output; a learning rate may fall from group to group."""
        encoders = [[f"encoder.{level}", *([f"down.{level}"] * (level < LEVELS - 1))] for level in range(LEVELS)]
        decoders = [[*([f"up.{level - 1}"] * (level > 0)), f"decoder.{level}"] for level in range(LEVELS)]
        return [["embed"], *encoders, ["middle"], *decoders, ["output"]]

    def forward(self, lq: Tensor, code: DegradationCode | None = None) -> Tensor:
        """Restore a batch.

        Args:
            lq: [B, 3, H, W] in [0, 1]; any H, W.
            code: its `vector` [B, code_channels] describes the degradations of the scene.

        Returns:
            [B, 3, H, W], not clipped: the mean of the image and of the network's output, which is brought from
            [-1, 1] to [0, 1], as published.
        """
        descriptor = None if code is None else code.require("vector", "OneRestore", self.code_channels)
        padded = pad_to_multiple(lq, self.pad_multiple).contiguous(memory_format=torch.channels_last)
        x, skips = self.embed(2 * padded - 1), []
        for level, stage in enumerate(self.encoder):
            x = stage(x, descriptor)
            skips.append(x)
            if level < LEVELS - 1:
                x = self.down[level](F.max_pool2d(x, 3, 2, padding=1))
        x = self.middle(x, descriptor)
        for level, stage in enumerate(self.decoder):
            if level:
                x = self.up[level - 1](F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False))
            x = stage(x + skips.pop(), descriptor)
        restored = (self.output(x) + padded + 1) / 2
        return crop(restored, *lq.shape[-2:]).contiguous()
