"""Learning-rate schedulers of BasicSR and its forks, in closed form: warm-up and resuming cannot change the curve."""

from __future__ import annotations

import bisect
import math
from collections.abc import Sequence
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler


class _ClosedForm(LRScheduler):
    """A schedule that depends only on the iteration: its state is the iteration, whichever program wrote it."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from a state of this class or of basicsr's; the option file still determines the curve."""
        for key in ("last_epoch", "_step_count", "base_lrs", "_last_lr"):
            if key in state_dict:
                setattr(self, key, state_dict[key])


def _check_not_negative(**lists: Sequence[float]) -> None:
    for name, values in lists.items():
        if any(value < 0 for value in values):
            raise ValueError(f"{name}: expected no negative value, got {list(values)}")


class MultiStepRestartLR(_ClosedForm):
    """Decreases at milestones, restarts at given iterations.

    lr = initial · weight of the last restart · gammaⁿ, where n is the number of milestones since that restart (a
    restart comes before a milestone at the same iteration).

    Args:
        milestones: iterations at which the rate is multiplied by `gamma`; a repeated value counts each time.
        restarts: iterations at which the rate returns to the initial rate times its entry in `restart_weights`.

    Raises:
        ValueError: the lists differ in length, or a value is negative.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        milestones: Sequence[int],
        gamma: float = 0.1,
        restarts: Sequence[int] = (0,),
        restart_weights: Sequence[float] = (1,),
        last_epoch: int = -1,
    ) -> None:
        if len(restarts) != len(restart_weights):
            raise ValueError(
                f"restarts has {len(restarts)} entries, restart_weights {len(restart_weights)}; one weight a restart"
            )
        _check_not_negative(milestones=milestones, gamma=[gamma], restarts=restarts, restart_weights=restart_weights)
        self.milestones = sorted(milestones)
        self.gamma = gamma
        self.restarts = list(restarts)
        self.restart_weights = list(restart_weights)
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:  # type: ignore[override]
        """Learning rate of each parameter group at the current iteration."""
        past = [(start, weight) for start, weight in zip(self.restarts, self.restart_weights, strict=True)
                if start <= self.last_epoch]  # fmt: skip
        start, weight = max(past) if past else (-1, 1.0)
        passed = bisect.bisect_right(self.milestones, self.last_epoch) - bisect.bisect_right(self.milestones, start)
        return [float(base) * weight * self.gamma**passed for base in self.base_lrs]


class CosineAnnealingRestartCyclicLR(_ClosedForm):
    """Cosine annealing in periods. Each period starts at its weight times the initial rate and has its own end rate.

    At t iterations into a period of T: lr = eta_min + weight · (initial − eta_min) · (1 + cos(π · t / T)) / 2. If the
    end of a period equals the initial rate, the rate is constant. After the last period the rate stays at its end. The
    option files of Restormer (Zamir et al., CVPR 2022) and of DCPT's transfer use this schedule.

    Args:
        periods: length of each period in iterations.
        restart_weights: weight of each period.
        eta_mins: the lowest rate of each period.

    Raises:
        ValueError: the lists differ in length, a period is shorter than one iteration, or a value is negative.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        periods: Sequence[int],
        restart_weights: Sequence[float] = (1,),
        eta_mins: Sequence[float] = (0,),
        last_epoch: int = -1,
    ) -> None:
        if len(periods) != len(restart_weights):
            raise ValueError(
                f"periods has {len(periods)} entries, restart_weights {len(restart_weights)}; one weight a period"
            )
        if len(periods) != len(eta_mins):
            raise ValueError(f"periods has {len(periods)} entries, eta_mins {len(eta_mins)}; one lowest rate a period")
        if not periods or min(periods) < 1:
            raise ValueError(f"periods: expected at least one, each of at least 1 iteration, got {list(periods)}")
        _check_not_negative(restart_weights=restart_weights, eta_mins=eta_mins)
        self.periods = list(periods)
        self.restart_weights = list(restart_weights)
        self.eta_mins = list(eta_mins)
        self.ends = [sum(self.periods[: i + 1]) for i in range(len(self.periods))]
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:  # type: ignore[override]
        """Learning rate of each parameter group at the current iteration."""
        iteration = min(self.last_epoch, self.ends[-1])
        index = bisect.bisect_left(self.ends, iteration)
        begin = self.ends[index - 1] if index else 0
        phase = (iteration - begin) / self.periods[index]
        weight, eta_min = self.restart_weights[index], self.eta_mins[index]
        return [
            eta_min + weight * 0.5 * (float(base) - eta_min) * (1 + math.cos(math.pi * phase)) for base in self.base_lrs
        ]


class CosineAnnealingRestartLR(CosineAnnealingRestartCyclicLR):
    """Cosine annealing in periods. Each period goes from its weight times the initial rate down to `eta_min`.

    After the last period the rate stays at its end.

    Args:
        periods: length of each period in iterations.
        restart_weights: weight of each period.
        eta_min: the lowest rate.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        periods: Sequence[int],
        restart_weights: Sequence[float] = (1,),
        eta_min: float = 0.0,
        last_epoch: int = -1,
    ) -> None:
        super().__init__(optimizer, periods, restart_weights, [eta_min] * len(periods), last_epoch)


# BasicSR registers its MultiStepRestartLR under the name of torch's class too; without restarts the two agree.
SCHEDULERS: dict[str, type[LRScheduler]] = {
    "MultiStepLR": MultiStepRestartLR,
    "MultiStepRestartLR": MultiStepRestartLR,
    "CosineAnnealingRestartLR": CosineAnnealingRestartLR,
    "CosineAnnealingRestartCyclicLR": CosineAnnealingRestartCyclicLR,
}
