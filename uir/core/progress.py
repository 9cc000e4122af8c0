"""Output to the terminal: one console, one kind of progress bar."""

from __future__ import annotations

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

console = Console()


class _Speed(ProgressColumn):
    """Items per second."""

    def __init__(self, per_step: int, unit: str) -> None:
        super().__init__()
        self.per_step, self.unit = per_step, unit

    def render(self, task: Task) -> Text:
        """The text of the column."""
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed * self.per_step:.1f} {self.unit}/s")


def progress_bar(per_step: int = 1, unit: str = "images", visible: bool = True) -> Progress:
    """A progress bar with speed and remaining time; silent if the output is not a terminal."""
    return Progress(
        TextColumn("{task.description}"), BarColumn(bar_width=24), MofNCompleteColumn(), _Speed(per_step, unit),
        TimeRemainingColumn(), TextColumn("{task.fields[note]}"),
        console=console, refresh_per_second=4, disable=not (visible and console.is_terminal), transient=True,
    )  # fmt: skip
