"""Which uir class stands for which published one, and how its arguments and inputs are passed.

An adapter maps names, never sizes: other folders of fixtures hold the same classes with other widths, depths and sizes.
Keys are converted by the class itself (`convert_state_dict`), as a checkpoint's are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from uir.components import build


def call_with_inputs(network: nn.Module, inputs: dict[str, Tensor]) -> Any:
    """The inputs in their stored order, as positional arguments."""
    return network(*inputs.values())


@dataclass(frozen=True)
class ArchAdapter:
    """How one published class is compared.

    Attributes:
        type: the name under which uir registers its own.
        arguments: published constructor arguments -> uir's, `patched_hardcoded_values` among them.
        call: runs the network on the inputs (named without `in_`), returns a tensor, or a tuple or mapping of outputs.
    """

    type: str
    arguments: Callable[[dict[str, Any]], dict[str, Any]] = dict
    call: Callable[[nn.Module, dict[str, Tensor]], Any] = call_with_inputs

    def build(self, meta: Mapping[str, Any]) -> nn.Module:
        """The uir network of a fixture or key map."""
        patched = meta.get("patched_hardcoded_values") or {}
        arguments = self.arguments({**meta["constructor"], **(patched if isinstance(patched, dict) else {})})
        return build("archs", {"type": f"uir:{self.type}", **arguments})


def with_defaults(**defaults: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Published defaults that differ from uir's."""
    return lambda arguments: {**defaults, **arguments}


NAFNET, DCPT = "megvii-research/NAFNet", "MILab-PKU/dcpt"

# (source_repo, class_name) of a fixture -> adapter
ARCH_ADAPTERS: dict[tuple[str, str], ArchAdapter] = {
    (NAFNET, "NAFNet"): ArchAdapter("NAFNet"),
    (NAFNET, "NAFNetLocal"): ArchAdapter("NAFNetLocal"),
    (NAFNET, "Baseline"): ArchAdapter("Baseline"),
    (DCPT, "NAFNetBaseline"): ArchAdapter("NAFNet"),
    (DCPT, "NAFNet"): ArchAdapter("NAFNetLocal", with_defaults(train_size=(1, 3, 128, 128))),
}


def adapter_of(meta: Mapping[str, Any]) -> ArchAdapter | None:
    """The adapter of a fixture or key map, if there is one."""
    return ARCH_ADAPTERS.get((meta["source_repo"], meta.get("class_name") or ""))


def convert_keys(network: nn.Module, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Published keys -> the network's own, as on loading a checkpoint."""
    convert = getattr(type(network), "convert_state_dict", None)
    return convert(state) if convert else state


def convert_module_name(network: nn.Module, name: str) -> str:
    """A published module path -> the network's own, by the rule of the keys."""
    return next(iter(convert_keys(network, {f"{name}.": torch.empty(0)}))).rstrip(".")
