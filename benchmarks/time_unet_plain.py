"""The parts of `uir.layers.time_unet`, computed as the published code of DiffUIR and IR-SDE does."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from uir.layers.time_unet import (
    Block,
    GainNorm,
    LinearAttention,
    PixelAttention,
    Residual,
    ResidualBlock,
    StandardisedConv2d,
    TimeUNet,
    UpsampleConv,
)


class PlainGainNorm(GainNorm):
    """Mean and variance over the channels of every pixel."""

    def forward(self, x: Tensor) -> Tensor:
        variance = torch.var(x, dim=1, unbiased=False, keepdim=True)
        mean = torch.mean(x, dim=1, keepdim=True)
        return (x - mean) * (variance + self.eps).rsqrt() * self.g


class PlainStandardisedConv2d(StandardisedConv2d):
    """Standardises the weights step by step."""

    def forward(self, x: Tensor) -> Tensor:
        mean = self.weight.mean((1, 2, 3), keepdim=True)
        variance = self.weight.var((1, 2, 3), unbiased=False, keepdim=True)
        normalised = (self.weight - mean) * (variance + 1e-5).rsqrt()
        return F.conv2d(x, normalised, self.bias, padding=1)


class PlainBlock(Block):
    """Convolution, norm, scale and shift, activation."""

    def forward(self, x: Tensor, film: tuple[Tensor, Tensor] | None = None) -> Tensor:
        x = self.proj(x)
        if self.norm is not None:
            x = self.norm(x)
        if film is not None:
            scale, shift = (part[:, :, None, None] for part in film)
            x = x * (scale + 1) + shift
        return F.silu(x)


class PlainResidualBlock(ResidualBlock):
    """Two blocks and a shortcut."""

    def forward(self, x: Tensor, time: Tensor | None = None) -> Tensor:
        film = None if time is None else self.mlp(time).chunk(2, dim=1)
        return self.block2(self.block1(x, film)) + self.res_conv(x)


class PlainLinearAttention(LinearAttention):
    """Heads, softmaxes and two einsums."""

    def forward(self, x: Tensor) -> Tensor:
        batch, _, height, width = x.shape
        parts = F.conv2d(x, self.to_qkv.weight).chunk(3, dim=1)
        queries, keys, values = (part.reshape(batch, self.heads, -1, height * width) for part in parts)
        queries, keys = queries.softmax(dim=-2) * self.head_channels**-0.5, keys.softmax(dim=-1)
        context = torch.einsum("bhdn,bhen->bhde", keys, values / (height * width))
        attended = torch.einsum("bhde,bhdn->bhen", context, queries).reshape(batch, -1, height, width)
        return self.to_out[1](F.conv2d(attended, self.to_out[0].weight, self.to_out[0].bias))


class PlainPixelAttention(PixelAttention):
    """Heads, all scores, softmax."""

    def forward(self, x: Tensor) -> Tensor:
        batch, _, height, width = x.shape
        parts = F.conv2d(x, self.to_qkv.weight).chunk(3, dim=1)
        queries, keys, values = (part.reshape(batch, self.heads, -1, height * width) for part in parts)
        scores = torch.einsum("bhdi,bhdj->bhij", queries * queries.shape[2] ** -0.5, keys).softmax(dim=-1)
        attended = torch.einsum("bhij,bhdj->bhid", scores, values).transpose(2, 3).reshape(batch, -1, height, width)
        return F.conv2d(attended, self.to_out.weight, self.to_out.bias)


class PlainResidual(Residual):
    """A sum."""

    def forward(self, x: Tensor) -> Tensor:
        return self.fn(x) + x


class PlainUpsampleConv(UpsampleConv):
    """Enlarges, then convolves."""

    def forward(self, x: Tensor) -> Tensor:
        return self[1](self[0](x))


class PlainTimeUNet(TimeUNet):
    """Keeps the order of memory of its input."""

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        x = self.init_conv(x)
        stem, skips, time = x.clone(), [], self.time_mlp(time)
        for first, second, attention, down in self.downs:
            x = first(x, time)
            skips.append(x)
            x = attention(second(x, time))
            skips.append(x)
            x = down(x)
        x = self.mid_block2(self.mid_attn(self.mid_block1(x, time)), time)
        for first, second, attention, up in self.ups:
            x = first(torch.cat((x, skips.pop()), dim=1), time)
            x = second(torch.cat((x, skips.pop()), dim=1), time)
            x = up(attention(x))
        return self.final_conv(self.final_res_block(torch.cat((x, stem), dim=1), time))


PLAIN: dict[type[nn.Module], type[nn.Module]] = {
    GainNorm: PlainGainNorm,
    StandardisedConv2d: PlainStandardisedConv2d,
    Block: PlainBlock,
    ResidualBlock: PlainResidualBlock,
    LinearAttention: PlainLinearAttention,
    PixelAttention: PlainPixelAttention,
    Residual: PlainResidual,
    UpsampleConv: PlainUpsampleConv,
    TimeUNet: PlainTimeUNet,
}
