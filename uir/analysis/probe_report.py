"""What a probe found, as numbers, tables and pictures."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from uir.analysis.charts import confusion_picture
from uir.analysis.patches import DegradedPatches
from uir.analysis.probes import TEST_SHARE, LevelResult, ProbeKind, split_seeds
from uir.core.files import write_text

_MEASURES = ("silhouette", "alignment", "uniformity")


@dataclass(frozen=True)
class ProbeReport:
    """The results of a probe, with all that is needed to do it again.

    Attributes:
        kind: which probe.
        patches: what was probed with.
        levels: results, level by level.
        settings: how it was done (k, recipe, network, ...).
    """

    kind: ProbeKind
    patches: DegradedPatches
    levels: Sequence[LevelResult]
    settings: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {
            "probe": self.kind,
            **self.settings,
            "classes": list(self.patches.classes),
            "photographs": list(self.patches.photographs),
            "chance": 1 / len(self.patches.classes),
            "split_seeds": split_seeds(len(self.levels[0].accuracies)),
            "test_share": TEST_SHARE,
            "levels": [level.to_dict() for level in self.levels],
        }

    def header(self) -> list[str]:
        """Titles of the columns of `rows`."""
        return ["level", "dimensions", "accuracy %", *(_MEASURES if self.levels[0].layout else ())]

    def rows(self) -> list[list[str]]:
        """A row for each level."""
        return [
            [
                found.level,
                str(found.dimensions),
                _percent(found),
                *(f"{found.layout[name]:.3f}" for name in _MEASURES if name in found.layout),
            ]
            for found in self.levels
        ]

    def confusion_rows(self, found: LevelResult) -> list[list[str]]:
        """A row for each true class: how many percent of its tested patches got which answer."""
        rows = []
        for name, counts in zip(self.patches.classes, found.confusion, strict=True):
            total = max(sum(counts), 1)
            rows.append([name, *(f"{100 * count / total:.1f}" for count in counts)])
        return rows

    def markdown(self) -> str:
        """The table of accuracies, and the confusion of each level."""
        count = len(self.patches.photographs)
        text = f"{self.kind} probe: {count} photographs, each in {len(self.patches.classes)} classes; chance "
        text += f"{100 / len(self.patches.classes):.1f} %; photographs of the splits are disjoint\n\n"
        text += _markdown(self.header(), self.rows())
        for found in self.levels:
            table = _markdown(["true \\ answer", *self.patches.classes], self.confusion_rows(found))
            text += f"\n{found.level}, % of the true class\n\n{table}"
        return text

    def write(self, folder: Path) -> list[Path]:
        """Write `<kind>.json`, `<kind>.md` and a confusion picture for each level; the files."""
        files = [folder / f"{self.kind}.json", folder / f"{self.kind}.md"]
        write_text(files[0], json.dumps(self.to_dict(), indent=2) + "\n")
        write_text(files[1], self.markdown())
        for found in self.levels:
            title = f"{found.level}: {_percent(found)} %"
            file = folder / f"{self.kind}_confusion_{found.level.replace('/', '_')}.png"
            files.append(confusion_picture(file, found.confusion, self.patches.classes, title))
        return files


def _percent(found: LevelResult) -> str:
    spread = "" if found.deviation is None else f" ± {100 * found.deviation:.1f}"
    return f"{100 * found.mean:.1f}{spread}"


def _markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)
