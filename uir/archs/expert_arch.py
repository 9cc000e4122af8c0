"""Any backbone with several experts whose weights are mixed for each image (after DASR, Liang et al., ECCV 2022)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from uir.layers.experts import check_shares, copied_experts, mixed, spread_experts, without_expert_axis
from uir.layers.features import FeaturePoint
from uir.layers.padding import multiple_of
from uir.registry import ARCH_REGISTRY
from uir.registry.components import ArchSpec, build

_PREFIX = "backbone."


@ARCH_REGISTRY.register()
class ExpertNet(nn.Module):
    """A registered backbone of which every convolution and linear layer is a mixture of experts.

    The experts' weights are mixed, not their outputs, so that restoring an image costs as much as with the backbone.
    All other parameters are shared. Keys are the backbone's behind `backbone.`, those of experts with a further first
    axis; a checkpoint of the backbone alone is copied into all experts on loading. The images of a batch run one after
    another; where all have the same weights, they run together.

    Args:
        backbone: `{type: NAFNet, ...}`, a network that takes only an image.
        experts: K, the number of experts.

    Raises:
        ValueError: there is no expert, the backbone takes more than an image, or it has no layer to mix.
    """

    def __init__(self, backbone: ArchSpec, experts: int = 5) -> None:
        super().__init__()
        if experts < 1:
            raise ValueError(f"ExpertNet.experts: expected at least 1, got {experts}")
        networks = [build(ARCH_REGISTRY, backbone) for _ in range(experts)]
        self.backbone: nn.Module = networks[0]
        self.num_experts, self._plain = experts, dict(backbone)
        name = type(self.backbone).__name__
        if hasattr(self.backbone, "code_channels") or hasattr(self.backbone, "num_experts"):
            raise ValueError(f"ExpertNet.backbone: {name} needs more than an image; use a backbone that does not")
        self._mixed = _names_of_layers(self.backbone)
        if not self._mixed:
            raise ValueError(f"ExpertNet.backbone: {name} has no convolution or linear layer whose weights are mixed")
        states = [dict(network.named_parameters()) for network in networks]
        for key in self._mixed:
            module, _, leaf = key.rpartition(".")
            stacked = spread_experts(torch.stack([state[key].detach() for state in states]))
            setattr(self.backbone.get_submodule(module), leaf, nn.Parameter(stacked))
        self.scale = int(getattr(self.backbone, "scale", 1))
        self.pad_multiple = multiple_of(self.backbone)

    def feature_points(self) -> list[FeaturePoint]:
        """None: the images of a batch run one after another."""
        return []

    def forward(self, lq: Tensor, experts: Tensor | None = None) -> Tensor:
        """Restore a batch.

        Args:
            lq: [B, C, H, W] in [0, 1].
            experts: the weight of each expert [B, K], or [1, K] for all images.

        Returns:
            The backbone's result, [B, C, H·scale, W·scale].

        Raises:
            ValueError: `experts` is missing or has another shape.
        """
        shares = check_shares(experts, self.num_experts, len(lq), "ExpertNet")
        images = [lq] if len(shares) == 1 else lq.split(1)
        stacked = {key: self.backbone.get_parameter(key) for key in self._mixed}
        restored = [
            torch.func.functional_call(self.backbone, {key: mixed(p, own) for key, p in stacked.items()}, (image,))
            for image, own in zip(images, shares, strict=True)
        ]
        return torch.cat(restored) if len(restored) > 1 else restored[0]

    def collapsed(self, experts: Tensor) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """The backbone for some weights of the experts [K]: its description, and its own weights."""
        state = self.backbone.state_dict()
        return dict(self._plain), {
            key: mixed(value, experts) if key in self._mixed else value for key, value in state.items()
        }

    def fitted_state(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """The state of a checkpoint for this network: that of the backbone alone is copied into all experts."""
        if not any(key.startswith(_PREFIX) for key in state):
            convert = getattr(type(self.backbone), "convert_state_dict", dict)
            state = {f"{_PREFIX}{key}": value for key, value in convert(state).items()}
        return copied_experts(state, self.state_dict())

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        return super()._apply(without_expert_axis(fn), recurse)


def _names_of_layers(network: nn.Module) -> tuple[str, ...]:
    """The parameters of all convolutions and linear layers, each once."""
    layers = [module for module in network.modules() if isinstance(module, _ConvNd | nn.Linear)]
    own = {id(parameter) for layer in layers for parameter in layer.parameters(recurse=False)}
    return tuple(key for key, parameter in network.named_parameters() if id(parameter) in own)
