"""Changes the package in 200 small ways and counts how many of them the tests notice: `make mutate`.

Three steps, each of which can be repeated after an interruption:

1. `measure`: run the suite once and note which test runs which line (about twice the time of `make test`).
2. `run`: for every chosen mutant, in a copy of the repository, the tests that run its line, until the first fails.
3. `report`: the table; survivors must stand in `survivors.yml` with the reason why they do no harm.

`python -m mutation.mutate --jobs 2`, with `tests` on PYTHONPATH, does all three.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import yaml
from mutation.covering import Covering, measure
from mutation.mutants import PACKAGES, Mutant, choose, source_files

ROOT = Path(__file__).resolve().parents[2]
REASONS = Path(__file__).with_name("survivors.yml")
FIRST_TESTS = 40  # run before the others: most mutants fall here, and a start of pytest costs less than all tests
SPARE_S = 60.0


def copy_of(root: Path, target: Path) -> Path:
    """A copy of the files that git follows or would follow, with the shared folder beside it."""
    if target.parent.exists():
        shutil.rmtree(target.parent)
    target.mkdir(parents=True)
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=root, check=True, capture_output=True).stdout.decode().split("\0")
    for name in filter(None, names):
        if (root / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(root / name, target / name)
    shared = root.parent / "shared"
    if shared.exists():
        (target.parent / "shared").symlink_to(shared.resolve())
    return target


def fails(root: Path, tests: list[str], seconds: float) -> str | None:
    """Runs these tests in a copy until one fails; what failed, or None if all pass."""
    listed = root.parent / "tests.txt"
    listed.write_text("\n".join(tests), encoding="utf-8")
    environment = dict(os.environ, PYTHONPATH=str(root), PYTHONDONTWRITEBYTECODE="1")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-x",
        "-q",
        "-n",
        "0",
        "-p",
        "no:cacheprovider",
        "--no-header",
        "--tb=no",
    ]
    process = subprocess.Popen(
        [*command, f"@{listed}"], cwd=root, env=environment, text=True, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    try:
        output, _ = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)  # with the processes that the tests started
        process.communicate()
        return f"no end after {seconds:.0f} s"
    if process.returncode == 0:
        return None
    lines = [line for line in output.splitlines() if line.startswith(("FAILED", "ERROR"))]
    return (lines or output.splitlines()[-1:] or ["no output"])[0]


def judge(mutant: Mutant, root: Path, covering: Covering) -> dict[str, Any]:
    """Puts the mutant into the copy, runs its tests and takes it out again."""
    began = time.monotonic()
    tests = covering.tests(mutant.file, mutant.first, mutant.last)
    path = root / mutant.file
    original = path.read_text(encoding="utf-8")
    killed_by = None
    try:
        path.write_text(mutant.mutated(root), encoding="utf-8")
        for part in (tests[:FIRST_TESTS], tests[FIRST_TESTS:]):
            if part and killed_by is None:
                killed_by = fails(root, part, SPARE_S + 4 * sum(covering.seconds[name] for name in part))
    finally:
        path.write_text(original, encoding="utf-8")
    return {
        "mutant": mutant.key(),
        "tests": len(tests),
        "killed_by": killed_by,
        "seconds": round(time.monotonic() - began, 1),
    }


def run(mutants: list[Mutant], folder: Path, jobs: int) -> None:
    """Judges all mutants that have no result yet; results are appended to `results.jsonl`, one line each."""
    results = folder / "results.jsonl"
    known = {row["mutant"] for row in rows_of(folder)}
    waiting = [mutant for mutant in mutants if mutant.key() not in known]
    lock = threading.Lock()
    covering = Covering(ROOT, folder)

    def work(index: int) -> None:
        root = copy_of(ROOT, folder / f"copy{index}" / "uir")
        while True:
            with lock:
                if not waiting:
                    return
                mutant = waiting.pop(0)
            row = judge(mutant, root, covering)
            with lock, results.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
                verdict = "killed" if row["killed_by"] else "SURVIVED"
                print(f"{len(waiting):4d} left  {verdict:8s} {row['seconds']:6.1f} s  {row['mutant']}", flush=True)

    threads = [threading.Thread(target=work, args=(index,)) for index in range(jobs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def rows_of(folder: Path) -> list[dict[str, Any]]:
    """The results so far."""
    path = folder / "results.jsonl"
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def report(mutants: list[Mutant], folder: Path) -> int:
    """Prints the table and the survivors; returns how many survivors have no stated reason."""
    by_key = {row["mutant"]: row for row in rows_of(folder)}
    reasons: dict[str, str] = yaml.safe_load(REASONS.read_text(encoding="utf-8")) or {}
    total, killed = Counter(), Counter()
    survivors: list[str] = []
    for mutant in mutants:
        package = mutant.file.split("/")[1]
        row = by_key.get(mutant.key())
        if row is None:
            continue
        total[package] += 1
        if row["killed_by"]:
            killed[package] += 1
        else:
            survivors.append(mutant.key())
    print("\n| package | mutants | killed | share |\n|---|---|---|---|")
    for package in [*PACKAGES, "all"]:
        count, dead = (
            (sum(total.values()), sum(killed.values())) if package == "all" else (total[package], killed[package])
        )
        print(f"| {package} | {count} | {dead} | {dead / max(count, 1):.0%} |")
    print("\nSurvivors:")
    for key in survivors:
        print(f"- {key}\n  {reasons.get(key, 'NO REASON IS GIVEN in survivors.yml')}")
    return sum(key not in reasons for key in survivors)


def main() -> int:
    """Measures, runs and reports; the exit code is 1 where a survivor has no reason."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", nargs="?", default="all", choices=["all", "measure", "list", "run", "report"])
    parser.add_argument("--count", type=int, default=200, help="how many mutants")
    parser.add_argument("--seed", type=int, default=0, help="which ones")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--folder", type=Path, default=ROOT / "experiments" / "mutation", help="where the results lie")
    chosen = parser.parse_args()
    if chosen.step == "measure" or (chosen.step == "all" and not (chosen.folder / "seconds.json").exists()):
        measure(ROOT, chosen.folder, chosen.jobs)
    if chosen.step == "measure":
        return 0
    mutants = choose(ROOT, source_files(ROOT), chosen.count, chosen.seed)
    if chosen.step == "list":
        print("\n".join(mutant.key() for mutant in mutants))
        return 0
    if chosen.step in ("all", "run"):
        run(mutants, chosen.folder, chosen.jobs)
    return 1 if report(mutants, chosen.folder) else 0


if __name__ == "__main__":
    sys.exit(main())
