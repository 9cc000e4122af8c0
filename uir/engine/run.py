"""The folder of a run: it never replaces an earlier one, and it records how the run was started."""

from __future__ import annotations

import json
import logging
import os
import platform
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from uir import __version__
from uir.config.options import OptionFile
from uir.config.yaml_file import dump_yaml
from uir.core.distributed import gathered, is_main
from uir.core.files import write_text
from uir.engine.logs import start_logging

logger = logging.getLogger("uir")


def open_run(loaded: OptionFile, device: torch.device, *, resuming: bool) -> Path:
    """Create the run's folder, start its log, and record options, versions, device, seed and commit in it.

    An earlier run of the same name is renamed to `<name>_archived_<time>`, unless it is resumed.
    """
    folder = loaded.run_dir
    stamp = time.strftime("%Y%m%d_%H%M%S")
    archived = _archive(folder, stamp) if is_main() and not resuming else None
    if loaded.options.logger.use_tb_logger and loaded.is_train and is_main() and not resuming:
        _archive(loaded.root / "tb_logger" / loaded.options.name, stamp)
    kind = "train" if loaded.is_train else "test"
    if is_main():
        for name in ("models", "training_states", "visualization") if loaded.is_train else ("visualization",):
            (folder / name).mkdir(parents=True, exist_ok=True)
    start_logging(folder / f"{kind}_{loaded.options.name}_{stamp}.log")
    if archived:
        logger.info("An earlier run of this name is kept as %s", archived)
    if is_main():
        if loaded.file.resolve().parent != folder.resolve():
            shutil.copyfile(loaded.file, folder / loaded.file.name)
        write_text(folder / "options.yml", dump_yaml(_plain(loaded.raw)))
        write_text(folder / "run.json", json.dumps(describe_run(loaded, device), indent=2))
    logger.info(
        "uir %s, torch %s, %s; seed %d; run folder %s", __version__, torch.__version__, device, loaded.seed, folder
    )
    gathered(None)  # no process writes into the folder before it exists
    return folder


def check_starting_files(loaded: OptionFile) -> None:
    """Check, before an earlier run is renamed, that the files this run starts from exist and will not move.

    Raises:
        ValueError: a file of weights is missing, or a needed file is in the folder that would be renamed.
    """
    needed = {f"path.{k}": v for k, v in loaded.options.path if k.startswith("pretrain_network") and v is not None}
    for key, file in needed.items():
        if not file.is_file():
            raise ValueError(f"{key}: there is no file {file}")
    for key, file in {**needed, "the option file": loaded.file}.items():
        if file.resolve().is_relative_to(loaded.run_dir.resolve()):
            raise ValueError(
                f"{key}: {file} is in the folder of run '{loaded.options.name}', which would be renamed; give this run "
                "another name, or continue that run (--auto_resume)"
            )


def _archive(folder: Path, stamp: str) -> Path | None:
    if not folder.exists() or not any(folder.iterdir()):
        return None
    target = folder.with_name(f"{folder.name}_archived_{stamp}")
    number = 1
    while target.exists():
        target = folder.with_name(f"{folder.name}_archived_{stamp}_{number}")
        number += 1
    folder.rename(target)
    return target


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
    np.random.seed(seed)
    torch.manual_seed(seed)


def _plain(value: Any) -> Any:
    """A copy made of plain containers, which YAML can write."""
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value if isinstance(value, bool | int | float | str) or value is None else str(value)
