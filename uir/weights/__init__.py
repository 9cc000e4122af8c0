"""Small trained weights that ship with the package, each as `<name>.safetensors` with its card beside the tensors."""

from __future__ import annotations

from pathlib import Path


def shipped_weights() -> dict[str, Path]:
    """The files of weights in this folder, by name."""
    return {file.stem: file for file in sorted(Path(__file__).resolve().parent.glob("*.safetensors"))}
