"""What a long preparation has done so far, so that an interrupted one goes on where it stopped."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from uir.core.files import write_text
from uir.data.source_files import Fingerprint, SourceFile


@dataclass(frozen=True)
class Entry:
    """One image that is done: the name and fingerprint of its source, and its shape (h, w, c)."""

    name: str
    fingerprint: Fingerprint
    shape: tuple[int, int, int]


class Journal:
    """A text file beside what is prepared: a line of settings, then a line for each image that is done.

    Lines are added once the image is safely stored, so a crash at any moment costs a few images' work and never leaves
    an image in the journal that is not there. A last line cut by a crash is dropped.

    Args:
        path: the journal's file; it is made if it is missing.
        settings: what the preparation depends on; it cannot go on with others.
        restart: how to begin again, for messages.

    Raises:
        ValueError: the journal is damaged or was begun with other settings.
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
        """Make sure that everything in the journal came from these sources.

        Raises:
            ValueError: an image is gone or has changed; then this is another folder, or what is stored is out of date.
        """
        held = {source.name: source for source in sources}
        stale = [
            name
            for name, entry in self.entries.items()
            if name not in held or not entry.fingerprint.matches(held[name])
        ]
        if stale:
            raise ValueError(
                f"{self.path.parent} holds {len(stale)} images that were since removed or changed, or that came from "
                f"another folder (first: {stale[0]}); {self.restart}"
            )

    def add(self, entries: Iterable[Entry]) -> None:
        """Note images that are safely stored."""
        new = list(entries)
        with self.path.open("a", encoding="utf-8") as file:
            file.write("".join(json.dumps(asdict(entry)) + "\n" for entry in new))
        self.entries.update((entry.name, entry) for entry in new)
