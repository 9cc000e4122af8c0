"""Hubs of degradation keys, and what they do to features: the parts of IDR (Zhang et al., CVPR 2023)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from uir.layers.pointwise import PointwiseConv2d
from uir.layers.transposed_attention import ChannelNorm

Route = Literal["addition", "point", "convolve"]
ROUTES: tuple[Route, ...] = ("addition", "point", "convolve")
KERNEL = 5
"""Side of the kernels of the route `convolve`."""


class Trunk(nn.Module):
    """A 3×3 convolution with PReLU and two residual blocks: [B, in, H, W] to [B, out, H, W]."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.head = nn.Sequential(nn.Conv2d(in_channels, channels, 3, padding=1), nn.PReLU())
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(channels, channels, 3, padding=1), nn.PReLU(), nn.Conv2d(channels, channels, 3, padding=1)
            )
            for _ in range(2)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Run it."""
        x = self.head(x)
        for block in self.blocks:
            x = x + block(x)
        return x


class Principle(nn.Module):
    """Applies what the hubs found, by the physics of the degradation (paper Sec. 3.2). Keeps [B, C, H, W].

    Args:
        channels: C.
        hubs: number of degradations.
    """

    def __init__(self, channels: int, hubs: int) -> None:
        super().__init__()
        self.predict = nn.Sequential(PointwiseConv2d(channels, channels), PointwiseConv2d(channels, hubs))
        self.features, self.found = PointwiseConv2d(channels, channels), PointwiseConv2d(channels, channels)
        self.addition = Trunk(2 * channels, channels)
        self.point = Trunk(2 * channels, 2 * channels)
        self.convolve = nn.Sequential(
            Trunk(2 * channels, channels), PointwiseConv2d(channels, KERNEL**2 * channels), nn.PReLU()
        )

    def logits(self, x: Tensor) -> Tensor:
        """How well each hub fits the features: [B, C, H, W] to [B, hubs]."""
        predicted: Tensor = self.predict(x.mean((2, 3), keepdim=True))
        return predicted.flatten(1)

    def forward(self, x: Tensor, found: Tensor, shares: Tensor, legacy: bool) -> Tensor:
        """The mixture of the routes.

        Args:
            x: the features.
            found: what the attention to the hub gave, of the same shape.
            shares: the share of each of `ROUTES` [B, 3]; a route that no image takes does not run.
            legacy: the other routes change the result of the addition, as in the published code.
        """
        features = self.features(x)
        joined = torch.stack([features, self.found(found)], 2).flatten(1, 2)
        weights = shares.to(features.dtype)[:, :, None, None, None]
        mixed = torch.zeros_like(features)
        base = features
        for index, route in enumerate(ROUTES):
            if not self._taken(shares[:, index]):
                continue
            changed = getattr(self, f"_{route}")(base, joined)
            base = changed if legacy and route == "addition" else base
            mixed = mixed + weights[:, index] * changed
        return mixed

    def _taken(self, share: Tensor) -> bool:
        return share.device.type == "meta" or share.requires_grad or bool(share.any())

    def _addition(self, features: Tensor, joined: Tensor) -> Tensor:
        return features + self.addition(joined)

    def _point(self, features: Tensor, joined: Tensor) -> Tensor:
        gain, shift = self.point(joined).chunk(2, 1)
        return gain * features + shift

    def _convolve(self, features: Tensor, joined: Tensor) -> Tensor:
        kernels = self.convolve(joined).unflatten(1, (features.shape[1], KERNEL**2))
        padded = F.pad(features, [KERNEL // 2] * 4, mode="replicate")
        height, width = features.shape[-2:]
        shifted = (padded[..., i : i + height, j : j + width] for i in range(KERNEL) for j in range(KERNEL))
        result = torch.zeros_like(features)
        for index, neighbours in enumerate(shifted):
            result = result + kernels[:, :, index] * neighbours
        return result


class HubAttention(nn.Module):
    """Pixels attend to the keys of a hub: [B, C, H, W] and keys [B, K, D] to [B, C, H, W].

    Args:
        channels: C, a multiple of `heads`.
        heads: groups of channels.
        key_dim: D.
    """

    def __init__(self, channels: int, heads: int, key_dim: int) -> None:
        super().__init__()
        if channels % heads:
            raise ValueError(f"heads: {channels} channels cannot be divided into {heads} heads of equal size")
        self.heads, self.key_dim = heads, key_dim
        self.q = PointwiseConv2d(channels, channels, bias=False)
        self.q_dwconv = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)
        self.kv = nn.Linear(key_dim, 2 * channels)
        self.project_out = PointwiseConv2d(channels, channels, bias=False)

    def forward(self, x: Tensor, keys: Tensor) -> Tensor:
        """Attend; the scores are divided by the root of all channels, not of a head's, as published."""
        queries = self.q_dwconv(self.q(x)).permute(0, 2, 3, 1).flatten(1, 2)
        tokens, values = self.kv(F.layer_norm(keys, (self.key_dim,))).chunk(2, -1)
        q, k, v = (part.unflatten(2, (self.heads, -1)).transpose(1, 2) for part in (queries, tokens, values))
        found = F.scaled_dot_product_attention(q, k, v, scale=x.shape[1] ** -0.5).transpose(1, 2).flatten(2)
        projected: Tensor = self.project_out(found.unflatten(1, x.shape[-2:]).permute(0, 3, 1, 2))
        return projected


