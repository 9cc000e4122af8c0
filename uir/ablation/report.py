"""Writes the results of an ablation so far: tables as JSON and Markdown, and charts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from uir.ablation.charts import write_charts
from uir.ablation.costs import cost_of
from uir.ablation.history import History, read_history
from uir.ablation.runs import Plan
from uir.ablation.tables import as_json, as_markdown, make_tables
from uir.core.files import write_text


@dataclass(frozen=True)
class Report:
    """The files of a report.

    Attributes:
        json: the tables as JSON.
        markdown: the tables as a page.
        files: results.json, results.md and the charts.
    """

    json: str
    markdown: str
    files: tuple[Path, ...]


def write_report(plan: Plan, tell: Callable[[str], None] = print) -> Report | None:
    """Write results.json, results.md and charts of the finished runs to the ablation's folder; None if no run is."""
    histories: dict[str, dict[int, History]] = {}
    for run in plan.runs:
        if run.is_finished():
            histories.setdefault(run.cell, {})[run.seed] = read_history(run)
    if not histories:
        return None
    unfinished = [run.title for run in plan.runs if not run.is_finished()]
    first_runs = {run.cell: run for run in reversed(plan.runs) if run.is_finished()}
    tables = make_tables(plan, histories, {cell: cost_of(run) for cell, run in first_runs.items()})
    files = [plan.folder / "results.json", plan.folder / "results.md"]
    content, page = as_json(plan, tables, unfinished), as_markdown(plan, tables, unfinished)
    write_text(files[0], content)
    write_text(files[1], page)
    try:
        files += write_charts(plan.folder, tables, histories)
    except ImportError:
        tell("No charts: they need matplotlib (pip install uir[analysis])")
    return Report(content, page, tuple(files))
