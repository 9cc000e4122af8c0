"""Trains the runs of an ablation in separate processes, several at a time; each writes a log file."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import IO, Any

from uir.ablation.runs import Plan, Run
from uir.core.locking import locked
from uir.core.progress import progress_bar

_POLL_SECONDS = 0.1


@dataclass(frozen=True)
class Failure:
    """A run that failed: the step's exit code, the last line of its output, and its log file."""

    run: Run
    step: str
    code: int
    said: str
    log: Path

    def __str__(self) -> str:
        return f"{self.run.title}: {self.step} failed with exit code {self.code}: {self.said} (see {self.log})"


def train_runs(plan: Plan, jobs: int = 1, tell: Callable[[str], None] = print, show_bar: bool = True) -> list[Failure]:
    """Train every run that is not finished yet; an interrupted run continues from its last state.

    A failing run does not stop the others. On Ctrl-C or SIGTERM no further run starts, the active ones save their state
    and end, and KeyboardInterrupt is raised; a second Ctrl-C stops them at once.

    Args:
        plan: the runs.
        jobs: number of runs at a time. Each gets an equal part of the processor's cores; several GPUs are used in
            turn.
        tell: receives a line about each run.
        show_bar: show a progress bar.

    Returns:
        The failures.

    Raises:
        ValueError: another process is working in the ablation's folder, or `jobs` is below 1.
    """
    if jobs < 1:
        raise ValueError(f"jobs: expected a number from 1, got {jobs}")
    waiting = deque(run for run in plan.runs if not run.is_finished())
    count = len(waiting)
    if count < len(plan.runs):
        tell(f"finished already: {len(plan.runs) - count} of {len(plan.runs)} runs")
    if not waiting:
        return []
    gpus = _gpus() if jobs > 1 else []
    free = deque(range(min(jobs, count)))
    active: list[_Job] = []
    failures: list[Failure] = []
    with locked(plan.folder), _sigterm_as_interrupt(), progress_bar(1, "runs", show_bar) as bar:
        task = bar.add_task("Runs", total=count, note="")
        try:
            while waiting or active:
                while waiting and free:
                    slot = free.popleft()
                    active.append(_Job(waiting.popleft(), slot, plan.root, job_environment(slot, jobs, gpus)))
                bar.update(task, note=", ".join(job.run.title for job in active))
                time.sleep(_POLL_SECONDS)
                for job in list(active):
                    if job.is_running():
                        continue
                    active.remove(job)
                    free.append(job.slot)
                    bar.advance(task)
                    number = count - len(waiting) - len(active)
                    if job.failure is not None:
                        failures.append(job.failure)
                    tell(f"[{number}/{count}] {job.failure or f'{job.run.title}: finished in {job.seconds():.0f} s'}")
        except KeyboardInterrupt:
            tell("Stopping: what is running saves its state. The same command continues.")
            _stop(active)
            raise
    return failures


def job_environment(slot: int, jobs: int, gpus: Sequence[str] = ()) -> dict[str, str]:
    """The environment variables that a job gets in addition: its part of the cores, and its GPU.

    Args:
        slot: number of the job among the active ones, from 0.
        jobs: number of jobs at a time.
        gpus: names of the GPUs, as in CUDA_VISIBLE_DEVICES; they are distributed if there are several.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    variables = {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS") or str(max(1, cores // jobs))}
    if jobs > 1:
        variables["OMP_WAIT_POLICY"] = os.environ.get(
            "OMP_WAIT_POLICY", "PASSIVE"
        )  # who waits leaves its core to others
    if jobs > 1 and len(gpus) > 1:
        variables["CUDA_VISIBLE_DEVICES"] = gpus[slot % len(gpus)]
    return variables


class _Job:
    """A run being trained: its processes, one after the other."""

    def __init__(self, run: Run, slot: int, root: Path, environment: Mapping[str, str]) -> None:
        self.run, self.slot, self.root, self.environment = run, slot, root, environment
        self.failure: Failure | None = None
        self.log_file = run.folder / "log.txt"
        self.began = time.monotonic()
        resumes = run.has_begun()
        run.begin()
        self.steps = deque(step for step in run.options if step not in run.done())
        self.log: IO[Any] = self.log_file.open("a" if resumes else "w", encoding="utf-8")
        self.resumes = resumes
        self.process = self._start()

    def _start(self) -> subprocess.Popen[Any]:
        step = self.steps[0]
        self.step_began = time.monotonic()
        command = [sys.executable, "-m", "uir", step, "-opt", str(self.run.option_file(step)), "--root", str(self.root)]
        if step == "train" and self.resumes:
            command.append("--auto_resume")
        return subprocess.Popen(
            command,
            cwd=self.root,
            env={**os.environ, **self.environment},
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # a Ctrl-C in the terminal reaches only this process, which passes it on
        )

    def is_running(self) -> bool:
        """Whether a process is still running; starts the next step if there is one."""
        code = self.process.poll()
        if code is None:
            return True
        step = self.steps.popleft()
        if code == 0:
            self.run.note_done(step, {"seconds": time.monotonic() - self.step_began, **self.environment})
            if self.steps:
                self.process = self._start()
                return True
        else:
            self.failure = Failure(self.run, step, code, _last_line(self.log_file), self.log_file)
        self.log.close()
        return False

    def seconds(self) -> float:
        """Seconds since the job started."""
        return time.monotonic() - self.began

    def kill(self) -> None:
        """Stop the process and its children."""
        if hasattr(os, "killpg"):
            os.killpg(self.process.pid, signal.SIGKILL)
        else:
            self.process.kill()


def _stop(active: Sequence[_Job]) -> None:
    """Ask the jobs to save and end, and wait for them; at another interrupt, stop them at once."""
    try:
        for job in active:
            job.process.terminate()
        for job in active:
            job.process.wait()
    except KeyboardInterrupt:
        for job in active:
            if job.process.poll() is None:
                job.kill()
                job.process.wait()
    finally:
        for job in active:
            job.log.close()


def _last_line(file: Path) -> str:
    lines = [line.strip() for line in file.read_text(encoding="utf-8", errors="replace").splitlines()]
    return next((line for line in reversed(lines) if line), "there is no output")


def _gpus() -> list[str]:
    """The GPUs, by their names for CUDA_VISIBLE_DEVICES."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [name for name in visible.split(",") if name.strip()]
    import torch

    return [str(index) for index in range(torch.cuda.device_count())]


@contextmanager
def _sigterm_as_interrupt() -> Iterator[None]:
    """Let SIGTERM, which batch systems send, do the same as Ctrl-C."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    try:
        previous = signal.signal(signal.SIGTERM, interrupt)
    except ValueError:  # not the main thread
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)
