"""The networks of a training method, and the named phases of their construction."""

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
from uir.core.distributed import rank_and_world, share_weights
from uir.layers.code_widths import filled_in
from uir.registry import ARCH_REGISTRY
from uir.registry.components import build

logger = logging.getLogger("uir")


class NetworkPhases:
    """Builds the networks of `components`, one role after another in the order of `network_roles`.

    Each phase has a name, and a method extends those that it needs: `network_sizes` (sizes that the file does not set),
    `build_network`, `load_network` (weights to start from), `check_network` (does it fit the others?),
    `frozen_modules` (modules that are not trained), `step_module` (the module that DDP and `torch.compile` wrap).
    Optimizers come last (`TrainingStep.start_training`).
    """

    network_roles: ClassVar[Mapping[str, Role]] = {"g": Role(averaged=True)}
    """The networks by role, with the properties of each role."""

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
        """Run all phases for every role."""
        if self.compile:
            torch.compiler.reset()  # it does not see that hooks differ: it could use the graph of an earlier stage
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
        """Arguments that a network's constructor gets, if it takes them and the file does not set them or sets `~`.

        The networks of earlier roles are already built.
        """
        return {}

    def build_network(self, role: str) -> nn.Module:
        """The network of a role with random weights; its `components` entry, and so its card, includes the sizes."""
        spec = filled_in(self.components[role].spec(), self.network_sizes(role))
        plain = {key: value for key, value in spec.items() if _is_plain(value)}
        self.components[role] = Component.model_validate(plain)
        network: nn.Module = build(ARCH_REGISTRY, spec)
        return network

    def load_network(self, role: str, network: nn.Module) -> None:
        """Load the weights that the file names for a network, if it names any."""
        file: Path | None = getattr(self.path, f"pretrain_network_{role}", None)
        if file is not None:
            key = getattr(self.path, f"param_key_{role}") or "params"
            taken = load_weights(network, file, key, self.loads_strictly(role))
            logger.info("network_%s starts from %s [%s]", role, file, taken)

    def loads_strictly(self, role: str) -> bool:
        """Whether the file that a network, and its average, starts from must have exactly the network's keys."""
        return bool(getattr(self.path, f"strict_load_{role}"))

    def check_network(self, role: str, network: nn.Module) -> None:
        """Check that a network fits the method; it is on its device, with its weights.

        Raises:
            ValueError: it does not fit.
        """

    def frozen_modules(self, role: str, network: nn.Module) -> list[nn.Module]:
        """Modules of a network that are not trained, in evaluation mode; the whole network if it has no optimizer."""
        return [] if self.is_optimized(role) else [network]

    def step_module(self, role: str, network: nn.Module) -> nn.Module:
        """The module that DDP and `torch.compile` wrap as `net_<role>`; it is also stored as `stepped[role]`."""
        return network

    def leaves_unused(self, role: str) -> bool:
        """Whether a step may leave some parameters of a network without a gradient; DDP must then search for them."""
        return self.find_unused_parameters

    def is_optimized(self, role: str) -> bool:
        """Whether a network has an optimizer."""
        return self.is_train and getattr(self.train_opt, f"optim_{role}", None) is not None

    def roles(self) -> list[str]:
        """Roles of the networks that are built."""
        return list(self.bare)

    def _freeze(self, role: str, network: nn.Module) -> None:
        """Freeze modules before DDP wraps the network: DDP waits for the gradient of every trained parameter."""
        for module in self.frozen_modules(role, network) if self.is_train else ():
            module.requires_grad_(False)

    def _wrapped(self, role: str, network: nn.Module) -> Any:
        wrapped: Any = self.stepped[role]
        if rank_and_world()[1] > 1 and any(p.requires_grad for p in network.parameters()) and self.is_train:
            ids = [self.device.index] if self.device.type == "cuda" else None
            unused = self.leaves_unused(role)
            wrapped = DistributedDataParallel(wrapped, device_ids=ids, find_unused_parameters=unused)
        else:
            share_weights(network)  # a network with random weights that is not trained must also be the same everywhere
        return torch.compile(wrapped) if self.compile else wrapped


def _is_plain(value: Any) -> bool:
    """Whether a value can be written in an option file and on a card."""
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    if isinstance(value, dict):
        return all(map(_is_plain, value.values()))
    return value is None or isinstance(value, bool | int | float | str)
