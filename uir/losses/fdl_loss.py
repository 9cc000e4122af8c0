"""The frequency distribution loss: features have the same distribution of frequencies, wherever they lie."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from uir.core.seeds import torch_generator
from uir.losses.reduction import in_full_precision, matched
from uir.losses.trunk import make_trunk
from uir.registry import LOSS_REGISTRY
from uir.registry.components import ArchSpec

PUBLISHED_LAYERS = ("relu1_2", "relu2_2", "relu3_4", "relu4_4", "relu5_4")


@LOSS_REGISTRY.register()
class FDLLoss(nn.Module):
    """Sliced Wasserstein distance of the amplitudes and of the phases of features (FDL, Ni et al., CVPR 2024, Eq. 8).

    For images that are not exactly aligned. The random projections depend on the seed alone, and the training state
    keeps them.

    Args:
        loss_weight: factor on the result.
        phase_weight: weight of the phases.
        layers: the trunk's layers; those of VGG19 as published.
        patch_size: side of the projected patches.
        stride: step between two patches.
        num_proj: number of projections for each layer.
        seed: of the projections.
        vgg_type, use_input_norm, range_norm, weights, trunk: as in `PerceptualLoss`.

    Raises:
        ValueError: an argument is out of range, or the file of weights does not fit.
        FileNotFoundError: there are no weights; nothing is downloaded.
    """

    def __init__(
        self,
        loss_weight: float = 1.0,
        phase_weight: float = 1.0,
        layers: Sequence[str] = PUBLISHED_LAYERS,
        patch_size: int = 5,
        stride: int = 1,
        num_proj: int = 256,
        seed: int = 0,
        vgg_type: str = "vgg19",
        use_input_norm: bool = True,
        range_norm: bool = False,
        weights: str | None = None,
        trunk: ArchSpec | None = None,
    ) -> None:
        super().__init__()
        for name, value in (("patch_size", patch_size), ("stride", stride), ("num_proj", num_proj)):
            if value < 1:
                raise ValueError(f"{name}: expected at least 1, got {value}")
        self.loss_weight, self.phase_weight = loss_weight, phase_weight
        self.patch_size, self.stride, self.num_proj, self.seed = patch_size, stride, num_proj, seed
        self.trunk = make_trunk(layers, vgg_type, use_input_norm, range_norm, weights, trunk)
        self.projections: dict[str, Tensor] = {}

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """The loss of a pair [B, 3, H, W].

        Raises:
            ValueError: the shapes differ, or a feature map is smaller than a patch.
        """
        prediction, target = matched(prediction, target)
        features = self.trunk(prediction)
        with torch.no_grad():
            wanted = self.trunk(target)
        parts = []
        for name in features:
            amplitude, phase = self.distances(name, features[name], wanted[name])
            parts.append((amplitude + self.phase_weight * phase).mean())
        return self.loss_weight * torch.stack(parts).sum()

    def distances(self, layer: str, features: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
        """The distances of amplitudes and of phases of two feature maps [B, C, h, w]: two of shape [B].

        Raises:
            ValueError: the maps are smaller than a patch.
        """
        if min(features.shape[-2:]) < self.patch_size:
            raise ValueError(
                f"FDLLoss: the features of {layer} are {list(features.shape[-2:])}, smaller than patch_size "
                f"{self.patch_size}; train on larger images, or leave out the layer"
            )
        projection = self.projection_of(layer, features.shape[1]).to(features.device)
        with torch.autocast(features.device.type, enabled=False):
            spectra = [torch.fft.fft2(in_full_precision(maps)) for maps in (features, wanted)]
            amplitude = self._sliced(projection, *(spectrum.abs() for spectrum in spectra))
            return amplitude, self._sliced(projection, *(spectrum.angle() for spectrum in spectra))

    def projection_of(self, layer: str, channels: int) -> Tensor:
        """The projections of a layer: [num_proj, channels, patch_size, patch_size], each of norm 1."""
        if layer not in self.projections:
            size = (self.num_proj, channels, self.patch_size, self.patch_size)
            drawn = torch.randn(size, generator=torch_generator(self.seed, "fdl", layer))
            self.projections[layer] = F.normalize(drawn.flatten(1), dim=1).view(size)
        return self.projections[layer]

    def _sliced(self, projection: Tensor, one: Tensor, other: Tensor) -> Tensor:
        ranked = [
            F.conv2d(maps, projection.to(maps), stride=self.stride).flatten(2).sort(2)[0] for maps in (one, other)
        ]
        return (ranked[0] - ranked[1]).abs().mean((1, 2))

    def kept_state(self) -> dict[str, Any]:
        """The projections, for the training state."""
        return {"projections": dict(self.projections)}

    def load_kept_state(self, state: dict[str, Any]) -> None:
        """Go on from `kept_state`."""
        self.projections = dict(state["projections"])
