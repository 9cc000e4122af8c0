"""The folder of a run: it never replaces an earlier one, and it records how the run was started."""

from __future__ import annotations

import json
import logging
import os
import platform
import random
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from uir import __version__
from uir.compat.foreign_model import ForeignModel
from uir.config.options import OptionFile
from uir.config.yaml_file import dump_yaml
from uir.core.distributed import gathered, is_main
from uir.core.files import remove_unfinished, write_text
from uir.engine.logs import start_logging
from uir.engine.run_folder import RECORD, events_folder, is_empty, own_folders, put_aside
from uir.models.base_model import BaseModel

logger = logging.getLogger("uir")


def open_run(loaded: OptionFile, device: torch.device, *, resuming: bool) -> Path:
    """Create the run's folder, start its log, and record options, versions, device, seed and commit in it.

    An earlier run of the same name is renamed to `<name>_archived_<time>`, unless it is resumed.
    """
    folder, events = loaded.run_dir, events_folder(loaded)
    stamp = time.strftime("%Y%m%d_%H%M%S")
    kind = "train" if loaded.is_train else "test"
    archived = None
    if is_main():
        record = json.dumps(describe_run(loaded, device), indent=2)
        remove_unfinished(folder)
        if not resuming:
            archived, *_ = [put_aside(own, stamp) for own in own_folders(loaded)]
        write_text(folder / RECORD, record)  # first of all: it makes the folder uir's own
        if events in own_folders(loaded) and is_empty(events):
            write_text(events / RECORD, record)
        for name in ("models", "training_states", "visualization") if loaded.is_train else ("visualization",):
            (folder / name).mkdir(parents=True, exist_ok=True)
    start_logging(folder / f"{kind}_{loaded.options.name}_{stamp}.log")
    if archived:
        logger.info("An earlier run of this name is kept as %s", archived)
    if is_main():
        if loaded.file.resolve().parent != folder.resolve():
            shutil.copyfile(loaded.file, folder / loaded.file.name)
        write_text(folder / "options.yml", dump_yaml(_plain(loaded.raw)))
    logger.info(
        "uir %s, torch %s, %s; seed %d; run folder %s", __version__, torch.__version__, device, loaded.seed, folder
    )
    gathered(None)  # no process writes into the folder before it exists
    return folder


def log_next_step(loaded: OptionFile, folder: Path, model: BaseModel | ForeignModel) -> None:
    """Log which file holds the trained network, and a command that restores with it.

    Args:
        loaded: the options of the last stage.
        folder: the run's folder.
        model: the trained method.
    """
    weights = folder / "models" / "net_g_latest.pth"
    if not is_main() or not weights.is_file():
        return
    logger.info("The trained network is %s", shown_path(weights))
    if isinstance(model, BaseModel) and model.predictor.refusal:
        return  # it does not restore single photographs
    command = ["uir", "restore", _degraded_folder(loaded), "-o", "restored", "--model", shown_path(weights)]
    if isinstance(model, BaseModel):
        command += [word for plugin in loaded.options.plugins for word in ("--plugin", shown_path(plugin))]
    else:  # the option file describes the network, and names its plugins
        command += ["-opt", shown_path(loaded.file)]
    logger.info("To restore photographs with it: %s", shlex.join(command))


def _degraded_folder(loaded: OptionFile) -> str:
    """A validation set's folder of degraded photographs; without one, a word for the user's own."""
    for key, section in loaded.raw["datasets"].items():
        folder = section.get("dataroot_lq") if key.split("_")[0] == "val" else None
        if isinstance(folder, str) and Path(folder).is_dir() and not folder.endswith(".lmdb"):
            return shown_path(folder)
    return "PHOTOGRAPHS"


def shown_path(path: str | Path) -> str:
    """A path as it can be typed: relative to the current folder if it lies below it."""
    whole = Path(path)
    return str(whole.relative_to(Path.cwd())) if whole.is_relative_to(Path.cwd()) else str(path)


def describe_run(loaded: OptionFile, device: torch.device) -> dict[str, Any]:
    """The data that is needed to repeat the run."""
    gpu = torch.cuda.get_device_name(device) if device.type == "cuda" else None
    return {
        "name": loaded.options.name,
        "option_file": str(loaded.file),
        "command": sys.argv,
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "seed": loaded.seed,
        "device": {"type": device.type, "name": gpu or platform.processor() or platform.machine(), "cpus":
                   os.cpu_count(), "threads": torch.get_num_threads()},
        "versions": {"uir": __version__, "python": platform.python_version(), "torch": torch.__version__, "numpy":
        np.__version__}, "git_commit": git_commit(loaded.root),
    }  # fmt: skip


def describe_result(folder: Path, result: str) -> dict[str, Any]:
    """What a training has made, as plain data.

    Args:
        folder: the run's folder.
        result: `finished`, or `stopped` if a signal ended it.

    Returns:
        `result`, `run_folder`, `checkpoint` (the file of each network by its role) and `metrics` (those of the last
            validation of each set, with its iteration).
    """
    iterations = [int(file.stem) for file in (folder / "training_states").glob("*.state") if file.stem.isdigit()]
    tag = "latest" if result == "finished" else max(iterations, default=0)
    networks = sorted((folder / "models").glob(f"net_*_{tag}.pth"))
    metrics: dict[str, Any] = {}
    log = folder / "metrics.jsonl"
    for row in map(json.loads, log.read_text(encoding="utf-8").splitlines() if log.exists() else ()):
        if "dataset" in row:
            metrics[row["dataset"]] = {"iter": row["iter"], **row["metrics"]}
    return {
        "result": result,
        "run_folder": str(folder),
        "checkpoint": {file.stem.removeprefix("net_").removesuffix(f"_{tag}"): str(file) for file in networks},
        "metrics": metrics,
    }


def git_commit(folder: Path) -> str | None:
    """The commit of `folder`, with `-dirty` if files are changed; None outside a repository."""
    try:
        described = subprocess.run(
            ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=40"],
            capture_output=True, text=True, timeout=10, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return described.stdout.strip() or None


def seed_everything(seed: int) -> None:
    """Seed the global generators, which give the networks their first weights."""
    random.seed(seed)
    np.random.seed(seed % 2**32)  # another process's seed may lie above what numpy takes
    torch.manual_seed(seed)


def _plain(value: Any) -> Any:
    """A copy made of plain containers, which YAML can write."""
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value if isinstance(value, bool | int | float | str) or value is None else str(value)
