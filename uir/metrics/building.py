"""Builds a metric from its entry in an option file.

An option file can name four forms of metric. All take float RGB tensors:

- a class: built with the entry's arguments, called with two tensors, `(restored, gt)`;
- a class with `update` and `compute`, a metric of a whole set: `update(restored, gt)` returns what an image adds, such
  as its features, and `compute(contributions)` is called once with those of all images, in their order. It keeps
  nothing itself, so that images may be shared over any number of processes;
- a function of `(restored, gt, ...)`, or in BasicSR's tensor form, whose name ends in `_pt`: called with two tensors;
- any other function is in BasicSR's form: called with uint8 BGR arrays [H, W, C] as `img` and `img2`, image by image.

A function without a second image needs no reference. `pyiqa:<name>` is a metric of the package pyiqa, where it is
installed.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from uir.metrics.basicsr_form import to_uint8_bgr
from uir.metrics.protocols import check_pair
from uir.metrics.psnr_metric import PSNR, calculate_psnr
from uir.metrics.ssim_metric import SSIM, calculate_ssim
from uir.registry import METRIC_REGISTRY, nearest_names
from uir.registry.components import Signature, build, signature_of

_LOWER_IS_BETTER = {"calculate_niqe"}  # of the functions in BasicSR's form, which do not declare this
_IMAGE_ARGUMENTS = {"img", "img2", "restored", "gt"}
Regions = Mapping[str, Tensor]
"""Masks of the parts of an image, by name: [B, 1, H, W], above 0.5 inside."""


@dataclass(frozen=True)
class Metric:
    """A metric ready for the evaluation loop.

    Attributes:
        name: `type` of its entry.
        better: `higher` or `lower`.
        needs_reference: whether it compares with a ground truth.
    """

    name: str
    better: str
    needs_reference: bool
    _score: Callable[[Tensor, Tensor | None, Regions | None], float]
    _description: Callable[[str | None], str]

    def describe(self, channel: str | None = None) -> str:
        """The metric and its settings, such as `PSNR (Y, border 4, uint8)`.

        Args:
            channel: what the images' only channel is, where they have one; uir's own metrics say it.
        """
        return self._description(channel)

    def __call__(self, restored: Tensor, gt: Tensor | None = None, regions: Regions | None = None) -> float:
        """Mean over the images of the batch.

        Args:
            restored, gt: float RGB [B, C, H, W] or [C, H, W] in [0, 1]; `gt` is needed only if `needs_reference`.
            regions: masks by name, for a composite score with terms of regions.

        Raises:
            ValueError: the shapes differ, or the reference is missing.
        """
        if not self.needs_reference:
            return self._score(restored, None, regions)
        if gt is None:
            raise ValueError(f"metric {self.name} compares with a ground truth, but the dataset has none")
        check_pair(restored, gt)
        return self._score(restored, gt, regions)


def remembering(metric: Metric) -> Metric:
    """The same metric, which is not computed again for the images that it has just measured.

    Several tables and composite scores can then share a metric.
    """
    last: list[Any] = []

    def score(restored: Tensor, gt: Tensor | None, regions: Regions | None) -> float:
        if not last or last[0] is not restored or last[1] is not gt:
            last[:] = restored, gt, metric._score(restored, gt, regions)
        return float(last[2])

    return replace(metric, _score=score)


@dataclass(frozen=True)
class SetMetric:
    """A metric of a whole set of images, such as a Fréchet distance or a correlation.

    Attributes:
        name: `type` of its entry.
        better: `higher` or `lower`.
        needs_reference: whether it compares with a ground truth.
    """

    name: str
    better: str
    needs_reference: bool
    _metric: Any

    def describe(self, channel: str | None = None) -> str:
        """The metric and its choices, whatever the images' channels are."""
        return self._metric.describe() if hasattr(self._metric, "describe") else self.name

    @property
    def is_resampled(self) -> bool:
        """Whether it is cheap enough to be computed for each resample of a bootstrap."""
        return bool(getattr(self._metric, "is_resampled", False))

    def contribution(self, restored: Tensor, gt: Tensor | None = None, regions: Regions | None = None) -> Any:
        """What an image adds to the metric, as the class's `update` returns it.

        Args:
            restored, gt: float RGB [B, C, H, W] in [0, 1]; `gt` only where `needs_reference`.
            regions: as in `Metric`.
        """
        if getattr(self._metric, "regions", ()):
            return self._metric.update(restored, gt, regions)
        if not self.needs_reference:
            return self._metric.update(restored)
        if gt is None:
            raise ValueError(f"metric {self.name} compares with a ground truth, but the dataset has none")
        return self._metric.update(restored, gt)

    def result(self, contributions: Sequence[Any]) -> float:
        """The metric of all images, from what each of them added, in their order."""
        return float(self._metric.compute(list(contributions)))


