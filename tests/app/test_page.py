"""The page over HTTP: results, limits, and requests that should not succeed."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import cv2
import httpx
import numpy as np
import pytest
from app_client import API, Client, RefusedError, file_of

from uir import Restorer
from uir.core.images import decode_image, encode_pages
from uir.inference.controls import Control
from uir.inference.image_files import restore_files
from uir.inference.network_predictor import NetworkPredictor

pytestmark = pytest.mark.thorough


@pytest.fixture
def client(page: str) -> Iterator[Client]:
    client = Client(page)
    yield client
    client.http.close()


def test_the_download_is_the_file_of_the_command(
    client: Client, restorer: Restorer, photograph: Path, tmp_path: Path
) -> None:
    done = client.restore(client.upload(photograph.name, photograph.read_bytes()), "small")
    (written,) = restore_files(restorer, photograph, tmp_path).written
    assert done.content == written.read_bytes()
    assert decode_image(done.content, "download").dtype == np.uint16
    assert done.diagnosis == pytest.approx(dict(restorer.diagnose(photograph).probabilities), abs=1e-6)
    assert all(client.http.get(picture).headers["content-type"] == "image/png" for picture in done.pictures)


def test_a_picture_on_a_screen_is_never_written_again(client: Client, photograph: Path) -> None:
    path = client.upload(photograph.name, photograph.read_bytes())
    first, second = (client.restore(path, "small").pictures for _ in range(2))
    assert len({*first, *second}) == 4
    assert [client.http.get(one).content for one in first] == [client.http.get(one).content for one in second]


def test_an_upload_is_diagnosed_before_it_is_restored(client: Client, restorer: Restorer, photograph: Path) -> None:
    path = client.upload(photograph.name, photograph.read_bytes())
    _, label, button, _ = client.call("diagnose", file_of(path), "small")
    assert label["label"] == restorer.diagnose(photograph).label
    assert button["interactive"] is False


def test_a_control_and_the_tile_have_their_effect(client: Client, restorer: Restorer, photograph: Path) -> None:
    path = client.upload(photograph.name, photograph.read_bytes())
    names = [control.name for control in restorer.controls]
    tile, *values = client.defaults("restore")
    assert tile == "auto"
    values[names.index("fidelity")] = 1
    pixels = decode_image(client.restore(path, "small", tile, *values).content, "download")
    assert np.array_equal(pixels, decode_image(photograph.read_bytes(), "photograph"))
    values[names.index("fidelity")] = 0
    pixels = decode_image(client.restore(path, "tiled", "48", *values).content, "download")
    assert np.array_equal(pixels, restorer.with_tile(48)(photograph))


class AllKinds(NetworkPredictor):
    """A method with a control of each kind."""

    controls: ClassVar[tuple[Control, ...]] = (
        Control("steps", "int", "Sampling steps.", 3, low=1, high=9),
        Control("seed", "int", "Random values.", 0, low=0),
        Control("strength", "float", "How much.", 0.5, low=0, high=1),
        Control("prompt", "text", "The task."),
        Control("mode", "choice", "The way.", "a", choices=("a", "b")),
        Control("reference", "image", "An image."),
    )


def test_every_control_of_a_method_is_on_the_page(restorer: Restorer) -> None:
    pytest.importorskip("gradio")
    from uir.app.page import build_page

    page = build_page(Restorer(AllKinds({"g": restorer.network})))
    parts = {block.label.partition(":")[0]: block for block in page.blocks.values() if getattr(block, "label", None)}
    kinds = {name: type(parts[name]).__name__ for name in ("steps", "seed", "strength", "prompt", "mode", "reference")}
    assert kinds == {
        "steps": "Slider", "seed": "Number", "strength": "Slider", "prompt": "Textbox", "mode": "Dropdown",
        "reference": "File",
    }  # fmt: skip
    assert {control.name for control in restorer.controls} <= set(parts)
    assert (parts["steps"].minimum, parts["steps"].maximum, parts["steps"].value) == (1, 9, 3)


# requests that should not succeed -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "../../../../etc/passwd", __file__, "http://127.0.0.1:9/a.png", "file:///etc/passwd"]
)
@pytest.mark.parametrize("event", ["diagnose", "restore"])
def test_a_client_cannot_name_a_file_that_it_has_not_uploaded(client: Client, path: str, event: str) -> None:
    with pytest.raises(RefusedError):
        client.call(event, file_of(path), "small", *(client.defaults(event)))


def test_an_address_is_refused_in_any_input(client: Client, photograph: Path) -> None:
    path = client.upload(photograph.name, photograph.read_bytes())
    with socket.create_server(("127.0.0.1", 0)) as other:
        other.settimeout(0.2)
        address = f"http://127.0.0.1:{other.getsockname()[1]}/a.png"
        tile, *values = client.defaults("restore")
        with pytest.raises(RefusedError):
            client.call("restore", file_of(path), "small", tile, file_of(address), *values[1:])
        with pytest.raises(TimeoutError):
            other.accept()  # nobody has come


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "../../../etc/passwd", "..%2f..%2f..%2fetc%2fpasswd", "uir/__init__.py", "%2e%2e/setup.py"]
)
def test_no_file_of_the_machine_is_served(client: Client, path: str) -> None:
    for route in (f"/{API}/file={path}", f"/file={path}", f"/static/{path}", f"/assets/{path}"):
        answer = client.http.get(route)
        assert answer.status_code in (403, 404), route
        assert b"root:" not in answer.content


@pytest.mark.parametrize("name", ["../../../other/evil.png", "/other/evil.png", "..\\evil.png", "a/../../evil.png"])
def test_an_upload_stays_in_its_folder(client: Client, photograph: Path, name: str) -> None:
    path = Path(client.upload(name, photograph.read_bytes())).resolve()
    folder = Path(os.environ["GRADIO_TEMP_DIR"]).resolve()
    assert path.parent.parent == folder
    assert path.is_file()
    assert folder.stat().st_mode & 0o077 == 0


def test_a_large_upload_is_refused(client: Client) -> None:
    with pytest.raises(RefusedError, match="413"):
        client.upload("large.png", b"\0" * 1_200_000)


def test_a_large_upload_without_a_length_is_refused(client: Client) -> None:
    head = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'
    chunks = (chunk for chunk in [head, *[b"\0" * 100_000] * 12, b"\r\n--x--\r\n"])
    kind = {"content-type": "multipart/form-data; boundary=x"}
    assert client.http.post(f"/{API}/upload", content=chunks, headers=kind).status_code == 411


def test_a_small_file_of_a_large_image_is_refused(client: Client) -> None:
    content = encode_pages(Path("a.png"), [np.zeros((400, 400, 3), np.uint8)])
    with pytest.raises(RefusedError, match="160,000"):
        client.restore(client.upload("a.png", content), "small")


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.png", b"hello", "cannot be decoded as an image"),
        ("a.png", b"", "empty"),
        ("a.svg", b"<svg/>", "Invalid file type"),
        ("a.html", b"<script>", "Invalid file type"),
    ],
)
def test_a_file_of_another_kind_is_refused(client: Client, name: str, content: bytes, reason: str) -> None:
    with pytest.raises(RefusedError, match=reason):
        client.restore(client.upload(name, content), "small")


def test_an_upload_of_another_content_type_is_refused(client: Client) -> None:
    for kind in ("application/json", "image/png", "text/plain"):
        answer = client.http.post(f"/{API}/upload", content=b"{}", headers={"content-type": kind})
        assert answer.status_code == 400


def test_wrong_values_are_refused(client: Client, restorer: Restorer, photograph: Path) -> None:
    path = client.upload(photograph.name, photograph.read_bytes())
    tile, *values = client.defaults("restore")
    wrong = list(values)
    wrong[[control.name for control in restorer.controls].index("ensemble")] = 99
    for model, inputs in (("other", [tile, *values]), ("small", ["no", *values]), ("small", [tile, *wrong])):
        with pytest.raises(RefusedError):
            client.restore(path, model, *inputs)


def test_the_queue_cannot_be_left_out(client: Client, photograph: Path) -> None:
    path = client.upload(photograph.name, photograph.read_bytes())
    answer = client.http.post(f"/{API}/run/diagnose", json={"data": [file_of(path), "small"]})
    assert answer.status_code in (401, 403, 404)


def test_only_this_machine_is_listened_to(page: str) -> None:
    port = httpx.URL(page).port
    assert httpx.get(page).status_code == 200
    with pytest.raises(ConnectionError):  # 127.0.0.2 is this machine too, by another address
        socket.create_connection(("127.0.0.2", port), timeout=5)


def test_a_browser_may_fetch_nothing_from_elsewhere(page: str) -> None:
    answer = httpx.get(page)
    assert "default-src 'self'" in answer.headers["content-security-policy"]
    assert "fonts.googleapis.com/css" not in answer.text


def test_a_grey_tiff_of_two_pages_stays_one(client: Client, restorer: Restorer, tmp_path: Path) -> None:
    pages = [np.full((32, 40, 1), value, np.uint8) for value in (40, 200)]
    file = tmp_path / "scan.tif"
    file.write_bytes(encode_pages(file, pages))
    done = client.restore(client.upload(file.name, file.read_bytes()), "small")
    (written,) = restore_files(restorer, file, tmp_path / "out").written
    assert done.content == written.read_bytes()
    assert cv2.imdecodemulti(np.frombuffer(done.content, np.uint8), cv2.IMREAD_UNCHANGED)[0]


def test_many_files_in_one_upload_are_refused(client: Client) -> None:
    parts = [("files", (f"{number}.png", bytes(300_000))) for number in range(4)]
    assert client.http.post(f"/{API}/upload", files=parts).status_code == 413


def test_uploads_are_refused_while_many_files_are_kept(restorer: Restorer, photograph: Path) -> None:
    from uir.app.serving import serving

    with serving(restorer, max_files=2) as address:
        visitor = Client(address)
        for number in range(2):
            visitor.upload(f"{number}.png", photograph.read_bytes() + bytes(number))
        with pytest.raises(RefusedError, match="429 2 files are kept here already"):
            visitor.upload("third.png", photograph.read_bytes() + b"third")
