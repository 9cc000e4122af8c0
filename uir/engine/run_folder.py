"""What may happen to the folder of a run: an earlier run is renamed, anything else stays where it is."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from uir.config.options import OptionFile
from uir.core.distributed import gathered, is_main
from uir.core.files import is_unfinished
from uir.core.locking import locked

RECORD = "run.json"
"""The file that marks a folder as uir's own."""


@contextmanager
def run_lock(loaded: OptionFile) -> Iterator[None]:
    """Hold the locks of a run's folders.

    Raises:
        ValueError: another run holds one of them.
    """
    with ExitStack() as stack:
        for folder in own_folders(loaded):
            stack.enter_context(locked(folder))
        yield


def own_folders(loaded: OptionFile) -> list[Path]:
    """The folders that a run has for itself; those of an earlier run are renamed."""
    with_events = loaded.options.logger.use_tb_logger and loaded.is_train
    return [loaded.run_dir, *([events_folder(loaded)] if with_events else [])]


def events_folder(loaded: OptionFile) -> Path:
    """Where a training's TensorBoard events go."""
    return loaded.root / "tb_logger" / loaded.options.name


def check_start(loaded: OptionFile, state_file: Path | None = None) -> bool:
    """Make sure, before anything is touched, that nothing is lost and that this run finds what it starts from.

    Args:
        loaded: the checked file.
        state_file: the state that the run goes on from.

    Returns:
        Whether the run goes on in its folder; else an earlier run there is to be renamed.

    Raises:
        ValueError: a file of weights is missing; a folder is not uir's own; something that is needed would be moved.
    """
    run = loaded.run_dir
    goes_on = state_file is not None and state_file.resolve().parent.parent == run.resolve()
    # The first process alone looks, because it may rename the folder before the others have looked.
    problem = _problem(loaded, state_file, goes_on) if is_main() else ""
    problem = gathered(problem)[0]
    if problem:
        raise ValueError(problem)
    return goes_on


def _problem(loaded: OptionFile, state_file: Path | None, goes_on: bool) -> str:
    if state_file is None:
        for key, file in loaded.options.path:
            if key.startswith("pretrain_network") and file is not None and not file.is_file():
                return f"path.{key}: there is no file {file}"
    if goes_on and state_file is not None:
        newer = [file for file in state_file.parent.glob("*.state") if _number(file) > _number(state_file)]
        if newer and not is_run(loaded.run_dir):
            return (
                f"{loaded.run_dir} holds no {RECORD} of uir, and {newer[0].name} is newer than {state_file.name} and "
                "would be removed; give this run another name"
            )
        return ""
    return next(filter(None, (_moving_problem(loaded, folder) for folder in own_folders(loaded))), "")


def _number(state: Path) -> int:
    return int(state.stem) if state.stem.isdigit() else -1


def _moving_problem(loaded: OptionFile, folder: Path) -> str:
    """Why a folder cannot be renamed; empty where it can, or where there is none."""
    if folder.exists() and not folder.is_dir():
        return f"{folder} is a file, and the run needs a folder of this name; give the run another name"
    if is_empty(folder):
        return ""
    if not is_run(folder):
        return (
            f"{folder} is not empty and holds no {RECORD} of uir, so that it is not renamed; give this run another "
            "name, or move the folder yourself"
        )
    advice = "which would be renamed; give this run another name, or continue that run (--auto_resume)"
    files = [("the option file", file) for file in (loaded.file, *loaded.files)]
    for key, file in [*files, *_named_files(loaded.raw, loaded.root)]:
        if _is_inside(file, folder):
            return f"{key}: {file} is in the folder of run '{loaded.options.name}', {advice}"
    for place, _, names in os.walk(folder):
        if RECORD in names and Path(place) != folder and is_run(Path(place)):
            return f"{place} is another run in the folder of run '{loaded.options.name}', {advice}"
    return ""


def is_empty(folder: Path) -> bool:
    """Whether there is nothing to keep: no folder, or nothing in it but files that a killed run did not finish."""
    return not folder.exists() or all(is_unfinished(entry) for entry in folder.iterdir())


def is_run(folder: Path) -> bool:
    """Whether a folder is uir's own: it holds the record of a run."""
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    versions = record.get("versions") if isinstance(record, Mapping) else None
    return isinstance(versions, Mapping) and "uir" in versions


def _named_files(value: Any, root: Path, key: tuple[str, ...] = ()) -> Iterator[tuple[str, Path]]:
    """Every text of an option file that may be a path, with its key; not those that say where runs go."""
    if key and key[0] == "path" and key[-1].endswith("_root"):
        return
    pairs: Iterable[tuple[Any, Any]] = ()
    if isinstance(value, Mapping):
        pairs = value.items()
    elif isinstance(value, list | tuple):
        pairs = enumerate(value)
    elif isinstance(value, str | Path) and 0 < len(str(value)) < 4096 and "\0" not in str(value):
        yield ".".join(key), root / value
    for part, inner in pairs:
        yield from _named_files(inner, root, (*key, str(part)))


def _is_inside(file: Path, folder: Path) -> bool:
    """Whether a file or folder exists and would be moved with `folder`, be it as a link."""
    try:
        return file.exists() and (
            file.resolve().is_relative_to(folder.resolve())
            or Path(os.path.abspath(file)).is_relative_to(os.path.abspath(folder))
        )
    except (OSError, RuntimeError):  # too long for a path, or a circle of links
        return False


def put_aside(folder: Path, stamp: str) -> Path | None:
    """Rename the folder of an earlier run to `<name>_archived_<time>`; None where there is nothing to keep."""
    if is_empty(folder):
        return None
    target = folder.with_name(f"{folder.name}_archived_{stamp}")
    number = 1
    while target.exists():
        target = folder.with_name(f"{folder.name}_archived_{stamp}_{number}")
        number += 1
    folder.rename(target)
    return target
