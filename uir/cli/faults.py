"""Says what went wrong in a command, and whose it is: the user's, the machine's, a plugin's, basicsr's or uir's."""

from __future__ import annotations

import re
import sys
import sysconfig
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from uir.core.environment import NO_MEMORY, problem_of_machine

_PACKAGE = Path(__file__).resolve().parents[1]
_IN_WORKER = "in DataLoader worker process"
_BEFORE = (FileNotFoundError, FileExistsError, NotADirectoryError, IsADirectoryError)
"""What is wrong before a command has begun its work."""
_GOES_ON = {
    "train": "; the checkpoints that were saved are whole, and `--auto_resume` continues from the newest",
    "ablate": "; finished runs are kept, and the same command goes on with the others",
    "restore": "; the images that were written are whole",
    "degrade": "; the images that were written are whole",
}
_LESS_MEMORY = {
    "train": "; a smaller batch_size_per_gpu or gt_size, or `precision: bf16`, needs less",
    "restore": "; `--tile 512` restores in tiles, which need less",
    "test": "; smaller images need less, and `uir restore --tile 512` restores in tiles",
}


@dataclass(frozen=True)
class Fault:
    """What a command says about an error.

    Attributes:
        message: one or several lines.
        code: the exit code: 2 for what the user can put right, 1 for a fault in a program.
        with_traceback: whether the lines of the program help.
    """

    message: str
    code: int = 2
    with_traceback: bool = False


@dataclass(frozen=True)
class _Frame:
    file: str
    line: int
    function: str
    text: str


def fault_of(error: BaseException, command: str = "") -> Fault:
    """What to say about an error that ended a command.

    Args:
        error: the error.
        command: the command's name, which decides what is said about going on.
    """
    from uir.registry import UnknownNameError
    from uir.registry.plugins import PluginError

    if hasattr(error, "format_message"):  # the command line itself is wrong
        return Fault(str(error.format_message()))
    if isinstance(error, PluginError | UnknownNameError):
        return Fault(str(error))
    machine = problem_of_machine(error)
    if machine is not None:
        less = _LESS_MEMORY.get(command, "") if machine.startswith(NO_MEMORY) else ""
        has_begun = not isinstance(error, _BEFORE) and "no such GPU" not in machine
        return Fault(machine + less + (_GOES_ON.get(command, "") if has_begun else ""))
    if isinstance(error, FileNotFoundError):
        return Fault(_message(error))
    return _of_program(error)


def _of_program(error: BaseException) -> Fault:
    """An error that some program raised: a check of the user's input, or a fault."""
    frames = _frames(error)
    name, message = type(error).__name__, _message(error)
    place = next(((frame, owner) for frame in reversed(frames) if (owner := _owner(frame.file))), None)
    if place is None:
        return Fault(f"this is a fault of uir: {name}: {message}; please report it with the lines above", 1, True)
    frame, owner = place
    is_innermost = frame is frames[-1]
    is_check = is_innermost and isinstance(error, ValueError | ImportError | RuntimeError)
    where = f"line {frame.line}, in {frame.function}"
    if owner == "uir":
        if is_check:
            return Fault(message)
        text = f"{name} in {_short(frame.file)}, {where}: {(message.splitlines() or ['no message'])[0]}"
        if is_innermost:
            text = f"this is a fault of uir, not yours: {text}"
        else:
            library = _library(frames[-1].file) or "Python"
            text = f"{library} refuses what uir gave it: {text}; unless the images are unusual, this is a fault of uir"
        return Fault(f"{text}; please report it with the lines above", 1, True)
    if is_check and frame.text.startswith("raise"):
        return Fault(f"{message} (said by {owner}, {where})")
    return Fault(f"the error is in {owner}, not in uir: {name} in {where}: {message or frame.text}", 1, True)


def _frames(error: BaseException) -> list[_Frame]:
    """The lines that the error passed, the innermost last; those of a loader's process are in its text."""
    if _IN_WORKER in str(error):
        lines = re.findall(r'File "([^"]+)", line (\d+), in (\S+)\n\s*(.*)', str(error))
        return [_Frame(file, int(line), function, text) for file, line, function, text in lines]
    stack = traceback.extract_tb(error.__traceback__)
    return [_Frame(frame.filename, frame.lineno or 0, frame.name, frame.line or "") for frame in stack]


def _message(error: BaseException) -> str:
    """The message of an error; in an error from a loader process, the last line of the traceback is the message."""
    text = str(error)
    if _IN_WORKER not in text:
        return text
    return next(line for line in reversed(text.splitlines()) if line.strip(" :")).split(": ", 1)[-1]


def _owner(file: str) -> str:
    """Whose file it is: `uir`, `basicsr`, `plugin FILE` or `FILE`; empty for Python and libraries."""
    path = Path(file).resolve()
    if path.is_relative_to(_PACKAGE):
        return "uir"
    for folder in _package_folders("basicsr"):
        if path.is_relative_to(folder):
            return f"basicsr ({path.relative_to(folder.parent)})"
    if _is_plugin(path):
        return f"the plugin {file}"
    is_library = file.startswith("<") or _library(file) != "" or path.is_relative_to(sysconfig.get_path("stdlib"))
    return "" if is_library else file


def _is_plugin(path: Path) -> bool:
    from uir.registry.plugins import imported_plugins, is_file_plugin

    if path.stem and any(
        name.startswith("uir_plugin_") and getattr(module, "__file__", None) == str(path)
        for name, module in list(sys.modules.items())
    ):
        return True
    modules = [spec.partition(".")[0] for spec in imported_plugins() if not is_file_plugin(spec)]
    return any(path.is_relative_to(folder) for name in modules for folder in _package_folders(name))


def _package_folders(name: str) -> Sequence[Path]:
    """The folders of an imported package, or the file of an imported module."""
    module = sys.modules.get(name)
    places = getattr(module, "__path__", None) or [getattr(module, "__file__", None)]
    return [Path(place).resolve() for place in places if place]


def _library(file: str) -> str:
    """The name of the installed package that a file belongs to; empty for other files."""
    match = re.search(r"[/\\](?:site|dist)-packages[/\\]([^/\\]+)", file)
    return match[1].removesuffix(".py") if match else ""


def _short(file: str) -> str:
    return str(Path(file).resolve().relative_to(_PACKAGE.parent))
