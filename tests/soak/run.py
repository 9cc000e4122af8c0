"""The long checks: `make soak`. They provoke what no short test meets; under an hour on two cores.

With `tests` on PYTHONPATH, `python -m soak.run` runs all of them, `python -m soak.run killed_runs` one. Each writes its
finding into `experiments/soak`; `--write` puts the table of all findings there into `docs/trust.md`. The exit code is 1
if a promise was broken.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from soak.damaged_images import check_damaged_images
from soak.hostile_files import check_hostile_files
from soak.killed_rank import check_killed_rank
from soak.killed_runs import check_killed_runs
from soak.killed_writer import check_killed_writer
from soak.promises import Finding, timed
from soak.random_options import check_random_options, check_random_records
from soak.same_seed import check_same_seed
from soak.steady_use import check_steady_use

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "trust.md"
BEGIN, END = "<!-- table of the long checks -->", "<!-- end of the table -->"


@dataclass(frozen=True)
class Check:
    """A check, and how often it provokes in `make soak` and in `make test`."""

    run: Callable[[Path, int], Finding]
    long: int
    short: int


CHECKS: Mapping[str, Check] = {
    "killed_runs": Check(check_killed_runs, 50, 6),
    "killed_rank": Check(check_killed_rank, 3, 1),
    "killed_writer": Check(check_killed_writer, 20, 1),
    "same_seed": Check(check_same_seed, 2, 1),
    "damaged_images": Check(check_damaged_images, 10_000, 150),
    "random_options": Check(check_random_options, 2_000, 60),
    "random_records": Check(check_random_records, 2_000, 60),
    "hostile_files": Check(check_hostile_files, 2_000, 50),
    "steady_use": Check(check_steady_use, 1_200, 1),
}


def table(findings: Mapping[str, Finding]) -> str:
    """The findings as Markdown, a row each."""
    rows = ["| promise | provoked by | figure | kept | check, seconds |", "|---|---|---|---|---|"]
    for name, finding in findings.items():
        kept = "yes" if finding.holds else f"**no, {len(finding.failures)} times**"
        rows.append(
            f"| {finding.promise} | {finding.provoked} | {finding.figure} | {kept} | `{name}`, {finding.seconds:.0f} |"
        )
    return "\n".join(rows)


def with_table(page: str, content: str) -> str:
    """The page with its table replaced."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{content}\n{END}{after}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the chosen checks and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help=f"which: {', '.join(CHECKS)}; default all")
    parser.add_argument("--write", action="store_true", help="put the table into docs/trust.md")
    chosen = parser.parse_args(arguments)
    unknown = sorted(set(chosen.names) - CHECKS.keys())
    if unknown:
        parser.error(f"there is no check {', '.join(unknown)}; there are {', '.join(CHECKS)}")
    results = ROOT / "experiments" / "soak"
    results.mkdir(parents=True, exist_ok=True)
    for name in chosen.names or CHECKS:
        with tempfile.TemporaryDirectory(prefix="uir_soak_") as folder:
            finding = timed(CHECKS[name].run, Path(folder), CHECKS[name].long)
        (results / f"{name}.json").write_text(json.dumps(asdict(finding), indent=2), encoding="utf-8")
        verdict = "kept" if finding.holds else "BROKEN"
        print(f"{name}: {verdict}; {finding.figure} ({finding.seconds:.0f} s)", flush=True)
        for failure in finding.failures:
            print(f"  {failure}")
    files = {name: results / f"{name}.json" for name in CHECKS}
    texts = {name: file.read_text(encoding="utf-8") for name, file in files.items() if file.exists()}
    findings = {name: Finding(**json.loads(text)) for name, text in texts.items()}
    print("\n" + table(findings))
    if chosen.write:
        PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8"), table(findings)), encoding="utf-8")
    return 0 if all(findings[name].holds for name in chosen.names or CHECKS) else 1


if __name__ == "__main__":
    sys.exit(main())
