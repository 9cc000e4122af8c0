"""TransWeather: Transformer-based Restoration of Images Degraded by Adverse Weather (Valanarasu et al., CVPR 2022)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from uir.layers.features import FeaturePoint
from uir.layers.padding import crop, pad_to_multiple
from uir.layers.pyramid_transformer import OverlapPatchEmbed, PyramidBlock, ReducedAttention, TokenNorm
from uir.registry import ARCH_REGISTRY

STAGES = 4
# Layers that the published networks contain but never run.
_UNUSED = ("Tenc.mini_patch_embed4.", "convtail.conv_output.", "convproj.conv_output.")


class QueryAttention(ReducedAttention):
    """Attention whose queries are learned, and do not depend on the image ("weather type queries", paper Eq. 3).

    Args:
        channels, heads: as in `ReducedAttention`.
        queries: number of learned queries; they are repeated for neighbouring pixels.
    """

    def __init__(self, channels: int, heads: int, queries: int) -> None:
        super().__init__(channels, heads)
        self.task_query = nn.Parameter(torch.randn(1, queries, channels))

    def forward(self, x: Tensor) -> Tensor:
        """Attend; pixel n of N has query ⌊n · queries / N⌋."""
        keys, values = self._keys_and_values(x)
        learned = self.q(self.task_query).unflatten(2, (self.heads, -1)).transpose(1, 2)
        queries = F.interpolate(learned, keys.shape[2:], mode="nearest").expand(len(x), -1, -1, -1)
        return self._attend(queries, keys, values, x)


class Encoder(nn.Module):
    """Four stages of transformer blocks at 1/4, 1/8, 1/16 and 1/32 of the size, each with a block at half its size.

    Args:
        embed_dims, depths, num_heads, sr_ratios, mlp_ratio, drop_path_rate: as in `TransWeather`.
    """

    def __init__(
        self,
        embed_dims: Sequence[int],
        depths: Sequence[int],
        num_heads: Sequence[int],
        sr_ratios: Sequence[int],
        mlp_ratio: float,
        drop_path_rate: float,
    ) -> None:
        super().__init__()
        self.depths = tuple(depths)
        rates = [rate.item() for rate in torch.linspace(0, drop_path_rate, sum(depths), device="cpu")]

        def block(channels: int, stage: int, rate: float) -> PyramidBlock:
            attention = ReducedAttention(channels, num_heads[stage], sr_ratios[stage])
            return PyramidBlock(attention, channels, mlp_ratio, rate)

        first = 0
        for stage in range(STAGES):
            name, channels, source = stage + 1, embed_dims[stage], (3, *embed_dims)[stage]
            embed = OverlapPatchEmbed(source, channels, *((7, 4) if stage == 0 else (3, 2)))
            own = rates[first : first + depths[stage]]
            first += depths[stage]
            self.add_module(f"patch_embed{name}", embed)
            self.add_module(f"block{name}", nn.Sequential(*(block(channels, stage, rate) for rate in own)))
            self.add_module(f"norm{name}", TokenNorm(channels, eps=1e-6))
            if name == STAGES:
                continue
            # The published half-size blocks have these heads: those of the stages 1, 2 and 2.
            below, heads = embed_dims[name], num_heads[min(stage, 1)]
            inner = PyramidBlock(ReducedAttention(below, heads, sr_ratios[stage]), below, mlp_ratio, own[0])
            self.add_module(f"mini_patch_embed{name}", OverlapPatchEmbed(channels, below))
            self.add_module(f"patch_block{name}", nn.Sequential(inner))
            self.add_module(f"pnorm{name}", TokenNorm(below, eps=1e-6))

    def forward(self, image: Tensor) -> list[Tensor]:
        """[B, 3, H, W] to the features of the four stages, fine to coarse."""
        features: list[Tensor] = []
        x, half = image, None
        for name in range(1, STAGES + 1):
            x = getattr(self, f"patch_embed{name}")(x)
            x = x if half is None else x + half
            if name < STAGES:
                half = getattr(self, f"mini_patch_embed{name}")(x)
                half = getattr(self, f"pnorm{name}")(getattr(self, f"patch_block{name}")(half))
            x = getattr(self, f"norm{name}")(getattr(self, f"block{name}")(x))
            features.append(x)
        return features


class Decoder(nn.Module):
    """Blocks at 1/64 of the size whose queries are learned: [B, C, H, W] to [B, C, ⌈H/2⌉, ⌈W/2⌉].

    Args:
        channels: C.
        depth, heads, mlp_ratio, queries: of the blocks.
    """

    def __init__(self, channels: int, depth: int, heads: int, mlp_ratio: float, queries: int) -> None:
        super().__init__()
        self.patch_embed1 = OverlapPatchEmbed(channels, channels)
        blocks = (PyramidBlock(QueryAttention(channels, heads, queries), channels, mlp_ratio) for _ in range(depth))
        self.block1 = nn.Sequential(*blocks)
        self.norm1 = TokenNorm(channels, eps=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        """Decode."""
        decoded: Tensor = self.norm1(self.block1(self.patch_embed1(x)))
        return decoded


class _Held(nn.Module):
    """A convolution under the authors' key `conv2d`."""

    def __init__(self, convolution: nn.Module) -> None:
        super().__init__()
        self.conv2d = convolution

    def forward(self, x: Tensor) -> Tensor:
        """Convolve."""
        mapped: Tensor = self.conv2d(x)
        return mapped


