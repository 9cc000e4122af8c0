"""Names: the text in the file, and one plain folder name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from uir.cli import main
from uir.config.options import OptionError, load_options
from uir.config.yaml_file import dump_yaml, parse_yaml, read_yaml
from uir.core.names import is_plain_name

Write = Callable[..., Path]
LIKE_NUMBERS = ["001", "2024_05_01", "12:30:45", "1e3", "0x10", "2024-05-01", "yes", "1_000", "1.10", ".5", ".inf"]


def renamed(file: Path, line: str) -> Path:
    """The option file with another line for its name."""
    file.write_text(file.read_text().replace("name: small\n", line, 1))
    return file


@pytest.mark.parametrize("text", LIKE_NUMBERS[:-2])
def test_a_run_has_the_name_that_is_written(write_options: Write, text: str) -> None:
    loaded = load_options(renamed(write_options(), f"name: {text}\n"))
    assert loaded.run_dir.name == loaded.options.name == loaded.raw["name"] == text
    forced = load_options(write_options(), force=[f"name={text}"])
    assert forced.run_dir.name == forced.options.name == text


@pytest.mark.parametrize("text", LIKE_NUMBERS)
def test_names_are_texts_at_every_place_of_a_file(tmp_path: Path, text: str) -> None:
    file = tmp_path / "a.yml"
    file.write_text(
        f"common: &c {{name: {text}}}\nname: {text}\ndatasets:\n  val: {{name: {text}, width: 1e3}}\n"
        f"  val_2: {{<<: *c}}\n  val_3: {{<<: [*c]}}\nval: {{suffix: {text}}}\n"
        f"logger: {{wandb: {{resume_id: {text}}}}}\n"
        f"train: {{stages: [{{name: {text}, iterations: 3}}]}}\n"
    )
    content, _ = read_yaml(file)
    sets = content["datasets"]
    assert [content["name"], *(held["name"] for held in sets.values())] == [text] * 4
    assert content["val"]["suffix"] == content["logger"]["wandb"]["resume_id"] == text
    assert content["train"]["stages"] == [{"name": text, "iterations": 3}]
    assert sets["val"]["width"] == 1000.0


def test_a_number_that_shares_its_text_with_a_name_stays_one() -> None:
    assert parse_yaml("name: &n 007\nmanual_seed: *n\n") == {"name": "007", "manual_seed": 7}


def test_a_name_taken_away_is_none() -> None:
    assert parse_yaml("name: ~\nval: {suffix: null}\n") == {"name": None, "val": {"suffix": None}}
    assert parse_yaml("'~'", ("name",)) == "~"


@pytest.mark.parametrize("text", [*LIKE_NUMBERS, "~", "null", "a\nb"])
def test_what_is_written_is_read_again(text: str) -> None:
    content = {"name": text, "other": [text], "nothing": None}
    assert parse_yaml(dump_yaml(content)) == content


def test_a_name_of_a_base_file_is_text(write_options: Write) -> None:
    base = renamed(write_options(name="base.yml"), "name: 001\n")
    file = base.with_name("above.yml")
    file.write_text("base: base.yml\nmanual_seed: 3\n")
    assert load_options(file).options.name == "001"


def test_debug_keeps_the_text_and_needs_a_name(write_options: Write) -> None:
    assert load_options(renamed(write_options(), "name: 001\n"), debug=True).options.name == "debug_001"
    with pytest.raises(OptionError, match="name is missing"):
        load_options(write_options({"name": None}), debug=True)


NOT_PLAIN = {
    "empty": "", "here": ".", "above": "..", "absolute": "/elsewhere/x", "outside": "../../x", "inside": "run/models",
    "windows": "run\\models", "newline": "a\nb", "nul": "a\0b", "long": "x" * 201, "umlauts": "ä" * 101,
    "hidden": ".x", "trailing dot": "x.", "spaces": " x",
}  # fmt: skip


@pytest.mark.parametrize("name", NOT_PLAIN.values(), ids=NOT_PLAIN)
def test_a_run_s_name_is_one_plain_folder_name(write_options: Write, name: str) -> None:
    with pytest.raises(OptionError, match=r"run\.yml:1: name: should be one plain folder name of 1 to 200 bytes"):
        load_options(write_options({"name": name}))


@pytest.mark.parametrize(
    "name", ["x", "a b", "001", "DCPT_NAFNet-5d.v2", "ü", "雨", "x" * 200, "a+b=c, (1)", "console"]
)
@pytest.mark.parametrize("is_train", [True, False])
def test_a_plain_name_is_the_folder(write_options: Write, name: str, is_train: bool) -> None:
    loaded = load_options(write_options({"name": name}), is_train=is_train)
    assert loaded.run_dir == loaded.root / ("experiments" if is_train else "results") / name


@pytest.mark.parametrize("name", ["NUL", "com1.txt", "x*", "c:x"])
def test_windows_knows_fewer_names(name: str) -> None:
    assert is_plain_name(name, windows=False)
    assert not is_plain_name(name, windows=True)
    assert is_plain_name("console", windows=True)


@pytest.mark.parametrize("key", ["datasets.val.name", "val.suffix", "val.keep_best"])
def test_other_names_cannot_leave_the_folder_either(write_options: Write, key: str) -> None:
    file = write_options({key: "../x", "val.metrics": {"../x": {"type": "calculate_psnr", "crop_border": 2}}})
    with pytest.raises(OptionError, match=f"{key}: should be one plain folder name") as caught:
        load_options(file)
    assert len(caught.value.problems) == 1


def test_a_dataset_s_key_is_its_default_name(write_options: Write, pair_folders: Path) -> None:
    file = write_options()
    content = yaml.safe_load(file.read_text())
    content["datasets"]["val_/../../x"] = content["datasets"]["val"]
    file.write_text(yaml.safe_dump(content, sort_keys=False))
    with pytest.raises(OptionError, match=r"a dataset's key should be one plain folder name"):
        load_options(file)


def test_the_command_says_what_a_name_may_be(
    write_options: Write, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["train", "-opt", str(write_options()), "--force_yml", "name=../../x"])
    assert stopped.value.code == 2
    assert capsys.readouterr().err.startswith("uir: --force_yml name=../../x: name: should be one plain folder name")
    assert not (tmp_path / "project" / "experiments").exists()
