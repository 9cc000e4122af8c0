"""The transformer block of Restormer: attention between channels instead of pixels (Zamir et al., CVPR 2022).

The results are the paper's, but the computation is arranged for speed. Everything runs in channels-last order, in
which a 1×1 convolution, a norm and the products of attention all treat the pixels as the rows of one matrix. Queries
and keys are not normalised as images: the channel lengths divide the small attention matrix instead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from uir.layers.global_statistic import GlobalStatistic
from uir.layers.norm import LayerNorm2d
from uir.layers.pointwise import PointwiseConv2d, pointwise

NormType = Literal["WithBias", "BiasFree"]
NORM_TYPES: tuple[NormType, ...] = ("WithBias", "BiasFree")
ATTENTIONS: dict[str, Callable[[Tensor], Tensor]] = {"softmax": lambda scores: scores.softmax(-1), "relu": F.relu}
_SHORTEST = 1e-12  # a shorter channel is divided by this instead of its own length, as in `F.normalize`


class _BiasFreeNorm(torch.autograd.Function):
    """x / √(variance + eps) · weight over the last dimension, computed with the fused kernels of layer normalisation.

    With mean m and inverse deviation r it is LN(x)·w + m·r·w, and its gradient that of LN plus two rank-one terms.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        normed, mean, inverse = torch.native_layer_norm(x, weight.shape, weight, None, eps)
        ctx.save_for_backward(x, weight, mean, inverse)
        return normed.addcmul_(mean * inverse, weight)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        x, weight, mean, inverse = ctx.saved_tensors
        to_x, to_weight, _ = torch.ops.aten.native_layer_norm_backward(
            gradient, x, weight.shape, mean, inverse, weight, None, [True, True, False]
        )
        centre = mean * inverse
        slope = inverse * (gradient @ weight).unsqueeze(-1) / len(weight)
        to_x = torch.addcmul(to_x + slope * (1 + centre.square()), x, slope * centre * inverse, value=-1)
        return to_x, to_weight + centre.flatten() @ gradient.flatten(0, -2), None


