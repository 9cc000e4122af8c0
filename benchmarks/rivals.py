"""How fast are uir's rivals on this CPU? Each runs alternately with a plain rendering of the published forward pass.

    python benchmarks/rivals.py [--networks TransWeather AdaIR MoCEIR DiffUIR] [--rounds 5] [--threads 1 2] [--full]

A plain network is uir's with every part replaced by one that computes as the published code does: one operation after
another, in the order of memory that it has there. The weights are the same, and the outputs are compared before the
timing; a test compares the plain networks with the published outputs. Times are medians. On a busy machine only the
ratio is useful, so the load is printed. Memory is the most that the tensors of one forward pass take at once, without
the weights and what a library takes inside.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from typing import Any

import torch
from restormer import alternate, infer, train_step
from rich.console import Console
from rich.table import Table
from time_unet_plain import PLAIN as PLAIN_TIME_UNET
from torch import Tensor, nn
from torch.nn import functional as F

from uir.archs.adair_arch import AdaIR, FrequencyModule
from uir.archs.diffuir_arch import DiffUIR
from uir.archs.moce_ir_arch import MoCEIR
from uir.archs.transweather_arch import QueryAttention, TransWeather, TransWeatherBase, UpsampleConvolution
from uir.core.memory import peak_bytes
from uir.layers.complexity_experts import WindowSpectrumAttention
from uir.layers.padding import crop
from uir.layers.pointwise import PointwiseConv2d
from uir.layers.pyramid_transformer import ConvFeedForward, ReducedAttention, TokenNorm
from uir.layers.transposed_attention import (
    ChannelNorm,
    CrossTransposedAttention,
    GatedFeedForward,
    TransformerBlock,
    TransposedAttention,
)

FULL: dict[str, dict[str, Any]] = {"TransWeather": {}, "AdaIR": {}, "MoCEIR": {}, "DiffUIR": {}}
SMALL: dict[str, dict[str, Any]] = {
    "TransWeather": {"embed_dims": [32, 64, 160, 256], "depths": [1, 1, 1, 1], "decoder_depth": 1},
    "AdaIR": {"dim": 16, "num_blocks": [1, 1, 1, 2], "num_refinement_blocks": 1},
    "MoCEIR": {"dim": 16, "num_blocks": [1, 1, 1, 2], "num_dec_blocks": [1, 1, 1], "num_refinement_blocks": 1},
    "DiffUIR": {"dim": 32, "dim_mults": [1, 1, 1, 1]},
}


class PlainPointwise(PointwiseConv2d):
    """A 1×1 convolution."""

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight, self.bias)


class PlainChannelNorm(ChannelNorm):
    """Normalises tokens: an image is reshaped to [B, H·W, C], normalised, and reshaped back."""

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.flatten(2).transpose(1, 2).contiguous()
        variance, centre = tokens.var(-1, keepdim=True, unbiased=False), tokens.mean(-1, keepdim=True)
        tokens = (tokens - centre) / torch.sqrt(variance + 1e-5) * self.body.weight + self.body.bias
        return tokens.transpose(1, 2).unflatten(2, x.shape[-2:]).contiguous()


def attend_between_channels(attention: Any, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Attention as in the paper of Restormer."""
    size = queries.shape[-2:]
    queries, keys, values = (
        part.flatten(2).unflatten(1, (attention.heads, -1)).contiguous() for part in (queries, keys, values)
    )
    scores = F.normalize(queries, dim=-1) @ F.normalize(keys, dim=-1).transpose(-2, -1) * attention.temperature
    attended: Tensor = attention.project_out((scores.softmax(-1) @ values).flatten(1, 2).unflatten(2, size))
    return attended


class PlainTransposedAttention(TransposedAttention):
    """Attention between the channels of one map."""

    def forward(self, x: Tensor) -> Tensor:
        return attend_between_channels(self, *self.qkv_dwconv(self.qkv(x)).chunk(3, dim=1))


class PlainCrossAttention(CrossTransposedAttention):
    """Attention between the channels of two maps."""

    def forward(self, x: Tensor, source: Tensor) -> Tensor:
        return attend_between_channels(self, self.q_dwconv(self.q(x)), *self.kv_dwconv(self.kv(source)).chunk(2, dim=1))


class PlainGatedFeedForward(GatedFeedForward):
    """Restormer's feed-forward."""

    def forward(self, x: Tensor) -> Tensor:
        gate, passed = self.dwconv(self.project_in(x)).chunk(2, dim=1)
        return self.project_out(F.gelu(gate) * passed)


class PlainTransformerBlock(TransformerBlock):
    """Restormer's block."""

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        return x + self.ffn(self.norm2(x))


