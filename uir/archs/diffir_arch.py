"""DiffIR: Efficient Diffusion Model for Image Restoration (Xia et al., ICCV 2023), both of its stages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, overload

import torch
from torch import Tensor, nn

from uir.core.state_keys import count_of
from uir.layers.features import FeaturePoint
from uir.layers.prior_blocks import STEP, PriorDenoiser, PriorEncoder, PriorUNet
from uir.layers.prior_diffusion import PriorDiffusion
from uir.layers.restormer_unet import sizes_of
from uir.registry import ARCH_REGISTRY


class _DiffIR(nn.Module):
    """What both stages share: the U-Net `G`, steered by a prior."""

    scale = 1
    adds_input = True
    _prior_modules: ClassVar[tuple[str, ...]]

    def __init__(self, n_feats: int, inp_channels: int, out_channels: int, **unet: Any) -> None:
        super().__init__()
        if inp_channels != out_channels:
            raise ValueError(
                f"{type(self).__name__}: the input is added to the output, so out_channels must be inp_channels "
                f"({inp_channels}), got {out_channels}"
            )
        if n_feats < 1:
            raise ValueError(f"{type(self).__name__}.n_feats: expected at least 1, got {n_feats}")
        self.prior_channels = 4 * n_feats
        self.G = PriorUNet(self.prior_channels, inp_channels, **unet)

    @property
    def pad_multiple(self) -> int:
        """Height and width of a batch should be multiples of this; other sizes are padded by reflection."""
        return self.G.pad_multiple

    def feature_points(self) -> list[FeaturePoint]:
        """One point after each decoder level, coarse to fine."""
        return [FeaturePoint(f"G.{p.name}", p.channels, p.stride) for p in self.G.feature_points()]

    def encoder_blocks(self) -> list[str]:
        """The blocks of the U-Net's encoder; masked pre-training masks their output."""
        return [f"G.{name}" for name in self.G.encoder_blocks()]

    def decoder_blocks(self) -> list[str]:
        """The blocks of the U-Net after its encoder."""
        return [f"G.{name}" for name in self.G.decoder_blocks()]

    def depths(self) -> list[list[str]]:
        """All modules in groups, from the input to the output; the prior's are first."""
        return [list(self._prior_modules), *([f"G.{name}" for name in group] for group in self.G.depths())]


@ARCH_REGISTRY.register()
class DiffIRS1(_DiffIR):
    """The first stage: an encoder makes a prior of the degraded and the clean image. [B, C, H, W] is kept; any H, W.

    Argument and parameter names are the authors', so their checkpoints load with `strict=True`.

    Args:
        n_encoder_res: residual blocks of the prior's encoder.
        inp_channels, out_channels: channels of the image.
        dim, num_blocks, num_refinement_blocks, heads, ffn_expansion_factor, bias, LayerNorm_type: as in Restormer.
        n_feats: channels of the first layers of the encoder; the prior has four times as many numbers. The authors fix
            64.

    Raises:
        ValueError: an argument does not fit the others.
    """

    predictor: ClassVar[str] = "CleanPriorPredictor"
    _prior_modules = ("E",)

    def __init__(
        self,
        n_encoder_res: int = 5,
        inp_channels: int = 3,
        out_channels: int = 3,
        dim: int = 48,
        num_blocks: Sequence[int] = (3, 5, 6, 6),
        num_refinement_blocks: int = 4,
        heads: Sequence[int] = (1, 2, 4, 8),
        ffn_expansion_factor: float = 2.0,
        bias: bool = False,
        LayerNorm_type: str = "WithBias",  # noqa: N803
        n_feats: int = 64,
    ) -> None:
        super().__init__(
            n_feats, inp_channels, out_channels, dim=dim, num_blocks=num_blocks, heads=heads, bias=bias,
            num_refinement_blocks=num_refinement_blocks, ffn_expansion_factor=ffn_expansion_factor,
            LayerNorm_type=LayerNorm_type,
        )  # fmt: skip
        self.E = PriorEncoder(2 * inp_channels, n_feats, n_encoder_res)

    def prior_of(self, lq: Tensor, gt: Tensor) -> Tensor:
        """The prior [B, 4·n_feats] of degraded and clean images."""
        prior: Tensor = self.E(lq, gt)
        return prior

    def forward(self, lq: Tensor, gt: Tensor | None = None, prior: Tensor | None = None) -> Tensor:
        """Restore a batch.

        Args:
            lq: [B, inp_channels, H, W] in [0, 1]; any H, W.
            gt: the clean images; without them the degraded ones stand for them.
            prior: [B, 4·n_feats]; by default that of both.

        Returns:
            [B, out_channels, H, W], not clipped.
        """
        if prior is None:
            prior = self.prior_of(lq, lq if gt is None else gt)
        restored: Tensor = self.G(lq, prior)
        return restored

    @staticmethod
    def arch_of(state: Mapping[str, Tensor]) -> dict[str, Any] | None:
        """The network of published weights; None if they are another's."""
        sizes = _sizes_of(state, "E")
        return sizes and {"type": "DiffIRS1", **sizes}


