"""The examples of the README and of the pages that it leads to run as they stand."""

from __future__ import annotations

import ast
import json
import re
import runpy
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml

from uir.cli import app, spread
from uir.config.options import load_options
from uir.core.checkpoint import read_file
from uir.train import train_pipeline

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = {page.name: page.read_text(encoding="utf-8") for page in sorted(DOCS.glob("*.md"))} | {"README.md": README}
FILES = {
    name: text
    for page in ("README.md", "blind_sr.md", "methods.md")
    for name, text in re.findall(r"<!-- file: (\S+) -->\n```\w+\n(.*?)```", PAGES[page], re.DOTALL)
}
PYTHON = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)
SNIPPETS = [  # Python that stands for itself: its page and its text
    (page, text)
    for page in ("README.md", "restoring.md", "degrading.md")
    for text in PYTHON.findall(PAGES[page])
    if text not in FILES.values()
]
SHELL = "\n".join(re.findall(r"^```sh\n(.*?)^```", README, re.DOTALL | re.MULTILINE))
COMMANDS = re.findall(r"^(uir .*?) *(?:#.*)?$", SHELL, re.MULTILINE)


def test_the_examples_are_there() -> None:
    assert set(FILES) == {
        "my_denoiser.yml", "my_backbone.py", "my_encoder.py", "my_blind_sr.yml", "my_method.py", "my_method.yml",
    }  # fmt: skip
    assert len(SNIPPETS) == 3
    assert len(COMMANDS) > 10


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all examples: a name can be registered by one file only."""
    folder = tmp_path_factory.mktemp("readme")
    for name, text in FILES.items():
        (folder / name).write_text(text)
    return folder


def rows_of(option_file: str, folder: Path, *more: str) -> list[dict[str, Any]]:
    """What a training by one of the option files logs in each iteration."""
    force = [f"path:experiments_root={folder}", "num_gpu=0", "logger:print_freq=1", *more]
    run = train_pipeline(ROOT, ["-opt", str(folder / option_file), "--force_yml", *force])
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.thorough
def test_the_first_training_trains_and_validates(folder: Path) -> None:
    rows = rows_of("my_denoiser.yml", folder, "train:total_iter=2")
    assert set(rows[0]) >= {"l_pix"}
    assert 5 < rows[-1]["metrics"]["psnr"] < 60


@pytest.mark.thorough
def test_own_backbone_trains_by_the_command_of_the_page(folder: Path) -> None:
    (command,) = [command for command in COMMANDS if "--plugin" in command]
    words = [str(folder / word) if word in FILES else word for word in shlex.split(command)]
    run = train_pipeline(ROOT, [*words[2:], f"path:experiments_root={folder}", "num_gpu=0", "train:total_iter=2"])
    assert read_file(run / "models" / "net_g_latest.pth")["card"]["arch"]["type"] == "MyBackbone"


@pytest.mark.thorough
def test_own_encoder_steers(folder: Path) -> None:
    rows = rows_of("my_blind_sr.yml", folder, "train:total_iter=2")
    assert len(rows) == 2
    assert set(rows[0]) >= {"l_pix", "l_contrastive"}
    card = read_file(folder / "my_blind_sr" / "models" / "net_g_latest.pth")["card"]
    assert card["arch"]["code_channels"] == 32
    assert "body.0.weight" in read_file(folder / "my_blind_sr" / "models" / "net_e_latest.pth")["params"]


@pytest.mark.thorough
def test_own_method_trains_both_networks(folder: Path) -> None:
    rows = rows_of("my_method.yml", folder, "train:total_iter=3")
    assert set(rows[-1]) >= {"l_pix", "l_fool", "l_critic"}
    weights = {role: read_file(folder / "my_method" / "models" / f"net_{role}_latest.pth") for role in "gd"}
    assert weights["g"]["card"]["predictor"] == {"type": "NetworkPredictor"}
    assert "params_ema" in weights["g"]
    assert "params_ema" not in weights["d"]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_of_the_page_is_right(command: str) -> None:
    words, group = spread(shlex.split(command)[1:]), typer.main.get_command(app)
    while hasattr(group, "commands") and not words[0].startswith("-"):
        group, words = group.commands[words[0]], words[1:]
    if words[:1] not in (["--help"], ["--install-completion"]):
        group.make_context(command, words)  # a wrong option or a missing argument is an error
    named = [word for word in shlex.split(command) if "/" in word and word.split("/")[0] != "experiments"]
    assert [word for word in named if not (ROOT / word).exists()] == []


@pytest.mark.thorough
@pytest.mark.parametrize(("page", "code"), SNIPPETS, ids=[page for page, _ in SNIPPETS])
def test_python_of_the_pages_runs(page: str, code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "datasets").symlink_to(ROOT / "datasets")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "snippet.py").write_text(code)
    runpy.run_path("snippet.py")


def test_the_tour_s_option_file_is_valid(tmp_path: Path) -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", PAGES["training.md"], re.DOTALL)
    tour = next(block for block in blocks if "base: other.yml" in block)
    (tmp_path / "other.yml").write_text("logger: {print_freq: 10}\n")
    (tmp_path / "my_backbone.py").write_text("")
    (tmp_path / "tour.yml").write_text(tour)
    assert load_options(tmp_path / "tour.yml").options.precision == "bf16"


@pytest.mark.thorough
@pytest.mark.parametrize("file", sorted((ROOT / "options").glob("t*/*.yml")), ids=lambda p: p.name)
def test_every_shipped_option_file_is_valid(file: Path) -> None:
    load_options(file, is_train="train" in yaml.safe_load(file.read_text()))


def test_every_extra_is_explained() -> None:
    setup = ast.parse((ROOT / "setup.py").read_text(encoding="utf-8"))
    (extras,) = [node.value for node in setup.body if isinstance(node, ast.Assign) and node.targets[0].id == "EXTRAS"]
    assert [key.value for key in extras.keys if f"`{key.value}`" not in README] == []


def test_the_readme_is_short() -> None:
    assert len(README.splitlines()) < 250


@pytest.mark.parametrize("page", PAGES)
def test_the_links_of_a_page_exist(page: str) -> None:
    folder = ROOT if page == "README.md" else DOCS
    for target in re.findall(r"\]\(((?!http)[^)]+)\)", PAGES[page]):
        path, _, heading = target.partition("#")
        file = folder / path if path else folder / page
        assert file.exists(), target
        if heading:
            titles = [line.lstrip("# ").lower() for line in file.read_text("utf-8").splitlines() if line[:1] == "#"]
            assert heading in [re.sub(r"[^\w\- ]", "", title).replace(" ", "-") for title in titles], target
