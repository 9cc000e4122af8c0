"""Training states: everything that resuming needs, besides the networks' own files."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from uir.config.options import OptionFile
from uir.core.checkpoint import CheckpointError, read_file
from uir.core.distributed import rank_and_world
from uir.core.files import replacing, write_text


def find_state(loaded: OptionFile, auto_resume: bool) -> Path | None:
    """The state to continue from: the run's newest with `auto_resume`, else `path.resume_state`, else none."""
    if auto_resume:
        states = {int(p.stem): p for p in (loaded.run_dir / "training_states").glob("*.state") if p.stem.isdigit()}
        if states:
            return states[max(states)]
    return loaded.options.path.resume_state


def own_state_of(path: Path | None, state: Mapping[str, Any] | None) -> dict[str, Any]:
    """uir's addition to a state; each process has its own random states and pool."""
    if path is None or state is None:
        return {}
    rank = rank_and_world()[0]
    own_file = path.parent / f"rank{rank}" / path.name
    source = read_state(own_file) if rank > 0 and own_file.exists() else state
    return dict(source.get("uir", {}))


def read_state(path: Path) -> dict[str, Any]:
    """Read a state of uir or of basicsr.

    Raises:
        CheckpointError: the file is missing or damaged.
    """
    state = read_file(path)
    if "iter" not in state or "optimizers" not in state:
        raise CheckpointError(
            f"{path}: not a training state (it has no `iter` or `optimizers`); names of states end in .state"
        )
    return state


def write_state(path: Path, iteration: int, epoch: int, model: Mapping[str, Any], own: Mapping[str, Any]) -> None:
    """Write a state in basicsr's form; the key `uir` has the data that basicsr does not store."""
    with replacing(path) as temporary:
        torch.save({"epoch": epoch, "iter": iteration, **model, "uir": dict(own)}, temporary)


def forget_rows_after(file: Path, iteration: int, validated: bool = True) -> None:
    """Drop the rows of metrics.jsonl that a resumed run will write again.

    Args:
        file: metrics.jsonl.
        iteration: where the run goes on.
        validated: whether the validation of that iteration was finished; else it is repeated.
    """
    if not file.exists():
        return
    lines = []
    for line in file.read_text(encoding="utf-8").splitlines():
        try:
            row = json.loads(line)
        except json.JSONDecodeError:  # a crash may have cut off the last line
            continue
        if row["iter"] < iteration or (row["iter"] == iteration and (validated or "dataset" not in row)):
            lines.append(f"{line}\n")
    write_text(file, "".join(lines))


def random_state() -> dict[str, Any]:
    """The states of the global generators, as plain data."""
    name, keys, position, has_gauss, cached = np.random.get_state()
    version, internal, gauss = random.getstate()
    return {
        "python": [version, list(internal), gauss],
        "numpy": [
            str(name),
            torch.from_numpy(np.asarray(keys).astype(np.int64)),
            int(position),
            int(has_gauss),
            float(cached),
        ],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def set_random_state(state: Mapping[str, Any]) -> None:
    """Set the global generators to these states."""
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))
    name, keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), position, has_gauss, cached))
    torch.set_rng_state(state["torch"])
    if torch.cuda.is_available() and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(state["cuda"])
