"""What a training method declares about each of its networks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Phase = Literal["train", "test"]
BOTH: frozenset[Phase] = frozenset({"train", "test"})


@dataclass(frozen=True)
class Need:
    """A method that a network must have, such as `feature_points`; it returns modules or points by their names.

    Attributes:
        method: its name.
        phases: when it is needed.
        instead: a key of `train` that may name the modules in its place; empty if there is none.
    """

    method: str
    phases: frozenset[Phase] = BOTH
    instead: str = ""


@dataclass(frozen=True)
class Role:
    """A network of a training method: `g` for `network_g`, and so on.

    Attributes:
        required_in: the phases in which a file must have it; a discriminator is needed only in training.
        trained: whether it is trained. True: a training file must have `optim_<role>`; False: it must not, and the
            network does not change and is in evaluation mode; None: it is trained if the file has `optim_<role>`.
        averaged: whether it has a moving average, if the file sets `ema_decay`.
        supplied: constructor arguments that the method itself gives (`network_sizes`).
        needs: methods that the network must have.
    """

    required_in: frozenset[Phase] = BOTH
    trained: bool | None = True
    averaged: bool = False
    supplied: tuple[str, ...] = ()
    needs: tuple[Need, ...] = ()

    def is_required(self, is_train: bool | None) -> bool:
        """Whether a file must have it; None stands for a file whose phase is not known."""
        if is_train is None:
            return self.required_in == BOTH
        return ("train" if is_train else "test") in self.required_in
