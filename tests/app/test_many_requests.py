"""Many visitors at once: every request has its own result or is refused, and files and memory do not pile up."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from app_client import Client, RefusedError

from uir import Restorer
from uir.core.images import decode_image, encode_pages

pytestmark = pytest.mark.slow
VISITORS = 50


@contextmanager
def served(restorer: Restorer, **limits: float) -> Iterator[str]:
    pytest.importorskip("gradio")
    from uir.app.serving import serving

    with serving(restorer, **limits) as address:
        yield address


def photograph_of(visitor: int) -> np.ndarray:
    """A photograph that no other visitor has."""
    return np.random.default_rng(visitor).integers(0, 65535, (24 + visitor % 7, 32, 3), np.uint16)


def visit(address: str, visitor: int) -> np.ndarray | str:
    """The pixels that a visitor gets, or why the page refused. All files have the same name."""
    client = Client(address)
    try:
        content = encode_pages(Path("photo.png"), [photograph_of(visitor)])
        return decode_image(client.restore(client.upload("photo.png", content), "model").content, "download")
    except RefusedError as error:
        return str(error)
    finally:
        client.http.close()


def visits(address: str) -> list[np.ndarray | str]:
    with ThreadPoolExecutor(VISITORS) as pool:
        return list(pool.map(lambda visitor: visit(address, visitor), range(VISITORS)))


def test_of_fifty_requests_none_is_lost_or_gets_the_result_of_another(restorer: Restorer) -> None:
    with served(restorer, queue=VISITORS) as address:
        results = visits(address)
    for visitor, result in enumerate(results):
        assert not isinstance(result, str), result
        assert np.array_equal(result, restorer(photograph_of(visitor)))


def test_a_full_queue_refuses_the_others(restorer: Restorer) -> None:
    with served(restorer, queue=3) as address:
        results = visits(address)
    refused = [result for result in results if isinstance(result, str)]
    assert 0 < len(refused) < VISITORS - 3
    assert all("503" in reason and "Queue is full" in reason for reason in refused)
    for visitor, result in enumerate(results):
        assert isinstance(result, str) or np.array_equal(result, restorer(photograph_of(visitor)))


def test_files_are_removed_after_a_while_and_all_at_the_end(restorer: Restorer) -> None:
    before = os.environ.get("GRADIO_TEMP_DIR")
    with served(restorer, keep=4) as address:
        folder = Path(os.environ["GRADIO_TEMP_DIR"])
        assert not isinstance(visit(address, 1), str)
        assert sum(path.is_file() for path in folder.rglob("*")) >= 4  # the upload, the result and two pictures
        until = time.monotonic() + 30
        while list(folder.iterdir()) and time.monotonic() < until:
            time.sleep(0.2)
        assert list(folder.iterdir()) == []
        assert not isinstance(visit(address, 2), str)
    assert not folder.exists()
    assert os.environ.get("GRADIO_TEMP_DIR") == before
