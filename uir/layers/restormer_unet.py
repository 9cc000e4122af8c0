"""The four-level U-Net of Restormer, which PromptIR and AdaIR also use (Zamir et al., CVPR 2022, Fig. 2)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from uir.core.state_keys import count_of, factor_of
from uir.layers.features import FeaturePoint
from uir.layers.padding import crop, pad_to_multiple
from uir.layers.pointwise import PointwiseConv2d
from uir.layers.transposed_attention import TransformerBlock

LEVELS = 4


class PatchEmbed(nn.Module):
    """A 3×3 convolution from the image to the first features: [B, image_channels, H, W] to [B, channels, H, W]."""

    def __init__(self, image_channels: int, channels: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(image_channels, channels, 3, padding=1, bias=False)

    def forward(self, image: Tensor) -> Tensor:
        """Embed."""
        embedded: Tensor = self.proj(image)
        return embedded


class Downsample(nn.Module):
    """Half the size, twice the channels, by pixel unshuffling: [B, C, H, W] to [B, 2C, H/2, W/2]."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(channels, channels // 2, 3, padding=1, bias=False), nn.PixelUnshuffle(2))

    def forward(self, x: Tensor) -> Tensor:
        """Shrink."""
        shrunk: Tensor = self.body(x)
        return shrunk


