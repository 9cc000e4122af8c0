"""Exports a trained network: to ONNX, to torch's own format, or to one file with its card. Every export is checked."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from uir.core.checkpoint import CheckpointError, published_state, read_weights, write_release
from uir.core.files import replacing
from uir.inference.loading import load_predictor, other_file
from uir.inference.network_predictor import NetworkPredictor
from uir.inference.onnx_network import METADATA_KEY, OnnxNetwork
from uir.layers.padding import multiple_of

Format = Literal["onnx", "torch", "safetensors"]
ENDINGS: dict[Format, str] = {"onnx": ".onnx", "torch": ".pt2", "safetensors": ".safetensors"}
TOLERANCE = 1e-3
"""The largest difference that an export may have, of images in [0, 1]."""
_SIDES = ((5, 7), (8, 4))  # of the images that are compared, in multiples of pad_multiple; the first traces the network
_SMALLEST = 16  # pixels


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        file: the file.
        any_size: whether it takes images of any size; otherwise of `size` only.
        size: side in pixels, for a fixed size.
        difference: the largest difference from the network, of images in [0, 1].
        checked: height and width of the images that were compared.
    """

    file: str
    any_size: bool
    size: int | None
    difference: float
    checked: list[tuple[int, int]]

    def __str__(self) -> str:
        sizes = "images of any size" if self.any_size else f"images of {self.size}×{self.size} pixels only"
        compared = " and ".join(f"{height}×{width}" for height, width in self.checked)
        how = f"; differs from the network by at most {self.difference:.1e} on {compared} pixels" if compared else ""
        return f"{self.file}: takes {sizes}{how}"


def export(
    model: Path,
    file: Path,
    format: Format,
    opt: Path | None = None,
    param_key: str | None = None,
    size: int | None = None,
) -> Exported:
    """Export a trained network, and compare the result with it.

    Args:
        model: its weights.
        file: the file to write.
        format: `onnx`; `torch` (`torch.export`, for programs without uir); or `safetensors` (uir's released model: all
            networks of a method and the classifier, with their cards).
        opt, param_key: as for `load_predictor`.
        size: side in pixels of the one size that the export takes; default any size, where the network allows it.

    Raises:
        CheckpointError: the network needs more than the image, so that only `safetensors` holds it.
        ValueError: the file's ending is another one, or the result differs from the network.
    """
    if file.suffix != ENDINGS[format]:
        raise ValueError(f"{file}: expected a name that ends in {ENDINGS[format]} for --format {format}")
    predictor = load_predictor(model, opt, param_key)
    if format == "safetensors":
        return _release(model, file, param_key, predictor.networks)
    if type(predictor) is not NetworkPredictor:
        raise CheckpointError(
            f"{model}: restores by {type(predictor).__name__}, with more than the image; only --format safetensors "
            "holds all of that"
        )
    network = predictor.network.cpu().float().eval()
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    multiple = multiple_of(network)
    if size is not None and size % multiple:
        raise ValueError(f"--size: expected a multiple of {multiple}, which the network needs, got {size}")
    card = {"pad_multiple": multiple, "scale": predictor.scale, "labels": list(predictor.labels), "arch": _arch(model)}
    if size is None:
        try:
            return _written(network, file, format, card, None)
        except _NotTracedError as error:
            size = max(256 // multiple, 1) * multiple
            logging.getLogger("uir").warning(
                "%s cannot be exported for any size (%s); size %d is used", type(network).__name__, error, size
            )
    return _written(network, file, format, card, size)


class _NotTracedError(ValueError):
    """torch's tracer refuses the network for any size."""


def _written(network: nn.Module, file: Path, format: Format, card: Mapping[str, Any], size: int | None) -> Exported:
    examples = [_example(network, sides, size) for sides in (_SIDES if size is None else _SIDES[:1])]
    program = _traced(network, examples[0], int(card["pad_multiple"]), size is None)
    with replacing(file) as temporary:
        if format == "torch":
            torch.export.save(program, temporary)
            run: Callable[[Tensor], Tensor] = torch.export.load(temporary).module()
        else:
            _save_onnx(program, temporary, card)
            run = OnnxNetwork(temporary)
        with torch.no_grad():
            difference = max(float((run(image) - network(image)).abs().max()) for image in examples)
        if not difference <= TOLERANCE:
            raise ValueError(f"{file}: is not written, because it differs from the network by {difference:.2g}")
    checked = [(image.shape[-2], image.shape[-1]) for image in examples]
    return Exported(str(file), size is None, size, difference, checked)


def _example(network: nn.Module, sides: tuple[int, int], size: int | None) -> Tensor:
    multiple = multiple_of(network)
    step = -(-_SMALLEST // multiple) * multiple
    height, width = (size, size) if size is not None else (side * step for side in sides)
    first = next((module for module in network.modules() if isinstance(module, nn.Conv2d)), None)
    channels = getattr(network, "in_channels", None) or getattr(network, "img_channel", None)
    channels = channels or (first.in_channels if first is not None and first.in_channels in (1, 3) else 3)
    return torch.rand(1, channels, height, width, generator=torch.Generator().manual_seed(0))


def _traced(network: nn.Module, image: Tensor, multiple: int, any_size: bool) -> Any:
    shapes = None
    if any_size:
        height, width = (torch.export.Dim(name, min=2, max=4096) for name in ("height", "width"))
        shapes = ({2: height * multiple if multiple > 1 else height, 3: width * multiple if multiple > 1 else width},)
    try:
        with torch.no_grad(), _quiet():
            return torch.export.export(network, (image,), dynamic_shapes=shapes)
    except Exception as error:  # the tracer has many
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
        if any_size:
            raise _NotTracedError(reason) from None
        raise ValueError(f"{type(network).__name__} cannot be exported: {reason}") from None


def _save_onnx(program: Any, file: Path, card: Mapping[str, Any]) -> None:
    if any(find_spec(name) is None for name in ("onnx", "onnxscript")):
        raise ValueError("--format onnx needs onnx, onnxscript and onnxruntime: pip install 'uir[export]'")
    with _quiet():
        exported = torch.onnx.export(program, dynamo=True, verbose=False)
    if exported is None:
        raise ValueError(f"{file}: torch's exporter gave nothing")
    exported.model.metadata_props[METADATA_KEY] = json.dumps(card)
    exported.save(str(file))


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the many notes of torch's exporters."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "torch.export")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


def _arch(model: Path) -> Any:
    return read_weights(model)[1].get("arch")


def _release(model: Path, file: Path, param_key: str | None, networks: Mapping[str, nn.Module]) -> Exported:
    """All networks of a method, and the classifier beside them, with their cards."""
    parts: dict[str, tuple[dict[str, Tensor], dict[str, Any]]] = {}
    for role, network in networks.items():
        source = model if role == "g" else other_file(model, role) or model
        card = read_weights(source, role=role)[1]
        if "arch" not in card:
            raise CheckpointError(f"{source}: has no card to be exported with it")
        parts[role] = published_state(network), card
    classifier = other_file(model, "dc")
    if classifier is not None:
        parts["dc"] = read_weights(classifier, param_key, role="dc")
    write_release(file, parts)
    return Exported(str(file), True, None, 0.0, [])
