"""The checkpoints of a run: each file is written completely, old ones are removed, and the best one is kept."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from uir.core.distributed import is_main, rank_and_world
from uir.engine.evaluation import Evaluation
from uir.engine.state import write_state

logger = logging.getLogger("uir")


class Checkpoints:
    """Writes the networks and states of a run.

    Args:
        folder: the run's folder.
        keep_last: how many numbered checkpoints to keep; None keeps all.
        keep_best: the metric whose best networks are kept as `net_<role>_best_<metric>.pth`.
    """

    def __init__(self, folder: Path, keep_last: int | None = None, keep_best: str | None = None) -> None:
        self.models, self.states = folder / "models", folder / "training_states"
        self.keep_last, self.keep_best = keep_last, keep_best

    def save(self, model: Any, iteration: int, epoch: int, own: Mapping[str, Any]) -> None:
        """Write the networks first, then the state that refers to them; `own` is uir's addition to basicsr's state."""
        if is_main():
            model.save(self.models, iteration)
        self.save_state(model, iteration, epoch, own)
        if is_main():
            self._clear()

    def save_state(self, model: Any, iteration: int, epoch: int, own: Mapping[str, Any]) -> None:
        """Write only the state; it replaces an earlier one of this iteration."""
        rank = rank_and_world()[0]
        if is_main():
            write_state(self.states / f"{iteration}.state", iteration, epoch, model.training_state(), own)
        else:  # random states and pools differ from process to process
            write_state(self.states / f"rank{rank}" / f"{iteration}.state", iteration, epoch, {"optimizers": []}, own)

    def save_latest(self, model: Any) -> None:
        """Write the networks as `net_<role>_latest.pth`."""
        if is_main():
            model.save(self.models, "latest")

    def save_best(
        self, model: Any, evaluations: list[Evaluation], best: dict[str, Any], better: str, iteration: int
    ) -> None:
        """Keep the networks if the metric's mean over the validation sets is the best so far."""
        if self.keep_best is None:
            return
        if any(item.nonfinite for item in evaluations):
            return  # a mean over the other images would flatter
        values = [item.results[self.keep_best] for item in evaluations if self.keep_best in item.results]
        if not values:
            logger.warning("val.keep_best: %s was measured on no validation set; nothing is kept", self.keep_best)
            return
        mean = sum(values) / len(values)
        earlier = best.get("best_checkpoint")
        if math.isnan(mean):
            return
        if earlier is not None and earlier["metric"] != self.keep_best:
            earlier = None
        if earlier is not None and (mean <= earlier["val"] if better == "higher" else mean >= earlier["val"]):
            return
        best["best_checkpoint"] = {"better": better, "val": mean, "iter": iteration, "metric": self.keep_best}
        logger.info("Best %s so far: %.4f @ %d iter; kept as best_%s", self.keep_best, mean, iteration, self.keep_best)
        if is_main():
            model.save(self.models, f"best_{self.keep_best}")

    def forget_after(self, iteration: int) -> None:
        """Remove checkpoints of later iterations: a resumed run reaches them again, and must not use the old files."""
        for number in self._numbers():
            if number > iteration:
                self._remove(number)

    def _clear(self) -> None:
        if self.keep_last is not None:
            for number in self._numbers()[: -self.keep_last]:
                self._remove(number)

    def _numbers(self) -> list[int]:
        return sorted(int(p.stem) for p in self.states.glob("*.state") if p.stem.isdigit())

    def _remove(self, number: int) -> None:
        for old in [*self.models.glob(f"net_*_{number}.pth"), *self.states.glob(f"**/{number}.state")]:
            old.unlink()
