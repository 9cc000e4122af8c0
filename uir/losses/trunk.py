"""The frozen trunks whose features perceptual losses compare: VGG, or any registered network with a file of weights."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from uir.core.checkpoint import load_weights
from uir.layers.vgg import VGGFeatures
from uir.registry import ARCH_REGISTRY
from uir.registry.components import build


def make_trunk(
    layers: Iterable[str],
    vgg_type: str = "vgg19",
    use_input_norm: bool = True,
    range_norm: bool = False,
    weights: str | None = None,
    trunk: Mapping[str, Any] | None = None,
) -> nn.Module:
    """A frozen module that gives the features of an image [B, 3, H, W] by the names of layers.

    Args:
        layers: the layers to return: VGG's (`conv5_4`), or module paths of `trunk`.
        vgg_type, use_input_norm, range_norm: as in `VGGFeatures`; not for `trunk`.
        weights: a file of weights; for VGG also None (the usual places) or `random` (fixed random weights).
        trunk: a network of the arch registry, in place of VGG. It needs a file of weights.

    Raises:
        ValueError: a layer is unknown, `trunk` has no file, or the file does not fit.
        FileNotFoundError: there are no weights; nothing is downloaded.
    """
    if trunk is None:
        return VGGFeatures(layers, vgg_type, use_input_norm, range_norm, weights)
    if weights is None:
        raise ValueError(f"weights: the trunk {trunk.get('type')} needs a file of its weights; name it")
    return NetworkFeatures(layers, trunk, Path(weights).expanduser())


class NetworkFeatures(nn.Module):
    """Frozen features of a registered network by module path; gradients flow to the image.

    Args:
        layers: module paths, as in `named_modules()`; each must give one tensor [B, C, h, w].
        trunk: the network, as in an option file.
        weights: a checkpoint of it.

    Raises:
        ValueError: there is no such module, or the weights do not fit.
    """

    def __init__(self, layers: Iterable[str], trunk: Mapping[str, Any], weights: Path) -> None:
        super().__init__()
        self.layers = list(layers)
        self.network: nn.Module = build(ARCH_REGISTRY, trunk)
        modules = dict(self.network.named_modules())
        unknown = [layer for layer in self.layers if layer not in modules]
        if unknown or not self.layers:
            known = ", ".join(list(modules)[1:6])
            raise ValueError(f"{trunk['type']} has no module {unknown or self.layers}; its modules are {known}, ...")
        load_weights(self.network, weights)
        self.requires_grad_(False).eval()

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """Features [B, C, h, w] of the named modules."""
        caught: dict[str, Tensor] = {}
        handles = [
            self.network.get_submodule(layer).register_forward_hook(
                lambda _module, _args, output, layer=layer: caught.__setitem__(layer, output)
            )
            for layer in self.layers
        ]
        try:
            self.network(image)
        finally:
            for handle in handles:
                handle.remove()
        wrong = [layer for layer in self.layers if not isinstance(caught.get(layer), Tensor)]
        if wrong:
            raise ValueError(
                f"{type(self.network).__name__}.{wrong[0]} does not give one tensor; choose another module"
            )
        return {layer: caught[layer] for layer in self.layers}

    def train(self, mode: bool = True) -> NetworkFeatures:
        """Stay in eval mode: norms and dropout must not follow the training images."""
        return super().train(False)
