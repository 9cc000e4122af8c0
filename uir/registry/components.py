"""Builds registered classes from the mappings of an option file.

A mapping names its class with `type`; the other keys are the constructor's arguments. A class whose first parameter is
`opt` is written like BasicSR's and receives one dictionary; every other class receives keyword arguments.
"""

from __future__ import annotations

import copy
import functools
import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from uir.registry import REGISTRIES, Registry


@dataclass(frozen=True)
class Nested:
    """Marks a constructor argument that is itself a `{type: ..., ...}` mapping for a registry (key of `REGISTRIES`)."""

    registry: str


DatasetSpec = Annotated[dict[str, Any], Nested("datasets")]
DegradationSpec = Annotated[dict[str, Any], Nested("degradations")]
LossSpec = Annotated[dict[str, Any], Nested("losses")]
ArchSpec = Annotated[dict[str, Any], Nested("archs")]


@dataclass(frozen=True)
class Signature:
    """The parameters of a constructor (or a metric function).

    Attributes:
        takes_opt: the first parameter is `opt`, BasicSR's dictionary.
        parameters: the named parameters, without `self` and `opt`.
        open: it also takes `**kwargs`.
    """

    takes_opt: bool
    parameters: dict[str, inspect.Parameter]
    open: bool

    @property
    def required(self) -> list[str]:
        """Parameters without a default."""
        return [name for name, p in self.parameters.items() if p.default is inspect.Parameter.empty]


def signature_of(target: Any) -> Signature:
    """The signature of a class's constructor or of a function, annotations resolved."""
    is_class = inspect.isclass(target)
    return _signature(target.__init__ if is_class else target, is_class)


@functools.cache  # annotations are evaluated, which takes most of the time of checking a file
def _signature(function: Any, is_method: bool) -> Signature:
    if function is object.__init__:  # its (*args, **kwargs) would look open
        return Signature(False, {}, False)
    parameters = list(inspect.signature(function, eval_str=_resolvable(function)).parameters.values())
    if is_method:
        parameters = parameters[1:]
    named_kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    named_parameters = {p.name: p for p in parameters if p.kind in named_kinds}
    is_open = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters)
    takes_opt = bool(parameters) and parameters[0].name == "opt"
    if takes_opt:
        named_parameters.pop("opt")
    return Signature(takes_opt, named_parameters, is_open)


def _resolvable(function: Any) -> bool:
    """Whether the annotations can be evaluated (a name imported only for type checking cannot)."""
    try:
        inspect.signature(function, eval_str=True)
    except (NameError, TypeError, SyntaxError, AttributeError):
        return False
    return True


def build(registry: Registry | str, spec: Mapping[str, Any], context: Mapping[str, Any] | None = None) -> Any:
    """Build the object that `spec` describes.

    Args:
        registry: a registry, or its name in `REGISTRIES` ("archs").
        spec: `{type: Name, argument: value, ...}`; it is copied and never changed. A network that does not declare its
            `pad_multiple` may have the key here.
        context: values that an option file gives once for many objects (`scale`, `phase`). Only a constructor that has
            the parameter receives them, and only if `spec` does not set it. A class written like BasicSR's gets them
            in `opt`.

    Raises:
        ValueError: `type` is missing, or the arguments do not fit the constructor.
    """
    target_registry = REGISTRIES[registry] if isinstance(registry, str) else registry
    if "type" not in spec:
        raise ValueError(f"{target_registry.kind}: `type` is missing from {dict(spec)}; it names the class to build")
    arguments = copy.deepcopy({key: value for key, value in spec.items() if key != "type"})
    target = target_registry.get(spec["type"])
    signature = signature_of(target)
    context = dict(context or {})
    if signature.takes_opt:
        return target({"type": spec["type"], **copy.deepcopy(context), **arguments})
    is_told = target_registry.kind == "arch" and "pad_multiple" not in signature.parameters
    multiple = arguments.pop("pad_multiple", None) if is_told else None
    for key, value in context.items():
        if key in signature.parameters:
            arguments.setdefault(key, value)
    try:
        inspect.signature(target).bind(**arguments)
    except TypeError as error:
        raise ValueError(f"{target_registry.kind} {spec['type']}: {error}") from None
    built = target(**arguments)
    if multiple is not None:
        if hasattr(built, "pad_multiple"):
            own = built.pad_multiple
            raise ValueError(f"{spec['type']}.pad_multiple: the network declares its own ({own}); leave the key out")
        built.pad_multiple = multiple
    return built


def build_network(spec: Mapping[str, Any]) -> Any:
    """Build a network (a `torch.nn.Module`) with random weights.

    Args:
        spec: `{"type": "NAFNet", "width": 32}`, as `network_g` of an option file.

    Raises:
        UnknownNameError: no arch has this name.
        ValueError: `type` is missing, or the arguments do not fit.
    """
    return build("archs", spec)
