"""Charts of an ablation: bars with intervals, a radar of the datasets, curves over iterations and training time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from uir.ablation.history import History
from uir.ablation.tables import MEAN, Histories, Table, digits_of
from uir.analysis.charts import radar_picture
from uir.metrics.building import with_unit


def write_charts(folder: Path, tables: Sequence[Table], histories: Histories) -> list[Path]:
    """Draw `bars_<metric>.png`, `curves_<metric>.png` and `radar_<metric>.png` into a folder.

    A radar chart needs three datasets and two cells.

    Returns:
        The files.

    Raises:
        ImportError: matplotlib is not installed.
    """
    files = []
    for table in tables:
        if table.at == "end":
            files.append(_bars(folder / f"bars_{table.metric}.png", table))
            files.append(_curves(folder / f"curves_{table.metric}.png", table, histories))
            axes = [name for name in table.columns if name != MEAN]
            if len(axes) > 2 and len(table.rows) > 1:
                files.append(_radar(folder / f"radar_{table.metric}.png", table, axes))
    return files


def _radar(path: Path, table: Table, axes: Sequence[str]) -> Path:
    """Draw the mean over the seeds of each cell, a line, on each dataset, an axis."""
    means = {
        row.cell: [row.results[name].mean if name in row.results else math.nan for name in axes] for row in table.rows
    }
    return radar_picture(path, means, axes, table.metric)


def _figure(columns: int, rows: int, size: tuple[float, float]) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False)


def _bars(path: Path, table: Table) -> Path:
    """Draw the results above, and the differences to the reference below: each cell's name beside its bar."""
    columns, rows = table.columns, table.rows
    parts = ["results", *(["differences"] if any(row.differences for row in rows) else [])]
    height = 0.28 * len(rows) + 0.9
    figure, axes = _figure(len(columns), len(parts), (2.0 + 2.3 * len(columns), 0.5 + height * len(parts)))
    for line, part in enumerate(parts):
        for axis, name in zip(axes[line], columns, strict=True):
            _draw_bars(axis, table, part, name)
        axes[line, 0].set_yticks(range(len(rows)), [row.cell for row in rows])
    axes[-1, 0].set_xlabel(with_unit(table.metric), loc="left")
    figure.suptitle(
        f"{table.description}, {table.better} is better: mean and 95 % interval over the seeds. Above the results (the "
        f"axes do not start at 0){', below the differences to the reference' if len(parts) > 1 else ''}",
        fontsize="small", wrap=True,
    )  # fmt: skip
    figure.savefig(path, dpi=120)
    return path


def _draw_bars(axis: Any, table: Table, part: str, name: str) -> None:
    """The bars of one dataset, one below the other in the order of the rows, each with its value."""
    intervals = [getattr(row, part).get(name) for row in table.rows]
    shown = [(place, item) for place, item in enumerate(intervals) if item is not None]
    ends = [item.mean + sign * (item.half_width or 0.0) for _, item in shown for sign in (-1, 1)]
    low, high = (min(ends), max(ends)) if ends else (0.0, 1.0)
    if part == "differences":
        low, high = min(low, 0.0), max(high, 0.0)
        axis.axvline(0, color="black", linewidth=0.8)
        for place, row in enumerate(table.rows):
            if row.reference is None:
                axis.annotate(
                    "reference", (0, place), (3, 0), textcoords="offset points", va="center", fontsize="x-small"
                )
    room = high - low or 1.0
    for place, item in shown:
        start = 0.0 if part == "differences" else low - 0.25 * room
        axis.barh(
            place, item.mean - start, left=start, xerr=item.half_width or 0.0, capsize=2, height=0.7,
            color=f"C{place % 10}", alpha=0.75, error_kw={"linewidth": 1},
        )  # fmt: skip
        sign = "+" if part == "differences" else ""
        end = max(item.mean + (item.half_width or 0.0), start)
        axis.annotate(
            f"{item.mean:{sign}.{digits_of(table)}f}", (end, place), (3, 0), textcoords="offset points", va="center",
            fontsize="x-small",
        )  # fmt: skip
    axis.set_xlim(low - (0.25 if part == "results" else 0.1) * room, high + 0.45 * room)
    axis.set_ylim(len(table.rows) - 0.5, -0.5)
    axis.set_yticks([])
    axis.locator_params(axis="x", nbins=4)
    axis.ticklabel_format(axis="x", useOffset=False)
    axis.tick_params(axis="x", labelsize="x-small")
    axis.set_title(name if part == "results" else f"{name}: difference", fontsize="small")


def _curves(path: Path, table: Table, histories: Histories) -> Path:
    """Draw the mean over the datasets at each validation: a line for the seeds' mean, a band from lowest to highest."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    figure, axes = _figure(2, 1, (11.0, 4.2))
    for number, row in enumerate(table.rows):
        seed_histories = list(histories[row.cell].values())
        points = [
            point
            for point in (_point(seed_histories, i, table.metric) for i in _shared(seed_histories))
            if point is not None
        ]
        for axis, place in zip(axes[0], ("iteration", "seconds"), strict=True):
            visible = [point for point in points if point[place] is not None]
            places = [point[place] for point in visible]
            color = f"C{number % 10}"
            axis.plot(
                places, [point["mean"] for point in visible], color=color, marker="o", markersize=4, label=row.cell
            )
            axis.fill_between(
                places, [p["low"] for p in visible], [p["high"] for p in visible], color=color, alpha=0.15, linewidth=0
            )
    axes[0, 0].set_xlabel("iterations")
    axes[0, 0].xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    axes[0, 0].xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes[0, 1].set_xlabel("seconds of training")
    for axis in axes[0]:
        axis.ticklabel_format(axis="y", useOffset=False)
    axes[0, 0].set_ylabel(f"{with_unit(table.metric)}, mean over the sets")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside right upper", fontsize="small", frameon=False, title="mean of the seeds"
    )
    figure.suptitle(
        f"{table.description}. Dots: validations; band: from the lowest to the highest seed", fontsize="small"
    )
    figure.savefig(path, dpi=120)
    return path


def _shared(histories: Sequence[History]) -> list[int]:
    """Iterations at which every seed was validated."""
    return sorted(set.intersection(*(set(history.validations) for history in histories)))


def _point(histories: Sequence[History], iteration: int, metric: str) -> dict[str, Any] | None:
    values = []
    for history in histories:
        values_by_dataset = [
            metrics[metric] for metrics in history.validations[iteration].values() if metric in metrics
        ]
        if not values_by_dataset:
            return None
        values.append(sum(values_by_dataset) / len(values_by_dataset))
    times = [history.seconds(iteration) for history in histories]
    known_times = [time for time in times if time is not None]
    return {
        "iteration": iteration,
        "seconds": sum(known_times) / len(known_times) if len(known_times) == len(times) else None,
        "mean": sum(values) / len(values),
        "low": min(values),
        "high": max(values),
    }
