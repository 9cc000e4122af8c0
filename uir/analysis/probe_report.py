"""The results of a probe as numbers, tables and pictures."""

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
    """The results of a probe, with all settings that are needed to repeat it.

    Attributes:
        kind: kind of probe.
        patches: the patches that were probed.
        levels: the results, level by level.
        settings: the settings (k, recipe, network, ...).
    """

    kind: ProbeKind
    patches: DegradedPatches
    levels: Sequence[LevelResult]
    settings: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """The report in plain JSON types."""
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
        """Column titles of `rows`."""
        return ["level", "dimensions", "accuracy %", *(_MEASURES if self.levels[0].layout else ())]

    def rows(self) -> list[list[str]]:
        """One row for each level."""
        return [
            [
                level.level,
                str(level.dimensions),
                _percent(level),
                *(f"{level.layout[name]:.3f}" for name in _MEASURES if name in level.layout),
            ]
            for level in self.levels
        ]

    def confusion_rows(self, level: LevelResult) -> list[list[str]]:
        """A row for each true class: the percentage of its tested patches for each answer."""
        rows = []
        for name, counts in zip(self.patches.classes, level.confusion, strict=True):
            total = max(sum(counts), 1)
            rows.append([name, *(f"{100 * count / total:.1f}" for count in counts)])
        return rows

    def markdown(self) -> str:
        """The table of accuracies, and the confusion of each level."""
        count = len(self.patches.photographs)
        text = f"{self.kind} probe: {count} photographs, each in {len(self.patches.classes)} classes; chance "
        text += f"{100 / len(self.patches.classes):.1f} %; photographs of the splits are disjoint\n\n"
        text += _markdown(self.header(), self.rows())
        for level in self.levels:
            table = _markdown(["true \\ answer", *self.patches.classes], self.confusion_rows(level))
            text += f"\n{level.level}, % of the true class\n\n{table}"
        return text

    def write(self, folder: Path) -> list[Path]:
        """Write `<kind>.json`, `<kind>.md` and a confusion picture for each level; return the files."""
        files = [folder / f"{self.kind}.json", folder / f"{self.kind}.md"]
        write_text(files[0], json.dumps(self.to_dict(), indent=2) + "\n")
        write_text(files[1], self.markdown())
        for level in self.levels:
            title = f"{level.level}: {_percent(level)} % right"
            file = folder / f"{self.kind}_confusion_{level.level.replace('/', '_')}.png"
            files.append(confusion_picture(file, level.confusion, self.patches.classes, title))
        return files


def _percent(level: LevelResult) -> str:
    spread = "" if level.deviation is None else f" ± {100 * level.deviation:.1f}"
    return f"{100 * level.mean:.1f}{spread}"


def _markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)
