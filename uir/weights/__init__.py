"""Small trained weights that are part of the package, each as `<name>.safetensors` with its card in the file."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).resolve().parent
DEFAULT = "uir-small"
"""The model that restores and diagnoses if none is named."""


def shipped_weights() -> dict[str, Path]:
    """The weight files in this folder, by name."""
    return {file.stem: file for file in sorted(FOLDER.glob("*.safetensors"))}