class BiasFreeNorm2d(nn.Module):
    """Divides every pixel by the deviation of its channels, without centring it: [B, C, H, W] to the same shape.

    x / √(variance(x) + eps) · weight, the variance about the mean, biased. The result is in channels-last order, and in
    float32 at least.

    Args:
        channels: C.
        eps: added to the variance.
    """

    def __init__(self, channels: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Divide and scale."""
        precise = torch.promote_types(x.dtype, self.weight.dtype)
        pixels = x.permute(0, 2, 3, 1).to(precise).contiguous()
        normed: Tensor = _BiasFreeNorm.apply(pixels, self.weight, self.eps)
        return normed.permute(0, 3, 1, 2)


class ChannelNorm(nn.Module):
    """Either norm under the authors' key `body`: `WithBias` is layer normalisation, `BiasFree` does not centre."""

    def __init__(self, channels: int, kind: str, eps: float) -> None:
        super().__init__()
        if kind not in NORM_TYPES:
            raise ValueError(f"LayerNorm_type: expected {' or '.join(NORM_TYPES)}, got {kind!r}")
        self.body = (LayerNorm2d if kind == "WithBias" else BiasFreeNorm2d)(channels, eps)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] to the same shape."""
        normalised: Tensor = self.body(x)
        return normalised


def branches(x: Tensor, wide: nn.Conv2d, deep: nn.Conv2d, parts: int) -> Iterator[Tensor]:
    """A 1×1 and then a depthwise convolution of x, in parts of the output channels: each [B, C', H, W].

    Every part has its own convolutions, because slices of one wide map are slow to read and to differentiate.
    """

    def split(bias: Tensor | None) -> Sequence[Tensor | None]:
        return [None] * parts if bias is None else bias.chunk(parts)

    kernels = zip(wide.weight.chunk(parts), deep.weight.chunk(parts), strict=True)
    biases = zip(split(wide.bias), split(deep.bias), strict=True)
    for (weight, deep_weight), (bias, deep_bias) in zip(kernels, biases, strict=True):
        yield F.conv2d(
            pointwise(x, weight, bias), deep_weight, deep_bias, padding=deep.padding, groups=len(deep_weight)
        )


class _ChannelAttention(nn.Module):
    """Attention between the channels of given queries, keys and values, in groups, and the projection after it."""

    project_out: PointwiseConv2d

    def __init__(self, channels: int, heads: int, activation: str) -> None:
        super().__init__()
        if channels % heads:
            raise ValueError(f"heads: {channels} channels cannot be divided into {heads} heads of equal size")
        self.heads = heads
        self.activation = activation
        self.temperature = nn.Parameter(torch.ones(heads, 1, 1))
        self.shared = GlobalStatistic()

    def _attend(self, *parts: Tensor) -> Tensor:
        """Queries, keys and values [B, C, H, W] to the projected result of the same shape."""
        batch, channels, height, width = parts[0].shape
        queries, keys, values = (part.permute(0, 2, 3, 1).flatten(1, 2) for part in parts)
        weights = ATTENTIONS[self.activation](self.shared(self._scores(queries, keys)))
        if values.device.type == "meta":  # for counting multiply-adds, compute as in the paper
            attended = (weights @ self._by_head(values).transpose(2, 3)).flatten(1, 2)
            return self.project_out(attended.unflatten(2, (height, width)))
        # Attention and projection are both linear in the values: one matrix [C, C] per image does both.
        projection = self.project_out.weight.view(channels, self.heads, -1).transpose(0, 1)
        joint = (projection @ weights).transpose(2, 3).reshape(batch, channels, channels)
        projected = values @ joint
        if self.project_out.bias is not None:
            projected = projected + self.project_out.bias
        return projected.unflatten(1, (height, width)).permute(0, 3, 1, 2)

    def _scores(self, queries: Tensor, keys: Tensor) -> Tensor:
        """Cosines between the channels of queries and keys, times the head's temperature: [B, heads, c, c]."""
        if queries.dtype in (torch.bfloat16, torch.float16):  # a sum over all pixels could overflow
            queries, keys = F.normalize(queries, dim=1), F.normalize(keys, dim=1)
            return (self._by_head(queries).transpose(2, 3) @ self._by_head(keys)) * self.temperature
        along_queries, along_keys = (
            part.square().sum(1).clamp_min(_SHORTEST**2).sqrt().unflatten(1, (self.heads, -1))
            for part in (queries, keys)
        )
        products = self._by_head(queries).transpose(2, 3) @ self._by_head(keys)
        return products * (self.temperature / (along_queries.unsqueeze(3) * along_keys.unsqueeze(2)))

    def _by_head(self, tokens: Tensor) -> Tensor:
        """[B, H·W, C] to [B, heads, H·W, C / heads]."""
        return tokens.unflatten(2, (self.heads, -1)).transpose(1, 2)


class TransposedAttention(_ChannelAttention):
    """Multi-head attention between channels, "MDTA" (paper Eq. 1). Input and output [B, channels, H, W].

    Args:
        channels: C, a multiple of `heads`.
        heads: number of groups of channels; channels attend within their group.
        bias: whether the convolutions have one.
        activation: turns scores into weights: `softmax` over the keys (the paper), or `relu` (DCPT's code).
    """

    def __init__(self, channels: int, heads: int, bias: bool = False, activation: str = "softmax") -> None:
        super().__init__(channels, heads, activation)
        self.qkv = PointwiseConv2d(channels, 3 * channels, bias)
        self.qkv_dwconv = nn.Conv2d(3 * channels, 3 * channels, 3, padding=1, groups=3 * channels, bias=bias)
        self.project_out = PointwiseConv2d(channels, channels, bias)

    def forward(self, x: Tensor) -> Tensor:
        """Attend; fastest in channels-last order."""
        return self._attend(*branches(x, self.qkv, self.qkv_dwconv, 3))


class CrossTransposedAttention(_ChannelAttention):
    """Attention between the channels of two maps [B, channels, H, W]: queries of one, keys and values of the other.

    Args:
        channels, heads, bias: as in `TransposedAttention`.
        kernel: odd side of the depthwise convolution of keys and values; that of the queries has 3.
    """

    def __init__(self, channels: int, heads: int, bias: bool = False, kernel: int = 3) -> None:
        super().__init__(channels, heads, "softmax")
        self.q = PointwiseConv2d(channels, channels, bias)
        self.q_dwconv = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=bias)
        self.kv = PointwiseConv2d(channels, 2 * channels, bias)
        self.kv_dwconv = nn.Conv2d(
            2 * channels, 2 * channels, kernel, padding=kernel // 2, groups=2 * channels, bias=bias
        )
        self.project_out = PointwiseConv2d(channels, channels, bias)

    def forward(self, x: Tensor, source: Tensor) -> Tensor:
        """Attend from `x` to `source`; fastest in channels-last order."""
        return self._attend(*branches(x, self.q, self.q_dwconv, 1), *branches(source, self.kv, self.kv_dwconv, 2))

    def attend_evenly(self, source: Tensor) -> Tensor:
        """The result for queries that are zero: every channel gets the mean of its head's values."""
        _, values = branches(source, self.kv, self.kv_dwconv, 2)
        means = values.unflatten(1, (self.heads, -1)).mean(2)
        weight = self.project_out.weight.unflatten(1, (self.heads, -1)).sum(2)
        return pointwise(means.contiguous(memory_format=torch.channels_last), weight, self.project_out.bias)


