"""From what a user calls a model (a name, a path, a folder, an id of Hugging Face) to its file."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from uir import weights
from uir.core.checkpoint import CheckpointError

HUB = "hf:"
_SHA256 = "#sha256="
_EXAMPLE = "experiments/my_run/models/net_g_latest.pth, which `uir train` writes at its end"
_ENDINGS = (".safetensors", ".pth", ".pt", ".ckpt", ".onnx")


def model_file(model: str | Path | None = None) -> Path:
    """The file of a model.

    Args:
        model: one of these; `#sha256=<64 digits>` behind it checks the file's bytes:
            a file of weights; a folder with one released model, or the folder of a run;
            the name of weights that are part of uir (`uir list weights`);
            `hf:OWNER/NAME` or `hf:OWNER/NAME/FILE`, which `huggingface_hub` downloads, or takes from its cache;
            None, which is uir-small.

    Raises:
        CheckpointError: there is no such model, or its bytes have another sha256.
    """
    text, _, expected = str(model or weights.DEFAULT).partition(_SHA256)
    file = _found(text, model is None)
    if expected:
        actual = hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else "that of no file"
        if actual != expected.strip().lower():
            raise CheckpointError(f"{file}: its sha256 is {actual}, expected {expected}; it is another file")
    return file


def _found(text: str, is_default: bool) -> Path:
    if text.startswith(HUB):
        return _from_hub(text.removeprefix(HUB))
    path, shipped = Path(text).expanduser(), weights.shipped_weights()
    is_name = is_default or not path.exists()
    if is_name and text in shipped:
        return shipped[text]
    if is_name and text == weights.DEFAULT:
        raise CheckpointError(
            f"name the trained network: --model FILE, such as {_EXAMPLE}; the weights of {weights.DEFAULT}, which are "
            "used where none is named, are not part of this version of uir"
        )
    if path.is_dir():
        return _in_folder(path)
    if is_name and path.suffix not in _ENDINGS and os.sep not in text:
        names = ", ".join(shipped) or "none yet"
        raise CheckpointError(f"{text}: there is no such file, and no weights of that name are part of uir ({names})")
    return path


def _in_folder(folder: Path) -> Path:
    """The model in a folder: `net_g_latest.pth` of a run, else the only file of weights."""
    for place in (folder, folder / "models"):
        latest = place / "net_g_latest.pth"
        if latest.is_file():
            return latest
        files = [file for file in sorted(place.glob("*")) if file.suffix in _ENDINGS and file.is_file()]
        restorers = [file for file in files if file.name.startswith("net_g")] or [
            file for file in files if not file.name.startswith("net_")
        ]
        if len(restorers) == 1:
            return restorers[0]
        if restorers:
            names = ", ".join(file.name for file in restorers[:5])
            raise CheckpointError(f"{folder}: is a folder of several models ({names}); name a file")
    raise CheckpointError(f"{folder}: is a folder without a trained network; name a file, such as {_EXAMPLE}")


def _from_hub(name: str) -> Path:
    """Download a file of a repository, or take it from the cache of huggingface_hub."""
    owner, _, rest = name.partition("/")
    repository, _, file = rest.partition("/")
    if not owner or not repository:
        raise CheckpointError(f"{HUB}{name}: expected {HUB}OWNER/NAME or {HUB}OWNER/NAME/FILE")
    try:
        import huggingface_hub
    except ImportError:
        raise CheckpointError(f"{HUB}{name}: needs huggingface_hub: pip install 'uir[hub]'") from None
    try:
        if file:
            return Path(huggingface_hub.hf_hub_download(f"{owner}/{repository}", file))
        return _in_folder(
            Path(huggingface_hub.snapshot_download(f"{owner}/{repository}", allow_patterns=[f"*{e}" for e in _ENDINGS]))
        )
    except CheckpointError:
        raise
    except Exception as error:  # no network, no such repository, no permission: each has a class of its own
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise CheckpointError(f"{HUB}{name}: cannot be downloaded, and is not in the cache ({reason})") from None
