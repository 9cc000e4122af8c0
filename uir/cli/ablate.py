"""The command `uir ablate`. Large packages are imported only when the command needs them."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from uir.cli.arguments import ForceArgument, JsonArgument


def ablate(
    file: Annotated[Path, typer.Argument(help="Ablation file (YAML).")],
    jobs: Annotated[int, typer.Option("--jobs", min=1, help="Runs at the same time; they share the cores.")] = 1,
    dry_run: Annotated[
        bool, typer.Option("--dry_run", help="List the runs and check their option files; start and write nothing.")
    ] = False,
    smoke: Annotated[
        bool,
        typer.Option("--smoke", help="See that every cell runs: 2 iterations a stage, 1 seed, as <name>_smoke."),
    ] = False,
    cell: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option("--cell", help="Train only this cell, by the name that --dry_run shows; may be repeated."),
    ] = None,
    seed: Annotated[
        Optional[list[int]],  # noqa: UP045
        typer.Option("--seed", help="Train only this seed of the file; may be repeated, so that machines can share."),
    ] = None,
    force_yml: ForceArgument = None,
    root: Annotated[Optional[Path], typer.Option("--root", help="Folder where relative paths start.")] = None,  # noqa: UP045
    as_json: JsonArgument = False,
) -> int:
    """Train a grid of options with several seeds, and compare.

    Tables and charts go to experiments/ablation/<name>. The same command continues the work: finished runs are
    skipped, interrupted runs are resumed.

    \b
    Example: uir ablate options/ablation/dcpt_controls.yml --jobs 2
    """
    from uir.ablation.grid import read_ablation
    from uir.ablation.report import write_report
    from uir.ablation.runner import train_runs
    from uir.ablation.runs import plan_runs, smoke_test_of
    from uir.config.options import find_root

    def print_line(text: str) -> None:
        print(text, file=sys.stderr if as_json else sys.stdout, flush=True)

    ablation = read_ablation(file)
    if smoke:
        ablation = smoke_test_of(ablation)
    plan = plan_runs(ablation, root.resolve() if root else find_root(ablation.file), force_yml or ())
    chosen = plan.only(cell or (), seed or ())
    if dry_run:
        _list(chosen, as_json)
        return 0
    try:
        failures = train_runs(chosen, jobs, print_line, show_bar=not as_json)
    except KeyboardInterrupt:
        write_report(plan, print_line)
        raise
    report = write_report(plan, print_line)
    if as_json:
        print(report.json if report else json.dumps({"name": ablation.name, "tables": []}))
    elif report:
        print(report.markdown)
    for path in report.files if report else ():
        print_line(f"written: {path}")
    for failure in failures:
        print_line(f"FAILED {failure}")
    return 1 if failures else 0


def _list(plan: Any, as_json: bool) -> None:
    """Print which runs would be trained."""
    rows = [
        {
            "cell": run.cell,
            "seed": run.seed,
            "iterations": run.iterations,
            "state": "finished" if run.is_finished() else "to resume" if run.has_begun() else "to start",
            "folder": str(run.folder),
        }
        for run in plan.runs
    ]
    if as_json:
        print(json.dumps(rows, indent=2))
        return
    for row in rows:
        print(f"{row['cell']} seed {row['seed']}: {row['iterations']:,d} iterations, {row['state']}, {row['folder']}")
    for line in plan.absent:
        print(f"warning: {line}")
    print(f"{len(rows)} run{'s' * (len(rows) != 1)}; every option file is valid")
