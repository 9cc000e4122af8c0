"""The folders of `uir` build on each other in one direction; read from the imports, those within functions included."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "uir"
TOP = {"__init__.py", "__main__.py", "train.py", "test.py", "py.typed"}
# A folder may import what stands in a line above its own, and itself. `weights` holds no code but a list of its files.
LAYERS = (
    ("weights",),
    ("core",),
    ("registry",),
    ("config",),
    ("compat",),
    ("layers",),
    ("diffusion",),
    ("degradations",),
    ("archs", "encoders", "losses", "metrics", "data"),
    ("inference",),
    ("models",),
    ("engine", "analysis", "app"),
    ("ablation",),
    ("cli",),
)
LEVEL = {folder: level for level, folders in enumerate(LAYERS) for folder in folders}
FOLDERS = sorted(path.name for path in PACKAGE.iterdir() if path.is_dir() and path.name != "__pycache__")
FACE = {"__version__"}  # what any file may take from `uir` itself


def imported(file: Path) -> set[str]:
    """The folders and files of `uir` that a file imports, as their first name."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("uir.")}
        elif isinstance(node, ast.ImportFrom) and node.module is not None and node.level == 0:
            if node.module == "uir":
                found |= {alias.name for alias in node.names} - FACE
            elif node.module.startswith("uir."):
                found.add(node.module.split(".")[1])
    return found


def test_every_folder_has_its_place() -> None:
    assert set(FOLDERS) == set(LEVEL)


def test_nothing_else_lies_at_the_top() -> None:
    assert {path.name for path in PACKAGE.iterdir() if path.is_file()} == TOP


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_folder_imports_only_what_lies_below_it(folder: str) -> None:
    upward = [
        f"{file.relative_to(PACKAGE)} imports uir.{other}"
        for file in sorted((PACKAGE / folder).rglob("*.py"))
        for other in sorted(imported(file))
        if other != folder and LEVEL.get(other, len(LAYERS)) >= LEVEL[folder]
    ]
    assert not upward


def test_only_the_commands_import_the_engine() -> None:
    files = [file for file in PACKAGE.rglob("*.py") if file.relative_to(PACKAGE).parts[0] not in ("cli", "engine")]
    assert [str(file) for file in files if "engine" in imported(file)] == []
