"""Versions of one image that differ in one factor of its degradation, for learning to rank (DAA, ACCV 2022)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from uir.core.seeds import derive_seed
from uir.degradations.base import Degradation, DrawContext, Size
from uir.degradations.record import DegradationRecord, Step
from uir.registry import DEGRADATION_REGISTRY


@dataclass(frozen=True)
class Rendition:
    """One way to degrade an image, compared with the query's.

    Attributes:
        record: the degradation of the image.
        factor: the difference from the query, `Op.parameter`; "" for the query itself, "equal" if only its random
            fields differ, "none" if the ops of all factors are left out.
        order: 1 if it is more severe than the query, -1 if less, 0 if equal.
    """

    record: DegradationRecord
    factor: str
    order: int


def ranking_tuple(
    degradation: Degradation,
    seed: int,
    size: Size,
    factors: Sequence[str],
    context: DrawContext | None = None,
) -> list[Rendition]:
    """The query, one equal to it, one for each factor with only this factor drawn again, and one without their ops.

    Each version has its own random fields (noise, masks): with the query's fields, two versions would be nearly the
    same image, and could be put in order pixel by pixel. A blur with a seed stays the same. The order follows the op's
    own severity.

    Args:
        degradation: an op or a pipeline that always applies the ops of the factors.
        seed: seed of the query; the new values are keyed by it and the factor.
        size: (height, width) of the image.
        factors: `Op.parameter` as in records: `["AnisotropicGaussianBlur.sigma_x_px", "GaussianNoise.sigma_255"]`.

    Raises:
        ValueError: a factor is malformed, or the degradation does not draw it at random.
    """
    query = degradation.record(seed, size, context=context)
    places = {factor: _place(query, factor) for factor in factors}
    versions: list[tuple[str, int, list[Step]]] = [("equal", 0, list(query.steps or ()))]
    for factor, (index, key) in places.items():
        steps = list(query.steps or ())
        other = degradation.record(derive_seed(seed, "factor", factor), size, context=context)
        changed: Step = {**steps[index], key: (other.steps or ())[_place(other, factor)[0]][key]}
        order = _order(changed, steps[index])
        steps[index] = changed
        versions.append((factor, order, steps))
    left_out = {index for index, _ in places.values()}
    versions.append(("none", -1, [step for index, step in enumerate(query.steps or ()) if index not in left_out]))
    renditions = [Rendition(query, "", 0)]
    for name, order, steps in versions:
        own = tuple(with_another_field(step, name) for step in steps)
        renditions.append(Rendition(DegradationRecord(own, query.seed, query.label), name, order))
    return renditions


def with_another_field(step: Step, key: str) -> Step:
    """The step with another random field, keyed by `key`; a blur's seed is its kernel, and is kept."""
    if "seed" not in step or DEGRADATION_REGISTRY.get(step["op"]).family == "blur":
        return step
    return {**step, "seed": derive_seed(step["seed"], key)}


def _place(record: DegradationRecord, factor: str) -> tuple[int, str]:
    op, _, key = factor.partition(".")
    for index, step in enumerate(record.steps or ()):
        if step["op"] == op and key in step:
            return index, key
    raise ValueError(
        f"ranking_tuple: the factor '{factor}' is not in {record.to_dict()['steps']}; write `Op.parameter` as in "
        "records, of an op that is always applied"
    )


def _order(changed: Step, query: Step) -> int:
    severity = DEGRADATION_REGISTRY.get(query["op"]).severity
    new, old = severity(changed), severity(query)
    return (new > old) - (new < old)