class ResidualBlock(nn.Module):
    """x + 0.1 · conv(ReLU(conv x)); keeps [B, C, H, W]."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = _Held(nn.Conv2d(channels, channels, 3, padding=1))
        self.conv2 = _Held(nn.Conv2d(channels, channels, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        """Refine."""
        return torch.add(x, self.conv2(F.relu(self.conv1(x))), alpha=0.1)


class UpsampleConvolution(nn.Module):
    """A transposed 4×4 convolution that doubles the size: [B, in, H, W] to [B, out, 2H, 2W]."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.conv2d = nn.ConvTranspose2d(in_channels, channels, 4, 2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Enlarge."""
        enlarged: Tensor = self.conv2d(x)
        return enlarged


class Tail(nn.Module):
    """From the features of the stages to 8 channels at full size, by transposed convolutions.

    Args:
        embed_dims: channels of the stages, fine to coarse.
        has_decoder: whether it starts at the decoder's output, at 1/64 of the size, instead of the last stage's.
    """

    def __init__(self, embed_dims: Sequence[int], has_decoder: bool) -> None:
        super().__init__()
        one, two, three, four = embed_dims
        if has_decoder:
            self.convd32x = UpsampleConvolution(four, four)
        self.convd16x = UpsampleConvolution(four, three)
        self.dense_4 = nn.Sequential(ResidualBlock(three))
        self.convd8x = UpsampleConvolution(three, two)
        self.dense_3 = nn.Sequential(ResidualBlock(two))
        self.convd4x = UpsampleConvolution(two, one)
        self.dense_2 = nn.Sequential(ResidualBlock(one))
        self.convd2x = UpsampleConvolution(one, 16)
        self.dense_1 = nn.Sequential(ResidualBlock(16))
        self.convd1x = UpsampleConvolution(16, 8)

    def forward(self, features: Sequence[Tensor], decoded: Tensor | None) -> Tensor:
        """The stages' features, fine to coarse, and the decoder's output."""
        one, two, three, x = features
        if decoded is not None:
            x = crop(self.convd32x(decoded), *x.shape[-2:]) + x
        x = self.dense_4(crop(self.convd16x(x), *three.shape[-2:])) + three
        x = self.dense_3(self.convd8x(x)) + two
        x = self.dense_2(self.convd4x(x)) + one
        full: Tensor = self.convd1x(self.dense_1(self.convd2x(x)))
        return full


