"""Which tests run which lines, measured once: a mutant needs only the tests that run its line."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

AT_IMPORT = 300


def measure(root: Path, folder: Path, jobs: int) -> None:
    """Runs the whole suite once under coverage.py.

    Args:
        root: The repository; its tests are run there.
        folder: Where `coverage.db` and `seconds.json` (how long each test takes) are written.
        jobs: Processes.

    Raises:
        RuntimeError: A test fails without any mutant.
    """
    folder.mkdir(parents=True, exist_ok=True)
    settings = folder / "coverage.ini"
    settings.write_text("[run]\nsource = uir\n")
    environment = dict(os.environ, COVERAGE_FILE=str(folder / "coverage.db"), UIR_SECONDS=str(folder / "seconds.json"))
    environment["PYTHONPATH"] = os.pathsep.join([str(root), str(root / "tests"), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-m", "pytest", "-q", "-n", str(jobs), "-p", "mutation.recording"]
    command += ["--cov", "--cov-context=test", f"--cov-config={settings}", "--cov-report="]
    if subprocess.run(command, cwd=root, env=environment, check=False).returncode:
        raise RuntimeError("tests fail without any mutant: see above; a mutation run needs a green suite")


def statement_lines(source: str, first: int, last: int) -> range:
    """The lines of the smallest statement around a change; of a compound one (`if`, `for`, …) only its head."""
    best = range(first, last + 1)
    smallest = None
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.stmt) or not (node.lineno <= first and (node.end_lineno or node.lineno) >= last):
            continue
        body = getattr(node, "body", None)
        end = max(body[0].lineno - 1, node.lineno) if body else node.end_lineno or node.lineno
        lines = range(node.lineno, end + 1)
        if lines.stop > last and (smallest is None or len(lines) <= smallest):
            smallest, best = len(lines), lines
    return best


class Covering:
    """What `measure` found, to be asked for the tests of a mutant."""

    def __init__(self, root: Path, folder: Path) -> None:
        from coverage import CoverageData

        self.root = root
        self.data = CoverageData(basename=str(folder / "coverage.db"))
        self.data.read()
        self.seconds: dict[str, float] = json.loads((folder / "seconds.json").read_text(encoding="utf-8"))
        self.files = {
            Path(name).resolve().relative_to(root.resolve()).as_posix(): name for name in self.data.measured_files()
        }

    def tests(self, file: str, first: int, last: int) -> list[str]:
        """The tests that run these lines of a file, those of the file's own test folder first, quick ones first.

        A line that runs while a module is imported belongs to no test: then those that run any line of the file, and of
        other folders only as many as `AT_IMPORT`.
        """
        if file not in self.files:
            return []
        by_line = self.data.contexts_by_lineno(self.files[file])
        lines = statement_lines((self.root / file).read_text(encoding="utf-8"), first, last)
        names = self._names(context for line in lines for context in by_line.get(line, ()))
        at_import = not names
        if at_import:
            names = self._names(context for contexts in by_line.values() for context in contexts)
        own = "tests/" + file.split("/")[1] + "/"
        seconds = self.seconds
        ordered = sorted(names, key=lambda name: (not name.startswith(own), seconds[name] > 0.5, seconds[name], name))
        count = sum(name.startswith(own) for name in ordered) + AT_IMPORT
        return ordered[:count] if at_import else ordered

    def _names(self, contexts: object) -> set[str]:
        names = {str(context).rsplit("|", 1)[0] for context in contexts}  # type: ignore[attr-defined]
        return {name for name in names if name in self.seconds}
