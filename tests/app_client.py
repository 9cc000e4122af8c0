"""A client of the web page that speaks plain HTTP, as a browser does and as somebody with bad intentions may."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

API = "gradio_api"


class RefusedError(Exception):
    """The page refused a request; the message is the reason."""


@dataclass
class Result:
    """What the page gives for a restored photograph."""

    address: str
    content: bytes
    diagnosis: dict[str, float]
    pictures: list[str]
    text: str


class Client:
    """A visitor of the page.

    Args:
        address: of the page.
    """

    def __init__(self, address: str) -> None:
        self.http = httpx.Client(base_url=address, timeout=120, verify=False)  # no https: certificates take time

    def upload(self, name: str, content: bytes) -> str:
        """Upload a file; gives its path on the server."""
        answer = self.http.post(f"/{API}/upload", files={"files": (name, content)})
        if answer.status_code != 200:
            raise RefusedError(f"{answer.status_code} {answer.text}")
        return str(answer.json()[0])

    def call(self, name: str, *values: Any) -> list[Any]:
        """Call an event by its name, with all its inputs; gives all its outputs."""
        answer = self.http.post(f"/{API}/call/{name}", json={"data": values})
        if answer.status_code != 200:
            raise RefusedError(f"{answer.status_code} {answer.text}")
        event = answer.json()["event_id"]
        with self.http.stream("GET", f"/{API}/call/{name}/{event}") as stream:
            kind = ""
            for line in stream.iter_lines():
                kind = line.removeprefix("event: ") if line.startswith("event: ") else kind
                if line.startswith("data: ") and kind in ("complete", "error"):
                    data = json.loads(line.removeprefix("data: "))
                    if kind == "error":
                        raise RefusedError(json.dumps(data))
                    return list(data)
        raise RefusedError("the answer ended too early")

    def defaults(self, name: str) -> list[Any]:
        """The values of an event's inputs behind the photograph and the model."""
        info = self.http.get(f"/{API}/info").json()["named_endpoints"][f"/{name}"]["parameters"]
        return [parameter["parameter_default"] for parameter in info[2:]]

    def restore(self, path: str, model: str, *values: Any) -> Result:
        """Restore an uploaded file, and download the result."""
        outputs = self.call("restore", file_of(path), model, *(values or self.defaults("restore")))
        before_after, label, button, text = outputs
        address = button["value"]["url"]
        diagnosis = {row["label"]: row["confidence"] for row in (label or {}).get("confidences", [])}
        pictures = [picture["url"] for picture in before_after]
        return Result(address, self.http.get(address).content, diagnosis, pictures, text)


def file_of(path: str) -> dict[str, Any]:
    """What a browser sends for an uploaded file."""
    return {"path": path, "meta": {"_type": "gradio.FileData"}, "orig_name": Path(path).name}
