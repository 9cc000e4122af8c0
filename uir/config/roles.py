"""What a training method says of each of its networks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Phase = Literal["train", "test"]
BOTH: frozenset[Phase] = frozenset({"train", "test"})


@dataclass(frozen=True)
class Role:
    """A network of a training method: `g` for `network_g`, and so on.

    Attributes:
        required_in: the phases in which a file must give it; a discriminator is needed in training alone.
        trained: whether it is trained. True: a training file must hold `optim_<role>`; False: it must not, and the
            network stays as it is, in evaluation mode; None: it is trained where the file holds `optim_<role>`.
        averaged: whether a moving average is kept of it, where the file asks for one.
        supplied: constructor arguments that the method knows itself (`network_sizes`).
    """

    required_in: frozenset[Phase] = BOTH
    trained: bool | None = True
    averaged: bool = False
    supplied: tuple[str, ...] = ()

    def is_required(self, is_train: bool | None) -> bool:
        """Whether a file must give it; None asks for files whose phase is not known."""
        if is_train is None:
            return self.required_in == BOTH
        return ("train" if is_train else "test") in self.required_in
