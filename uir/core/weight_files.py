"""Files of tensors: written completely or not at all, and read without running what they contain."""

from __future__ import annotations

import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from uir.core.files import replacing
from uir.core.releases import read_safetensors


class CheckpointError(ValueError):
    """A file of weights cannot be read, or does not fit the network."""


def write_tensors(path: Path, content: Mapping[str, Any]) -> None:
    """Write a mapping of tensors and plain values to a `.pth` or `.state` file.

    Raises:
        OSError: the file cannot be written, such as on a full disk.
    """
    with replacing(path) as temporary, temporary.open("wb") as handle:
        try:
            torch.save(content, handle)
        except RuntimeError as error:  # torch says that positions differ; the reason is the error before it
            if isinstance(error.__context__, OSError):
                raise error.__context__ from None
            raise


def read_plain(path: Path) -> dict[str, Any]:
    """The mapping in a `.pth`, `.state` or `.safetensors` file; only plain data is unpickled.

    Raises:
        CheckpointError: the file is missing or damaged, or contains more than plain data.
    """
    if not path.is_file():
        raise CheckpointError(f"{path}: there is no such file")
    try:
        path.open("rb").close()
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from None
    try:
        if path.suffix == ".safetensors":
            return read_safetensors(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of another pickle protocol, which asks to report it to torch
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file makes the readers fail in any way
        raise CheckpointError(f"{path}: cannot be read as weights: {_reason(path, str(error))}") from None
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: expected a mapping of weights, got {type(content).__name__}")
    if _is_circular(content, ()):
        raise CheckpointError(f"{path}: a mapping or list in it contains itself; save a plain state dict")
    return content


def _is_circular(value: Any, around: tuple[int, ...]) -> bool:
    """Whether a mapping or list contains itself, or stands so deep in others that nobody can have meant it.

    Args:
        around: the identities of the mappings and lists that it stands in.
    """
    if not isinstance(value, Mapping | list | tuple):
        return False
    if id(value) in around or len(around) > 50:
        return True
    inside = (*around, id(value))
    return any(_is_circular(inner, inside) for inner in (value.values() if isinstance(value, Mapping) else value))


def _reason(path: Path, message: str) -> str:
    """Why a file cannot be read. torch's message is never shown: it advises to read the file without protection."""
    foreign = re.search(r"GLOBAL ([\w.]+)", message)
    if foreign is None or not _is_whole(path):
        return "the file is damaged or cut short, or of another kind; take another copy of it"
    return (
        f"it contains more than tensors and plain values ({foreign[1]}), and reading that could run code; save only "
        "its state dict, or save it as .safetensors"
    )


def _is_whole(path: Path) -> bool:
    """Whether the check sums in an archive are right; of another kind of file nothing is known."""
    with path.open("rb") as handle:
        if handle.read(2) != b"PK":
            return True
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except Exception:
        return False
