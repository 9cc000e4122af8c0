"""Folds a network whose weights depend on the image into a plain one, for one degradation."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from uir.core.checkpoint import CheckpointError, fit_state, write_checkpoint
from uir.core.images import read_image
from uir.inference.exporting import ENDINGS, Exported, Format, export
from uir.inference.loading import load_predictor
from uir.inference.pixels import pixel_reader
from uir.inference.predictor import Predictor, Whole
from uir.registry import ARCH_REGISTRY
from uir.registry.components import build

TOLERANCE = 1e-5
"""The largest difference of the plain network, as a part of the largest value that the mixed one gives (at least 1)."""
SUFFIX = ".pth"


@dataclass(frozen=True)
class Collapsed:
    """What was written.

    Attributes:
        file: the file.
        type: class of the plain network.
        parameters: of the plain network.
        difference: the largest difference from the network that mixes, of the image itself.
        exported: what became of it in another format; None for a checkpoint.
    """

    file: str
    type: str
    parameters: int
    difference: float
    exported: Exported | None = None

    def __str__(self) -> str:
        if self.exported is not None:
            return str(self.exported)
        return (
            f"{self.file}: {self.type} with {self.parameters:,} parameters; differs from the network that mixes by at "
            f"most {self.difference:.1e}"
        )


def collapse(
    model: Path,
    image: Path,
    file: Path,
    controls: Mapping[str, Any] | None = None,
    opt: Path | None = None,
    param_key: str | None = None,
    size: int | None = None,
) -> Collapsed:
    """Fold a model's experts, mixed for the degradation of an image, into a plain network, and compare both.

    The plain network needs no predictor, and restores every image as if it were degraded as this one is.

    Args:
        model: weights of a model of experts.
        image: the photograph whose degradation counts.
        file: a checkpoint (.pth) with its card, or one of the formats of `export`.
        controls: numbers of the degradation that are set by hand.
        opt, param_key: as for `load_predictor`.
        size: as for `export`.

    Raises:
        CheckpointError: the model has no experts.
        ValueError: the file's ending is unknown, a control does not fit, or the plain network differs.
    """
    by_ending: dict[str, Format] = {ending: name for name, ending in ENDINGS.items()}
    if file.suffix not in (SUFFIX, *by_ending):
        raise ValueError(f"{file}: expected a name that ends in {', '.join((SUFFIX, *by_ending))}")
    predictor = load_predictor(model, opt, param_key)
    if not hasattr(predictor, "collapsed"):
        raise CheckpointError(f"{model}: restores every image with the same weights; there is nothing to collapse")
    for network in predictor.networks.values():
        network.eval()
    done, params, card = _folded(predictor, image, controls or {}, file)
    if file.suffix == SUFFIX:
        write_checkpoint(file, {"params": params}, card)
        return done
    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder) / f"net_g_collapsed{SUFFIX}"
        write_checkpoint(plain, {"params": params}, card)
        exported = export(plain, file, by_ending[file.suffix], size=size)
    return Collapsed(done.file, done.type, done.parameters, done.difference, exported)


@torch.no_grad()
def _folded(
    predictor: Any, image: Path, controls: Mapping[str, Any], file: Path
) -> tuple[Collapsed, dict[str, Tensor], dict[str, Any]]:
    whole = _whole(predictor, image, controls)
    conditions = predictor.conditions(whole)
    arch, state = predictor.collapsed(conditions)
    plain = build(ARCH_REGISTRY, arch).eval()
    fit_state(plain, state, str(file))
    side = 64 // predictor.multiple * predictor.multiple or predictor.multiple
    part = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0))
    expected = predictor.run(part, conditions, None)
    difference = float((plain(part) - expected).abs().max())
    if not difference <= TOLERANCE * max(1.0, float(expected.abs().max())):
        raise ValueError(f"{file}: is not written, because the plain network differs by {difference:.2g}")
    card = {
        "arch": arch,
        "scale": predictor.scale,
        "role": "g",
        "labels": list(predictor.labels),
        "predictor": {"type": "NetworkPredictor"},
        "collapsed": {"image": image.name, "controls": dict(controls), **predictor.described(conditions)},
    }
    parameters = sum(parameter.numel() for parameter in plain.parameters())
    return Collapsed(str(file), arch["type"], parameters, difference), state, card


def _whole(predictor: Predictor, image: Path, controls: Mapping[str, Any]) -> Whole:
    pixels = read_image(image)
    values, strategies = predictor.read(controls)
    if strategies:
        raise ValueError(f"{', '.join(controls)}: only numbers of the degradation can be collapsed")
    size = (pixels.shape[0], pixels.shape[1])
    return Whole.of(predictor, pixel_reader(pixels, 3), size, (image.stem,), torch.device("cpu"), {}, values)
