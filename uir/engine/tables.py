"""The tables of a test: on the screen, and as Markdown, CSV, JSON and LaTeX."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from uir.core.strict_json import strict_json
from uir.engine.evaluation import Evaluation
from uir.engine.intervals import CONFIDENCE, add_intervals, interval
from uir.engine.protocol_runs import Measurement

NOTE = f"In brackets: the {100 * CONFIDENCE:.0f} % interval over the images (bootstrap, percentiles)."
MEAN = "mean"


@dataclass(frozen=True)
class Cell:
    """A value of a table.

    Attributes:
        column: the metric.
        kind: `restored`, or `input` for the degraded image itself.
        value: None if there is none.
        interval: its ends; None if there is none.
        lacking: the number of images without a value.
    """

    column: str
    kind: str
    value: float | None
    interval: tuple[float, float] | None = None
    lacking: int = 0

    def text(self, between: str = " ") -> str:
        """The value, its interval, and how many images lack it."""
        if self.value is None:
            return ""
        parts = [number(self.value)]
        if self.interval is not None:
            parts.append(f"[{number(self.interval[0])}, {number(self.interval[1])}]")
        if self.lacking:
            parts.append(f"({self.lacking} missing)")
        return between.join(parts)


@dataclass(frozen=True)
class Row:
    """A dataset in a table.

    Attributes:
        dataset: its name, or `mean`.
        images: the number of images.
        nonfinite: how many of them were restored to NaN or infinity.
        cells: one for each column.
    """

    dataset: str
    images: int
    nonfinite: int
    cells: list[Cell]

    @property
    def images_text(self) -> str:
        """The number of images, and how many of them are not finite."""
        return f"{self.images}{f' ({self.nonfinite} not finite)' if self.nonfinite else ''}"


@dataclass(frozen=True)
class ResultTable:
    """The measurements under one protocol, or with the metrics of the option file.

    Attributes:
        protocol: its name; empty for the metrics of the option file.
        about: what the protocol is and how it makes noise.
        described: each metric with its settings.
        missing: why a metric was not measured.
        columns: the metric and the kind of each column.
        rows: the datasets, and their mean.
    """

    protocol: str
    about: str
    described: dict[str, str]
    missing: dict[str, str]
    columns: list[tuple[str, str]]
    rows: list[Row] = field(default_factory=list)


def result_tables(evaluations: Sequence[Evaluation], measurements: Sequence[Measurement]) -> list[ResultTable]:
    """One table for each protocol; fills the intervals of the evaluations."""
    metrics = {key: metric for each in measurements for key, metric in each.by_key().items()}
    drawn = [add_intervals(evaluation, metrics) for evaluation in evaluations]
    return [_table(evaluations, drawn, measurement) for measurement in measurements]


def _table(
    evaluations: Sequence[Evaluation], drawn: Sequence[Mapping[str, np.ndarray]], measurement: Measurement
) -> ResultTable:
    prefix = measurement.key("")
    names = dict.fromkeys(key for item in evaluations for key in item.results if key.startswith(prefix))
    keys = {key.removeprefix(prefix): key for key in names if prefix or "/" not in key}
    columns = [
        (name, kind)
        for name, key in keys.items()
        for kind in ("input", "restored")
        if kind == "restored" or any(key in item.inputs for item in evaluations)
    ]
    channel = _channel(evaluations)
    protocol = measurement.protocol
    about = protocol.description if protocol else ""
    if protocol and protocol.noise:
        about += f" Gaussian noise that a set makes itself: {protocol.noise.describe()}."
    described = {
        name: metric.describe(channel) + ("; lower is better" if metric.better == "lower" else "")
        for name, metric in measurement.metrics.items()
    }
    table = ResultTable(measurement.name, about, described, dict(measurement.missing), columns)
    for item in evaluations:
        cells = []
        for name, kind in columns:
            key, of_images = keys[name], item.results if kind == "restored" else item.inputs
            lacking = item.images - len(item.nonfinite) - item.counts.get(key, item.images)
            limits = item.intervals.get(key) if kind == "restored" else None
            cells.append(Cell(name, kind, of_images.get(key), limits, max(lacking, 0) if kind == "restored" else 0))
        table.rows.append(Row(item.dataset, item.images, len(item.nonfinite), cells))
    if len(evaluations) > 1:
        table.rows.append(_mean(table.rows, drawn, keys))
    return table


def _mean(rows: Sequence[Row], drawn: Sequence[Mapping[str, np.ndarray]], keys: Mapping[str, str]) -> Row:
    """The mean over the datasets; its interval is that of the mean of their resamples, drawn set by set."""
    cells = []
    for column in zip(*(row.cells for row in rows), strict=True):
        values = [cell.value for cell in column if cell.value is not None]
        key = keys[column[0].column]
        samples = [by_key[key] for by_key in drawn if key in by_key] if column[0].kind == "restored" else []
        whole = samples and len(samples) == len(values)
        limits = interval(np.mean(samples, axis=0)) if whole else None
        value = sum(values) / len(values) if values else None
        cells.append(Cell(column[0].column, column[0].kind, value, limits, sum(cell.lacking for cell in column)))
    return Row(MEAN, sum(row.images for row in rows), sum(row.nonfinite for row in rows), cells)


def _channel(evaluations: Sequence[Evaluation]) -> str | None:
    """What the images that were measured are, where one of the sets is not of colour images."""
    if not any(item.channel for item in evaluations):
        return None
    return " or ".join(dict.fromkeys(item.channel or "colour" for item in evaluations))


def number(value: float) -> str:
    """A value with as many decimals as tables of the field have: four for what is about 1, two for decibels."""
    return f"{value:.4f}" if abs(value) < 2 else f"{value:.2f}"


# --- the screen ---


def on_screen(table: ResultTable) -> Table:
    """The table for a terminal; print it with `crop=False`.

    Names and numbers are never cut: on a narrow screen, long names go on in the next line.
    """
    title = f"protocol {table.protocol}" if table.protocol else None
    caption = "\n".join([table.about, *table.missing.values()]).strip() or None
    # Brackets are text: rich would take "[metrics]" for one of its styles and leave it out.
    shown = Table(title=title, caption=escape(caption or "") or None, caption_justify="left")
    longest = max([7, *(len(row.dataset) for row in table.rows)])
    shown.add_column("dataset", overflow="fold", min_width=min(longest, 16))
    shown.add_column("images", justify="right", min_width=_widest(["images", *(row.images_text for row in table.rows)]))
    for index, (name, kind) in enumerate(table.columns):
        heading = f"{kind}\n{table.described.get(name, name)}"
        texts = [heading, *(row.cells[index].text() for row in table.rows)]
        shown.add_column(escape(heading), justify="right", min_width=_widest(texts))
    for row in table.rows:
        shown.add_row(escape(row.dataset), row.images_text, *(cell.text("\n") for cell in row.cells))
    return shown


def print_tables(tables: Sequence[ResultTable], console: Console) -> None:
    """Print the tables side by side, or one below the other where the screen is too narrow for that."""
    shown = [on_screen(table) for table in tables]
    together = Table.grid(padding=(0, 2))
    for table in shown:
        together.add_column(vertical="top", min_width=_least_width(table, console))
    together.add_row(*shown)
    if len(shown) > 1 and _least_width(together, console) <= console.width:
        console.print(together, crop=False)
    else:
        for table in shown:
            console.print(table, crop=False)
    if any(cell.interval for table in tables for row in table.rows for cell in row.cells):
        console.print(NOTE)


def _least_width(table: Table, console: Console) -> int:
    """The width that a table needs, which may be larger than the screen's."""
    return console.measure(table, options=console.options.update(width=10_000)).minimum


