"""The tables of an ablation: means with intervals, and paired differences, at the end and at equal training time."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

from uir.ablation.costs import SIDE, TIMED_SIDE, Cost
from uir.ablation.history import History, Results
from uir.ablation.runs import Plan, Run
from uir.ablation.statistics import Interval, interval, paired

MEAN = "mean"
Histories = Mapping[str, Mapping[int, History]]
"""Of finished runs, by cell and seed."""
Values = Mapping[str, Mapping[str, Mapping[int, float]]]
"""By cell, dataset and seed."""


@dataclass(frozen=True)
class Row:
    """One cell of the grid in a table.

    Attributes:
        cell: name of the cell.
        reference: name of the reference cell; None for the reference itself.
        results: result by dataset, and `mean` if there are several.
        differences: cell minus reference, seed by seed; empty without a reference.
        values: value by dataset and seed.
        iterations: number of training iterations, mean over the seeds.
        samples: images that they learned from, counted each time, mean over the seeds.
        seconds: training time, mean over the seeds; None if the log has no times.
        cost: of its networks; None if it is not known.
    """

    cell: str
    reference: str | None
    results: Mapping[str, Interval]
    differences: Mapping[str, Interval]
    values: Mapping[str, Mapping[int, float]]
    iterations: float
    samples: float
    seconds: float | None
    cost: Cost | None = None


@dataclass(frozen=True)
class Table:
    """One metric of all cells.

    Attributes:
        metric: name of the metric.
        description: the metric with its settings.
        better: `higher` or `lower`.
        at: `end`, or `equal_time`.
        rows: cells with at least one finished run, in the order of the grid.
        inputs: the same metric of the degraded images themselves, by dataset; empty if the cells were not measured on
            the same ones.
    """

    metric: str
    description: str
    better: str
    at: str
    rows: tuple[Row, ...]
    inputs: Mapping[str, float] = field(default_factory=dict)

    @property
    def columns(self) -> list[str]:
        """The datasets, and `mean` last."""
        names = list(dict.fromkeys(name for row in self.rows for name in row.results))
        return [name for name in names if name != MEAN] + [MEAN] * (MEAN in names)


@dataclass(frozen=True)
class _Measured:
    """The counted measurement of one run."""

    results: Results
    iterations: int
    samples: int
    seconds: float | None


def make_tables(plan: Plan, histories: Histories, costs: Mapping[str, Cost | None] | None = None) -> list[Table]:
    """For each metric, a table at the end of training and, if times are known, one at equal training time.

    Args:
        plan: the runs.
        histories: of finished runs.
        costs: of the networks, by cell.
    """
    runs = {run.cell: run for run in plan.runs}
    ends = {
        cell: {
            seed: _measured(runs[cell], history, history.final, runs[cell].iterations)
            for seed, history in by_seed.items()
        }
        for cell, by_seed in histories.items()
    }
    views = {"end": ends, "equal_time": _at_equal_time(plan, histories, ends)}
    tables = [
        Table(
            name, about["description"], about["better"], at, _rows(plan, name, view, costs or {}),
            _inputs(name, histories) if at == "end" else {},
        )
        for name, about in plan.metrics.items()
        for at, view in views.items()
    ]  # fmt: skip
    compared = min(2, len(histories))  # at equal time, cells that were validated only later have no row
    return [table for table in tables if len(table.rows) >= (1 if table.at == "end" else compared)]


def _measured(run: Run, history: History, results: Results, iterations: int) -> _Measured:
    """A measurement after so many iterations of a run."""
    return _Measured(results, iterations, run.samples(iterations), history.seconds(iterations))


def _at_equal_time(
    plan: Plan, histories: Histories, ends: Mapping[str, Mapping[int, _Measured]]
) -> dict[str, dict[int, _Measured]]:
    """The last validation of every cell within the whole training time of the fastest cell of its comparison."""
    groups: dict[str, list[str]] = {}
    runs = {run.cell: run for run in plan.runs}
    for each in plan.ablation.cells:
        if each.name in histories:
            groups.setdefault(plan.ablation.group_of(each), []).append(each.name)
    measured_by_cell: dict[str, dict[int, _Measured]] = {cell: {} for cell in histories}
    for cells in groups.values():
        for seed in plan.ablation.seeds:
            totals = {cell: ends[cell][seed].seconds for cell in cells if seed in ends[cell]}
            known_totals = [total for total in totals.values() if total is not None]
            for cell in totals if len(known_totals) == len(totals) else ():
                history = histories[cell][seed]
                reached = history.within(min(known_totals))
                if reached is not None:
                    measured_by_cell[cell][seed] = _measured(runs[cell], history, reached[1], reached[0])
    return measured_by_cell


def _inputs(metric: str, histories: Histories) -> dict[str, float]:
    """A metric of the degraded images by dataset, and its mean; empty if they are not measured, or not the same."""
    measured = [
        {dataset: metrics[metric] for dataset, metrics in history.inputs.items() if metric in metrics}
        for by_seed in histories.values() for history in by_seed.values()
    ]  # fmt: skip
    if not measured[0] or any(values != measured[0] for values in measured):
        return {}
    mean = {MEAN: sum(measured[0].values()) / len(measured[0])} if len(measured[0]) > 1 else {}
    return measured[0] | mean


def _rows(
    plan: Plan, metric: str, view: Mapping[str, Mapping[int, _Measured]], costs: Mapping[str, Cost | None]
) -> tuple[Row, ...]:
    values = {cell: _columns(metric, by_seed) for cell, by_seed in view.items()}
    rows = []
    for cell in plan.ablation.cells:
        if not values.get(cell.name):
            continue
        reference = plan.ablation.reference_of(cell)
        measured = view[cell.name].values()
        times = [item.seconds for item in measured if item.seconds is not None]
        compared = {
            name: paired(by_seed, values.get(reference or "", {}).get(name, {}))
            for name, by_seed in values[cell.name].items()
        }
        rows.append(
            Row(
                cell.name,
                reference,
                {name: interval(list(by_seed.values())) for name, by_seed in values[cell.name].items()},
                {name: difference for name, difference in compared.items() if difference is not None},
                values[cell.name],
                sum(item.iterations for item in measured) / len(measured),
                sum(item.samples for item in measured) / len(measured),
                sum(times) / len(times) if times else None,
                costs.get(cell.name),
            )
        )
    return tuple(rows)


def _columns(metric: str, by_seed: Mapping[int, _Measured]) -> dict[str, dict[int, float]]:
    """A metric by dataset and seed, and for each seed its mean over the datasets."""
    columns: dict[str, dict[int, float]] = {}
    for seed, measured in sorted(by_seed.items()):
        values = {name: metrics[metric] for name, metrics in measured.results.items() if metric in metrics}
        if len(values) > 1:
            values[MEAN] = sum(values.values()) / len(values)
        for name, value in values.items():
            columns.setdefault(name, {})[seed] = value
    return columns


def as_json(plan: Plan, tables: Sequence[Table], unfinished: Sequence[str]) -> str:
    """The full content of the tables, with each seed's value."""
    ablation = plan.ablation
    content = {
        "name": ablation.name,
        "file": str(ablation.file),
        "seeds": list(ablation.seeds),
        "reference": dict(ablation.reference or {}),
        "unfinished": list(unfinished),
        "tables": [asdict(table) for table in tables],
    }
    return json.dumps(content, indent=2)


