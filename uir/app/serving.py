"""Serves the web page, with limits, in a folder of its own that is removed at the end."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from uir.app.gradio_parts import THEME
from uir.app.page import build_page
from uir.inference.restorer import Restorer

logger = logging.getLogger("uir")

QUEUE = 32
MAX_UPLOAD = 256
MAX_FILES = 1000
KEEP = 3600.0
_ENVELOPE = 2**16  # bytes of a request around a file
_POLICY = (
    "default-src 'self' data: blob:; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; "
    "style-src 'self' 'unsafe-inline'; connect-src 'self' data: blob:; frame-ancestors 'self'"
)
"""A browser gets nothing from other servers, whatever the page or gradio names (`unsafe-*`: gradio needs them)."""


@contextmanager
def serving(
    restorers: Restorer | Mapping[str, Restorer],
    *,
    host: str = "127.0.0.1",
    port: int | None = None,
    queue: int = QUEUE,
    max_upload: float = MAX_UPLOAD,
    max_files: int = MAX_FILES,
    max_pixels: int | None = None,
    keep: float = KEEP,
    share: bool = False,
) -> Iterator[str]:
    """Serve the page as long as the block lasts; gives its address.

    Args:
        restorers: the models, by name.
        host: the address of this machine to listen at; 0.0.0.0 is all, for others in the network too.
        port: default the first free one from 7860 on.
        queue: how many requests can wait.
        max_upload: largest file that is taken, in MB.
        max_files: how many files can be kept at a time, results included; further uploads are refused until some are
            removed.
        max_pixels: of a photograph, as for `check_size`.
        keep: seconds after which uploaded and restored files are removed.
        share: whether gradio makes a public address, through its own servers.

    Raises:
        ImportError: gradio is not installed.
        OSError: the port is in use.
    """
    folder = Path(tempfile.mkdtemp(prefix="uir-app-"))  # nobody else can read it
    before = os.environ.get("GRADIO_TEMP_DIR")
    os.environ["GRADIO_TEMP_DIR"] = str(folder)  # gradio reads it with every request
    stop = threading.Event()
    page = None
    try:
        page = build_page(restorers, queue=queue, max_pixels=max_pixels)
        threading.Thread(target=_remove_old, args=(folder, keep, stop), daemon=True).start()
        _, local, public = page.launch(
            server_name=host, server_port=port, share=share, max_file_size=int(max_upload * 1e6), theme=THEME,
            prevent_thread_lock=True, quiet=True, inbrowser=False, ssr_mode=False, mcp_server=False, pwa=False,
            enable_monitoring=False, run_history=False, footer_links=["api"], num_workers=0, allowed_paths=[],
            state_session_capacity=200,
            app_kwargs={"middleware": _middleware(folder, max_files, int(max_upload * 1e6))},
        )  # fmt: skip
        yield public or local
    finally:
        stop.set()
        if page is not None:
            page.close(verbose=False)
        shutil.rmtree(folder, ignore_errors=True)
        if before is None:
            os.environ.pop("GRADIO_TEMP_DIR", None)
        else:
            os.environ["GRADIO_TEMP_DIR"] = before


def _middleware(folder: Path, max_files: int, max_bytes: int) -> list[Any]:
    """What is added to every answer, and what refuses uploads."""
    from starlette.middleware import Middleware

    return [
        Middleware(_Headers, headers={b"content-security-policy": _POLICY.encode()}),
        Middleware(_Uploads, folder=folder, max_files=max_files, max_bytes=max_bytes),
    ]


class _Uploads:
    """An ASGI application that refuses uploads where another one would take any number of them.

    Args:
        app: the other one.
        folder: where the files are.
        max_files: how many can be there.
        max_bytes: of a request, which may hold several files.
    """

    def __init__(self, app: Any, folder: Path, max_files: int, max_bytes: int) -> None:
        self.app, self.folder, self.max_files, self.max_bytes = app, folder, max_files, max_bytes

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        refused = None
        if scope["type"] == "http" and scope["method"] == "POST" and scope["path"].rstrip("/").endswith("/upload"):
            refused = self._refused(dict(scope["headers"]).get(b"content-length"))
        if refused is None:
            await self.app(scope, receive, send)
            return
        from starlette.responses import PlainTextResponse

        await PlainTextResponse(refused[1], refused[0])(scope, receive, send)

    def _refused(self, length: bytes | None) -> tuple[int, str] | None:
        """The status and the reason, if an upload of so many bytes is refused."""
        if length is None or not length.isdigit():
            return 411, "An upload must say its length."
        if int(length) > self.max_bytes + _ENVELOPE:
            return 413, f"An upload has at most {self.max_bytes / 1e6:g} MB."
        if sum(len(names) for _, _, names in os.walk(self.folder)) >= self.max_files:
            return 429, f"{self.max_files} files are kept here already; try again later."
        return None


class _Headers:
    """An ASGI application that adds headers to the answers of another one."""

    def __init__(self, app: Any, headers: Mapping[bytes, bytes]) -> None:
        self.app, self.headers = app, list(headers.items())

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def send_with_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], *self.headers]}
            await send(message)

        await self.app(scope, receive, send_with_headers)


def _remove_old(folder: Path, keep: float, stop: threading.Event) -> None:
    """Remove files that are older, and empty folders, until it is stopped."""
    while not stop.wait(min(max(keep / 4, 0.05), 60)):
        limit = time.time() - keep
        for place, _, names in os.walk(folder, topdown=False):
            for path in [*(os.path.join(place, name) for name in names), place]:
                with suppress(OSError):  # in use, not empty, or gone
                    if os.lstat(path).st_ctime < limit and path != str(folder):
                        os.rmdir(path) if path == place else os.remove(path)
