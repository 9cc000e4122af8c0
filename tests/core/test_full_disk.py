"""A disk that takes no more: the file is named, and nothing half-written stays behind."""

from __future__ import annotations

import errno
import io
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from uir.core.checkpoint import write_checkpoint
from uir.core.files import append_text, write_text
from uir.core.images import write_image
from uir.engine.logs import start_logging, stop_logging
from uir.engine.state import write_state

resource: Any = pytest.importorskip("resource", reason="this system cannot limit the size of files")


@contextmanager
def full_disk() -> Iterator[None]:
    """This process can write no file of more than 300 bytes; pytest, whose output may be a file, must not be inside."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


WRITERS: dict[str, Callable[[Path], None]] = {
    "x.pth": lambda path: write_checkpoint(path, {"params": {"weight": torch.zeros(10**5)}}, {"scale": 1}),
    "3.state": lambda path: write_state(path, 3, 1, {"optimizers": [torch.zeros(10**5)]}, {}),
    "x.json": lambda path: write_text(path, "x" * 10**5),
    "x.png": lambda path: write_image(path, np.random.default_rng(0).random((64, 64, 3), np.float32)),
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_file_that_cannot_be_finished_is_named_and_removed(tmp_path: Path, name: str) -> None:
    with pytest.raises(OSError, match=name) as caught, full_disk():
        WRITERS[name](tmp_path / name)
    assert (caught.value.errno, caught.value.filename) == (errno.EFBIG, str(tmp_path / name))
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_cannot_grow_is_named(tmp_path: Path) -> None:
    append_text(tmp_path / "metrics.jsonl", "x" * 200)
    with pytest.raises(OSError, match=r"metrics\.jsonl"), full_disk():
        append_text(tmp_path / "metrics.jsonl", "x" * 200)


def test_a_log_file_that_cannot_grow_stops_the_run_without_a_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    screen = io.StringIO()
    monkeypatch.setattr("sys.stderr", screen)
    start_logging(tmp_path / "train.log")
    with pytest.raises(OSError, match=r"train\.log"), full_disk():
        logging.getLogger("uir").info("x" * 400)
    stop_logging()
    assert "Traceback" not in screen.getvalue()
