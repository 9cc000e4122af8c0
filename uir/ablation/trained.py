"""What a finished run restores with, read from its folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from uir.ablation.runs import STEPS, Run
from uir.config.options import OptionFile, load_options
from uir.core.checkpoint import CheckpointError
from uir.inference.loading import read_predictor
from uir.inference.predictor import Predictor
from uir.registry import UnknownNameError


@dataclass(frozen=True)
class Trained:
    """The networks of a finished run.

    Attributes:
        predictor: restores; its networks are in evaluation mode.
        measured: the options of the measurement: those of the test, or else of the last stage.
    """

    predictor: Predictor
    measured: OptionFile

    @property
    def controls(self) -> Mapping[str, Any]:
        """The controls that the run was measured with."""
        val = self.measured.options.val
        return val.controls if val is not None else {}


def read_trained(run: Run, root: Path) -> Trained | None:
    """Read a finished run; None if its file does not say what its networks are, as basicsr's do not.

    Args:
        run: the run.
        root: the folder where relative paths start.
    """
    step = [step for step in STEPS if step in run.options][-1]
    loaded = load_options(run.option_file(step), is_train=step == "train", root=root)
    try:
        predictor = read_predictor(run.output("train") / "models" / "net_g_latest.pth")
    except (CheckpointError, UnknownNameError):
        return None
    for network in predictor.networks.values():
        network.eval()
    return Trained(predictor, loaded.stages[-1].file if loaded.stages else loaded)
