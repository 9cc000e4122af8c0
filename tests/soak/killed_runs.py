"""Runs that are killed at any moment go on as if nothing had happened."""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any

from soak.children import kill_myself, run_child
from soak.promises import Finding, metric_rows, project

# The moments, in turn. Those after the first hit what a random one seldom hits.
MOMENTS = ("at any time", "before a file is renamed", "after a file was renamed", "while a file is flushed",
           "in the middle of a log line", "during a validation")  # fmt: skip
CHANGES: dict[str, Any] = {
    "train.total_iter": 12,
    "train.ema_decay": 0.9,
    "train.accumulate": 2,
    "train.optim_g": {"type": "AdamW", "lr": 1e-3},
    "val.val_freq": 2,
    "logger.save_checkpoint_freq": 2,
    "datasets.train.num_worker_per_gpu": 0,
}


def check_killed_runs(folder: Path, count: int, seed: int = 0) -> Finding:
    """Kill `count` runs once each, resume each, and compare all they leave with a run that was left alone."""
    finding = Finding(
        "A run that is killed goes on, and ends with the same bits as one that was left alone.",
        f"kill -9 {count} times: {', '.join(MOMENTS)}; the workers' number is 0 and 2 in turn",
    )
    generator = random.Random(seed)
    whole = {workers: _trained(project(folder, _with(workers), f"whole{workers}")) for workers in (0, 2)}
    hits = 0
    for number in range(count):
        moment, workers = MOMENTS[number % len(MOMENTS)], (0, 2)[(number // len(MOMENTS)) % 2]
        file = project(folder, _with(workers), f"killed{number}")
        wait = generator.uniform(0.0, whole[workers][1])
        which = generator.randint(1, 12)
        if moment == MOMENTS[0]:
            ended = run_child(train_file, file, kill_after=wait)
        else:
            ended = run_child(train_and_die, file, moment, which)
        hits += ended.code == -9
        resumed = run_child(train_file, file, True)
        if resumed.code != 0:
            finding.failures.append(
                f"killed {moment} ({which}, {wait:.3f} s): it did not go on, exit code {resumed.code}"
            )
            continue
        difference = differences(whole[workers][0], content_of_run(folder / "experiments" / f"killed{number}"))
        if difference:
            finding.failures.append(f"killed {moment} ({which}, {wait:.3f} s): {difference} differ")
    finding.figure = f"{count - len(finding.failures)} of {count} bit-identical ({hits} were killed before their end)"
    return finding


def train_file(file: Path, resumes: bool = False) -> float:
    """Train as an option file says, in this process; the seconds it took."""
    import time

    from uir.config.options import load_options
    from uir.engine.train_loop import train

    began = time.monotonic()
    train(load_options(file), auto_resume=resumes)
    return time.monotonic() - began


def train_and_die(file: Path, moment: str, which: int) -> None:
    """Train, and be killed the `which`-th time that the moment comes."""
    import pathlib

    from uir.models.base_model import BaseModel

    left = [which]

    def comes() -> bool:
        left[0] -= 1
        return left[0] == 0

    rename, flush, restore, open_file = os.replace, os.fsync, BaseModel.predict, pathlib.Path.open

    def replace(*arguments: Any, **named: Any) -> None:
        now = comes()
        if now and moment == "before a file is renamed":
            kill_myself()
        rename(*arguments, **named)
        if now:
            kill_myself()

    def fsync(handle: int) -> None:
        if comes():
            kill_myself()
        flush(handle)

    def predict(*arguments: Any, **named: Any) -> Any:
        if comes():
            kill_myself()
        return restore(*arguments, **named)

    def opened(path: Path, mode: str = "r", *arguments: Any, **named: Any) -> Any:
        handle = open_file(path, mode, *arguments, **named)
        if mode == "a" and path.suffix == ".jsonl" and comes():
            write = handle.write

            def half(text: str) -> None:
                write(text[: len(text) // 2])
                handle.flush()
                kill_myself()

            handle.write = half  # type: ignore[method-assign]
        return handle

    if "renamed" in moment:
        os.replace = replace  # type: ignore[assignment]
    elif "flushed" in moment:
        os.fsync = fsync  # type: ignore[assignment]
    elif "validation" in moment:
        BaseModel.predict = predict  # type: ignore[method-assign, assignment]
    else:
        pathlib.Path.open = opened  # type: ignore[method-assign, assignment]
    train_file(file)


def _with(workers: int) -> dict[str, Any]:
    return {**CHANGES, "datasets.train.num_worker_per_gpu": workers}


def _trained(file: Path) -> tuple[dict[str, Any], float]:
    ended = run_child(train_file, file)
    if ended.code != 0:
        raise RuntimeError(f"{file}: the run that is left alone ended with exit code {ended.code}")
    return content_of_run(file.parents[1] / "experiments" / file.stem), ended.value


def content_of_run(run: Path) -> dict[str, Any]:
    """All that a run leaves for others, by name: every weight, the optimizer's state, the metrics."""
    from uir.core.checkpoint import read_file

    content: dict[str, Any] = {"metrics": metric_rows(run)}
    for path in sorted((run / "models").glob("*.pth")):
        content[path.name] = {key: read_file(path)[key] for key in ("params", "params_ema")}
    states = sorted((run / "training_states").glob("*.state"), key=lambda path: int(path.stem))
    content[states[-1].name] = read_file(states[-1])["optimizers"]
    return content


def differences(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """The names of what is not equal, bit by bit."""
    return [name for name in sorted(one.keys() | other.keys()) if not _equal(one.get(name), other.get(name))]


def _equal(one: Any, other: Any) -> bool:
    import torch

    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_equal(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        return len(one) == len(other) and all(map(_equal, one, other))
    return bool(one == other)
