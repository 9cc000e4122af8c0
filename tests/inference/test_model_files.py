"""From the name of a model to its file."""

from __future__ import annotations

import hashlib
from pathlib import Path

import huggingface_hub
import pytest

from uir.core.checkpoint import CheckpointError
from uir.inference.model_files import model_file


def touched(*files: Path) -> None:
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"x")


def test_a_name_is_that_of_shipped_weights_and_a_file_comes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("uir.weights.FOLDER", tmp_path)
    touched(tmp_path / "uir-small.safetensors")
    assert model_file() == model_file("uir-small") == tmp_path / "uir-small.safetensors"
    monkeypatch.chdir(tmp_path)
    touched(Path("uir-small"))
    assert model_file("uir-small") == Path("uir-small")


def test_what_is_missing_while_nothing_is_shipped_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("uir.weights.FOLDER", tmp_path)
    for name in (None, "uir-small"):
        with pytest.raises(CheckpointError, match=r"name the trained network: --model FILE.*uir-small.*are not part"):
            model_file(name)
    with pytest.raises(CheckpointError, match=r"uir-large: there is no such file, and no weights of that name"):
        model_file("uir-large")


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["models/net_g_latest.pth", "models/net_g_5000.pth", "models/net_dc_latest.pth"], "models/net_g_latest.pth"),
        (["net_g_5.pth", "net_dc_5.pth", "README.md"], "net_g_5.pth"),
        (["model.safetensors", "config.json"], "model.safetensors"),
        (["a.pth", "b.pth"], r"is a folder of several models \(a.pth, b.pth\)"),
        (["README.md"], "is a folder without a trained network; name a file"),
    ],
)
def test_a_folder_is_a_run_or_a_release(tmp_path: Path, names: list[str], expected: str) -> None:
    touched(*(tmp_path / name for name in names))
    if expected in names:
        assert model_file(tmp_path) == tmp_path / expected
        return
    with pytest.raises(CheckpointError, match=expected):
        model_file(tmp_path)


def test_the_sha256_of_a_file_is_checked(tmp_path: Path) -> None:
    file = tmp_path / "net.pth"
    touched(file)
    right = hashlib.sha256(b"x").hexdigest()
    assert model_file(f"{file}#sha256={right}") == file
    with pytest.raises(CheckpointError, match=rf"its sha256 is {right}, expected 12ab; it is another file"):
        model_file(f"{file}#sha256=12ab")


def test_only_an_id_with_hf_asks_hugging_face(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def download(repository: str, file: str) -> str:
        asked.append((repository, file))
        return str(tmp_path / file)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    assert model_file("hf:owner/name/sub/net.pth") == tmp_path / "sub/net.pth"
    assert asked == [("owner/name", "sub/net.pth")]
    assert model_file("owner/name/net.pth") == Path("owner/name/net.pth")  # a path, and nothing is asked
    assert len(asked) == 1
    with pytest.raises(CheckpointError, match="expected hf:OWNER/NAME"):
        model_file("hf:name")


def test_a_failed_download_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> str:
        raise OSError("no route to host\nand more")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fail)
    with pytest.raises(CheckpointError, match=r"hf:a/b: cannot be downloaded, .* \(no route to host\)$"):
        model_file("hf:a/b")
