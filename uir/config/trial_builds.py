"""Builds what is cheap to build while a file is checked, because only constructors know all that they refuse.

Optimizers and schedulers are built for one parameter, networks on torch's meta device, where tensors hold no values.
"""

from __future__ import annotations

import contextlib
import copy
import inspect
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from uir.config.optimizers import optimizer_class, scheduler_class
from uir.registry import ARCH_REGISTRY
from uir.registry.components import build


class RefusedError(ValueError):
    """A constructor refused its arguments; the message is for the user."""


_GROUPING = frozenset({"type", "groups", "layer_decay", "decay_1d"})
"""Keys of an optimizer's section that are not arguments of its class."""

_networks: dict[tuple[Any, str], nn.Module | RefusedError] = {}
"""What was built, by class and arguments: the files of an ablation name the same networks again and again."""


def try_optimizer(spec: Mapping[str, Any], group: Mapping[str, Any] | None = None) -> torch.optim.Optimizer:
    """The optimizer of a file for one parameter.

    Args:
        spec: `{type: Adam, lr: 1e-4, ...}`; what makes groups of parameters is ignored.
        group: settings of one parameter group, which replace those of `spec`.

    Raises:
        RefusedError: its constructor refuses the values.
    """
    arguments = {key: value for key, value in {**spec, **(group or {})}.items() if key not in _GROUPING}
    arguments = {key: tuple(value) if isinstance(value, list) else value for key, value in arguments.items()}
    target = optimizer_class(spec["type"])
    # Without the wrapper around this method, torch's compiler is not imported, which takes a second.
    plain = {"add_param_group": inspect.unwrap(target.add_param_group)}
    with _refusing(spec):
        optimizer: torch.optim.Optimizer = type(target.__name__, (target,), plain)(
            [nn.Parameter(torch.zeros(1, 1))], **arguments
        )
        return optimizer


def try_scheduler(spec: Mapping[str, Any], optimizer: torch.optim.Optimizer) -> None:
    """Build a scheduler of a file as training does, and make a step.

    Raises:
        RefusedError: its constructor refuses the values, or its first step fails.
    """
    arguments = copy.deepcopy({key: value for key, value in spec.items() if key != "type"})
    with _refusing(spec), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the optimizer has made no step
        scheduler = scheduler_class(spec["type"])(optimizer, **arguments)
        if not inspect.signature(scheduler.step).parameters.keys() & {"metrics"}:
            scheduler.step()


def try_network(spec: Mapping[str, Any]) -> nn.Module:
    """The network of a file, without values.

    Raises:
        RefusedError: its constructor refuses the arguments.
    """
    key = (ARCH_REGISTRY.get(spec["type"]), repr(spec))
    if key not in _networks:
        if len(_networks) >= 32:
            _networks.clear()
        try:
            _networks[key] = _network(spec)
        except RefusedError as error:
            _networks[key] = error
    built = _networks[key]
    if isinstance(built, RefusedError):
        raise built
    return built


def _network(spec: Mapping[str, Any]) -> nn.Module:
    network = _without_values(spec)
    if not isinstance(network, nn.Module):
        raise RefusedError(f"({spec['type']}) is no torch.nn.Module")
    empty = next(
        (name for name, tensor in network.named_parameters() if not is_lazy(tensor) and not tensor.numel()), ""
    )
    if empty:
        raise RefusedError(f"({spec['type']}): its weight {empty} would have no values; some width or number is 0")
    return network


def _without_values(spec: Mapping[str, Any]) -> nn.Module:
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with contextlib.suppress(Exception), torch.device("meta"):
            network: nn.Module = build(ARCH_REGISTRY, spec)
            return network
        with _refusing(spec):  # it fails, or it computes with values, which the meta device has not
            network = build(ARCH_REGISTRY, spec)
            return network.to("meta") if isinstance(network, nn.Module) else network


@contextlib.contextmanager
def _refusing(spec: Mapping[str, Any]) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # torch's and plugins' constructors fail in any way
        kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise RefusedError(f"({spec['type']}) cannot be built: {kind}{reason}") from None
