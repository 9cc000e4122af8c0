"""The networks of a training method, through the named phases of their construction."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from uir.config.roles import Role
from uir.config.schema import Component, PathOptions
from uir.core.checkpoint import load_weights
from uir.core.distributed import gathered, rank_and_world, share_weights
from uir.layers.code_widths import filled_in
from uir.registry import ARCH_REGISTRY
from uir.registry.components import build

logger = logging.getLogger("uir")


class NetworkPhases:
    """Builds the networks of `components`, one role after another in the order of `network_roles`.

    Each phase has a name, and a method extends those that it needs: `network_sizes` (sizes that the file does not say),
    `build_network`, `load_network` (weights to start from), `check_network` (does it fit the others?),
    `frozen_modules` (what is not trained), `step_module` (what DDP and `torch.compile` wrap). Optimizers come last
    (`TrainingStep.start_training`).
    """

    network_roles: ClassVar[Mapping[str, Role]] = {"g": Role(averaged=True)}
    """The networks by role, and what holds for each."""

    path: PathOptions
    device: torch.device
    is_train: bool
    train_opt: Any
    components: dict[str, Component]
    bare: dict[str, nn.Module]
    stepped: dict[str, nn.Module]
    channels_last: bool
    compile: bool
    find_unused_parameters: bool

    def build_networks(self) -> None:
        """All phases for every role."""
        gathered(None)  # what the first process wrote at the end of the stage before is there for all to read
        if self.compile:
            torch.compiler.reset()  # it does not tell hooks apart: the graph of an earlier stage could be taken
        for role in list(self.components):
            network = self.build_network(role)
            self.load_network(role, network)
            network.to(self.device)
            if self.channels_last:
                network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
            self.bare[role] = network
            count = sum(p.numel() for p in network.parameters())
            logger.info("Network: %s, with parameters: %s", type(network).__name__, f"{count:,d}")
            self.check_network(role, network)
            self._freeze(role, network)
            self.stepped[role] = self.step_module(role, network)
            setattr(self, f"net_{role}", self._wrapped(role, network))

    def network_sizes(self, role: str) -> dict[str, Any]:
        """Arguments that a network's constructor is given where it takes them and the file does not say them, or `~`.

        The networks of earlier roles are there.
        """
        return {}

    def build_network(self, role: str) -> nn.Module:
        """The network of a role with random weights; its `components` entry, and so the card, tells the sizes too."""
        spec = filled_in(self.components[role].spec(), self.network_sizes(role))
        plain = {key: value for key, value in spec.items() if _is_plain(value)}
        self.components[role] = Component.model_validate(plain)
        network: nn.Module = build(ARCH_REGISTRY, spec)
        return network

    def load_network(self, role: str, network: nn.Module) -> None:
        """Load the weights that the file names for a network, if any."""
        file: Path | None = getattr(self.path, f"pretrain_network_{role}", None)
        if file is not None:
            key = getattr(self.path, f"param_key_{role}") or "params"
            taken = load_weights(network, file, key, getattr(self.path, f"strict_load_{role}"))
            logger.info("network_%s starts from %s [%s]", role, file, taken)

    def check_network(self, role: str, network: nn.Module) -> None:
        """Make sure that a network does what the method needs; it is on its device, with its weights.

        Raises:
            ValueError: it does not.
        """

    def frozen_modules(self, role: str, network: nn.Module) -> list[nn.Module]:
        """Modules of a network that stay as they are, in evaluation mode; of one without an optimizer, all of it."""
        return [] if self.is_optimized(role) else [network]

    def step_module(self, role: str, network: nn.Module) -> nn.Module:
        """What DDP and `torch.compile` wrap, and `net_<role>` runs, of a network; kept as `stepped[role]`."""
        return network

    def leaves_unused(self, role: str) -> bool:
        """Whether a step may leave out parameters of a network, which DDP must then look for."""
        return self.find_unused_parameters

    def is_optimized(self, role: str) -> bool:
        """Whether a network has an optimizer."""
        return self.is_train and getattr(self.train_opt, f"optim_{role}", None) is not None

    def roles(self) -> list[str]:
        """Roles of the networks it has."""
        return list(self.bare)

    def _freeze(self, role: str, network: nn.Module) -> None:
        """Before DDP wraps a network, which waits for the gradient of all that it wraps."""
        for module in self.frozen_modules(role, network) if self.is_train else ():
            module.requires_grad_(False)

    def _wrapped(self, role: str, network: nn.Module) -> Any:
        wrapped: Any = self.stepped[role]
        if rank_and_world()[1] > 1 and any(p.requires_grad for p in network.parameters()) and self.is_train:
            ids = [self.device.index] if self.device.type == "cuda" else None
            unused = self.leaves_unused(role)
            wrapped = DistributedDataParallel(wrapped, device_ids=ids, find_unused_parameters=unused)
        else:
            share_weights(network)  # one that stays as it was drawn is the same network everywhere, too
        return torch.compile(wrapped) if self.compile else wrapped


def _is_plain(value: Any) -> bool:
    """Whether a value can stand in an option file and on a card."""
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    if isinstance(value, dict):
        return all(map(_is_plain, value.values()))
    return value is None or isinstance(value, bool | int | float | str)
