"""What many tests share: small real photographs, and option files made of them."""

from __future__ import annotations

import logging
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from small_options import SMALL_NET, sr_options, with_changes, write_pairs

from uir import compat

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"
# Networks as small as the tests' are slower with more, and several processes share the cores; a subprocess inherits it.
os.environ.setdefault("OMP_NUM_THREADS", "1")
torch.set_num_threads(1)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Every test starts from the same random state, whatever ran before it in its process."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _quiet_log() -> Iterator[None]:
    """Runs send the log `uir` to their own files; afterwards it is as it was."""
    logger = logging.getLogger("uir")
    kept = list(logger.handlers), logger.propagate, logger.level
    yield
    for handler in [h for h in logger.handlers if h not in kept[0]]:
        logger.removeHandler(handler)
        handler.close()
    logger.propagate, logger.level = kept[1], kept[2]


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of fixtures and real images that lies beside a developer's checkout."""
    if not SHARED.is_dir():
        pytest.skip("the folder ../shared with fixtures and test images is absent")
    return SHARED


@pytest.fixture
def basicsr() -> Any:
    """The package basicsr with all that it imports, as the reference; skips where it is not installed."""
    compat.prepare()
    return pytest.importorskip("basicsr", reason="basicsr is not installed")


@pytest.fixture(scope="session")
def photographs() -> list[Path]:
    """The photographs of datasets/demo."""
    return sorted(p for p in (ROOT / "datasets" / "demo").rglob("*") if p.suffix in (".png", ".jpg"))


@pytest.fixture(scope="session")
def pair_folders(photographs: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with gt (64×72 crops of photographs) and lq (the same at half size)."""
    folder = tmp_path_factory.mktemp("pairs")
    write_pairs(folder, photographs)
    return folder


@pytest.fixture
def write_options(tmp_path: Path, pair_folders: Path) -> Callable[..., Path]:
    """Writes the small option file with changes given as `dotted.key=value` pairs (None deletes); returns its path."""

    def write(changes: dict[str, Any] | None = None, name: str = "run.yml") -> Path:
        options = with_changes(sr_options(pair_folders), changes or {})
        folder = tmp_path / "project" / "options"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "small_net.py").write_text(SMALL_NET)
        file = folder / name
        file.write_text(yaml.safe_dump(options, sort_keys=False))
        return file

    return write