class _TransWeatherNet(nn.Module):
    """What the paper's network and its version for one kind of weather share."""

    scale = 1
    pad_multiple = 16
    _tail: str

    def __init__(
        self,
        embed_dims: Sequence[int],
        depths: Sequence[int],
        num_heads: Sequence[int],
        sr_ratios: Sequence[int],
        mlp_ratio: float,
        drop_path_rate: float,
        normalise: bool,
    ) -> None:
        super().__init__()
        sizes = {"embed_dims": embed_dims, "depths": depths, "num_heads": num_heads, "sr_ratios": sr_ratios}
        for key, numbers in sizes.items():
            if len(numbers) != STAGES or min(numbers) < 1:
                raise ValueError(
                    f"{type(self).__name__}.{key}: expected {STAGES} numbers of at least 1, got {list(numbers)}"
                )
        self._dims, self._normalise = tuple(embed_dims), normalise
        self.Tenc = Encoder(embed_dims, depths, num_heads, sr_ratios, mlp_ratio, drop_path_rate)
        self.add_module(self._tail, Tail(embed_dims, has_decoder=self._tail == "convtail"))
        self.clean = _Held(nn.Conv2d(8, 3, 3, padding=1))
        self.Tenc.apply(_initialise)

    def feature_points(self) -> list[FeaturePoint]:
        """One point after each residual block of the tail, coarse to fine."""
        widths = (*self._dims[2::-1], 16)
        names = (f"{self._tail}.dense_{level}" for level in (4, 3, 2, 1))
        return [
            FeaturePoint(name, width, stride) for name, width, stride in zip(names, widths, (16, 8, 4, 2), strict=True)
        ]

    def encoder_blocks(self) -> list[str]:
        """The blocks of the stages; masked pre-training masks their output."""
        counts = enumerate(self.Tenc.depths, 1)
        return [f"Tenc.block{stage}.{index}" for stage, count in counts for index in range(count)]

    def decoder_blocks(self) -> list[str]:
        """The residual blocks of the tail."""
        return [point.name for point in self.feature_points()]

    def depths(self) -> list[list[str]]:
        """All modules in groups, from the input to the output; a learning rate may fall from group to group."""
        stages = []
        for name in range(1, STAGES + 1):
            parts = ("patch_embed", "block", "norm", "mini_patch_embed", "patch_block", "pnorm")
            stages.append([f"Tenc.{part}{name}" for part in parts if hasattr(self.Tenc, f"{part}{name}")])
        return [*stages, *self._decoder_depths(), [self._tail], ["clean"]]

    def _decoder_depths(self) -> list[list[str]]:
        return []

    def _decode(self, x: Tensor) -> Tensor | None:
        """The decoder's output for the features of the last stage; here there is none."""
        return None

    def forward(self, lq: Tensor) -> Tensor:
        """Restore a batch.

        Args:
            lq: [B, 3, H, W] in [0, 1]; any H, W (reflected to multiples of 16).

        Returns:
            [B, 3, H, W] in (-1, 1): the authors' output is a hyperbolic tangent, and the targets are in [0, 1].
        """
        padded = pad_to_multiple(lq, self.pad_multiple).contiguous(memory_format=torch.channels_last)
        features = self.Tenc(padded * 2 - 1 if self._normalise else padded)
        full = getattr(self, self._tail)(features, self._decode(features[-1]))
        restored = torch.tanh(self.clean(full))
        return crop(restored, *lq.shape[-2:]).contiguous()

    @staticmethod
    def convert_state_dict(state: dict[str, Tensor]) -> dict[str, Tensor]:
        """The keys of published checkpoints without DataParallel's `module.` and the layers that never run."""
        state = {key.removeprefix("module."): value for key, value in state.items()}
        return {key: value for key, value in state.items() if not key.startswith(_UNUSED)}


def _is_of(state: Mapping[str, Tensor], cls: type[_TransWeatherNet]) -> bool:
    """Whether weights are those of one of the networks.

    Raises:
        ValueError: they are, but not of its published sizes, so that they do not show the heads.
    """
    state = cls.convert_state_dict(dict(state))
    if "Tenc.patch_embed1.proj.weight" not in state or f"{cls._tail}.convd16x.conv2d.weight" not in state:
        return False
    with torch.device("meta"):
        published: nn.Module = cls()  # type: ignore[call-arg]  # the networks themselves have defaults
    shapes = {key: value.shape for key, value in published.state_dict().items()}
    if {key: value.shape for key, value in state.items()} != shapes:
        raise ValueError(f"{cls.__name__}: weights of other sizes than the published ones do not show num_heads")
    return True


def _arrange(module: nn.Module) -> None:
    """Keep the weights of dense convolutions in channels-last order, so that no call has to copy them."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d) and module.groups == 1:
        module.weight.data = module.weight.data.contiguous(memory_format=torch.channels_last)


def _initialise(module: nn.Module) -> None:
    """As pyramid transformers start: small normal linear layers, convolutions by their fan-out."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        nn.init.zeros_(module.bias)
    elif isinstance(module, nn.Conv2d):
        fan_out = module.weight[0, 0].numel() * module.out_channels // module.groups
        nn.init.normal_(module.weight, std=math.sqrt(2 / fan_out))
        if module.bias is not None:
            nn.init.zeros_(module.bias)


