"""IDR: Ingredient-oriented Multi-Degradation Learning for Image Restoration (Zhang et al., CVPR 2023)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, overload

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from uir.layers.degradation_hubs import ROUTES, HubBlock, Ingredients, Route, route_shares
from uir.layers.padding import crop, pad_to_multiple
from uir.layers.restormer_unet import LEVELS, RestormerUNet
from uir.registry import ARCH_REGISTRY


class IDRParts(NamedTuple):
    """What a network with hubs gives in training.

    Attributes:
        restored: [B, 3, H, W].
        sides: a restored image of each encoder level, fine to coarse.
        logits: how well each hub fits, at each encoder level [B, levels, hubs].
    """

    restored: Tensor
    sides: list[Tensor]
    logits: Tensor


@ARCH_REGISTRY.register()
class IDR(RestormerUNet):
    """Restormer whose encoder asks hubs of degradation keys. Input and output [B, 3, H, W]; any H, W.

    With the true degradations (`degradation`) each image asks its own hub (the first stage). Without them the principal
    components of all hubs are mixed by predicted probabilities (the second stage), which is how it restores.

    Args:
        dim: channels at full resolution, even; the next levels have 2, 4 and 8 times as many.
        num_blocks: blocks at each of the four levels, fine to coarse.
        num_refinement_blocks: blocks at full resolution after the decoder.
        heads: attention heads at each level.
        ffn_expansion_factor: width of the feed-forward, as a multiple of a level's channels.
        bias: whether the convolutions of Restormer's blocks have one.
        LayerNorm_type: `WithBias` or `BiasFree`.
        hubs: names of the degradations, one hub each.
        routes: what each hub's answer does to the features: `addition`, `point` (gain and shift) or `convolve`.
        num_keys: keys of a hub.
        key_dim: numbers of a key.
        legacy: as the published code, where the other routes change the result of the addition.

    Raises:
        ValueError: an argument does not fit the others.
    """

    def __init__(
        self,
        dim: int = 30,
        num_blocks: Sequence[int] = (2, 3, 3, 4),
        num_refinement_blocks: int = 2,
        heads: Sequence[int] = (1, 2, 4, 8),
        ffn_expansion_factor: float = 2.66,
        bias: bool = False,
        LayerNorm_type: str = "WithBias",  # noqa: N803
        hubs: Sequence[str] = ("noise", "rain", "haze", "blur", "low_light"),
        routes: Sequence[Route] = ("addition", "addition", "point", "convolve", "point"),
        num_keys: int = 24,
        key_dim: int = 240,
        legacy: bool = False,
    ) -> None:
        if len(hubs) < 2 or len(set(hubs)) < len(hubs):
            raise ValueError(f"IDR.hubs: expected at least two different names, got {list(hubs)}")
        if len(routes) != len(hubs) or not set(routes) <= set(ROUTES):
            raise ValueError(f"IDR.routes: expected one of {', '.join(ROUTES)} for each hub, got {list(routes)}")
        if not 1 <= num_keys <= key_dim:
            raise ValueError(f"IDR.num_keys: expected 1 to {key_dim}, the numbers of a key, got {num_keys}")
        super().__init__(
            3, 3, dim, num_blocks, num_refinement_blocks, heads, ffn_expansion_factor, bias, LayerNorm_type
        )
        self.hubs, self.routes, self.legacy = tuple(hubs), tuple(routes), legacy
        self.degra_key = nn.Parameter(torch.randn(len(hubs), num_keys, key_dim))
        self.dmixer = Ingredients(len(hubs), num_keys)
        for level in range(1, LEVELS):
            width = dim * 2 ** (level - 1)
            block = HubBlock(width, heads[level - 1], key_dim, len(hubs), ffn_expansion_factor, LayerNorm_type)
            self.add_module(f"kdp_level{level}", block)

    def encoder_blocks(self) -> list[str]:
        """The blocks of the encoder with those that ask the hubs; masked pre-training masks their output."""
        return [*super().encoder_blocks(), *(f"kdp_level{level}" for level in range(1, LEVELS))]

    def depths(self) -> list[list[str]]:
        """All modules in groups, from the input to the output; the hubs belong to the first level."""
        groups = super().depths()
        for level in range(1, LEVELS):
            group = next(names for names in groups if f"encoder_level{level}" in names)
            group.insert(1, f"kdp_level{level}")
        groups[1] += ["degra_key", "dmixer"]
        return groups

    @overload
    def forward(
        self, lq: Tensor, degradation: Tensor | None = None, *, with_parts: Literal[False] = False
    ) -> Tensor: ...
    @overload
    def forward(self, lq: Tensor, degradation: Tensor | None = None, *, with_parts: Literal[True]) -> IDRParts: ...
    def forward(self, lq: Tensor, degradation: Tensor | None = None, *, with_parts: bool = False) -> Tensor | IDRParts:
        """Restore a batch.

        Args:
            lq: [B, 3, H, W] in [0, 1]; any H, W.
            degradation: the index of each image's hub [B]; None mixes all of them.
            with_parts: also give the restored images of the encoder's levels, and the hubs' logits.

        Returns:
            [B, 3, H, W], not clipped; or all parts.
        """
        padded = pad_to_multiple(lq, self.pad_multiple).contiguous(memory_format=torch.channels_last)
        x, skips = self.patch_embed(padded), []
        sides: list[Tensor] = []
        logits: list[Tensor] = []
        downs: tuple[Any, ...] = (self.down1_2, self.down2_3, self.down3_4)
        for level, down in enumerate(downs, 1):
            x = self._ask(level, getattr(self, f"encoder_level{level}")(x), padded, degradation, sides, logits)
            skips.append(x)
            x = down(x)
        x = self.up4_3(self.latent(x))
        x = self.decoder_level3(self.reduce_chan_level3(torch.cat([x, skips[2]], 1)))
        x = self.decoder_level2(self.reduce_chan_level2(torch.cat([self.up3_2(x), skips[1]], 1)))
        x = self.refinement(self.decoder_level1(torch.cat([self.up2_1(x), skips[0]], 1)))
        restored = crop(self.output(x) + padded, *lq.shape[-2:]).contiguous()
        return IDRParts(restored, sides, torch.stack(logits, 1)) if with_parts else restored

    def _ask(
        self,
        level: int,
        x: Tensor,
        image: Tensor,
        degradation: Tensor | None,
        sides: list[Tensor],
        logits: list[Tensor],
    ) -> Tensor:
        """Change the features of an encoder level by the hubs; its image and logits are added to the lists."""
        block: Any = getattr(self, f"kdp_level{level}")
        x, side, own = block.supervise(x, image)
        sides.append(side)
        logits.append(own)
        if degradation is None:
            probabilities = own.to(torch.promote_types(own.dtype, torch.float32)).softmax(1)
            keys = self.dmixer(self.degra_key, probabilities).to(x.dtype)
        else:
            probabilities = F.one_hot(degradation, len(self.hubs)).to(self.degra_key.dtype)
            keys = self.degra_key[degradation]
        changed: Tensor = block(x, keys, route_shares(probabilities, self.routes), self.legacy)
        return changed