class GatedFeedForward(nn.Module):
    """Two depthwise branches; one gates the other through a GELU: "GDFN" (paper Eq. 2). Keeps [B, channels, H, W].

    Args:
        channels: C.
        expansion: width of a branch, as a multiple of C; rounded down.
        bias: whether the convolutions have one.
    """

    def __init__(self, channels: int, expansion: float, bias: bool = False) -> None:
        super().__init__()
        hidden = int(channels * expansion)
        self.project_in = PointwiseConv2d(channels, 2 * hidden, bias)
        self.dwconv = nn.Conv2d(2 * hidden, 2 * hidden, 3, padding=1, groups=2 * hidden, bias=bias)
        self.project_out = PointwiseConv2d(hidden, channels, bias)

    def forward(self, x: Tensor) -> Tensor:
        """Widen, gate, narrow; fastest in channels-last order."""
        gate, passed = branches(x, self.project_in, self.dwconv, 2)
        gate = F.gelu(gate.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)  # contiguous memory is faster
        return self.project_out(gate * passed if torch.is_grad_enabled() else gate.mul_(passed))


class TransformerBlock(nn.Module):
    """Attention between channels, then a gated feed-forward, both with norm and residual. [B, channels, H, W] kept.

    Args:
        channels: C.
        heads: number of attention heads.
        expansion: width of the feed-forward, as a multiple of C.
        bias: whether the convolutions have one.
        norm: `WithBias` or `BiasFree`.
        activation: of the attention scores, `softmax` or `relu`.
        eps: eps of the norms.
    """

    def __init__(
        self,
        channels: int,
        heads: int,
        expansion: float,
        bias: bool = False,
        norm: str = "WithBias",
        activation: str = "softmax",
        eps: float = 1e-5,
    ) -> None:
        super().__init__()
        self.norm1 = ChannelNorm(channels, norm, eps)
        self.attn = TransposedAttention(channels, heads, bias, activation)
        self.norm2 = ChannelNorm(channels, norm, eps)
        self.ffn = GatedFeedForward(channels, expansion, bias)

    def forward(self, x: Tensor) -> Tensor:
        """One block; fastest in channels-last order."""
        x = add_branch(x, self.attn(self.norm1(x)))
        return add_branch(x, self.ffn(self.norm2(x)))


def add_branch(x: Tensor, branch: Tensor) -> Tensor:
    """x + branch; without gradients the sum overwrites the branch, which nothing else uses."""
    return x + branch if torch.is_grad_enabled() or x.dtype != branch.dtype else branch.add_(x)