class PlainFrequencyModule(FrequencyModule):
    """AdaIR's module: both bands by Fourier transforms, whatever the mask."""

    def forward(self, image: Tensor, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        features = self.conv1(F.interpolate(image, (height, width), mode="bilinear"))
        shares = torch.sigmoid(self.rate_conv(F.adaptive_avg_pool2d(features, 1)))
        spectrum = torch.fft.fft2(features, norm="forward").roll((height // 2, width // 2), (2, 3))
        mask = torch.zeros_like(features)
        for index in range(len(features)):
            rows = int(height // self.grid * shares[index, 0])
            columns = int(width // self.grid * shares[index, 1])
            mask[index, :, height // 2 - rows : height // 2 + rows, width // 2 - columns : width // 2 + columns] = 1
        low, high = (
            torch.fft.ifft2((spectrum * part).roll((-(height // 2), -(width // 2)), (2, 3)), norm="forward").abs()
            for part in (mask, 1 - mask)
        )
        from_high, from_low = self.channel_cross_l(high, x), self.channel_cross_h(low, x)
        agreed = self.channel_cross_agg(x, self.frequency_refine(from_low, from_high))
        return agreed * self.para1 + x * self.para2


class PlainWindowAttention(WindowSpectrumAttention):
    """MoCE-IR's attention in windows."""

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        window = self.window
        queries = self.q_dwconv(self.q(x))
        keys, values = self.kv_dwconv(self.kv(x)).chunk(2, dim=1)
        spectra = []
        for part in (queries, keys):
            padded = F.pad(part, (0, -width % window, 0, -height % window))
            windows = padded.unflatten(3, (-1, window)).unflatten(2, (-1, window)).transpose(3, 4)
            spectra.append(torch.fft.rfft2(windows.contiguous()))
        mixed = torch.fft.irfft2(spectra[0] * spectra[1], (window, window))
        mixed = crop(mixed.transpose(3, 4).flatten(4, 5).flatten(2, 3), height, width)
        return self.proj_out(values * self.norm(mixed))


class PlainTokenNorm(TokenNorm):
    """Layer normalisation of tokens, as an image again."""

    def forward(self, x: Tensor) -> Tensor:
        tokens = F.layer_norm(x.flatten(2).transpose(1, 2), self.normalized_shape, self.weight, self.bias, self.eps)
        return tokens.transpose(1, 2).unflatten(2, x.shape[-2:]).contiguous()


class PlainReducedAttention(ReducedAttention):
    """TransWeather's attention to fewer keys."""

    def queries(self, tokens: Tensor, count: int) -> Tensor:
        return self.q(tokens).unflatten(2, (self.heads, -1)).permute(0, 2, 1, 3)

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.flatten(2).transpose(1, 2)
        source = tokens
        if self.reduction > 1:
            source = self.norm(self.sr(x)).flatten(2).transpose(1, 2)
        keys, values = self.kv(source).unflatten(2, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)
        scores = (self.queries(tokens, keys.shape[2]) @ keys.transpose(-2, -1)) * keys.shape[-1] ** -0.5
        attended = self.proj((scores.softmax(-1) @ values).transpose(1, 2).flatten(2))
        return attended.transpose(1, 2).unflatten(2, x.shape[-2:])


class PlainQueryAttention(PlainReducedAttention):
    """TransWeather's attention with learned queries."""

    def queries(self, tokens: Tensor, count: int) -> Tensor:
        learned = self.q(self.task_query.expand(len(tokens), -1, -1))
        learned = learned.unflatten(2, (self.heads, -1)).permute(0, 2, 1, 3)
        return F.interpolate(learned, (count, learned.shape[-1]))


class PlainConvFeedForward(ConvFeedForward):
    """TransWeather's feed-forward, on tokens."""

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.fc1(x.flatten(2).transpose(1, 2)).transpose(1, 2).unflatten(2, x.shape[-2:])
        hidden = self.dwconv.dwconv(hidden).flatten(2).transpose(1, 2)
        return self.fc2(F.gelu(hidden)).transpose(1, 2).unflatten(2, x.shape[-2:])


class PlainUpsample(UpsampleConvolution):
    """A transposed convolution."""

    def forward(self, x: Tensor) -> Tensor:
        return F.conv_transpose2d(x, self.conv2d.weight, self.conv2d.bias, stride=2, padding=1)


PLAIN: dict[type[nn.Module], type[nn.Module]] = {
    PointwiseConv2d: PlainPointwise,
    ChannelNorm: PlainChannelNorm,
    TransposedAttention: PlainTransposedAttention,
    CrossTransposedAttention: PlainCrossAttention,
    GatedFeedForward: PlainGatedFeedForward,
    TransformerBlock: PlainTransformerBlock,
    FrequencyModule: PlainFrequencyModule,
    WindowSpectrumAttention: PlainWindowAttention,
    TokenNorm: PlainTokenNorm,
    ReducedAttention: PlainReducedAttention,
    QueryAttention: PlainQueryAttention,
    ConvFeedForward: PlainConvFeedForward,
    UpsampleConvolution: PlainUpsample,
    **PLAIN_TIME_UNET,
}


def plain(network: nn.Module) -> nn.Module:
    """Replace the computation of every part, in place; the parameters stay."""
    for module in network.modules():
        module.__class__ = PLAIN.get(type(module), type(module))
    name, forward = type(network).__name__, _FORWARDS.get(type(network))
    if forward is not None:
        network.__class__ = type(f"Plain{name}", (type(network),), {"forward": forward})
    return network


def _transweather(network: Any, lq: Tensor) -> Tensor:
    features = network.Tenc(lq * 2 - 1 if network._normalise else lq)
    restored: Tensor = torch.tanh(
        network.clean(getattr(network, network._tail)(features, network._decode(features[-1])))
    )
    return restored


def _adair(network: Any, lq: Tensor) -> Tensor:
    level1 = network.encoder_level1(network.patch_embed(lq))
    level2 = network.encoder_level2(network.down1_2(level1))
    level3 = network.encoder_level3(network.down2_3(level2))
    x = network.up4_3(network.fre1(lq, network.latent(network.down3_4(level3))))
    x = network.decoder_level3(network.reduce_chan_level3(torch.cat([x, level3], 1)))
    x = network.up3_2(network.fre2(lq, x))
    x = network.decoder_level2(network.reduce_chan_level2(torch.cat([x, level2], 1)))
    x = network.up2_1(network.fre3(lq, x))
    x = network.refinement(network.decoder_level1(torch.cat([x, level1], 1)))
    restored: Tensor = network.output(x) + lq
    return restored


def _moce_ir(network: Any, lq: Tensor, noise: Tensor | None = None) -> Tensor:
    x, skips = network.patch_embed(lq), []
    for stage, down in network.enc:
        skips.append(stage(x))
        x = down(skips[-1])
    x = network.latent(x)
    embedding = network.freq_embed(x)
    drawn = [None] * network.num_routers if noise is None else list(noise.unbind(1))
    for up, fuse, stage in network.dec:
        x = fuse(torch.cat([up(x), skips.pop()], 1))
        x = stage(x, embedding, [drawn.pop(0) for _ in stage.layers], [])
    restored: Tensor = network.output(network.refinement(x)) + lq
    return restored


_FORWARDS: dict[type[nn.Module], Callable[..., Tensor]] = {
    TransWeather: _transweather,
    TransWeatherBase: _transweather,
    AdaIR: _adair,
    MoCEIR: _moce_ir,
}
NETWORKS: dict[str, type[nn.Module]] = {
    "TransWeather": TransWeather,
    "AdaIR": AdaIR,
    "MoCEIR": MoCEIR,
    "DiffUIR": DiffUIR,
}


def make_pair(name: str, **arguments: Any) -> tuple[nn.Module, nn.Module]:
    """The plain network and uir's, with the same weights."""
    torch.manual_seed(0)
    ours, other = NETWORKS[name](**arguments), NETWORKS[name](**arguments)
    with torch.no_grad():
        for parameter in ours.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.02)
    other.load_state_dict(ours.state_dict(), strict=True)
    return plain(other).eval(), ours.eval()


@torch.no_grad()
def forward_mebibytes(network: nn.Module, lq: Tensor) -> float:
    """The most MiB that the tensors of one forward pass take at once."""
    return peak_bytes(lambda: network(lq)) / 2**20


def main() -> None:
    """Run the cases and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), choices=list(NETWORKS))
    parser.add_argument("--rounds", type=int, default=5, help="timed rounds per case")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--full", action="store_true", help="the published size too")
    options = parser.parse_args()
    table = Table(title="Rivals: plain rendering of the published forward pass, and uir's (median ms)")
    for column in ("network", "step", "batch", "threads", "load", "plain", "uir", "ratio", "MiB", "max difference"):
        table.add_column(column, justify="left" if column in ("network", "step") else "right")
    for threads in options.threads:
        torch.set_num_threads(threads)
        cases = [(name, size) for name in options.networks for size in ("small", "full")[: 1 + options.full]]
        for name, size in cases:
            pair = make_pair(name, **(SMALL if size == "small" else FULL)[name])
            for step, run, batch, side in (("inference", infer, 1, 256), ("training", train_step, 2, 128)):
                lq = torch.rand(batch, 3, side, side)
                with torch.no_grad():
                    difference = (pair[0](lq) - pair[1](lq)).abs().max().item()
                memory = " / ".join(f"{forward_mebibytes(one, lq):.0f}" for one in pair) if step == "inference" else "–"
                before, after = alternate(pair, run, lq, options.rounds)
                table.add_row(
                    f"{name}, {size}", step, f"{batch}×{side}²", str(threads), f"{os.getloadavg()[0]:.1f}",
                    f"{before:.1f}", f"{after:.1f}", f"{before / after:.2f}×", memory,
                    f"{difference:.0e}",
                )  # fmt: skip
    Console(width=130).print(table)


if __name__ == "__main__":
    main()
