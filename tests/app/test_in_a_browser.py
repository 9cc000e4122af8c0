"""The command `uir app`, used in a headless Chromium as a visitor does, and for many requests."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from app_client import Client

from uir import Restorer
from uir.core.images import decode_image
from uir.inference.image_files import restore_files

pytestmark = pytest.mark.slow
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
PATIENCE = 120_000  # milliseconds


@pytest.fixture(scope="module")
def command(release: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The address that the command prints, and its process; there are two models to choose from."""
    pytest.importorskip("gradio")
    words = [
        sys.executable,
        "-m",
        "uir",
        "app",
        "--model",
        str(release),
        "--model",
        str(release),
        "--device",
        "cpu",
        "--queue",
        "50",
    ]
    temporary = tmp_path_factory.mktemp("temporary")
    environment = {**os.environ, "TMPDIR": str(temporary)}
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert "the page is at http://127.0.0.1:" in line
        try:
            yield line.split()[4], process
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=60)
    assert process.returncode == 0
    assert [path for path in temporary.rglob("*") if path.is_file()] == []


@pytest.fixture
def tab(command: tuple[str, Any]) -> Iterator[Any]:
    """The page in a browser, in which nothing may come from another server."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("there is no Chromium; on Debian: apt-get install chromium")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])  # root has no sandbox
        tab = browser.new_page(viewport={"width": 1280, "height": 900})
        tab.set_default_timeout(PATIENCE)
        addresses: list[str] = []
        tab.on("request", lambda request: addresses.append(request.url))
        tab.goto(command[0])
        yield tab
        browser.close()
    assert len(addresses) > 10
    assert [one for one in addresses if not one.startswith((command[0], "data:", "blob:"))] == []


def shows(tab: Any, element: str, text: str) -> None:
    """Wait until an element of the page shows a text."""
    tab.locator(f"{element} >> text={text}").first.wait_for()


def test_a_visitor_restores_moves_the_slider_and_downloads(
    tab: Any, restorer: Restorer, photograph: Path, tmp_path: Path
) -> None:
    tab.set_input_files("#photograph input[type=file]", photograph)
    probabilities = restorer.diagnose(photograph).probabilities
    for label, probability in probabilities.items():
        shows(tab, "#diagnosis", label)
        shows(tab, "#diagnosis", f"{probability:.0%}")

    tab.click("#restore")
    shows(tab, "#download", "Download a cup_restored.png")
    after = tab.locator("#slider img").nth(1)
    assert "50%" in after.evaluate("picture => picture.style.clipPath")
    tab.wait_for_function("[...document.querySelectorAll('#slider img')].every(one => one.complete)")
    before_moving = tab.locator("#slider .slider-wrap").screenshot()
    handle = tab.locator("#slider [data-testid=slider]").bounding_box()
    tab.mouse.move(handle["x"] + handle["width"] / 2, handle["y"] + handle["height"] / 2)
    tab.mouse.down()
    tab.mouse.move(handle["x"] - 150, handle["y"] + handle["height"] / 2, steps=5)
    tab.mouse.up()
    share = float(after.evaluate("picture => picture.style.clipPath.match(/([\\d.]+)%/)[1]"))
    assert share < 45
    assert tab.locator("#slider .slider-wrap").screenshot() != before_moving

    with tab.expect_download() as download:
        tab.click("#download")
    assert download.value.suggested_filename == "a cup_restored.png"
    content = Path(download.value.path()).read_bytes()
    pixels = decode_image(content, "download")
    assert pixels.dtype == np.uint16
    assert np.array_equal(pixels, restorer(photograph))
    assert content == restore_files(restorer, photograph, tmp_path).written[0].read_bytes()


def test_the_settings_of_the_chosen_model_count(tab: Any, photograph: Path) -> None:
    tab.set_input_files("#photograph input[type=file]", photograph)
    tab.click("#model input")
    tab.locator("[role=option]", has_text="small (2)").click()
    tab.click("text=Settings of small (2)")
    assert not tab.locator("text=Settings of small").locator("visible=true").filter(has_not_text="(2)").count()
    fidelity = tab.locator("#control-fidelity input[type=number]").locator("visible=true")
    for _ in range(10):
        fidelity.fill("1")
        fidelity.blur()
        tab.wait_for_timeout(500)
        if fidelity.input_value() == "1":  # just after it has opened, the page may still fill in the default
            break
    tab.click("#restore")
    shows(tab, "#download", "Download a cup_restored.png")
    with tab.expect_download() as download:
        tab.click("#download")
    pixels = decode_image(Path(download.value.path()).read_bytes(), "download")
    assert np.array_equal(pixels, decode_image(photograph.read_bytes(), "photograph"))


def test_a_file_that_is_no_image_is_named_on_the_page(tab: Any, tmp_path: Path) -> None:
    (tmp_path / "no.png").write_text("hello")
    tab.set_input_files("#photograph input[type=file]", tmp_path / "no.png")
    tab.locator("text=cannot be decoded as an image").first.wait_for()


def resident(process: subprocess.Popen[str]) -> float:
    """MB of memory that a process holds."""
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS"))


def test_memory_does_not_grow_with_requests(
    command: tuple[str, subprocess.Popen[str]], restorer: Restorer, photograph: Path
) -> None:
    if not Path("/proc/self/status").exists():
        pytest.skip("only Linux says how much memory another process holds")
    address, process = command
    content = photograph.read_bytes()

    def fifty() -> None:
        def visit(_: int) -> bytes:
            client = Client(address)
            with client.http:
                return client.restore(client.upload("a cup.png", content), "small").content

        with ThreadPoolExecutor(50) as pool:
            results = list(pool.map(visit, range(50)))
        assert {len(result) for result in results} == {len(results[0])}

    fifty()  # fills caches
    first = resident(process)
    fifty()
    fifty()
    assert resident(process) - first < 25
