"""SwinIR: Image Restoration Using Swin Transformer (Liang et al., ICCV workshops 2021), and the variant of DCPT."""

from __future__ import annotations

import math
import re
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from uir.core.state_keys import count_of
from uir.layers.features import FeaturePoint
from uir.layers.padding import crop, pad_to_multiple
from uir.layers.swin import BasicLayer, SwinTransformerBlock
from uir.layers.upsampling import run_linear_tail
from uir.layers.windows import WindowLayout, relative_position_index, shifted_window_mask
from uir.registry import ARCH_REGISTRY

_RGB_MEAN = (0.4488, 0.4371, 0.4040)  # of DIV2K
_TABLE = ".attn.relative_position_bias_table"
_MASK = ".attn_mask"
_DERIVED = (_MASK, ".relative_position_index")  # published buffers that follow from the sizes
_SHUFFLE = re.compile(r"upsample\.\d+\.weight$")
_DCPT = re.compile(r"(encode_layers\.|decode_layers)\d+\.")


class RSTB(nn.Module):
    """Residual Swin Transformer block (paper Fig. 2a). Tokens [B, H·W, C] to the same shape.

    Args:
        channels: C.
        group: its transformer blocks.
        resi_connection: the convolution after them, `1conv` or `3conv`.
    """

    def __init__(self, channels: int, group: BasicLayer, resi_connection: str) -> None:
        super().__init__()
        self.residual_group = group
        self.conv = _residual_conv(channels, resi_connection)

    def forward(self, tokens: Tensor, height: int, width: int, layouts: tuple[WindowLayout, WindowLayout]) -> Tensor:
        """The blocks and the convolution, added to the input; `layouts` of the regular and of the shifted windows."""
        deep = self.residual_group(tokens, layouts)
        return tokens + _to_tokens(self.conv(_to_map(deep, height, width)))


def _to_map(tokens: Tensor, height: int, width: int) -> Tensor:
    """[B, H·W, C] to [B, C, H, W], in channels-last order without a copy."""
    return tokens.unflatten(1, (height, width)).permute(0, 3, 1, 2)


def _to_tokens(x: Tensor) -> Tensor:
    """[B, C, H, W] to [B, H·W, C]; there is no copy if the map is in channels-last order."""
    return x.flatten(2).transpose(1, 2)


