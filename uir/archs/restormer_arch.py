"""Restormer: Efficient Transformer for High-Resolution Image Restoration (Zamir et al., CVPR 2022); DCPT's variant."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from uir.layers.restormer_unet import RestormerUNet, sizes_of
from uir.registry import ARCH_REGISTRY

# DCPT wraps the blocks of a level in one more module.
_BODY = re.compile(r"^((?:en|de)coder_level\d|latent|refinement)\.body\.")


@ARCH_REGISTRY.register()
class Restormer(RestormerUNet):
    """Restormer. Input [B, inp_channels, H, W], output [B, out_channels, H, W]; any H, W (reflected to multiples of 8).

    Argument and parameter names are the authors', so their checkpoints load with `strict=True`. Those of the Gaussian
    denoising tasks need `LayerNorm_type: BiasFree`. DCPT's class `Restormer` computes something else; here it is
    `RestormerDCPT`. DCPT's `Restormer_origin` is this class.

    Args:
        inp_channels: channels of the input; 6 for two views with `dual_pixel_task`.
        out_channels: channels of the output; equal to the input's unless `dual_pixel_task`.
        dim: channels at full resolution, even; the next levels have 2, 4 and 8 times as many.
        num_blocks: blocks at each of the four levels, fine to coarse.
        num_refinement_blocks: blocks at full resolution after the decoder.
        heads: attention heads at each level; they divide its channels.
        ffn_expansion_factor: width of the feed-forward, as a multiple of a level's channels.
        bias: whether the convolutions have one.
        LayerNorm_type: `WithBias` or `BiasFree`.
        dual_pixel_task: defocus deblurring from two views; the image is not added to the output.
        window_size: from DCPT; raises `pad_multiple` to a multiple of it; this has no other effect.

    Raises:
        ValueError: an argument does not fit the others.
    """

    def __init__(
        self,
        inp_channels: int = 3,
        out_channels: int = 3,
        dim: int = 48,
        num_blocks: Sequence[int] = (4, 6, 6, 8),
        num_refinement_blocks: int = 4,
        heads: Sequence[int] = (1, 2, 4, 8),
        ffn_expansion_factor: float = 2.66,
        bias: bool = False,
        LayerNorm_type: str = "WithBias",  # noqa: N803
        dual_pixel_task: bool = False,
        window_size: int = 1,
    ) -> None:
        super().__init__(
            inp_channels, out_channels, dim, num_blocks, num_refinement_blocks, heads, ffn_expansion_factor, bias,
            LayerNorm_type, dual_pixel_task, window_size,
        )  # fmt: skip

    def check_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Refuse weights that would compute something else here than in training.

        Raises:
            ValueError: they belong to DCPT's variant, or were trained with the other kind of norm.
        """
        if any(_BODY.match(key) for key in state):
            raise ValueError(
                "Restormer: these weights (keys like 'latent.body.0.') belong to DCPT's variant, whose attention has a "
                "ReLU and not a softmax; build the network with type: RestormerDCPT"
            )
        super().check_state_dict(state)

    @staticmethod
    def arch_of(state: Mapping[str, Tensor]) -> dict[str, Any] | None:
        """The network of published weights; None if they are another's (see `uir.inference.recognition`)."""
        sizes = sizes_of(state)
        if sizes is None or any(key.startswith(("prompt1.", "fre1.")) for key in state):  # PromptIR's, AdaIR's
            return None
        return {"type": "Restormer", **sizes, "dual_pixel_task": "skip_conv.weight" in state}


@ARCH_REGISTRY.register()
class RestormerDCPT(RestormerUNet):
    """The Restormer of DCPT's code (Hu et al., ICLR 2025). Input and output are those of Restormer.

    Differences from the paper: the attention has a ReLU instead of the softmax, the norms use 1e-6 instead of 1e-5,
    blocks have no biases whatever `bias` is, and the default is `BiasFree`. Published checkpoints load with
    `strict=True`.

    Args:
        bias: whether the 1×1 reductions and the output have one.
        inp_channels, out_channels, dim, num_blocks, num_refinement_blocks, heads, ffn_expansion_factor, LayerNorm_type,
            dual_pixel_task, window_size: as in Restormer.

    Raises:
        ValueError: as in Restormer.
    """

    def __init__(
        self,
        inp_channels: int = 3,
        out_channels: int = 3,
        dim: int = 48,
        num_blocks: Sequence[int] = (4, 6, 6, 8),
        num_refinement_blocks: int = 4,
        heads: Sequence[int] = (1, 2, 4, 8),
        ffn_expansion_factor: float = 2.66,
        bias: bool = False,
        LayerNorm_type: str = "BiasFree",  # noqa: N803
        dual_pixel_task: bool = False,
        window_size: int = 1,
    ) -> None:
        super().__init__(
            inp_channels, out_channels, dim, num_blocks, num_refinement_blocks, heads, ffn_expansion_factor, bias,
            LayerNorm_type, dual_pixel_task, window_size,
            block_options={"activation": "relu", "eps": 1e-6, "bias": False},
        )  # fmt: skip

    @staticmethod
    def convert_state_dict(state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Replace DCPT's keys, which have `latent.body.0.` for `latent.0.`, by the authors'; others are unchanged."""
        return {_BODY.sub(r"\1.", key): value for key, value in state.items()}

    @staticmethod
    def arch_of(state: Mapping[str, Tensor]) -> dict[str, Any] | None:
        """The network of weights under DCPT's keys; None if they are another's."""
        if not any(_BODY.match(key) for key in state):
            return None
        sizes = sizes_of(RestormerDCPT.convert_state_dict(dict(state)))
        return sizes and {"type": "RestormerDCPT", **sizes, "dual_pixel_task": "skip_conv.weight" in state}
