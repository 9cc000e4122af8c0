"""A plug-in of pytest: writes how many seconds each passed test took, for the mutation run."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

_SECONDS: dict[str, float] = {}


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Adds up set-up, call and tear-down; a skipped test has no call."""
    if report.passed and (report.when == "call" or report.nodeid in _SECONDS):
        _SECONDS[report.nodeid] = _SECONDS.get(report.nodeid, 0.0) + report.duration


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Writes the file; of several processes, the one that controls them."""
    if "UIR_SECONDS" in os.environ and not hasattr(session.config, "workerinput"):
        Path(os.environ["UIR_SECONDS"]).write_text(json.dumps(_SECONDS), encoding="utf-8")
