"""The output of a run: on the screen, in its log file, in metrics.jsonl and, if wanted, in TensorBoard."""

from __future__ import annotations

import datetime
import json
import logging
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from rich.logging import RichHandler

from uir.compat.bridge import take_log_lines
from uir.config.schema import Options
from uir.core.distributed import is_main
from uir.core.files import append_text, naming
from uir.core.progress import console

logger = logging.getLogger("uir")


def start_logging(file: Path | None) -> None:
    """Send the log, basicsr's too, to the screen and to a file; call it again to change the file.

    Only the main process logs.
    """
    stop_logging()
    take_log_lines()
    logger.setLevel(logging.INFO if is_main() else logging.ERROR)
    logger.propagate = False
    if console.is_terminal:
        logger.addHandler(RichHandler(console=console, show_path=False, show_level=False, log_time_format="%H:%M:%S"))
    else:
        logger.addHandler(_plain(logging.StreamHandler(sys.stdout)))  # so that `uir train ... | tee log.txt` gets it
    if file is not None and is_main():
        file.parent.mkdir(parents=True, exist_ok=True)
        logger.addHandler(_plain(_LogFile(file, encoding="utf-8")))


class _LogFile(logging.FileHandler):
    """A log file whose errors, such as a full disk, stop the run instead of a traceback for every line."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  # logging's name
        """Raise what the system refused."""
        error = sys.exc_info()[1]
        if isinstance(error, OSError):
            with naming(Path(self.baseFilename)):
                raise error
        super().handleError(record)

    def close(self) -> None:
        """Close the file; what could not be written was reported before."""
        with suppress(OSError):
            super().close()


def _plain(handler: logging.Handler) -> logging.Handler:
    """Set BasicSR's line format, which existing parsers read."""
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s: %(message)s"))
    return handler


def stop_logging() -> None:
    """Close the handlers."""
    for handler in list(logger.handlers):
        logger.removeHandler(handler)
        handler.close()


class RunLog:
    """The numbers of a run: BasicSR's log line, a line of metrics.jsonl, TensorBoard scalars.

    Args:
        options: contain the run's name, and the settings of W&B.
        file: metrics.jsonl.
        total_iter: length of the run, to compute the remaining time.
        tensorboard: folder for events, or None.
    """

    def __init__(self, options: Options, file: Path, total_iter: int, tensorboard: Path | None = None) -> None:
        self.name, self.file, self.total_iter = options.name, file, total_iter
        if is_main():
            _follow_with_wandb(options, tensorboard is not None)
        self.tb: Any = _tensorboard(tensorboard) if tensorboard is not None and is_main() else None
        self.started = time.perf_counter()
        self.first: int | None = None

    def training(
        self,
        epoch: int,
        iteration: int,
        rates: Sequence[float],
        losses: Mapping[str, float],
        seconds: float,
        data_seconds: float,
    ) -> None:
        """Log the losses of an iteration; times are means per iteration."""
        self.first = iteration if self.first is None else self.first
        eta = datetime.timedelta(seconds=int(seconds * (self.total_iter - iteration)))
        lrs = "".join(f"{rate:.3e}," for rate in rates)
        values = " ".join(f"{name}: {value:.4e}" for name, value in losses.items())
        logger.info(
            "[%s..][epoch:%3d, iter:%8s, lr:(%s)] [eta: %s, time (data): %.3f (%.3f)] %s",
            self.name[:5], epoch, f"{iteration:,d}", lrs, eta, seconds, data_seconds, values,
        )  # fmt: skip
        self.write({"iter": iteration, "epoch": epoch, "lr": list(rates), **losses})
        if self.tb is not None:
            for name, value in losses.items():
                self.tb.add_scalar(f"losses/{name}" if name.startswith("l_") else name, value, iteration)

    def validation(
        self,
        dataset: str,
        iteration: int,
        results: Mapping[str, float],
        best: Mapping[str, Any],
        inputs: Mapping[str, float] | None = None,
    ) -> None:
        """Log the metrics of a dataset, with the best so far, and those of its degraded images if they are measured."""
        text = f"Validation {dataset}\n"
        for name, value in results.items():
            text += f"\t # {name}: {value:.4f}"
            if name in best:
                text += f"\tBest: {best[name]['val']:.4f} @ {best[name]['iter']} iter"
            text += "\n"
            if self.tb is not None:
                self.tb.add_scalar(f"metrics/{dataset}/{name}", value, iteration)
        logger.info(text.rstrip("\n"))
        measured = {"input": dict(inputs)} if inputs else {}
        self.write({"iter": iteration, "dataset": dataset, "metrics": dict(results), **measured})

    def write(self, row: Mapping[str, Any]) -> None:
        """Append one line to metrics.jsonl."""
        if is_main():
            append_text(self.file, json.dumps(row) + "\n")

    def close(self) -> None:
        """Close the TensorBoard file."""
        if self.tb is not None:
            self.tb.close()


def _follow_with_wandb(options: Options, tensorboard: bool) -> None:
    """Let Weights & Biases copy the TensorBoard events, if `logger.wandb.project` is given."""
    wandb = options.logger.wandb
    if wandb is None or wandb.project is None:
        return
    if not tensorboard:
        raise ValueError("logger.wandb: needs logger.use_tb_logger: true, because it copies the TensorBoard events")
    try:
        import wandb as library
    except ImportError:
        raise ValueError("logger.wandb.project needs the package wandb: pip install wandb, or remove the key") from None
    library.init(
        project=wandb.project, name=options.name, id=wandb.resume_id, resume="allow" if wandb.resume_id else None,
        sync_tensorboard=True,
    )  # fmt: skip


def _tensorboard(folder: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise ValueError(
            "logger.use_tb_logger needs the package tensorboard: pip install tensorboard, or set it to false"
        ) from None
    return SummaryWriter(log_dir=str(folder))
