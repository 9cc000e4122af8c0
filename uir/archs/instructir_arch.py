"""InstructIR: High-Quality Image Restoration Following Human Instructions (Conde et al., ECCV 2024)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from uir.archs.nafnet_arch import NAFNet, sizes_of
from uir.layers.degradation_code import DegradationCode
from uir.layers.features import FeaturePoint
from uir.layers.naf_block import NAFBlock
from uir.layers.padding import crop, pad_to_multiple
from uir.registry import ARCH_REGISTRY


class InstructionBlock(nn.Module):
    """Chooses channels by the instruction and adds what a block makes of them (paper Eq. 2). Keeps [B, C, H, W].

    Args:
        channels: C.
        txtdim: numbers of the instruction's embedding.
    """

    def __init__(self, channels: int, txtdim: int) -> None:
        super().__init__()
        self.fc = nn.Linear(txtdim, channels)
        self.block = NAFBlock(channels)
        self.beta = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.gamma = nn.Parameter(torch.zeros(1, channels, 1, 1))

    def forward(self, x: Tensor, instruction: Tensor) -> Tensor:
        """The features for the embeddings [B, txtdim]."""
        gate = torch.sigmoid(self.fc(instruction))[:, :, None, None]
        chosen: Tensor = self.block((x * self.gamma + self.beta) * gate)
        return x + chosen


@ARCH_REGISTRY.register()
class InstructIR(NAFNet):
    """NAFNet that is told what to do. Input and output [B, img_channel, H, W]; any H, W (padded with zeros).

    Argument and parameter names are the authors', so their checkpoints load with `strict=True`. The embedding of the
    instruction is the `vector` of a code, as `PromptEncoder` gives it. Without one the embedding is zero, and every
    gate has the value of its bias: so DCPT and MaskDCPT pre-train the network, and SRModel trains it blind.

    Args:
        img_channel: channels of the image.
        width: channels at full resolution; they double at each level.
        middle_blk_num: blocks at the lowest resolution.
        enc_blk_nums: encoder blocks at each level, fine to coarse.
        dec_blk_nums: decoder blocks at each level, coarse to fine; as many levels.
        txtdim: numbers of the instruction's embedding.

    Raises:
        ValueError: as in NAFNet.
    """

    predictor: ClassVar[str] = "PromptPredictor"

    def __init__(
        self,
        img_channel: int = 3,
        width: int = 32,
        middle_blk_num: int = 4,
        enc_blk_nums: Sequence[int] = (2, 2, 4, 8),
        dec_blk_nums: Sequence[int] = (2, 2, 2, 2),
        txtdim: int = 256,
    ) -> None:
        super().__init__(img_channel, width, middle_blk_num, enc_blk_nums, dec_blk_nums)
        if txtdim < 1:
            raise ValueError(f"InstructIR.txtdim: expected at least 1, got {txtdim}")
        self.code_channels = txtdim
        widths = [width * 2**level for level in range(len(enc_blk_nums))]
        self.enc_cond = nn.ModuleList(InstructionBlock(channels, txtdim) for channels in widths)
        self.dec_cond = nn.ModuleList(InstructionBlock(channels, txtdim) for channels in widths[::-1])

    def feature_points(self) -> list[FeaturePoint]:
        """One point after each decoder level and its instruction, coarse to fine."""
        points = enumerate(super().feature_points())
        return [FeaturePoint(f"dec_cond.{i}", point.channels, point.stride) for i, point in points]

    def encoder_blocks(self) -> list[str]:
        """The blocks of the encoder, each level's instruction last; masked pre-training masks their output."""
        return _with_last(super().encoder_blocks(), "encoders", "enc_cond")

    def decoder_blocks(self) -> list[str]:
        """The blocks after the encoder, each level's instruction last."""
        return _with_last(super().decoder_blocks(), "decoders", "dec_cond")

    def depths(self) -> list[list[str]]:
        """All modules in groups, from the input to the output; an instruction belongs to its level."""
        sides = {"encoders": "enc_cond", "decoders": "dec_cond"}
        return [
            [
                *group,
                *(f"{sides[side]}.{level}" for side, _, level in (n.partition(".") for n in group) if side in sides),
            ]
            for group in super().depths()
        ]

    def forward(self, lq: Tensor, code: DegradationCode | None = None) -> Tensor:
        """Restore a batch.

        Args:
            lq: [B, img_channel, H, W] in [0, 1]; any H, W.
            code: its `vector` [B, txtdim] is the embedding of each image's instruction.

        Returns:
            [B, img_channel, H, W], not clipped.
        """
        instruction = (
            lq.new_zeros(len(lq), self.code_channels)
            if code is None
            else code.require("vector", "InstructIR", self.code_channels)
        )
        padded = pad_to_multiple(lq, self.pad_multiple, mode="constant").contiguous(memory_format=torch.channels_last)
        x, skips = self.intro(padded), []
        for encoder, condition, down in zip(self.encoders, self.enc_cond, self.downs, strict=True):
            x = condition(encoder(x), instruction)
            skips.append(x)
            x = down(x)
        x = self.middle_blks(x)
        for up, decoder, condition in zip(self.ups, self.decoders, self.dec_cond, strict=True):
            x = condition(decoder(up(x) + skips.pop()), instruction)
        return crop(self.ending(x) + padded, *lq.shape[-2:]).contiguous()

    @staticmethod
    def arch_of(state: Mapping[str, Tensor]) -> dict[str, Any] | None:
        """The network of published weights; None if they are another's."""
        sizes = sizes_of(state)
        if sizes is None or "enc_cond.0.fc.weight" not in state:
            return None
        return {"type": "InstructIR", **sizes, "txtdim": state["enc_cond.0.fc.weight"].shape[1]}


def _with_last(blocks: list[str], stages: str, conditions: str) -> list[str]:
    """The names of blocks with the condition of each level after the last block of it."""
    levels = [name.split(".")[1] if name.startswith(f"{stages}.") else None for name in blocks]
    named = []
    for index, (name, level) in enumerate(zip(blocks, levels, strict=True)):
        named.append(name)
        if level is not None and level not in levels[index + 1 :]:
            named.append(f"{conditions}.{level}")
    return named
