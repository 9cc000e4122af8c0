"""A list of the finished work of a long preparation, so that it can continue after an interruption."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from uir.core.files import write_text
from uir.data.source_files import Fingerprint, SourceFile

JOURNAL = "written.jsonl"  # its name, beside what it lists


@dataclass(frozen=True)
class Entry:
    """A finished image: the name and fingerprint of its source, and its shape (h, w, c)."""

    name: str
    fingerprint: Fingerprint
    shape: tuple[int, int, int]


class Journal:
    """A text file beside the prepared data: a line of settings, then a line for each finished image.

    A line is added only after the image is safely stored. So a crash at any moment costs the work on a few images, and
    every image in the journal exists. A last line cut by a crash is dropped.

    Args:
        path: the journal's file; it is created if it is missing.
        settings: the settings that influence the result; the preparation cannot continue with others.
        restart: how to start again, for messages.

    Raises:
        ValueError: the journal is damaged or has other settings.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any], restart: str) -> None:
        self.path = path
        self.restart = restart
        self.entries: dict[str, Entry] = {}
        if path.is_file():
            self._read(settings)
        else:
            write_text(path, json.dumps(settings) + "\n")

    def _read(self, settings: Mapping[str, Any]) -> None:
        text = self.path.read_text(encoding="utf-8", errors="replace")
        *lines, torn = text.split("\n")
        try:
            begun_with, *entries = [json.loads(line) for line in lines]
            for entry in entries:
                fingerprint, shape = Fingerprint(**entry["fingerprint"]), tuple(entry["shape"])
                self.entries[entry["name"]] = Entry(entry["name"], fingerprint, shape)
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{self.path}: the journal is damaged ({error}); {self.restart}") from error
        if begun_with != dict(settings):
            raise ValueError(f"{self.path.parent} was begun with {begun_with}, not {dict(settings)}; {self.restart}")
        if torn:
            write_text(self.path, text[: -len(torn)])

    def check(self, sources: Sequence[SourceFile]) -> None:
        """Check that everything in the journal came from these sources.

        Raises:
            ValueError: an image is gone or has changed: this is another folder, or the stored data are out of date.
        """
        sources_by_name = {source.name: source for source in sources}
        stale = [
            name
            for name, entry in self.entries.items()
            if name not in sources_by_name or not entry.fingerprint.matches(sources_by_name[name])
        ]
        if stale:
            raise ValueError(
                f"{self.path.parent} has {len(stale)} images that were later removed or changed, or that came from "
                f"another folder (first: {stale[0]}); {self.restart}"
            )

    def add(self, entries: Iterable[Entry]) -> None:
        """Add images that are safely stored."""
        new = list(entries)
        with self.path.open("a", encoding="utf-8") as file:
            file.write("".join(json.dumps(asdict(entry)) + "\n" for entry in new))
        self.entries.update((entry.name, entry) for entry in new)
