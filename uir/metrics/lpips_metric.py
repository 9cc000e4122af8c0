"""LPIPS, a distance of deep features (Zhang et al., CVPR 2018), by the package lpips."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from uir.core.weight_files import read_plain
from uir.layers.trunk_weights import local_weights, read_trunk
from uir.metrics.comparison import Comparison, as_rgb
from uir.metrics.libraries import library
from uir.metrics.protocols import Protocol, Rounding
from uir.registry import METRIC_REGISTRY

Trunk = Literal["alex", "vgg", "squeeze"]
_FILES = {"alex": "alexnet-owt-7be5be79.pth", "vgg": "vgg16-397923af.pth", "squeeze": "squeezenet1_1-b8a52dc0.pth"}
_NAMES = {"alex": "AlexNet", "vgg": "VGG16", "squeeze": "SqueezeNet 1.1"}
_LEAST_PIXELS = {"alex": 31, "vgg": 16, "squeeze": 17}


@METRIC_REGISTRY.register()
class LPIPS(Comparison):
    """Learned perceptual image patch similarity, version 0.1: 0 for equal images; the mean over a batch.

    The package lpips brings the weights of its linear layers; those of the trunk are torchvision's for ImageNet.

    Args:
        net: `alex`, the usual choice for tables, `vgg` or `squeeze`.
        weights: torchvision's weights of this trunk; by default they are searched for in torch's cache and then in
            `experiments/pretrained_models`. Nothing is downloaded.
        crop_border: pixels left out at each edge.
        rounding: `uint8`, as if both images were saved, or `none`.

    Raises:
        ValueError: an argument is out of range, the file does not contain this trunk, or lpips is not installed.
        FileNotFoundError: there are no weights.
    """

    label = "LPIPS"
    better = "lower"

    def __init__(
        self, net: Trunk = "alex", weights: Path | None = None, crop_border: int = 0, rounding: Rounding = "uint8"
    ) -> None:
        if net not in _FILES:
            raise ValueError(f"net: expected {', '.join(_FILES)}, got {net!r}")
        super().__init__(Protocol(crop_border=crop_border, rounding=rounding), net)
        self.net = net
        package = library("lpips", "LPIPS")
        url = f"https://download.pytorch.org/models/{_FILES[net]}"
        self.network = _network(package, net, local_weights(_NAMES[net], _FILES[net], url, weights))

    @torch.no_grad()
    def scores(self, restored: Tensor, gt: Tensor) -> Tensor:
        """As `Comparison.scores`.

        Raises:
            ValueError: the images are too small for the trunk.
        """
        least = _LEAST_PIXELS[self.net]
        if min(restored.shape[-2:]) < least:
            height, width = restored.shape[-2:]
            raise ValueError(f"LPIPS ({self.net}) needs at least {least}×{least} pixels, got {height}×{width}")
        network = self.network.to(restored.device)
        distance: Tensor = network(as_rgb(restored).float(), as_rgb(gt).float(), normalize=True)
        return distance.flatten()


def _network(package: Any, net: Trunk, trunk: Path) -> Any:
    """The package's network with its own linear layers and a local trunk."""
    with warnings.catch_warnings(), torch.device("meta"):  # random weights would change the global random state
        warnings.simplefilter("ignore")  # torchvision's, about the arguments that lpips calls it with
        network = package.LPIPS(net=net, pretrained=False, pnet_rand=True, verbose=False)
    network.scaling_layer = package.ScalingLayer()
    own = read_plain(Path(package.__file__).parent / "weights" / "v0.1" / f"{net}.pth")
    # torchvision's name of each tensor of the trunk: `net.slice2.3.weight` is `features.3.weight`.
    names = {key: f"features.{key.split('.', 2)[2]}" for key in network.state_dict() if key.startswith("net.")}
    shapes = [(name, network.state_dict()[key]) for key, name in names.items()]
    stored = read_trunk(trunk, _NAMES[net], shapes)
    state = {key: stored[name] for key, name in names.items()}
    for key in network.state_dict():
        if key.startswith("lin"):
            state[key] = own[key.replace("lins.", "lin")]
    network.load_state_dict(state | dict(network.scaling_layer.state_dict(prefix="scaling_layer.")), assign=True)
    return network.requires_grad_(False).eval()
