"""Diagnosing photographs: which degradation an image has, by the classifier that was trained with a restorer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from uir.core.checkpoint import CheckpointError, fit_state, read_weights
from uir.core.tiff_strips import StripedPage
from uir.inference.image_kinds import as_array
from uir.inference.loading import other_file
from uir.inference.pixels import pixel_reader
from uir.inference.tiling import tile_starts
from uir.layers.image_channels import image_channels
from uir.layers.padding import padded_for
from uir.layers.tapped import TappedRestorer
from uir.registry import ARCH_REGISTRY, UnknownNameError
from uir.registry.components import build

if TYPE_CHECKING:
    from PIL.Image import Image

SIDE = 512
"""Side in pixels of the largest square that is classified at once."""


@dataclass(frozen=True)
class Diagnosis:
    """What the classifier says of an image.

    Attributes:
        probabilities: of each class, the most probable first.
        several: whether several classes can be true at once; the probabilities then do not sum to 1.
    """

    probabilities: Mapping[str, float]
    several: bool = False

    @property
    def label(self) -> str:
        """The most probable class."""
        return next(iter(self.probabilities))

    @property
    def confidence(self) -> float:
        """Its probability."""
        return self.probabilities[self.label]

    def as_dict(self) -> dict[str, Any]:
        """The same for JSON."""
        return {"label": self.label, "confidence": round(self.confidence, 4), "probabilities": dict(self.probabilities)}

    def __str__(self) -> str:
        return f"{self.label} ({self.confidence:.0%})"


class Diagnoser:
    """Names the degradation of an image of any size.

    An image of up to 512 × 512 pixels is classified whole; of a larger one, four squares of that side or fewer are, and
    the mean of their probabilities counts.

    Args:
        network: the restorer whose features the classifier reads; it declares `feature_points()`.
        classifier: takes the image [B, 3, H, W] and the features, and gives logits [B, K].
        labels: names of the K classes.
        several: whether several classes can be true at once.
        temperature: the logits are divided by this number, so that a probability is as often right as it says
            (Guo et al., On Calibration of Modern Neural Networks, ICML 2017).
        taps: the feature points of the classifier; None for all.
        device: where to compute.

    Raises:
        ValueError: the network declares no feature points.
    """

    def __init__(
        self,
        network: nn.Module,
        classifier: nn.Module,
        labels: Sequence[str],
        several: bool = False,
        temperature: float = 1.0,
        taps: Sequence[str] | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        self.device = torch.device(device)
        self.tapped = TappedRestorer(network.to(self.device).eval(), taps)
        self.classifier = classifier.to(self.device).eval()
        self.labels, self.several, self.temperature = tuple(labels), several, temperature

    def __call__(self, image: np.ndarray | StripedPage | str | Path | Image) -> Diagnosis:
        """Diagnose an array, the file of a path, or an image of Pillow, as `Restorer` takes them; or a striped page.

        Raises:
            FileNotFoundError, ValueError: as for `Restorer`.
        """
        pixels = image if isinstance(image, StripedPage) else as_array(image)
        takes = image_channels(self.tapped.net)
        read = pixel_reader(pixels, takes)
        places = [(top, left) for top in _places(pixels.shape[0]) for left in _places(pixels.shape[1])]
        squares = [read(slice(top, top + SIDE), slice(left, left + SIDE)) for top, left in places]
        mean = torch.stack([self.probabilities(square).mean(0) for square in squares]).mean(0)
        order = mean.argsort(descending=True, stable=True).tolist()
        return Diagnosis({self.labels[index]: float(mean[index]) for index in order}, self.several)

    def probabilities(self, lq: Tensor) -> Tensor:
        """The probability of each class [B, K] for images [B, 3, H, W] in [0, 1], on the CPU."""
        lq = padded_for(self.tapped.net, lq.to(self.device))
        with torch.inference_mode():
            _, features = self.tapped.run(lq, stop=True)
            logits = self.classifier(lq, features).float().cpu() / self.temperature
        return logits.sigmoid() if self.several else logits.softmax(1)


def load_diagnoser(
    path: Path,
    network: nn.Module,
    device: torch.device | str = "cpu",
    file: Path | None = None,
    param_key: str | None = None,
) -> Diagnoser | None:
    """The diagnoser of a trained restorer; None if no classifier belongs to it.

    Args:
        path: the restorer's file; the classifier is in it (a released model), or in `net_dc_*` beside `net_g_*`.
        network: the restorer.
        device: where to compute.
        file: the classifier's weights, if they are elsewhere.
        param_key: the key of the weights; default the moving average if the file has one.

    Raises:
        CheckpointError: the classifier's file is damaged, does not name its classes, or does not fit the restorer.
    """
    file = file or other_file(path, "dc")
    if file is None:
        return None
    state, card = read_weights(file, param_key, role="dc")
    if "arch" not in card or not card.get("labels"):
        raise CheckpointError(f"{file}: has no card that names its network and its classes; `uir train` writes one")
    arch = {key: value for key, value in card["arch"].items() if value is not None}
    points = card.get("feature_points", [])
    sizes = {"feature_points": points, "num_classes": len(card["labels"])}
    try:
        classifier: nn.Module = build(ARCH_REGISTRY, arch, sizes)
        fit_state(classifier, state, str(file), card=card)
        taps = [point["name"] for point in points] or None
        return Diagnoser(
            network,
            classifier,
            card["labels"],
            bool(card.get("label_parts")),
            card.get("temperature", 1.0),
            taps,
            device,
        )
    except UnknownNameError as error:
        raise UnknownNameError(f"{file}: {error}") from None
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{file}: does not fit {path} ({(str(error).splitlines() or ['no reason'])[0]})"
        ) from None


def summarised(diagnoses: Mapping[str, Diagnosis]) -> dict[str, int]:
    """How many images have each class, the most frequent first."""
    return dict(Counter(diagnosis.label for diagnosis in diagnoses.values()).most_common())


def diagnosed_text(diagnoses: Mapping[str, Diagnosis]) -> str:
    """One image's diagnosis, `noise (93%)`; of several images, how many have each class: `noise 3, rain 1`."""
    if len(diagnoses) == 1:
        return str(next(iter(diagnoses.values())))
    return ", ".join(f"{label} {count}" for label, count in summarised(diagnoses).items())


def _places(length: int) -> list[int]:
    """The first pixels of at most two squares, evenly spread."""
    starts = tile_starts(length, SIDE, 0)
    return starts if len(starts) <= 2 else [length // 2 - SIDE, length // 2]