@ARCH_REGISTRY.register()
class TransWeather(_TransWeatherNet):
    """The paper's network for several kinds of weather. Input and output [B, 3, H, W]; any H, W.

    Parameter names are the authors', so their checkpoints load with `strict=True`, without the layers that never run.
    The authors fix all sizes; the defaults are theirs.

    Args:
        embed_dims: channels of the four stages, fine to coarse.
        depths: blocks of the stages.
        num_heads: attention heads of the stages.
        sr_ratios: side of the squares of pixels that give one key of the attention, of each stage.
        mlp_ratio: width of the feed-forward of the stages, as a multiple of their channels.
        drop_path_rate: stochastic depth of the last block; it grows linearly from the first one's 0.
        decoder_depth: blocks of the decoder.
        decoder_heads: their attention heads.
        decoder_mlp_ratio: the width of their feed-forward, as a multiple of the channels.
        num_queries: learned queries of the decoder ("weather type queries").
        normalise: bring images from [0, 1] to [-1, 1] first, as the authors' data loader does.

    Raises:
        ValueError: an argument does not fit.
    """

    _tail = "convtail"

    def __init__(
        self,
        embed_dims: Sequence[int] = (64, 128, 320, 512),
        depths: Sequence[int] = (2, 2, 2, 2),
        num_heads: Sequence[int] = (1, 2, 4, 4),
        sr_ratios: Sequence[int] = (4, 2, 2, 1),
        mlp_ratio: float = 2.0,
        drop_path_rate: float = 0.1,
        decoder_depth: int = 3,
        decoder_heads: int = 8,
        decoder_mlp_ratio: float = 4.0,
        num_queries: int = 48,
        normalise: bool = True,
    ) -> None:
        super().__init__(embed_dims, depths, num_heads, sr_ratios, mlp_ratio, drop_path_rate, normalise)
        if decoder_depth < 1 or num_queries < 1:
            raise ValueError(
                f"TransWeather: decoder_depth and num_queries must be at least 1, got {decoder_depth} and {num_queries}"
            )
        self.Tdec = Decoder(embed_dims[-1], decoder_depth, decoder_heads, decoder_mlp_ratio, num_queries)
        self.Tdec.apply(_initialise)
        self.apply(_arrange)

    def _decoder_depths(self) -> list[list[str]]:
        return [["Tdec"]]

    def _decode(self, x: Tensor) -> Tensor | None:
        decoded: Tensor = self.Tdec(x)
        return decoded

    @staticmethod
    def arch_of(state: Mapping[str, Tensor]) -> dict[str, Any] | None:
        """The network of published weights, whose sizes are the defaults; None if they are another's.

        Raises:
            ValueError: they have other sizes, so that they do not show the heads.
        """
        return {"type": "TransWeather"} if _is_of(state, TransWeather) else None


@ARCH_REGISTRY.register()
class TransWeatherBase(_TransWeatherNet):
    """The authors' `Transweather_base`: without the decoder of queries, trained for one kind of weather at a time.

    Later papers list this network's 21.9 million parameters as TransWeather's; the paper's network has 38.1 million.

    Args:
        embed_dims, depths, num_heads, sr_ratios, mlp_ratio, drop_path_rate, normalise: as in `TransWeather`.

    Raises:
        ValueError: an argument does not fit.
    """

    _tail = "convproj"

    def __init__(
        self,
        embed_dims: Sequence[int] = (64, 128, 320, 512),
        depths: Sequence[int] = (2, 2, 2, 2),
        num_heads: Sequence[int] = (1, 2, 4, 4),
        sr_ratios: Sequence[int] = (4, 2, 2, 1),
        mlp_ratio: float = 2.0,
        drop_path_rate: float = 0.1,
        normalise: bool = True,
    ) -> None:
        super().__init__(embed_dims, depths, num_heads, sr_ratios, mlp_ratio, drop_path_rate, normalise)
        self.apply(_arrange)

    @staticmethod
    def arch_of(state: Mapping[str, Tensor]) -> dict[str, Any] | None:
        """The network of published weights, whose sizes are the defaults; None if they are another's.

        Raises:
            ValueError: they have other sizes, so that they do not show the heads.
        """
        return {"type": "TransWeatherBase"} if _is_of(state, TransWeatherBase) else None