def build_metric(spec: Mapping[str, Any], where: str = "") -> Metric | SetMetric:
    """Build the metric that an option file names.

    Args:
        spec: `{type: calculate_psnr, crop_border: 4, test_y_channel: true, better: higher}`; `better` may be left out.
        where: key path of the entry, for messages (`val.metrics.psnr`).

    Raises:
        UnknownNameError: no metric has this name.
        ValueError: `type` or an argument is missing, unknown or out of range, or a package is not installed.
        FileNotFoundError: the metric needs a file of weights that is not there.
    """
    arguments = dict(spec)
    name = arguments.pop("type", None)
    place = where or f"metric {name}"
    if name is None:
        raise ValueError(f"{where or 'metric'}: `type` is missing from {dict(spec)}; it names the metric")
    target = METRIC_REGISTRY.get(name)
    chosen = arguments.pop("better", None)
    better = chosen or better_of(target)
    if better not in ("higher", "lower"):
        raise ValueError(f"{place}.better: expected higher or lower, got {better!r}")
    signature = signature_of(target)
    if not signature.takes_opt:
        _check_arguments(target, signature, arguments, place)
    try:
        if inspect.isclass(target):
            metric = build(METRIC_REGISTRY, {"type": name, **arguments})
            return metric_of(name, chosen or getattr(metric, "better", better), metric)
        if target in _OWN_FORM:
            return _from_object(name, better, _OWN_FORM[target](**_own_arguments(**arguments)))
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{place}: {error}") from None
    except ValueError as error:
        raise ValueError(f"{place}: {error}") from None
    return _from_function(name, better, target, signature, arguments)


def better_of(target: Any) -> str:
    """Which scores of a class or function are good, `higher` or `lower`: what it declares, else `higher`."""
    declared = getattr(target, "better", None)
    return str(declared or ("lower" if target.__name__ in _LOWER_IS_BETTER else "higher"))


# BasicSR's names are computed on the tensors, on their device; the result is the same as for the arrays.
_OWN_FORM: dict[Any, type[PSNR] | type[SSIM]] = {calculate_psnr: PSNR, calculate_ssim: SSIM}


def with_unit(name: str) -> str:
    """The name of a metric for an axis, with its unit: a PSNR is in dB, the others have none."""
    return f"{name} in dB" if "psnr" in name.lower() else name


def _own_arguments(crop_border: int, input_order: str = "HWC", test_y_channel: bool = False) -> dict[str, Any]:
    if input_order != "HWC":
        raise ValueError(f"input_order: uir passes images as HWC, got {input_order!r}; leave it out")
    if crop_border is None:
        raise ValueError("crop_border: expected a whole number of pixels, got None; 0 for none")
    return {"crop_border": crop_border, "color_space": "y" if test_y_channel else "rgb"}


def _check_arguments(target: Any, signature: Signature, arguments: Mapping[str, Any], place: str) -> None:
    """Raise ValueError for an argument that the metric does not have, or for a missing one.

    BasicSR's metrics ignore unknown arguments: `test_y_chanel: true` would report RGB numbers as Y.
    """
    declared = getattr(target, "option_keys", None)
    allowed = {*signature.parameters, *(declared or ())} - _IMAGE_ARGUMENTS
    lenient = signature.open and declared is None and METRIC_REGISTRY.origin_of(target) == "plugin"
    for key in arguments:
        near = nearest_names(key, allowed, count=1)
        if key not in allowed and (near or not lenient):
            hint = f"did you mean {near[0]}?" if near else f"it takes {', '.join(sorted(allowed)) or 'none'}"
            raise ValueError(f"{place}: {target.__name__} has no argument '{key}'; {hint}")
    for key in signature.required:
        if key not in arguments and key not in _IMAGE_ARGUMENTS:
            meaning = " (pixels left out at each edge, 0 for none)" if key == "crop_border" else ""
            raise ValueError(f"{place}: {target.__name__} needs `{key}`{meaning}, which is missing")


def metric_of(name: str, better: str, metric: Any) -> Metric | SetMetric:
    """An object of a metric's class, ready for the evaluation loop."""
    if hasattr(metric, "update") and hasattr(metric, "compute"):
        return SetMetric(name, better, getattr(metric, "needs_reference", True), metric)
    return _from_object(name, better, metric)


def _from_object(name: str, better: str, metric: Any) -> Metric:
    needs_reference = getattr(metric, "needs_reference", True)

    def score(restored: Tensor, gt: Tensor | None, regions: Regions | None) -> float:
        if getattr(metric, "regions", ()):
            return _mean(metric(restored, gt, regions))
        return _mean(metric(restored, gt) if needs_reference else metric(restored))

    def describe(channel: str | None) -> str:
        if not hasattr(metric, "describe"):
            return name
        takes_channel = "channel" in inspect.signature(metric.describe).parameters
        return str(metric.describe(channel) if takes_channel else metric.describe())

    return Metric(name, better, needs_reference, score, describe)


def _from_function(
    name: str, better: str, function: Callable[..., Any], signature: Signature, arguments: Mapping[str, Any]
) -> Metric:
    own_form = "restored" in signature.parameters
    first, second = ("restored", "gt") if own_form else ("img", "img2")
    needs_reference = second in signature.parameters
    takes_tensors = own_form or function.__name__.endswith("_pt")

    def score(restored: Tensor, gt: Tensor | None, regions: Regions | None) -> float:
        batch = _batched(restored)
        references = _batched(gt) if gt is not None else batch
        if takes_tensors:
            return _mean(function(**{first: batch, **({second: references} if needs_reference else {})}, **arguments))
        if not bool(torch.isfinite(batch).all()):
            return math.nan  # as uint8, a NaN would become a black pixel
        scores = []
        for image, reference in zip(batch, references, strict=True):
            images = {first: to_uint8_bgr(image)}
            if needs_reference:
                images[second] = to_uint8_bgr(reference)
            scores.append(_mean(function(**images, **arguments)))
        return sum(scores) / len(scores)

    shown = ", ".join(f"{key} {str(value).lower()}" for key, value in arguments.items())
    description = f"{name} ({shown})" if shown else name
    return Metric(name, better, needs_reference, score, lambda channel: description)


def _batched(image: Tensor) -> Tensor:
    return image if image.ndim == 4 else image[None]


def _mean(score: Any) -> float:
    return torch.as_tensor(score, dtype=torch.float64).mean().item()
