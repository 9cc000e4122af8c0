"""Charts of an ablation: bars with intervals for each dataset, and curves over iterations and over training time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from uir.ablation.history import History
from uir.ablation.tables import Histories, Table


def write_charts(folder: Path, tables: Sequence[Table], histories: Histories) -> list[Path]:
    """Draw `bars_<metric>.png` and `curves_<metric>.png` into a folder.

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
    return files


def _figure(columns: int, rows: int, size: tuple[float, float]) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False)


def _bars(path: Path, table: Table) -> Path:
    """Draw the results above, and the differences to the reference below."""
    columns, rows = table.columns, table.rows
    parts = [("results", table.metric)]
    if any(row.differences for row in rows):
        parts.append(("differences", f"{table.metric}: difference to the reference"))
    figure, axes = _figure(
        1, len(parts), (max(6.0, 1.2 * len(columns) + 0.25 * len(columns) * len(rows)), 3.4 * len(parts))
    )
    width = 0.8 / len(rows)
    for axis, (part, label) in zip(axes[:, 0], parts, strict=True):
        for number, row in enumerate(rows):
            intervals = getattr(row, part)
            shown = [(index, intervals[name]) for index, name in enumerate(columns) if name in intervals]
            places = [index + (number - (len(rows) - 1) / 2) * width for index, _ in shown]
            heights = [item.mean for _, item in shown]
            spread = [item.half_width or 0.0 for _, item in shown]
            style = {"width": width, "color": f"C{number % 10}", "label": row.cell}
            if shown:
                axis.bar(places, heights, yerr=spread, capsize=2, **style)
        axis.set_xticks(range(len(columns)), columns)
        axis.set_ylabel(label)
        axis.axhline(0, color="black", linewidth=0.8)
    lowest, highest = _range(table)
    axes[0, 0].set_ylim(lowest, highest)
    axes[0, 0].set_title(
        f"{table.description}, mean and 95 % interval (the axis does not start at 0)", fontsize="small"
    )
    axes[0, 0].legend(fontsize="x-small", ncols=3)
    figure.savefig(path, dpi=120)
    return path


def _range(table: Table) -> tuple[float, float]:
    """The range from below the lowest interval end of a bar to above the highest, with room for the legend."""
    ends = [
        interval.mean + sign * (interval.half_width or 0.0)
        for row in table.rows for interval in row.results.values() for sign in (-1, 1)
    ]  # fmt: skip
    room = max(ends) - min(ends) or 1.0
    return min(ends) - 0.1 * room, max(ends) + 0.35 * room


def _curves(path: Path, table: Table, histories: Histories) -> Path:
    """Draw the mean over the datasets at each validation: a line for the seeds' mean, a band from lowest to highest."""
    figure, axes = _figure(2, 1, (11.0, 4.0))
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
            axis.plot(places, [point["mean"] for point in visible], color=color, marker=".", label=row.cell)
            axis.fill_between(
                places, [p["low"] for p in visible], [p["high"] for p in visible], color=color, alpha=0.15, linewidth=0
            )
    axes[0, 0].set_xlabel("iterations")
    axes[0, 1].set_xlabel("seconds of training")
    axes[0, 0].set_ylabel(f"{table.metric}, mean over the validation sets")
    axes[0, 0].legend(fontsize="x-small")
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