_TITLES = {
    "end": "after all iterations",
    "equal_time": "at equal training time",
}
_NOTES = {
    "end": "Each run is measured once, after its last iteration.",
    "equal_time": (
        "For each seed the time limit is the training time of the fastest of the compared cells; each cell counts "
        "with its last validation within the limit. Training time is that of the iterations; it includes waiting for "
        "data, but not start, validation and checkpoints. A slower cell is measured before the end of its "
        "learning-rate schedule. The times are valid for this machine and this `--jobs`."
    ),
}


def as_markdown(plan: Plan, tables: Sequence[Table], unfinished: Sequence[str]) -> str:
    """The tables as a Markdown page."""
    ablation = plan.ablation
    lines = [
        f"# {ablation.name}", "",
        f"{len(ablation.cells)} cell{'s' * (len(ablation.cells) != 1)}, seed{'s' * (len(ablation.seeds) != 1)} "
        f"{', '.join(map(str, ablation.seeds))}; from `{ablation.file.name}`. "
        "Mean ± half of the 95 % interval (Student's t over the seeds). Differences are computed seed by seed; bold "
        "means that the interval does not contain 0 (there is no correction for the number of comparisons).", "",
    ]  # fmt: skip
    if ablation.is_smoke_test:
        lines += ["**A smoke test: with so few iterations the numbers say only that every cell runs.**", ""]
    if any(row.cost for table in tables for row in table.rows):
        size = f"{TIMED_SIDE}×{TIMED_SIDE}"
        lines += [
            f"CPU s per MP: processor seconds of one core of this machine for a megapixel, by {size}.",
            "",
        ]
    if unfinished:
        lines += [f"**Not finished and not counted:** {', '.join(unfinished)}.", ""]
    ends = [table for table in tables if table.at == "end"]
    if len(ends) > 1:
        better = "; ".join(f"{table.metric}: {table.better} is better" for table in ends)
        lines += [f"## All metrics, {_TITLES['end']}", "", f"Means over the data sets. {better}.", ""]
        lines += [*_lines(_overview_rows(ends)), ""]
    for table in tables:
        lines += [f"## {table.metric}, {_TITLES[table.at]}", ""]
        note = _NOTES[table.at]
        if table.at == "equal_time" and ablation.test is not None:
            note += " Measured on the validation sets."
        lines += [f"{table.description}; {table.better} is better. {note}", ""]
        lines += [*_lines(_result_rows(table)), ""]
        if any(row.differences for row in table.rows):
            lines += [*_lines(_difference_rows(table)), ""]
    return "\n".join(lines)


