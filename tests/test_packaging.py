"""Packaging: one version, every requirement pinned, every folder of code in the package, real demo photographs."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import cv2
import pytest

import uir

ROOT = Path(__file__).resolve().parents[1]


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.fixture(scope="module")
def pins() -> dict[str, list[str]]:
    """`{package: [the rest of each of its lines]}` of constraints.txt."""
    held: dict[str, list[str]] = {}
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            name, _, rest = line.partition("==")
            held.setdefault(normal(name), []).append(rest)
    return held


@pytest.mark.thorough
def test_setup_reads_the_version_of_the_package(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "setup.py"), "--name", "--version", "--license"],
        cwd=tmp_path, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["uir", uir.__version__, "Apache-2.0"]


def test_every_requirement_is_pinned(pins: dict[str, list[str]]) -> None:
    setup = (ROOT / "setup.py").read_text()
    lists = setup[setup.index("CORE = [") : setup.index("\nsetup(")]
    required = {normal(name) for name in re.findall(r'"([A-Za-z][\w-]*)(?:>=|==)', lists)}
    assert {"torch", "pydantic", "basicsr", "gradio", "pytest"} <= required
    assert required <= set(pins)


def test_every_pin_is_exact_and_two_pins_of_one_package_exclude_each_other(pins: dict[str, list[str]]) -> None:
    markers = {'python_version >= "3.11"', 'python_version < "3.11"'}
    for name, lines in pins.items():
        assert all(re.match(r"\d[\w.]*($|; )", line) for line in lines), name
        if len(lines) > 1:
            assert {line.partition("; ")[2] for line in lines} == markers, name


def test_torch_and_torchvision_are_pinned_alike_in_the_makefile(pins: dict[str, list[str]]) -> None:
    assert f"torch=={pins['torch'][0]} torchvision=={pins['torchvision'][0]}" in (ROOT / "Makefile").read_text()


def test_every_folder_of_code_is_a_package() -> None:
    folders = {file.parent for file in (ROOT / "uir").rglob("*.py")}
    assert [str(folder.relative_to(ROOT)) for folder in folders if not (folder / "__init__.py").exists()] == []


def test_what_lies_beside_the_code_is_installed_with_it() -> None:
    match = re.search(r"package_data=(\{.*\})", (ROOT / "setup.py").read_text(encoding="utf-8"))
    assert match is not None
    declared = ast.literal_eval(match[1])
    files = [path for path in (ROOT / "uir").rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")]
    assert ROOT / "uir/metrics/niqe_parameters.npz" in files
    for file in files:
        patterns = declared[".".join(file.parent.relative_to(ROOT).parts)]
        assert any(file.match(pattern) for pattern in patterns), file


def test_demo_photographs_are_in_colour_named_with_their_licence_and_held_apart() -> None:
    demo = ROOT / "datasets" / "demo"
    train, test = ({file.name for file in (demo / part).iterdir()} for part in ("train", "test"))
    assert len(train) >= 5
    assert len(test) >= 2
    assert not {name.partition(".")[0] for name in train} & {name.partition(".")[0] for name in test}
    table = (demo / "README.md").read_text()
    for file in [*(demo / "train").iterdir(), *(demo / "test").iterdir()]:
        image = cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
        assert image.shape[2] == 3
        assert min(image.shape[:2]) >= 256
        assert (image[..., 0] != image[..., 2]).any()
        assert f"`{file.parent.name}/{file.name}`" in table