def _residual_conv(channels: int, kind: str) -> nn.Module:
    if kind == "1conv":
        return nn.Conv2d(channels, channels, 3, padding=1)
    if kind != "3conv":
        raise ValueError(f"SwinIR.resi_connection: expected 1conv or 3conv, got {kind!r}")
    return nn.Sequential(
        nn.Conv2d(channels, channels // 4, 3, padding=1),
        nn.LeakyReLU(0.2),
        nn.Conv2d(channels // 4, channels // 4, 1),
        nn.LeakyReLU(0.2),
        nn.Conv2d(channels // 4, channels, 3, padding=1),
    )


def _shuffle(channels: int, out_channels: int, factor: int) -> tuple[nn.Module, nn.Module]:
    return nn.Conv2d(channels, out_channels * factor**2, 3, padding=1), nn.PixelShuffle(factor)


def _init_linear(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def _prepare_loading(module: nn.Module, state: dict[str, Tensor], prefix: str, *_: Any) -> None:
    """Before `load_state_dict`: refuse weights that do not fit, and drop buffers that follow from the sizes."""
    own = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
    if isinstance(module, SwinIR):
        module.check_state_dict(own)
    for key in own:
        if key.endswith(_DERIVED):
            del state[prefix + key]


def _check_sizes(
    img_size: Sequence[int],
    patch_size: int,
    in_chans: int,
    embed_dim: int,
    depths: Sequence[int],
    num_heads: Sequence[int],
    window_size: int,
    upscale: int,
) -> None:
    """Raise ValueError if a size is out of range, or does not fit the others."""
    if len(img_size) != 2 or min(img_size) < 1:
        raise ValueError(f"SwinIR.img_size: expected one side or [height, width], got {list(img_size)}")
    if patch_size != 1:
        raise ValueError(f"SwinIR.patch_size: expected 1, a token for each pixel, got {patch_size}")
    for key, number in {"in_chans": in_chans, "window_size": window_size, "upscale": upscale}.items():
        if number < 1:
            raise ValueError(f"SwinIR.{key}: expected at least 1, got {number}")
    if not depths or len(depths) != len(num_heads) or min(*depths, *num_heads) < 1:
        raise ValueError(
            f"SwinIR: depths and num_heads must have one number of at least 1 for each RSTB, got {list(depths)} and "
            f"{list(num_heads)}"
        )
    if embed_dim < 1 or any(embed_dim % heads for heads in num_heads):
        raise ValueError(
            f"SwinIR.embed_dim: every number of num_heads {list(num_heads)} must divide it, got {embed_dim}"
        )


@ARCH_REGISTRY.register()
class SwinIR(nn.Module):
    """SwinIR. Input [B, in_chans, H, W], output [B, in_chans, H·scale, W·scale]; any H, W (reflected to whole windows).

    Argument and parameter names are the authors', so their checkpoints load with `strict=True`, whatever their
    `img_size` was: masks and indices follow from the sizes and are no part of `state_dict()` here; files hold them
    (`published_state_dict`). DCPT's SwinIR is this class with `rel_pos_bias: false, attn_mask: false`; its checkpoints
    load too.

    Args:
        img_size: side, or height and width, of the training crops; it has an effect only for `ape` and if it is not
            larger than a window.
        patch_size: 1, as in all published networks.
        in_chans: channels of the image.
        embed_dim: C, the number of channels inside.
        depths: transformer blocks in each RSTB.
        num_heads: attention heads in each RSTB; they divide C.
        window_size: side of a window in pixels.
        mlp_ratio: width of the perceptrons, as a multiple of C.
        qkv_bias: whether queries, keys and values have a bias.
        qk_scale: factor of the attention's logits; default (C / heads)^-0.5.
        drop_rate: dropout after the embedding and the linear layers.
        attn_drop_rate: dropout of the attention's weights.
        drop_path_rate: stochastic depth of the last block; it grows linearly from 0 at the first.
        ape: add a learned value for every position; images must then have `img_size`.
        patch_norm: normalise the embedding.
        use_checkpoint: compute activations again in the backward pass: slower, less memory.
        upscale: factor of the upsampler.
        img_range: the factor by which images in [0, 1] are multiplied inside; 255 for JPEG.
        upsampler: `pixelshuffle` (classical; 2, 3, 4, 8), `pixelshuffledirect` (lightweight; any), `nearest+conv`
            (real-world; 2, 4, 8), or nothing: the output has the input's size, and the network learns a residual.
        resi_connection: the convolution of a residual, `1conv` or `3conv`.
        num_feat: channels between `pixelshuffle` or `nearest+conv` and the body.
        rel_pos_bias: whether the attention has tables of relative positions; DCPT's has none.
        attn_mask: whether shifted windows mask the pairs that the shift makes neighbours; DCPT's do not.

    Raises:
        ValueError: an argument is out of range, or does not fit the others.
    """

    pads_itself = True
    mean: Tensor

    def __init__(
        self,
        img_size: int | Sequence[int] = 64,
        patch_size: int = 1,
        in_chans: int = 3,
        embed_dim: int = 96,
        depths: Sequence[int] = (6, 6, 6, 6),
        num_heads: Sequence[int] = (6, 6, 6, 6),
        window_size: int = 7,
        mlp_ratio: float = 4.0,
        qkv_bias: bool = True,
        qk_scale: float | None = None,
        drop_rate: float = 0.0,
        attn_drop_rate: float = 0.0,
        drop_path_rate: float = 0.1,
        ape: bool = False,
        patch_norm: bool = True,
        use_checkpoint: bool = False,
        upscale: int = 2,
        img_range: float = 1.0,
        upsampler: str | None = "",
        resi_connection: str = "1conv",
        num_feat: int = 64,
        rel_pos_bias: bool = True,
        attn_mask: bool = True,
    ) -> None:
        super().__init__()
        sides = [img_size, img_size] if isinstance(img_size, int) else list(img_size)
        _check_sizes(sides, patch_size, in_chans, embed_dim, depths, num_heads, window_size, upscale)
        self.embed_dim, self.img_range, self.crop_size = embed_dim, img_range, (sides[0], sides[1])
        self.window, self.shift = window_size, window_size // 2
        if min(sides) <= window_size:
            self.window, self.shift = min(sides), 0
        self.rel_pos_bias, self.attn_mask, self.upsampler = rel_pos_bias, attn_mask, upsampler or ""
        self.scale = upscale if upsampler else 1
        mean = torch.tensor(_RGB_MEAN if in_chans == 3 else [0.0] * in_chans).view(1, -1, 1, 1)
        self.register_buffer("mean", mean, persistent=False)

        self.conv_first = nn.Conv2d(in_chans, embed_dim, 3, padding=1)
        self.patch_embed = nn.Sequential(OrderedDict(norm=nn.LayerNorm(embed_dim)) if patch_norm else OrderedDict())
        self.absolute_pos_embed: nn.Parameter | None = None
        if ape:
            self.absolute_pos_embed = nn.Parameter(torch.empty(1, sides[0] * sides[1], embed_dim))
            nn.init.trunc_normal_(self.absolute_pos_embed, std=0.02)
        self.pos_drop = nn.Dropout(drop_rate)
        self.layers = nn.ModuleList()
        block = 0
        for depth, heads in zip(depths, num_heads, strict=True):
            blocks = []
            for index in range(depth):
                rate = drop_path_rate * block / max(sum(depths) - 1, 1)
                blocks.append(
                    SwinTransformerBlock(
                        embed_dim, heads, self.window, bool(index % 2), mlp_ratio, drop_rate, rate,
                        qkv_bias=qkv_bias, qk_scale=qk_scale, rel_pos_bias=rel_pos_bias, attn_drop=attn_drop_rate,
                    )
                )  # fmt: skip
                block += 1
            self.layers.append(RSTB(embed_dim, BasicLayer(blocks, use_checkpoint), resi_connection))
        self.norm = nn.LayerNorm(embed_dim)
        self.conv_after_body = _residual_conv(embed_dim, resi_connection)
        self._add_upsampler(embed_dim, num_feat, in_chans, upscale)
        self.apply(_init_linear)
        self.register_load_state_dict_pre_hook(_prepare_loading)

    def _add_upsampler(self, channels: int, num_feat: int, out_channels: int, upscale: int) -> None:
        """Add the layers after the body, under their names in published checkpoints."""
        stages = upscale.bit_length() - 1
        is_power_of_two = upscale == 2**stages
        if self.upsampler in ("pixelshuffle", "nearest+conv"):
            self.conv_before_upsample = nn.Sequential(nn.Conv2d(channels, num_feat, 3, padding=1), nn.LeakyReLU())
        if self.upsampler == "pixelshuffle" and (is_power_of_two or upscale == 3):
            factors = [2] * stages if is_power_of_two else [3]
            self.upsample = nn.Sequential(
                *(layer for factor in factors for layer in _shuffle(num_feat, num_feat, factor))
            )
        elif self.upsampler == "pixelshuffledirect":
            self.upsample = nn.Sequential(*_shuffle(channels, out_channels, upscale))
            return
        elif self.upsampler == "nearest+conv" and is_power_of_two:
            for stage in range(stages):
                self.add_module(f"conv_up{stage + 1}", nn.Conv2d(num_feat, num_feat, 3, padding=1))
            self.conv_hr = nn.Conv2d(num_feat, num_feat, 3, padding=1)
        elif self.upsampler:
            raise ValueError(
                f"SwinIR: expected an upsampler of pixelshuffle (upscale 1, 2, 3, 4, 8), pixelshuffledirect (any), "
                f"nearest+conv (1, 2, 4, 8) or '', got {self.upsampler!r} with upscale {upscale}"
            )
        self.conv_last = nn.Conv2d(num_feat if self.upsampler else channels, out_channels, 3, padding=1)

    @property
    def adds_input(self) -> bool:
        """Whether the output is the image plus what the network computes."""
        return not self.upsampler

    @property
    def pad_multiple(self) -> int:
        """Height and width of a batch are best multiples of this, a window; others are reflected up to it."""
        return self.window

    def feature_points(self) -> list[FeaturePoint]:
        """One point after each RSTB of the second half; DCPT classifies these features."""
        count = len(self.layers)
        return [FeaturePoint(f"layers.{i}", self.embed_dim, 1, "tokens") for i in range(count // 2, count)]

    def encoder_blocks(self) -> list[str]:
        """The RSTBs of the first half (DCPT's encoder) and their blocks; masked pre-training masks their output."""
        firsts = [f"layers.{i}" for i in range(len(self.layers) // 2)]
        return [name for first in firsts for name in (f"{first}.residual_group.blocks", first)]

    def decoder_blocks(self) -> list[str]:
        """The RSTBs of the second half and their blocks, and the norm and convolution after them."""
        lasts = [f"layers.{i}" for i in range(len(self.layers) // 2, len(self.layers))]
        return [*(name for last in lasts for name in (f"{last}.residual_group.blocks", last)), "conv_after_body"]

    def depths(self) -> list[list[str]]:
        """All modules in groups, from the input to the output; a learning rate may fall from group to group."""
        first = ["absolute_pos_embed", "conv_first", "patch_embed"]
        first = first if self.absolute_pos_embed is not None else first[1:]
        first = first if len(self.patch_embed) else first[:-1]
        names = ("conv_before_upsample", "upsample", "conv_up1", "conv_up2", "conv_up3", "conv_hr", "conv_last")
        output = [name for name in names if hasattr(self, name)]
        return [first, *([f"layers.{i}"] for i in range(len(self.layers))), ["norm", "conv_after_body"], output]

    def forward(self, lq: Tensor) -> Tensor:
        """Restore a batch.

        Args:
            lq: [B, in_chans, H, W] in [0, 1]; any H, W.

        Returns:
            [B, in_chans, H·scale, W·scale], not clipped.

        Raises:
            ValueError: with `ape`, the padded image does not have `img_size`.
        """
        padded = pad_to_multiple(lq, self.window).contiguous(memory_format=torch.channels_last)
        image = (padded - self.mean) * self.img_range
        shallow = self.conv_first(image)
        deep = self._reconstruct(self.conv_after_body(self._body(shallow)) + shallow)
        restored = (deep if self.upsampler else image + deep) / self.img_range + self.mean
        return crop(restored, lq.shape[-2] * self.scale, lq.shape[-1] * self.scale).contiguous()

    def _body(self, shallow: Tensor) -> Tensor:
        """The deep features of a map [B, C, H, W], in its shape."""
        height, width = shallow.shape[-2:]
        tokens = self.patch_embed(_to_tokens(shallow))
        if self.absolute_pos_embed is not None:
            if (height, width) != self.crop_size:
                raise ValueError(
                    f"SwinIR: with ape only images of img_size {list(self.crop_size)} can be restored, got one that is "
                    f"padded to {[height, width]}"
                )
            tokens = tokens + self.absolute_pos_embed
        tokens = self.pos_drop(tokens)
        shape = (len(tokens), height, width)
        layouts = (
            WindowLayout.of(shape, self.window, 0, False, tokens),
            WindowLayout.of(shape, self.window, self.shift, self.attn_mask, tokens),
        )
        for layer in self.layers:
            tokens = layer(tokens, height, width, layouts)
        return _to_map(self.norm(tokens), height, width)

    def _reconstruct(self, deep: Tensor) -> Tensor:
        """The image, or the residual, from the deep features."""
        if self.upsampler == "pixelshuffledirect":
            return self.upsample(deep)
        if self.upsampler == "pixelshuffle":
            tail = nn.Sequential(self.upsample, self.conv_last)
            return run_linear_tail(tail, self.conv_before_upsample(deep), self.scale)
        if self.upsampler == "nearest+conv":
            deep = self.conv_before_upsample(deep)
            for stage in range(self.scale.bit_length() - 1):
                enlarged = F.interpolate(deep, scale_factor=2, mode="nearest")
                deep = F.leaky_relu(self.get_submodule(f"conv_up{stage + 1}")(enlarged), 0.2)
            deep = F.leaky_relu(self.conv_hr(deep), 0.2)
        return self.conv_last(deep)

    @staticmethod
    def convert_state_dict(state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Replace the authors' and DCPT's keys by the network's, without the buffers that follow from the sizes.

        DCPT writes `encode_layers.0.` and `decode_layers0.` for the first and the second half of `layers.`.
        """
        encoders = {int(match[1]) for key in state if (match := re.match(r"encode_layers\.(\d+)\.", key))}
        half = max(encoders) + 1 if encoders else 3  # DCPT's code has six layers

        def rename(key: str) -> str:
            key = re.sub(r"^encode_layers\.", "layers.", key)
            return re.sub(r"^decode_layers(\d+)\.", lambda match: f"layers.{half + int(match[1])}.", key)

        return {rename(key): value for key, value in state.items() if not key.endswith(_DERIVED)}

    def published_state_dict(self) -> dict[str, Tensor]:
        """The weights in the published code's form: the reverse of `convert_state_dict`. Files are written in it.

        For DCPT's network (no tables, no masks) the keys are DCPT's. Otherwise they are the authors', with the buffers
        of their code. The masks are those of `img_size`, or of the next multiple of the window, where the published
        network can only be built with that. With tables and without masks nobody published a network; its weights have
        no such buffers, so that no tool takes them for the authors'.
        """
        state = dict(self.state_dict())
        if not self.attn_mask:
            return state if self.rel_pos_bias else self._named_as_in_dcpt(state)
        height, width = (-(-side // self.window) * self.window for side in self.crop_size)
        index = relative_position_index(self.window, self.mean.device)
        mask = shifted_window_mask(height, width, self.window, self.shift, self.mean.device)
        for name, module in self.named_modules():
            if isinstance(module, SwinTransformerBlock):
                state |= {f"{name}.attn.relative_position_index": index.clone()} if self.rel_pos_bias else {}
                state |= {f"{name}.attn_mask": mask.clone()} if self.shift and module.shifted else {}
        return state

    def _named_as_in_dcpt(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        half = len(self.layers) // 2  # a single layer has no halves and keeps its name

        def rename(match: re.Match[str]) -> str:
            layer = int(match[1])
            return f"encode_layers.{layer}." if layer < half else f"decode_layers{layer - half}."

        return {re.sub(r"^layers\.(\d+)\.", rename, key) if half else key: value for key, value in state.items()}

    def check_arch(self, arch: Mapping[str, Any]) -> None:
        """Refuse weights of a SwinIR with masks in one without, and the reverse; the keys do not show the difference.

        Raises:
            ValueError: the network of the card has another `attn_mask`.
        """
        trained = arch.get("attn_mask", True)
        if str(arch.get("type", "")).removeprefix("uir:") == "SwinIR" and trained != self.attn_mask:
            has = "with" if trained else "without"
            raise ValueError(
                f"SwinIR: these weights were trained {has} masks of the shifted windows, and the network computes "
                f"something else; build it with attn_mask: {str(trained).lower()}"
            )

    def check_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Refuse weights that would compute something else here than in training.

        The authors' files contain the masks of the training, and DCPT's keys show that there were none; this network's
        keys show nothing about masks.

        Raises:
            ValueError: they have tables of relative positions, or masks, and the network has none, or the reverse.
        """
        if not any(key.endswith(".attn.qkv.weight") for key in state):
            return
        has_tables = any(key.endswith(_TABLE) for key in state)
        if has_tables != self.rel_pos_bias:
            has, lacks, flag = ("have", "has none", "true") if has_tables else ("lack", "has them", "false")
            raise ValueError(
                f"SwinIR: these weights {has} tables of relative positions (keys ending in '{_TABLE[1:]}'), and the "
                f"network {lacks}: it would compute something else; build it with rel_pos_bias: {flag}, "
                f"attn_mask: {flag}"
            )
        if not self.attn_mask and any(key.endswith(_MASK) for key in state):
            raise ValueError(
                f"SwinIR: these weights were trained with masks of the shifted windows (keys ending in '{_MASK[1:]}'), "
                "and the network has none: it would compute something else; build it with attn_mask: true"
            )
        if self.attn_mask and any(_DCPT.match(key) for key in state):
            raise ValueError(
                "SwinIR: these weights (keys like 'encode_layers.0.') belong to DCPT's variant, trained without masks "
                "of the shifted windows, and the network has them: it would compute something else; build it with "
                "attn_mask: false"
            )

    @staticmethod
    def arch_of(state: Mapping[str, Tensor]) -> dict[str, Any] | None:
        """The network of published weights; None if they are another's (see `uir.inference.recognition`).

        The published networks with windows of 7 pixels restore JPEG images and have `img_range: 255`.

        Raises:
            ValueError: they are DCPT's, which have no tables that would show the windows and the heads.
        """
        if not any(".residual_group.blocks.0.attn.qkv.weight" in key for key in state):
            return None
        if not any(key.endswith(_TABLE) for key in state):
            raise ValueError(
                "SwinIR: these weights have no tables of relative positions, which would show window_size and "
                "num_heads (DCPT's code has 8 and 6), nor whether the windows are masked (attn_mask; DCPT's are not)"
            )
        layers = count_of(state, "layers")
        first = "layers.0.residual_group.blocks.0"
        tables = [state[f"layers.{i}.residual_group.blocks.0{_TABLE}"].shape for i in range(layers)]
        embed_dim, in_chans = state["conv_first.weight"].shape[:2]
        window = (math.isqrt(tables[0][0]) + 1) // 2
        upsampler, upscale = _upsampler_of(state, in_chans)
        return {
            "type": "SwinIR",
            "in_chans": in_chans,
            "embed_dim": embed_dim,
            "depths": [count_of(state, f"layers.{i}.residual_group.blocks") for i in range(layers)],
            "num_heads": [table[1] for table in tables],
            "window_size": window,
            "mlp_ratio": state[f"{first}.mlp.fc1.weight"].shape[0] / embed_dim,
            "qkv_bias": f"{first}.attn.qkv.bias" in state,
            "ape": "absolute_pos_embed" in state,
            "patch_norm": "patch_embed.norm.weight" in state,
            "upscale": upscale,
            "img_range": 255.0 if window == 7 and not upsampler else 1.0,
            "upsampler": upsampler,
            "resi_connection": "1conv" if "conv_after_body.weight" in state else "3conv",
            **({"num_feat": state[before].shape[0]} if (before := "conv_before_upsample.0.weight") in state else {}),
        }


def _upsampler_of(state: Mapping[str, Tensor], channels: int) -> tuple[str, int]:
    """The upsampler of published weights, and its factor."""
    if "conv_hr.weight" in state or "conv_up1.weight" in state:
        return "nearest+conv", 2 ** sum(f"conv_up{stage}.weight" in state for stage in (1, 2, 3))
    if "conv_before_upsample.0.weight" in state:
        shuffles = [value.shape[0] // value.shape[1] for key, value in state.items() if _SHUFFLE.match(key)]
        return "pixelshuffle", math.isqrt(math.prod(shuffles))
    if "upsample.0.weight" in state:
        return "pixelshuffledirect", math.isqrt(state["upsample.0.weight"].shape[0] // channels)
    return "", 1
