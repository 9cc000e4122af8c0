"""A page with a small model, served to the tests of a module."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from small_release import small_release

from uir import Restorer
from uir.core.images import encode_pages, read_image

COFFEE = Path(__file__).resolve().parents[2] / "datasets" / "demo" / "test" / "coffee.png"


@pytest.fixture(scope="session")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a small released model with a classifier."""
    return small_release(tmp_path_factory.mktemp("release") / "small.safetensors")


@pytest.fixture(scope="session")
def restorer(release: Path) -> Restorer:
    """The small model."""
    return Restorer.from_pretrained(release, device="cpu")


@pytest.fixture(scope="session")
def photograph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A PNG of 16 bits, 72×88 pixels."""
    pixels = read_image(COFFEE)[100:172, 200:288].astype(np.uint16) * 257 + 3
    file = tmp_path_factory.mktemp("photograph") / "a cup.png"
    file.write_bytes(encode_pages(file, [pixels]))
    return file


@pytest.fixture(scope="module")
def page(restorer: Restorer) -> Iterator[str]:
    """The address of a page that takes files of up to 1 MB and images of up to 100,000 pixels."""
    pytest.importorskip("gradio")
    from uir.app.serving import serving

    with serving({"small": restorer, "tiled": restorer.with_tile(48)}, max_upload=1, max_pixels=100_000) as address:
        yield address