def _overview_rows(tables: Sequence[Table]) -> list[list[str]]:
    """One row for each cell with all metrics, each as the mean over the data sets, and the costs."""
    costs = _cost_titles(tables[0])
    rows = [["cell", "seeds", *(table.metric for table in tables), *costs, "iterations", "samples", "training s"]]
    by_cell = [{row.cell: row for row in table.rows} for table in tables]
    for row in tables[0].rows:
        shown = []
        for table, own in zip(tables, by_cell, strict=True):
            results = own[row.cell].results if row.cell in own else {}
            shown.append(_number(results.get(table.columns[-1]), digits_of(table)))
        rows.append([row.cell, _seeds(row), *shown, *_cells_behind(row, bool(costs))])
    return rows


def _cost_titles(table: Table) -> list[str]:
    return ["parameters", f"MACs ({SIDE}×{SIDE})", "CPU s per MP"] if any(row.cost for row in table.rows) else []


def _seeds(row: Row) -> str:
    return str(max(result.count for result in row.results.values()))


def _cells_behind(row: Row, with_costs: bool) -> list[str]:
    """The costs, iterations, samples and seconds of a cell."""
    time = "" if row.seconds is None else _seconds(row.seconds)
    return [*(_cost_cells(row.cost) if with_costs else []), f"{row.iterations:.0f}", f"{row.samples:.0f}", time]


def _result_rows(table: Table) -> list[list[str]]:
    digits = digits_of(table)
    costs = _cost_titles(table)
    rows = [["cell", "seeds", *table.columns, *costs, "iterations", "samples", "training s"]]
    if table.inputs:
        values = ["" if name not in table.inputs else f"{table.inputs[name]:.{digits}f}" for name in table.columns]
        rows.append(["degraded input", "", *values, *("" for _ in costs), "", "", ""])
    for row in table.rows:
        shown = [_number(row.results.get(name), digits) for name in table.columns]
        rows.append([row.cell, _seeds(row), *shown, *_cells_behind(row, bool(costs))])
    return rows


def _seconds(value: float) -> str:
    return f"{value:.3g}" if value < 100 else f"{value:.0f}"


def _cost_cells(cost: Cost | None) -> list[str]:
    if cost is None:
        return ["", "", ""]
    seconds = cost.seconds_per_megapixel
    return [
        f"{cost.parameters:,d}",
        "" if cost.macs is None else f"{cost.macs / 1e9:.3g} G",
        "" if seconds is None else _seconds(seconds),
    ]


def _difference_rows(table: Table) -> list[list[str]]:
    digits = digits_of(table)
    rows = [["difference", "seeds", *table.columns]]
    for row in table.rows:
        if row.differences:
            shown = [_number(row.differences.get(name), digits, signed=True) for name in table.columns]
            seeds = max(interval_.count for interval_ in row.differences.values())
            rows.append([f"{row.cell} minus {row.reference}", str(seeds), *shown])
    return rows


def digits_of(table: Table) -> int:
    """Decimals: four for what is about 1, such as SSIM, three for decibels."""
    largest = max(abs(result.mean) for row in table.rows for result in row.results.values())
    return 4 if largest < 2 else 3


def _number(value: Interval | None, digits: int, signed: bool = False) -> str:
    if value is None:
        return ""
    text = value.text(digits, signed)
    return f"**{text}**" if signed and value.is_apart_from_zero else text


def _lines(rows: Sequence[Sequence[str]]) -> list[str]:
    head, *rest = rows
    return ["| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *rest]]
