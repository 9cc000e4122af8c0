"""The transformer of latent diffusion (Rombach et al., CVPR 2022) with a context of one vector, as DA-CLIP uses it."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from uir.layers.pointwise import PointwiseConv2d

GROUPS = 32
HEAD_CHANNELS = 32


class _SelfAttention(nn.Module):
    """Attention between tokens [B, N, C]."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.heads = channels // HEAD_CHANNELS
        self.to_q, self.to_k, self.to_v = (nn.Linear(channels, channels, bias=False) for _ in range(3))
        self.to_out = nn.Sequential(nn.Linear(channels, channels))

    def forward(self, tokens: Tensor) -> Tensor:
        """Attend."""
        parts = (
            part(tokens).unflatten(2, (self.heads, -1)).transpose(1, 2) for part in (self.to_q, self.to_k, self.to_v)
        )
        attended: Tensor = self.to_out(F.scaled_dot_product_attention(*parts).transpose(1, 2).flatten(2))
        return attended


class _ContextAttention(nn.Module):
    """Attention of tokens to a context of one vector [B, D]: the same [B, 1, C] for every token.

    With one vector to attend to, the softmax is 1 whatever is asked, so that queries and keys have no effect.
    """

    def __init__(self, channels: int, context_channels: int) -> None:
        super().__init__()
        self.to_v = nn.Linear(context_channels, channels, bias=False)
        self.to_out = nn.Sequential(nn.Linear(channels, channels))

    def forward(self, context: Tensor) -> Tensor:
        """Attend."""
        attended: Tensor = self.to_out(self.to_v(context))
        return attended[:, None]


class _Gated(nn.Module):
    """Twice the width; one half gates the other through a GELU: [B, N, C] to [B, N, width]."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.proj = nn.Linear(channels, 2 * width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Widen and gate."""
        passed, gate = self.proj(tokens).chunk(2, dim=-1)
        gated: Tensor = passed * F.gelu(gate)
        return gated


class _FeedForward(nn.Module):
    """A gated feed-forward of four times the width, under the key `net`. Keeps [B, N, C]."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.net = nn.Sequential(_Gated(channels, 4 * channels), nn.Identity(), nn.Linear(4 * channels, channels))

    def forward(self, tokens: Tensor) -> Tensor:
        """Widen, gate, narrow."""
        out: Tensor = self.net(tokens)
        return out


class _TransformerBlock(nn.Module):
    """Attention to each other, to the context, and a feed-forward, each added. Keeps [B, N, C]."""

    def __init__(self, channels: int, context_channels: int) -> None:
        super().__init__()
        self.attn1 = _SelfAttention(channels)
        self.attn2 = _ContextAttention(channels, context_channels)
        self.ff = _FeedForward(channels)
        self.norm1, self.norm3 = nn.LayerNorm(channels), nn.LayerNorm(channels)

    def forward(self, tokens: Tensor, context: Tensor | None) -> Tensor:
        """One block; without a context nothing attends to it."""
        tokens = tokens + self.attn1(self.norm1(tokens))
        if context is not None:
            tokens = tokens + self.attn2(context)
        out: Tensor = tokens + self.ff(self.norm3(tokens))
        return out


class SpatialTransformer(nn.Module):
    """Adds to each pixel what a transformer makes of all pixels and the context; at first nothing. Keeps [B, C, H, W].

    Args:
        channels: C, a multiple of 32.
        context_channels: numbers of the context.

    Raises:
        ValueError: C is no multiple of 32.
    """

    def __init__(self, channels: int, context_channels: int) -> None:
        super().__init__()
        if channels % GROUPS:
            raise ValueError(f"a spatial transformer needs a multiple of {GROUPS} channels, got {channels}")
        self.norm = nn.GroupNorm(GROUPS, channels, eps=1e-6)
        self.proj_in, self.proj_out = PointwiseConv2d(channels, channels), PointwiseConv2d(channels, channels)
        self.transformer_blocks = nn.ModuleList([_TransformerBlock(channels, context_channels)])
        nn.init.zeros_(self.proj_out.weight)
        nn.init.zeros_(self.proj_out.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Transform, with a context [B, context_channels] or without one."""
        tokens = self.proj_in(self.norm(x)).permute(0, 2, 3, 1).flatten(1, 2)
        for block in self.transformer_blocks:
            tokens = block(tokens, context)
        added: Tensor = self.proj_out(tokens.unflatten(1, x.shape[-2:]).permute(0, 3, 1, 2))
        return x + added
