"""The speed beside a progress bar."""

from __future__ import annotations

import pytest
from rich.progress import Task

from uir.core.progress import _Speed


@pytest.mark.parametrize(
    ("running", "finished", "text"), [(None, None, ""), (2.5, None, "10.0 images/s"), (2.5, 3.0, "12.0 images/s")]
)
def test_the_speed_is_that_of_items_not_of_steps(
    monkeypatch: pytest.MonkeyPatch, running: float | None, finished: float | None, text: str
) -> None:
    monkeypatch.setattr(Task, "speed", running)
    task = Task(0, "x", 10, 5, _get_time=lambda: 0.0, finished_speed=finished)  # type: ignore[call-arg, arg-type]
    assert _Speed(4, "images").render(task).plain == text
