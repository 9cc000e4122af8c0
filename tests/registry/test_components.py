"""Building registered classes from mappings: keyword arguments, BasicSR's `opt`, context, and the errors."""

from __future__ import annotations

from typing import Any

import pytest

from uir.registry import Registry
from uir.registry.components import build, signature_of


class Net:
    def __init__(self, width: int, depth: int = 2, *, scale: int = 1) -> None:
        self.arguments = {"width": width, "depth": depth, "scale": scale}


class TakesOpt:
    def __init__(self, opt: dict[str, Any]) -> None:
        self.opt = opt


class Open:
    def __init__(self, width: int, **kwargs: Any) -> None:
        self.rest = kwargs


class Bare:
    pass


class Unresolvable:
    def __init__(self, width: Absent = 1) -> None:  # noqa: F821
        pass


@pytest.fixture
def registry() -> Registry:
    held = Registry("arch", [])
    for target in (Net, TakesOpt, Open, Bare):
        held.register(target)
    return held


def test_keyword_arguments_are_passed(registry: Registry) -> None:
    assert build(registry, {"type": "Net", "width": 8}).arguments == {"width": 8, "depth": 2, "scale": 1}


def test_a_spec_is_copied_and_stays_as_it_was(registry: Registry) -> None:
    spec = {"type": "TakesOpt", "deep": {"list": [1]}}
    built = build(registry, spec)
    built.opt["deep"]["list"].append(2)
    built.opt.pop("type")
    assert spec == {"type": "TakesOpt", "deep": {"list": [1]}}


def test_a_class_in_basicsr_manner_receives_one_dictionary_with_the_context(registry: Registry) -> None:
    context = {"phase": "train", "scale": 4}
    built = build(registry, {"type": "TakesOpt", "scale": 2, "gt_size": 64}, context)
    assert built.opt == {"type": "TakesOpt", "phase": "train", "scale": 2, "gt_size": 64}


def test_context_reaches_only_a_constructor_that_has_the_parameter(registry: Registry) -> None:
    assert build(registry, {"type": "Net", "width": 8}, {"scale": 4, "phase": "train"}).arguments["scale"] == 4
    assert build(registry, {"type": "Open", "width": 8}, {"scale": 4}).rest == {}


def test_the_spec_wins_over_the_context(registry: Registry) -> None:
    assert build(registry, {"type": "Net", "width": 8, "scale": 2}, {"scale": 4}).arguments["scale"] == 2


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"width": 8}, "arch: `type` is missing from {'width': 8}"),
        ({"type": "Net"}, "arch Net: missing a required argument: 'width'"),
        ({"type": "Net", "width": 8, "wdith": 1}, "arch Net: got an unexpected keyword argument 'wdith'"),
        ({"type": "Bare", "width": 8}, "arch Bare: got an unexpected keyword argument 'width'"),
    ],
)
def test_arguments_that_do_not_fit(registry: Registry, spec: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as caught:
        build(registry, spec)
    assert str(caught.value).startswith(message)


def test_signatures_of_the_four_forms() -> None:
    net = signature_of(Net)
    assert (list(net.parameters), net.required, net.takes_opt, net.open) == (
        ["width", "depth", "scale"],
        ["width"],
        False,
        False,
    )
    assert signature_of(TakesOpt).takes_opt
    assert signature_of(TakesOpt).parameters == {}
    assert signature_of(Open).open
    assert not signature_of(Bare).open


def test_a_signature_of_a_function_keeps_its_first_parameter() -> None:
    def metric(img: int, img2: int, crop_border: int, **kwargs: Any) -> float:
        return 0.0

    assert signature_of(metric).required == ["img", "img2", "crop_border"]


def test_annotations_are_resolved_where_they_can_be() -> None:
    assert signature_of(Net).parameters["width"].annotation is int
    assert signature_of(Unresolvable).parameters["width"].annotation == "Absent"
