"""What a long check finds out: one promise, how it was provoked, a figure."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Finding:
    """The outcome of one check.

    Attributes:
        promise: What uir promises, in a sentence.
        provoked: What was done to break it.
        figure: What was counted or measured.
        failures: One line for each time that the promise was broken.
        seconds: How long the check took.
    """

    promise: str
    provoked: str
    figure: str = ""
    failures: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def holds(self) -> bool:
        """Whether the promise was never broken."""
        return not self.failures


def timed(check: Callable[..., Finding], *arguments: Any) -> Finding:
    """Run a check and note how long it took."""
    began = time.monotonic()
    finding = check(*arguments)
    finding.seconds = time.monotonic() - began
    return finding


def photographs() -> list[Path]:
    """The photographs of datasets/demo."""
    demo = Path(__file__).resolve().parents[2] / "datasets" / "demo"
    return sorted(path for path in demo.rglob("*") if path.suffix in (".png", ".jpg"))


def project(folder: Path, changes: dict[str, Any] | None = None, name: str = "run") -> Path:
    """Write a small training project (pairs of real photographs, a network, an option file).

    Args:
        folder: Where; pairs that are there already are used again.
        changes: `dotted.key: value` for the option file; None removes the key.
        name: Of the run and of its file.

    Returns:
        The option file.
    """
    import yaml
    from small_options import SMALL_NET, sr_options, with_changes, write_pairs

    pairs = folder / "pairs"
    if not pairs.exists():
        write_pairs(pairs, photographs())
    options = with_changes({**sr_options(pairs), "name": name}, changes or {})
    files = folder / "options"
    files.mkdir(parents=True, exist_ok=True)
    (files / "small_net.py").write_text(SMALL_NET, encoding="utf-8")
    file = files / f"{name}.yml"
    file.write_text(yaml.safe_dump(options, sort_keys=False), encoding="utf-8")
    return file


def metric_rows(run: Path) -> list[dict[str, Any]]:
    """The rows of a run's metrics."""
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
