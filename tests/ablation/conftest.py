"""A small ablation: two cells of four iterations, on crops of photographs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

ABLATION = {
    "name": "small",
    "base": "base.yml",
    "grid": {"width": {"narrow": None, "wide": {"network_g": {"width": 8}}}},
    "seeds": [1, 2],
    "reference": "narrow",
}
BASE = {
    "name": "base",
    "train.total_iter": 4,
    "train.scheduler": None,
    "val.val_freq": 2,
    "logger.save_checkpoint_freq": 2,
}


@pytest.fixture
def write_ablation(write_options: Callable[..., Path]) -> Callable[..., Path]:
    """Writes a base file and an ablation file beside it, each with changes; returns the ablation file."""

    def write(changes: dict[str, Any] | None = None, base: dict[str, Any] | None = None) -> Path:
        folder = write_options({**BASE, **(base or {})}, "base.yml").parent
        content = {key: value for key, value in {**ABLATION, **(changes or {})}.items() if value is not None}
        file = folder / "ablation.yml"
        file.write_text(yaml.safe_dump(content, sort_keys=False))
        return file

    return write