@ARCH_REGISTRY.register()
class DiffIRS2(_DiffIR):
    """The second stage: a diffusion of four steps finds the prior of the degraded image alone. Sizes as in the first.

    Argument and parameter names are the authors', so their checkpoints load with `strict=True`. Weights of the first
    stage give it its U-Net (`path.strict_load_g: false`). The diffusion starts from noise: in training, unless it is
    given, from that of torch's generator; otherwise from zeros, and in restoring from the noise of the image's name.

    Args:
        n_denoise_res: further layers of the denoiser.
        linear_start, linear_end: variance of the noise of the first and the last step; its root grows linearly.
        timesteps: steps of the diffusion.
        n_encoder_res, inp_channels, out_channels, dim, num_blocks, num_refinement_blocks, heads, ffn_expansion_factor,
            bias, LayerNorm_type, n_feats: as in `DiffIRS1`.

    Raises:
        ValueError: an argument does not fit the others.
    """

    predictor: ClassVar[str] = "PriorPredictor"
    _prior_modules = ("condition", "denoise")

    def __init__(
        self,
        n_encoder_res: int = 5,
        inp_channels: int = 3,
        out_channels: int = 3,
        dim: int = 48,
        num_blocks: Sequence[int] = (3, 5, 6, 6),
        num_refinement_blocks: int = 4,
        heads: Sequence[int] = (1, 2, 4, 8),
        ffn_expansion_factor: float = 2.0,
        bias: bool = False,
        LayerNorm_type: str = "WithBias",  # noqa: N803
        n_denoise_res: int = 1,
        linear_start: float = 0.1,
        linear_end: float = 0.99,
        timesteps: int = 4,
        n_feats: int = 64,
    ) -> None:
        super().__init__(
            n_feats, inp_channels, out_channels, dim=dim, num_blocks=num_blocks, heads=heads, bias=bias,
            num_refinement_blocks=num_refinement_blocks, ffn_expansion_factor=ffn_expansion_factor,
            LayerNorm_type=LayerNorm_type,
        )  # fmt: skip
        if timesteps < 1 or not 0 < linear_start <= linear_end < 1:
            raise ValueError(
                "DiffIRS2: expected at least one of timesteps, and 0 < linear_start <= linear_end < 1, got "
                f"{timesteps}, {linear_start} and {linear_end}"
            )
        self.condition = PriorEncoder(inp_channels, n_feats, n_encoder_res)
        self.denoise = PriorDenoiser(self.prior_channels, n_denoise_res, timesteps)
        self.diffusion = PriorDiffusion(self.condition, self.denoise, linear_start, linear_end, timesteps)

    @overload
    def forward(
        self,
        lq: Tensor,
        noise: Tensor | None = None,
        prior: Tensor | None = None,
        *,
        with_prior: Literal[False] = False,
    ) -> Tensor: ...
    @overload
    def forward(
        self,
        lq: Tensor,
        noise: Tensor | None = None,
        prior: Tensor | None = None,
        *,
        with_prior: Literal[True],
        clean_prior: Tensor | None = None,
        with_image: bool = True,
    ) -> tuple[Tensor | None, Tensor]: ...
    def forward(
        self,
        lq: Tensor,
        noise: Tensor | None = None,
        prior: Tensor | None = None,
        *,
        with_prior: bool = False,
        clean_prior: Tensor | None = None,
        with_image: bool = True,
    ) -> Tensor | tuple[Tensor | None, Tensor]:
        """Restore a batch.

        Args:
            lq: [B, inp_channels, H, W] in [0, 1]; any H, W.
            noise: [B, 4·n_feats], normal, where the diffusion starts.
            prior: [B, 4·n_feats]; by default that of the diffusion.
            with_prior: also give the prior.
            clean_prior: that of the first stage; the diffusion then starts from it with the noise of all steps.
            with_image: restore; without it only the prior is computed.

        Returns:
            [B, out_channels, H, W], not clipped; with the prior.
        """
        if prior is None:
            if noise is None:
                shape = (len(lq), self.prior_channels)
                noise = torch.randn(shape, device=lq.device) if self.training else lq.new_zeros(shape)
            start = noise if clean_prior is None else self.diffusion.noisy(clean_prior, noise)
            prior = self.diffusion.denoised(self.condition(lq), start)
        restored = self.G(lq, prior) if with_image else None
        if with_prior:
            return restored, prior
        assert restored is not None  # an image was asked for
        return restored

    @staticmethod
    def arch_of(state: Mapping[str, Tensor]) -> dict[str, Any] | None:
        """The network of published weights; None if they are another's."""
        sizes = _sizes_of(state, "condition")
        if sizes is None or "diffusion.betas" not in state:
            return None
        betas = state["diffusion.betas"].tolist()
        layers = count_of(state, "denoise.resmlp") - 2
        steps = {"linear_start": round(betas[0], 4), "linear_end": round(betas[-1], 4), "timesteps": len(betas)}
        return {"type": "DiffIRS2", **sizes, "n_denoise_res": layers, **steps}


def _sizes_of(state: Mapping[str, Tensor], encoder: str) -> dict[str, Any] | None:
    """The arguments that both stages share; None if the weights are another network's."""
    first = state.get(f"{encoder}.E.0.weight")
    sizes = sizes_of({key[2:]: value for key, value in state.items() if key.startswith("G.")})
    if sizes is None or first is None or "G.latent.0.attn.kernel.0.weight" not in state:
        return None
    images = 2 if encoder == "E" else 1
    if first.shape[1] != images * sizes["inp_channels"] * STEP**2:
        return None
    modules = {int(key.split(".")[2]) for key in state if key.startswith(f"{encoder}.E.") and ".body." in key}
    return {**sizes, "n_encoder_res": len(modules), "n_feats": first.shape[0]}
