"""Diagnosing files and folders: a row for each image, and a summary."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from uir.core.images import read_pages
from uir.core.progress import progress_bar
from uir.inference.diagnosis import Diagnosis, diagnosed_text, summarised
from uir.inference.image_plan import counted, find_images
from uir.inference.restorer import Restorer

_OTHERS = 2  # further classes in a row of the table
_SMALLEST = 0.01  # probability of a class that is worth a word


@dataclass
class Report:
    """The diagnoses of some files.

    Attributes:
        diagnoses: by file.
        failed: why a file could not be read.
    """

    diagnoses: dict[str, Diagnosis] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """The same for JSON."""
        return {
            "images": [{"file": name, **diagnosis.as_dict()} for name, diagnosis in self.diagnoses.items()],
            "failed": [{"file": name, "why": why} for name, why in self.failed.items()],
            "summary": summarised(self.diagnoses),
        }

    def table(self) -> str:
        """The same as text: file, degradation, how sure, what else it may be; a summary if there are several files."""
        rows = [("file", "degradation", "sure", "or")]
        for name, diagnosis in self.diagnoses.items():
            others = [(label, p) for label, p in list(diagnosis.probabilities.items())[1:] if p >= _SMALLEST]
            text = ", ".join(f"{label} {p:.0%}" for label, p in others[:_OTHERS])
            rows.append((name, diagnosis.label, f"{diagnosis.confidence:.0%}", text))
        widths = [*(max(len(row[column]) for row in rows) for column in range(3)), 0]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
        if len(self.diagnoses) > 1:
            lines.append(f"{counted(len(self.diagnoses), 'image')}: {diagnosed_text(self.diagnoses)}")
        if self.failed:
            lines.append(f"{counted(len(self.failed), 'image')} failed:")
            lines += [f"  {name}: {why}" for name, why in self.failed.items()]
        return "\n".join(lines)


def diagnose_files(restorer: Restorer, inputs: Sequence[Path]) -> Report:
    """Diagnose images, and the images in folders; of a TIFF the first page.

    Raises:
        ValueError: an input does not exist, there is no image, or no classifier came with the network.
    """
    files, _ = find_images(inputs)
    report = Report()
    with progress_bar() as progress:
        task = progress.add_task("Diagnosing", total=len(files), note="")
        for file in files:
            try:
                image = next(iter(read_pages(file)))
            except (ValueError, OSError) as error:
                report.failed[file] = str(error).removeprefix(f"{file}: ")
            else:
                report.diagnoses[file] = restorer.diagnose(image)
            progress.advance(task)
    return report