def _widest(texts: Sequence[str]) -> int:
    return max(len(word) for text in texts for word in text.split())


# --- files ---


def as_markdown(tables: Sequence[ResultTable]) -> str:
    """Each table with the settings of its metrics below it; those of protocols under a heading."""
    return "\n".join(_markdown(table) for table in tables)


def _markdown(table: ResultTable) -> str:
    header = ["dataset", "images", *(f"{kind} {name}" for name, kind in table.columns)]
    lines = [header, ["---"] * len(header)]
    lines += [[row.dataset, row.images_text, *(cell.text() for cell in row.cells)] for row in table.rows]
    lines = [[text.replace("|", "\\|") for text in line] for line in lines]
    text = f"## Protocol {table.protocol}\n\n{table.about}\n\n" if table.protocol else ""
    text += "".join("| " + " | ".join(line) + " |\n" for line in lines)
    notes = [f"- {name}: {about}" for name, about in table.described.items()]
    notes += [f"- {name}: {reason}" for name, reason in table.missing.items()]
    notes += [f"- {NOTE}"] if _has_intervals(table) else []
    return text + "\n" + "".join(f"{note}\n" for note in notes)


def as_csv(tables: Sequence[ResultTable]) -> str:
    """One line for each value of all tables, with the protocol, the dataset and the ends of the interval."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        ["protocol", "dataset", "images", "not_finite", "missing", "metric", "measured", "value", "low", "high"]
    )
    for table in tables:
        for row in table.rows:
            for cell in row.cells:
                low, high = cell.interval or ("", "")
                value = "" if cell.value is None else cell.value
                start = [table.protocol, row.dataset, row.images, row.nonfinite, cell.lacking]
                writer.writerow([*start, cell.column, cell.kind, value, low, high])
    return text.getvalue()


def as_latex(tables: Sequence[ResultTable]) -> str:
    """Each table as a `tabular` for the package booktabs."""
    return "\n".join(_latex(table) for table in tables)


def _latex(table: ResultTable) -> str:
    headings = ["dataset", "images", *(f"{kind} {name}" for name, kind in table.columns)]
    lines = [f"% protocol {table.protocol}" if table.protocol else "% metrics of the option file"]
    lines += [f"% {name}: {about}" for name, about in [*table.described.items(), *table.missing.items()]]
    lines += [f"% {NOTE}"] if _has_intervals(table) else []
    lines += [f"\\begin{{tabular}}{{l{'r' * (len(headings) - 1)}}}", "\\toprule"]
    if table.protocol:
        lines += [f"\\multicolumn{{{len(headings)}}}{{l}}{{protocol {_escaped(table.protocol)}}} \\\\", "\\midrule"]
    lines += [" & ".join(map(_escaped, headings)) + " \\\\", "\\midrule"]
    for row in table.rows:
        if row.dataset == MEAN and row is table.rows[-1] and len(table.rows) > 1:
            lines.append("\\midrule")
        cells = [row.dataset, row.images_text, *(cell.text() for cell in row.cells)]
        lines.append(" & ".join(map(_escaped, cells)) + " \\\\")
    return "\n".join([*lines, "\\bottomrule", "\\end{tabular}", ""])


def _escaped(text: str) -> str:
    """Text for LaTeX; a bracket in braces is never an argument of the line break before it."""
    special = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "[": "{[}", "]": "{]}"}
    return "".join(special.get(sign, f"\\{sign}" if sign in "&%$#_{}" else sign) for sign in text)


def as_json(evaluations: Sequence[Evaluation], tables: Sequence[ResultTable]) -> dict[str, Any]:
    """The measurements image by image, and the tables.

    `metrics` and the values of `datasets` name a metric of a protocol `<protocol>/<metric>`.
    """
    described = {
        f"{table.protocol}/{name}" if table.protocol else name: text
        for table in tables
        for name, text in table.described.items()
    }
    return {
        "metrics": described,
        "datasets": [asdict(item) for item in evaluations],
        "tables": [asdict(table) for table in tables],
        "interval": {"confidence": CONFIDENCE, "kind": "bootstrap over images, percentiles"},
    }


def _has_intervals(table: ResultTable) -> bool:
    return any(cell.interval for row in table.rows for cell in row.cells)


def json_text(evaluations: Sequence[Evaluation], tables: Sequence[ResultTable]) -> str:
    """`as_json` as text; see `strict_json` for numbers that are not finite."""
    return strict_json(as_json(evaluations, tables), indent=2)
