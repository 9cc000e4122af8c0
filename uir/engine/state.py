"""Training states: everything that resuming needs, besides the networks' own files."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from uir.config.options import OptionFile
from uir.core.checkpoint import CheckpointError, read_file
from uir.core.digests import digest_of
from uir.core.distributed import gathered, is_main, rank_and_world
from uir.core.files import write_text
from uir.core.weight_files import write_tensors


@dataclass(frozen=True)
class FoundState:
    """The state that a run goes on from.

    Attributes:
        file: None where the run starts from nothing.
        content: of the file.
        passed_over: what is wrong with newer states, one sentence for each.
    """

    file: Path | None = None
    content: dict[str, Any] | None = None
    passed_over: tuple[str, ...] = ()


def find_state(loaded: OptionFile, auto_resume: bool) -> FoundState:
    """The state to go on from: the run's newest whole one with `auto_resume`, else `path.resume_state`, else none.

    A state is whole if it, the other processes' parts of it and the networks of its iteration can be read and are what
    was written. In several processes the first one decides.

    Raises:
        CheckpointError: the state that the file names is damaged, or none of the run's states is whole.
    """
    states = (loaded.run_dir / "training_states").glob("*.state") if auto_resume else ()
    by_iteration = {int(path.stem): path for path in states if path.stem.isdigit()}
    file, passed_over = gathered(_newest_whole(by_iteration) if is_main() else None)[0]
    if by_iteration and file is None:
        raise CheckpointError(f"--auto_resume: none of the run's states can be used: {'; '.join(passed_over)}")
    file = file or loaded.options.path.resume_state
    return FoundState(file, read_state(file) if file is not None else None, tuple(passed_over))


def _newest_whole(by_iteration: Mapping[int, Path]) -> tuple[Path | None, list[str]]:
    problems: list[str] = []
    for iteration in sorted(by_iteration, reverse=True):
        file = by_iteration[iteration]
        try:
            read_state(file)
            for part in sorted(file.parent.glob(f"rank*/{file.name}")):
                read_state(part)
            for network in sorted((file.parent.parent / "models").glob(f"net_*_{iteration}.pth")):
                read_file(network)
        except CheckpointError as error:
            problems.append(str(error))
        else:
            return file, problems
    return None, problems


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
        CheckpointError: the file is missing, damaged, or not what was written.
    """
    state = read_file(path)
    expected = state.pop("sha256", None)
    if "iter" not in state or "optimizers" not in state:
        raise CheckpointError(f"{path}: not a training state (it lacks `iter` or `optimizers`); states end in .state")
    if expected is not None and digest_of(state) != expected:
        raise CheckpointError(
            f"{path}: the file is damaged: it is not what was written (the sha256 differs); go on from an earlier state"
        )
    return state


def write_state(path: Path, iteration: int, epoch: int, model: Mapping[str, Any], own: Mapping[str, Any]) -> None:
    """Write a state in basicsr's form, with what basicsr forgets under the key `uir`, and a digest of it all."""
    state = {"epoch": epoch, "iter": iteration, **model, "uir": dict(own)}
    write_tensors(path, {**state, "sha256": digest_of(state)})


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