class Upsample(nn.Module):
    """Twice the size, half the channels, by pixel shuffling: [B, C, H, W] to [B, C/2, 2H, 2W]."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(channels, 2 * channels, 3, padding=1, bias=False), nn.PixelShuffle(2))

    def forward(self, x: Tensor) -> Tensor:
        """Enlarge."""
        enlarged: Tensor = self.body(x)
        return enlarged


def _check_before_loading(module: nn.Module, state: dict[str, Tensor], prefix: str, *_: Any) -> None:
    """Before `load_state_dict`: refuse weights that would compute something else here."""
    if isinstance(module, RestormerUNet):
        module.check_state_dict({key[len(prefix) :]: state[key] for key in state if key.startswith(prefix)})


class RestormerUNet(nn.Module):
    """Encoder, bottleneck and decoder of transformer blocks, added to the image. Keys are the authors'.

    Args:
        inp_channels: channels of the input.
        out_channels: channels of the output; equal to the input's, unless `dual_pixel_task`.
        dim: channels at full resolution, even; the next levels have 2, 4 and 8 times as many.
        num_blocks: blocks at each of the four levels, fine to coarse; a decoder level has as many as its encoder's.
        num_refinement_blocks: blocks at full resolution after the decoder.
        heads: attention heads at each level; they divide its channels.
        ffn_expansion_factor: width of the feed-forward, as a multiple of a level's channels.
        bias: whether the convolutions of blocks, 1×1 reductions and output have one.
        LayerNorm_type: `WithBias` or `BiasFree`.
        dual_pixel_task: two views are stacked in the input; the first features are added before the output, and the
            image is not.
        window_size: raises `pad_multiple` to a multiple of it; this has no other effect.
        bottleneck_channels: channels of the output of `_refine_level` at the bottleneck.
        block_options: further arguments of every block.

    Raises:
        ValueError: an argument does not fit.
    """

    scale = 1
    _block: ClassVar[type[nn.Module]] = TransformerBlock
    _stage: ClassVar[type[nn.Sequential]] = nn.Sequential

    def __init__(
        self,
        inp_channels: int,
        out_channels: int,
        dim: int,
        num_blocks: Sequence[int],
        num_refinement_blocks: int,
        heads: Sequence[int],
        ffn_expansion_factor: float,
        bias: bool,
        LayerNorm_type: str,  # noqa: N803
        dual_pixel_task: bool = False,
        window_size: int = 1,
        bottleneck_channels: int | None = None,
        block_options: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self._check(inp_channels, out_channels, dim, num_blocks, heads, dual_pixel_task, window_size)
        self._dim, self._window_size, self._norm = dim, window_size, LayerNorm_type
        options: dict[str, Any] = {
            "expansion": ffn_expansion_factor,
            "bias": bias,
            "norm": LayerNorm_type,
            **(block_options or {}),
        }

        def stage(level: int, count: int, channels: int) -> nn.Sequential:
            return self._stage(*(self._block(channels, heads[level - 1], **options) for _ in range(count)))

        up = 8 * dim if bottleneck_channels is None else bottleneck_channels
        self.patch_embed = PatchEmbed(inp_channels, dim)
        self.encoder_level1 = stage(1, num_blocks[0], dim)
        self.down1_2 = Downsample(dim)
        self.encoder_level2 = stage(2, num_blocks[1], 2 * dim)
        self.down2_3 = Downsample(2 * dim)
        self.encoder_level3 = stage(3, num_blocks[2], 4 * dim)
        self.down3_4 = Downsample(4 * dim)
        self.latent = stage(4, num_blocks[3], 8 * dim)
        self.up4_3 = Upsample(up)
        self.reduce_chan_level3 = PointwiseConv2d(up // 2 + 4 * dim, 4 * dim, bias)
        self.decoder_level3 = stage(3, num_blocks[2], 4 * dim)
        self.up3_2 = Upsample(4 * dim)
        self.reduce_chan_level2 = PointwiseConv2d(4 * dim, 2 * dim, bias)
        self.decoder_level2 = stage(2, num_blocks[1], 2 * dim)
        self.up2_1 = Upsample(2 * dim)
        self.decoder_level1 = stage(1, num_blocks[0], 2 * dim)
        self.refinement = stage(1, num_refinement_blocks, 2 * dim)
        self.skip_conv = PointwiseConv2d(dim, 2 * dim, bias) if dual_pixel_task else None
        self.output = nn.Conv2d(2 * dim, out_channels, 3, padding=1, bias=bias)
        self.register_load_state_dict_pre_hook(_check_before_loading)

    @property
    def adds_input(self) -> bool:
        """Whether the output is the image plus what the network computes."""
        return self.skip_conv is None

    @property
    def pad_multiple(self) -> int:
        """Height and width of a batch should be multiples of this; other sizes are padded by reflection."""
        return math.lcm(2 ** (LEVELS - 1), self._window_size)

    def feature_points(self) -> list[FeaturePoint]:
        """One point after each decoder level, coarse to fine; DCPT classifies these features."""
        widths = {3: 4 * self._dim, 2: 2 * self._dim, 1: 2 * self._dim}
        return [FeaturePoint(f"decoder_level{level}", width, 2 ** (level - 1)) for level, width in widths.items()]

    def encoder_blocks(self) -> list[str]:
        """The blocks of the encoder, without the bottleneck's; masked pre-training masks their output."""
        levels = [f"encoder_level{level}" for level in range(1, LEVELS)]
        return [f"{level}.{i}" for level in levels for i in range(len(getattr(self, level)))]

    def decoder_blocks(self) -> list[str]:
        """The blocks after the encoder: those of the bottleneck, the decoder and the refinement."""
        levels = ["latent", *(f"decoder_level{level}" for level in range(LEVELS - 1, 0, -1)), "refinement"]
        return [f"{level}.{i}" for level in levels for i in range(len(getattr(self, level)))]

    def depths(self) -> list[list[str]]:
        """All modules in groups, from the input to the output; a learning rate may fall from group to group."""
        output = ["output"] if self.skip_conv is None else ["skip_conv", "output"]
        return [
            ["patch_embed"],
            ["encoder_level1", "down1_2"],
            ["encoder_level2", "down2_3"],
            ["encoder_level3", "down3_4"],
            ["latent"],
            ["up4_3", "reduce_chan_level3", "decoder_level3"],
            ["up3_2", "reduce_chan_level2", "decoder_level2"],
            ["up2_1", "decoder_level1"],
            ["refinement"],
            output,
        ]

    def forward(self, lq: Tensor) -> Tensor:
        """Restore a batch.

        Args:
            lq: [B, inp_channels, H, W] in [0, 1]; any H, W.

        Returns:
            [B, out_channels, H, W], not clipped.
        """
        return self._restored(lq)

    def _restored(self, lq: Tensor, *conditions: Tensor) -> Tensor:
        """Restore a batch; every stage also gets the conditions."""
        padded = pad_to_multiple(lq, self.pad_multiple).contiguous(memory_format=torch.channels_last)
        embedded = self.patch_embed(padded)
        level1 = self.encoder_level1(embedded, *conditions)
        level2 = self.encoder_level2(self.down1_2(level1), *conditions)
        level3 = self.encoder_level3(self.down2_3(level2), *conditions)
        x = self.up4_3(self._refine_level(3, self.latent(self.down3_4(level3), *conditions), padded))
        x = self.decoder_level3(self.reduce_chan_level3(torch.cat([x, level3], 1)), *conditions)
        x = self.up3_2(self._refine_level(2, x, padded))
        x = self.decoder_level2(self.reduce_chan_level2(torch.cat([x, level2], 1)), *conditions)
        x = self.up2_1(self._refine_level(1, x, padded))
        x = self.refinement(self.decoder_level1(torch.cat([x, level1], 1), *conditions), *conditions)
        # With two views in one input, neither is the image for a residual.
        x = self.output(x) + padded if self.skip_conv is None else self.output(x + self.skip_conv(embedded))
        return crop(x, *lq.shape[-2:]).contiguous()

    def _refine_level(self, level: int, x: Tensor, image: Tensor) -> Tensor:
        """Change the features of level + 1 before they are enlarged to `level`; here nothing changes.

        Args:
            level: 3, 2 or 1.
            x: the features [B, C, h, w].
            image: the padded input.
        """
        return x

    def check_arch(self, arch: Mapping[str, Any]) -> None:
        """Refuse weights of DCPT's variant in the paper's network, and the reverse; the keys are the same.

        Raises:
            ValueError: the network of the card is the other one.
        """
        trained, own = str(arch.get("type", "")).removeprefix("uir:"), type(self).__name__
        if trained != own and {trained, own} == {"Restormer", "RestormerDCPT"}:
            raise ValueError(
                f"{own}: these weights were trained as {trained}, which has another attention; build the network with "
                f"type: {trained}"
            )

    def check_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Refuse weights that were trained with the other kind of norm.

        Raises:
            ValueError: loading them would drop the biases of the norms, or leave these biases random.
        """
        keys = [key.partition("norm1.body.")[2] for key in state]
        if "weight" not in keys:
            return
        trained_norm = "WithBias" if "bias" in keys else "BiasFree"
        if trained_norm != self._norm:
            raise ValueError(
                f"{type(self).__name__}: these weights were trained with LayerNorm_type: {trained_norm}; the network "
                f"has {self._norm}, which computes something else; build it with LayerNorm_type: {trained_norm}"
            )

    def _check(
        self,
        inp_channels: int,
        out_channels: int,
        dim: int,
        num_blocks: Sequence[int],
        heads: Sequence[int],
        dual_pixel_task: bool,
        window_size: int,
    ) -> None:
        """Raise ValueError if the sizes do not fit each other."""
        name = type(self).__name__
        if dim < 2 or dim % 2:
            raise ValueError(f"{name}.dim: expected an even number of channels, got {dim}")
        for key, numbers in (("num_blocks", num_blocks), ("heads", heads)):
            if len(numbers) != LEVELS or min(numbers) < 1:
                raise ValueError(f"{name}.{key}: expected {LEVELS} numbers of at least 1, got {list(numbers)}")
        if window_size < 1:
            raise ValueError(f"{name}.window_size: expected at least 1, got {window_size}")
        if not dual_pixel_task and inp_channels != out_channels:
            raise ValueError(
                f"{name}: the input is added to the output, so out_channels must be inp_channels ({inp_channels}), "
                f"got {out_channels}; two views in one input need dual_pixel_task: true"
            )


def sizes_of(state: Mapping[str, Tensor]) -> dict[str, Any] | None:
    """The arguments of the U-Net that weights under the authors' keys belong to; None if they are another network's.

    Raises:
        ValueError: no factor gives the widths of the feed-forwards.
    """
    needed = {"patch_embed.proj.weight", "latent.0.attn.temperature", "refinement.0.attn.temperature", "output.weight"}
    if not needed <= set(state):
        return None
    levels = ["encoder_level1", "encoder_level2", "encoder_level3", "latent"]
    dim, channels = state["patch_embed.proj.weight"].shape[:2]
    hidden = {
        dim * 2**level: state[f"{name}.0.ffn.project_in.weight"].shape[0] // 2 for level, name in enumerate(levels)
    }
    factor = factor_of(hidden, 2.66)
    if factor is None:
        raise ValueError(f"ffn_expansion_factor: no factor gives the widths of the feed-forwards, {hidden}")
    return {
        "inp_channels": channels,
        "out_channels": state["output.weight"].shape[0],
        "dim": dim,
        "num_blocks": [count_of(state, name) for name in levels],
        "num_refinement_blocks": count_of(state, "refinement"),
        "heads": [state[f"{name}.0.attn.temperature"].shape[0] for name in levels],
        "ffn_expansion_factor": factor,
        "bias": "output.bias" in state,
        "LayerNorm_type": "WithBias" if "latent.0.norm1.body.bias" in state else "BiasFree",
    }