class HubBlock(nn.Module):
    """Supervises the features by a restored image, asks a hub, and applies its answer (KDP). Keeps [B, C, H, W].

    Args:
        channels, heads, key_dim: as in `HubAttention`.
        hubs: as in `Principle`.
        expansion: width of the feed-forward, as a multiple of C.
        norm: `WithBias` or `BiasFree`.
    """

    def __init__(self, channels: int, heads: int, key_dim: int, hubs: int, expansion: float, norm: str) -> None:
        super().__init__()
        self.to_image, self.gate = PointwiseConv2d(channels, 3), PointwiseConv2d(3, channels)
        self.gated = PointwiseConv2d(channels, channels)
        self.norm1, self.norm2 = (ChannelNorm(channels, norm, 1e-5) for _ in range(2))
        self.attn = HubAttention(channels, heads, key_dim)
        self.principle = Principle(channels, hubs)
        hidden = int(channels * expansion)
        self.mlp = nn.Sequential(
            PointwiseConv2d(channels, hidden, bias=False),
            nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden, bias=False),
            nn.GELU(),
            PointwiseConv2d(hidden, channels, bias=False),
        )

    def supervise(self, x: Tensor, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The changed features, the restored image [B, 3, H, W] that they hold, and the hubs' logits [B, hubs]."""
        side = self.to_image(x) + F.interpolate(image, x.shape[-2:], mode="bilinear", align_corners=False)
        x = x + self.gated(x) * torch.sigmoid(self.gate(side))
        return x, side, self.principle.logits(x)

    def forward(self, x: Tensor, keys: Tensor, shares: Tensor, legacy: bool) -> Tensor:
        """Change supervised features by keys [B, K, D] and the shares of the routes [B, 3]."""
        x = self.principle(x, self.attn(self.norm1(x), keys), shares, legacy)
        changed: Tensor = x + self.mlp(self.norm2(x))
        return changed


class Ingredients(nn.Module):
    """Keys of a mixture of degradations, from the principal components of all hubs (paper Sec. 3.3).

    Args:
        hubs: number of hubs.
        keys: keys of each hub.
    """

    gives_places: ClassVar[bool] = False  # keys are no tokens of an image

    def __init__(self, hubs: int, keys: int) -> None:
        super().__init__()
        self.convU = nn.Conv1d(hubs * keys, keys, 1)
        self.convV = nn.Conv1d(hubs * keys, keys, 1)

    def forward(self, hubs: Tensor, probabilities: Tensor) -> Tensor:
        """Hubs [N, K, D] and probabilities [B, N] to keys [B, K, D]; no gradient reaches the hubs.

        The signs of the components are free; here the largest entry of each right one is positive.
        """
        precise = torch.promote_types(hubs.dtype, torch.float32)
        left, sizes, right = torch.linalg.svd(hubs.detach().to(precise), full_matrices=False)
        largest = right.gather(2, right.abs().argmax(2, keepdim=True))
        signs = torch.where(largest < 0, -1.0, 1.0)
        right, left = right * signs, left * signs.transpose(1, 2)
        mixed_left = self.convU(left.transpose(1, 2).flatten(0, 1)[None])[0].T
        mixed_right = self.convV(right.flatten(0, 1)[None])[0]
        return mixed_left @ ((probabilities.to(precise) @ sizes).unsqueeze(2) * mixed_right)


def route_shares(probabilities: Tensor, routes: Sequence[Route]) -> Tensor:
    """The share of each of `ROUTES` [B, 3], from the probabilities of the hubs [B, N] and their routes."""
    return torch.stack(
        [probabilities[:, [i for i, own in enumerate(routes) if own == route]].sum(1) for route in ROUTES], 1
    )
