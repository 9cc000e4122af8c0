"""An observer of a user's own sees every validation, and leaves a file behind."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from uir.config.options import OptionError, load_options
from uir.engine.testing import test as run_test
from uir.engine.train_loop import train

OBSERVER = '''
"""Notes the brightest pixel of every restored image."""
import json
from uir.metrics.observers import ValidationObserver
from uir.registry import OBSERVERS

if "Brightest" not in OBSERVERS:
    @OBSERVERS.register()
    class Brightest(ValidationObserver):
        """Writes brightest_<iteration>.json."""

        def __init__(self, digits: int = 3) -> None:
            self.digits, self.seen = digits, []

        def watch(self, dataset, iteration):
            return lambda batch, restored: self.seen.append(round(float(restored.max()), self.digits))

        def measure(self, model, iteration, folder):
            return {"brightest": {"count": float(len(self.seen))}}

        def finish(self, folder, iteration, found, best=None):
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"brightest_{iteration}.json").write_text(json.dumps(self.seen))
            self.seen = []
'''


def changed(file: Path) -> Path:
    (file.parent / "brightest.py").write_text(OBSERVER)
    return file


CHANGES: dict[str, Any] = {
    "plugins": ["./small_net.py", "./brightest.py"],
    "val.observers": {"mine": {"type": "Brightest", "digits": 2}},
}


def test_it_watches_a_training_and_its_numbers_are_logged(write_options: Callable[..., Path]) -> None:
    folder = train(load_options(changed(write_options(CHANGES))))
    for iteration in (3, 6):
        assert len(json.loads((folder / "visualization" / f"brightest_{iteration}.json").read_text())) == 6
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [row["metrics"]["count"] for row in rows if row.get("dataset") == "brightest"] == [6.0, 6.0]


def test_it_watches_a_test(write_options: Callable[..., Path]) -> None:
    file = changed(write_options({**CHANGES, "datasets.train": None, "train": None}))
    loaded = load_options(file, is_train=False)
    run_test(loaded, quiet=True)
    assert len(json.loads((loaded.run_dir / "visualization" / "brightest_small.json").read_text())) == 6


@pytest.mark.parametrize(
    ("observer", "message"),
    [
        ({"type": "Brightes"}, "val.observers.mine.type: no observer is called 'Brightes'; nearest: Brightest"),
        ({"type": "Brightest", "digit": 2}, "val.observers.mine.digit is not an argument of Brightest; did you mean"),
    ],
)
def test_a_mistake_is_told_with_its_place(
    write_options: Callable[..., Path], observer: dict[str, Any], message: str
) -> None:
    with pytest.raises(OptionError, match=message):
        load_options(changed(write_options({**CHANGES, "val.observers": {"mine": observer}})))
