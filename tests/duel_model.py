"""A method with two networks of one weight each and an objective for each, whose steps have a closed form."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from uir.config.named_keys import compose
from uir.config.roles import Role
from uir.config.schema import Component
from uir.models.base_model import BaseModel
from uir.models.objectives import Objective
from uir.registry import ARCH_REGISTRY

GAIN = 0.5


@ARCH_REGISTRY.register()
class OneGain(nn.Module):
    """A restorer and a judge with one weight: gain · x."""

    pad_multiple = scale = 1

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(GAIN))

    def forward(self, lq: Tensor) -> Tensor:
        return self.gain * lq


class Duel(BaseModel):
    """G minimises d·g·x; D minimises d²."""

    network_roles: ClassVar[dict[str, Role]] = {
        "g": Role(averaged=True),
        "d": Role(required_in=frozenset({"train"})),
    }
    order: ClassVar[tuple[str, ...]] = ("g", "d")
    step: ClassVar[bool] = True
    spoil: ClassVar[str] = ""

    def objectives(self) -> Iterator[Objective]:
        for role in self.order:
            yield Objective(getattr(self, f"losses_{role}"), (role,), self.step or role == "g")

    def losses_g(self) -> dict[str, Tensor]:
        self.d_needed_gradient = self.bare["d"].gain.requires_grad
        return {"l_g": self.net_d(self.net_g(self.lq)).mean() * (math.nan if self.spoil == "g" else 1)}

    def losses_d(self) -> dict[str, Tensor]:
        return {"l_d": self.net_d(torch.ones(1)).square().mean() * (math.nan if self.spoil == "d" else 1)}


def duel(cls: type[Duel] = Duel, **train: Any) -> Duel:
    schema = compose(cls.network_roles, own=True)
    section = {
        "total_iter": 9, "optim_g": {"type": "SGD", "lr": 0.1}, "optim_d": {"type": "SGD", "lr": 0.2}, **train,
    }  # fmt: skip
    options = schema.model_validate({"name": "x", "model_type": "Duel", "train": section})
    network = Component(type="OneGain")
    return cls(networks={"g": network, "d": network}, path=options.path, train=options.train)


def gains(model: Duel) -> tuple[float, float]:
    return model.bare["g"].gain.item(), model.bare["d"].gain.item()


def step(model: Duel, value: float = 3.0, times: int = 1) -> None:
    for _ in range(times):
        model.feed_data({"lq": torch.full((1, 3, 2, 2), value)})
        model.optimize_parameters(1)
