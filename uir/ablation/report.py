"""Writes the results of an ablation so far: tables as JSON and Markdown, charts, and a sheet of pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from uir.ablation.charts import write_charts
from uir.ablation.costs import Cost, cost_of
from uir.ablation.history import History, read_history
from uir.ablation.pictures import Example, examples_of, write_examples
from uir.ablation.runs import Plan
from uir.ablation.tables import as_json, as_markdown, make_tables
from uir.ablation.trained import read_trained
from uir.core.files import write_text


@dataclass(frozen=True)
class Report:
    """The files of a report.

    Attributes:
        json: the tables as JSON.
        markdown: the tables as a page.
        files: results.json, results.md, the pictures and the charts.
    """

    json: str
    markdown: str
    files: tuple[Path, ...]


def write_report(plan: Plan, tell: Callable[[str], None] = print) -> Report | None:
    """Write results.json, results.md, pictures and charts of the finished runs to the ablation's folder.

    Returns:
        What was written; None if no run is finished.
    """
    histories: dict[str, dict[int, History]] = {}
    for run in plan.runs:
        if run.is_finished():
            histories.setdefault(run.cell, {})[run.seed] = read_history(run)
    if not histories:
        return None
    unfinished = [run.title for run in plan.runs if not run.is_finished()]
    costs, examples = _measured(plan, tell)
    tables = make_tables(plan, histories, costs)
    files = [plan.folder / "results.json", plan.folder / "results.md"]
    content, page = as_json(plan, tables, unfinished), as_markdown(plan, tables, unfinished)
    write_text(files[0], content)
    write_text(files[1], page)
    sheet = write_examples(plan.folder / "pictures.jpg", examples)
    files += [sheet] if sheet is not None else []
    try:
        files += write_charts(plan.folder, tables, histories)
    except ImportError:
        tell("No charts: they need matplotlib (pip install uir[analysis])")
    return Report(content, page, tuple(files))


def _measured(
    plan: Plan, tell: Callable[[str], None]
) -> tuple[dict[str, Cost | None], dict[str, Mapping[str, Example]]]:
    """The cost and the pictures of each cell, of its first finished run; one cell after another is in memory."""
    costs: dict[str, Cost | None] = {}
    examples: dict[str, Mapping[str, Example]] = {}
    first_runs = {run.cell: run for run in reversed(plan.runs) if run.is_finished()}
    for cell in [cell.name for cell in plan.ablation.cells if cell.name in first_runs]:
        trained = read_trained(first_runs[cell], plan.root)
        costs[cell] = cost_of(trained) if trained is not None else None
        try:
            examples |= {cell: examples_of(trained)} if trained is not None else {}
        except (ValueError, OSError) as error:
            tell(f"{cell} has no pictures: {error}")
    return costs, examples
