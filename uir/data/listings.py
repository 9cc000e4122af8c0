"""Text files that list images: their encoding, and the names on a line."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path

from uir.core.images import IMAGE_EXTENSIONS

_SHAPE = re.compile(r"(.+)\s+\(\d+,\s*\d+(,\s*\d+)?\)")  # `name (h,w,c)`
_BOUNDARY = re.compile(r"[\s,]+|$")


def read_lines(key: str, path: str | Path) -> list[str]:
    """The lines of a text file that are not blank, in UTF-8, UTF-16 with its mark, or GBK.

    Args:
        key: the option that names the file, for messages.
        path: the file.

    Raises:
        ValueError: the file is missing, is blank, or is not text.
    """
    file = Path(path).expanduser()
    if not file.is_file():
        raise ValueError(f"{key}: there is no file {file}")
    content = file.read_bytes()
    marked = content.startswith((b"\xff\xfe", b"\xfe\xff"))
    for encoding in ("utf-16",) if marked else ("utf-8-sig", "gb18030"):
        try:
            lines = [line for line in content.decode(encoding).splitlines() if line.strip()]
        except UnicodeDecodeError:
            continue
        if not lines:
            raise ValueError(f"{key}: {file} names no image")
        return lines
    raise ValueError(f"{key}: {file} is no text in UTF-8 or GBK; save it as UTF-8")


def composed(name: str) -> str:
    """The name in Unicode's composed form (NFC): files from macOS may have the same letters in another form."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)


class Names:
    """The names of a source, to find them in the lines of a list.

    Args:
        names: as in `ImageSource.names`.
    """

    def __init__(self, names: Iterable[str]) -> None:
        given = list(names)
        self._names = {composed(name): name for name in given} | {name: name for name in given}

    def find(self, written: str) -> str | None:
        """The name as the source has it; `written` may have `\\` between folders, `./`, or another Unicode form."""
        if written in self._names:
            return self._names[written]
        plain = composed(written)
        return self._names.get(plain) or self._names.get(plain.replace("\\", "/").removeprefix("./"))

    def at_start(self, line: str) -> tuple[str, str] | None:
        """The longest name at the start of a line, and the rest of the line; None if there is none."""
        text = line.strip()
        before_shape = _SHAPE.match(text)
        name = self.find(before_shape.group(1)) if before_shape else None  # the usual line, without a search
        if before_shape and name is not None:
            return name, text[before_shape.end(1) :].strip()
        for end in sorted({match.start() for match in _BOUNDARY.finditer(text)}, reverse=True):
            name = self.find(text[:end])
            if name is not None:
                return name, text[end:].strip()
        return None


def first_column(line: str) -> str:
    """The name in a line of a `meta_info` file: the text before ` (h,w,c)`, else the first word."""
    match = _SHAPE.match(line.strip())
    return match.group(1) if match else line.split()[0].rstrip(",")


def names_an_image(text: str) -> bool:
    """Whether a text ends like the name of an image."""
    return any(text.lower().endswith(extension) for extension in IMAGE_EXTENSIONS)
