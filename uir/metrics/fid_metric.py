"""FID, Fréchet distance of Inception features (Heusel et al., NeurIPS 2017): a metric of a whole set of images."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from uir.layers.trunk_weights import local_weights, read_trunk
from uir.metrics.comparison import as_rgb
from uir.metrics.libraries import library
from uir.metrics.protocols import Protocol, prepare
from uir.registry import METRIC_REGISTRY

logger = logging.getLogger("uir")

WEIGHT_FILE = "pt_inception-2015-12-05-6726825d.pth"
URL = f"https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/{WEIGHT_FILE}"
FEATURES = 2048


@METRIC_REGISTRY.register()
class FID:
    """Fréchet distance between the restored and the clean images of a dataset, from 0.

    Both sets' features [2048] of the Inception network of 2015 are seen as two Gaussian distributions. Images are
    rounded as if they were saved, and resized to 299×299 as pytorch-fid does (bilinear, without antialiasing). The
    value depends on the number of images: compare sets of the same size, of 2048 images or more.

    Args:
        weights: the network's weights as pytorch-fid publishes them; by default they are searched for in torch's
            cache and then in `experiments/pretrained_models`. Nothing is downloaded.

    Raises:
        ValueError: the file does not contain this network, or torchvision is not installed.
        FileNotFoundError: there are no weights.
    """

    better = "lower"

    def __init__(self, weights: Path | None = None) -> None:
        self.network = fid_inception(local_weights("FID's Inception network", WEIGHT_FILE, URL, weights))

    def describe(self) -> str:
        """The metric and its settings, for the heading of a table."""
        return f"FID ({FEATURES} features of the Inception of 2015, uint8, of the whole set)"

    @torch.no_grad()
    def update(self, restored: Tensor, gt: Tensor) -> tuple[Tensor, Tensor]:
        """The features of restored and clean images [B, 3, H, W]: two tensors [B, 2048] on the CPU."""
        restored, gt = prepare(restored, gt, Protocol())
        network = self.network.to(restored.device)
        return network_features(network, restored), network_features(network, gt)

    def compute(self, contributions: Sequence[tuple[Tensor, Tensor]]) -> float:
        """The distance of the two sets, from the features of all images; NaN for fewer than two images."""
        restored, clean = (torch.cat(features).double() for features in zip(*contributions, strict=True))
        count, width = restored.shape
        if count < 2:
            logger.warning("FID needs at least two images, got %d; it is not a number", count)
            return math.nan
        if count < width:
            logger.warning(
                "FID of %d images is biased: it has %d features; compare only sets of this size", count, width
            )
        return frechet_distance(restored, clean)


def frechet_distance(first: Tensor, second: Tensor) -> float:
    """‖μ₁ - μ₂‖² + Tr(Σ₁ + Σ₂ - 2·√(Σ₁Σ₂)) of two sets of features, with sample covariances (eq. 6 of the paper).

    Args:
        first, second: float64 [images, features], two or more images each; NaN if one is not finite.
    """
    if not bool(first.isfinite().all() and second.isfinite().all()):
        return math.nan  # there are no eigenvalues
    distance, factors = (first.mean(0) - second.mean(0)).square().sum(), []
    for features in (first, second):
        centred = (features - features.mean(0)) / (len(features) - 1) ** 0.5  # Σ = centredᵀ · centred
        distance = distance + centred.square().sum()
        factors.append(torch.linalg.qr(centred, mode="r").R if len(features) > features.shape[1] else centred)
    # The trace of √(Σ₁Σ₂) is the sum of the singular values of the factors' product. A symmetric matrix gives them
    # many times as fast as the eigenvalues of Σ₁Σ₂, and accurately for fewer images than features too.
    product = factors[0] @ factors[1].T
    return float(distance - 2 * torch.linalg.eigvalsh(product @ product.T).clamp_min(0).sqrt().sum())


def network_features(network: nn.Module, image: Tensor) -> Tensor:
    """Features [B, 2048] on the CPU, of images [B, C, H, W] in units of 1/255."""
    resized = F.interpolate(as_rgb(image).float(), size=(299, 299), mode="bilinear", align_corners=False)
    features: Tensor = network(2 * resized - 1)
    return features.cpu()


def fid_inception(path: Path) -> nn.Module:
    """The network of FID: torchvision's Inception v3 with the pooling of the one of 2015, and its weights.

    Returns:
        A frozen network from RGB [B, 3, 299, 299] in [-1, 1] to features [B, 2048].

    Raises:
        ValueError: the file does not contain it.
    """
    inception = library("torchvision.models.inception", "FID")
    with torch.device("meta"):  # the file has the weights: random ones would change the global random state
        network: nn.Module = inception.Inception3(
            num_classes=1008, aux_logits=False, transform_input=False, init_weights=False
        )
    counters = {name for name, _ in network.named_buffers() if name.endswith("num_batches_tracked")}
    # The classifier is not used, but tells this network's file from torchvision's, which has 1000 classes.
    shapes = [(name, tensor) for name, tensor in network.state_dict().items() if name not in counters]
    state = read_trunk(path, f"FID's Inception network ({WEIGHT_FILE})", shapes)
    network.load_state_dict(state | {name: torch.tensor(0) for name in counters}, assign=True)
    network.fc = nn.Identity()
    means = nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False)
    largest = nn.MaxPool2d(3, stride=1, padding=1)
    for name in ("5b", "5c", "5d", "6b", "6c", "6d", "6e", "7b", "7c"):
        block = getattr(network, f"Mixed_{name}")
        setattr(network, f"Mixed_{name}", _Repooled(block, largest if name == "7c" else means))
    return network.requires_grad_(False).eval()


class _Repooled(nn.Module):
    """An Inception block whose last branch, the pooled one, pools in another way."""

    def __init__(self, block: nn.Module, pool: nn.Module) -> None:
        super().__init__()
        self.block, self.pool = block, pool

    def forward(self, x: Tensor) -> Tensor:
        pooled = self.block.branch_pool(self.pool(x))  # type: ignore[operator]
        return torch.cat([self.block(x)[:, : -pooled.shape[1]], pooled], dim=1)
