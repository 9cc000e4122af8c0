"""`uir analyze`."""

import json

import pytest
import torch
import yaml
from arch_configs import ARCH_CONFIGS

from uir.cli import main
from uir.cli.analyze import analyze_app
from uir.core.images import read_rgb, write_image

pytest.importorskip("sklearn")
pytest.importorskip("matplotlib")


def call(*argv):
    return analyze_app([str(word) for word in argv], standalone_mode=False)


@pytest.fixture
def opt(tmp_path):
    file = tmp_path / "net.yml"
    encoder = {"type": "ConvBN6Encoder", "widths": [4, 4, 6]}
    file.write_text(yaml.safe_dump({"network_g": {"type": "NAFNet", **ARCH_CONFIGS["NAFNet"]}, "network_e": encoder}))
    return file


@pytest.fixture(scope="module")
def photos(photographs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    for file in photographs[:6]:
        write_image(folder / f"{file.stem}.png", read_rgb(file)[40:104, 60:132])
    return folder


@pytest.mark.thorough
def test_knn_prints_json_and_writes_tables_and_pictures(opt, photos, tmp_path, capsys):
    out = tmp_path / "out"
    call("knn", "-opt", opt, "--clean_images", photos, "--crop", 32, "--k", 3, "--init", "random", "-o", out, "--json")
    found = json.loads(capsys.readouterr().out)
    assert [level["level"] for level in found["levels"]] == ["pixels", "decoders.0", "decoders.1"]
    assert (found["k"], found["init"], found["recipe"], len(found["photographs"])) == (3, "random", "dcpt_5d", 6)
    assert found["split_seeds"] == [0, 223, 929, 1234, 10086]
    assert json.loads((out / "knn.json").read_text()) == found
    assert len(list(out.glob("knn_confusion_*.png"))) == 3


@pytest.mark.thorough
def test_the_same_command_gives_the_same_numbers(opt, photos, capsys):
    for _ in range(2):
        call(
            "knn",
            "-opt",
            opt,
            "--clean_images",
            photos,
            "--crop",
            32,
            "--position",
            "random",
            "--init",
            "kaiming",
            "--json",
        )  # fmt: skip
    one, other = capsys.readouterr().out.split("\n}\n")[:2]
    assert one == other


@pytest.mark.thorough
def test_probe_looks_into_an_encoder_and_prints_a_table(opt, photos, capsys):
    call(
        "probe",
        "-opt",
        opt,
        "--network",
        "e",
        "--clean_images",
        photos,
        "--recipe",
        "gaussian8",
        "--crop",
        32,
        "--splits",
        1,
    )
    printed = capsys.readouterr().out
    assert all(level in printed for level in ("pixels", "vector", "projection"))
    assert "accuracy %" in printed


@pytest.mark.thorough
def test_tsne_draws_the_last_level_or_the_named_ones(opt, photos, tmp_path, capsys):
    some = ("-opt", opt, "--clean_images", photos, "--crop", 32, "--max_images", 3, "--iterations", 250, "-o", tmp_path)
    call("tsne", *some)
    assert "tsne_decoders.1.png" in capsys.readouterr().out
    call("tsne", *some, "--level", "pixels", "--level", "decoders.0", "--json")
    assert [name.split("/")[-1] for name in json.loads(capsys.readouterr().out)] == [
        "tsne_pixels.png", "tsne_decoders.0.png", "tsne.json",
    ]  # fmt: skip
    assert json.loads((tmp_path / "tsne.json").read_text())["perplexity"] == 30


@pytest.mark.thorough
def test_radar_compares_runs(tmp_path, capsys):
    for name, value in (("scratch", 28.0), ("dcpt", 29.5)):
        rows = [{"dataset": f"d{i}", "results": {"psnr": value + i}} for i in range(3)]
        (tmp_path / f"{name}.json").write_text(json.dumps(rows))
    files = (tmp_path / "scratch.json", tmp_path / "dcpt.json")
    call("radar", *files, "-o", tmp_path / "radar.png")
    assert "scratch" in capsys.readouterr().out
    call("radar", *files, "-o", tmp_path / "radar.png", "--name", "a", "--name", "b", "--json")
    assert json.loads(capsys.readouterr().out)["runs"] == {"a": [28.0, 29.0, 30.0], "b": [29.5, 30.5, 31.5]}
    assert read_rgb(tmp_path / "radar.png").ndim == 3


def test_complexity_as_table_and_as_json(opt, capsys):
    call("complexity", "-opt", opt, "--size", 16, 24, "--runs", 1, "--device", "cpu", "--json")
    found = json.loads(capsys.readouterr().out)
    assert found["size"] == [16, 24]
    assert found["macs"] > 0
    call("complexity", "-opt", opt, "--network", "e", "--size", 16, 24, "--runs", 1)
    assert "ConvBN6Encoder" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["knn", "--images", "{photos}"], "which network"),
        (["knn", "-opt", "none.yml", "--clean_images", "none"], "none: there is no such folder"),
        (["complexity", "-opt", "{opt}", "--network", "d"], "has no network_d"),
        (["radar", "none.json", "-o", "x.png"], "cannot be read as JSON"),
    ],
)
def test_a_user_s_mistake_is_one_line_and_exit_code_2(opt, photos, argv, message, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["analyze", *(word.format(opt=opt, photos=photos) for word in argv)])
    assert stop.value.code == 2
    said = capsys.readouterr().err
    assert message in said
    assert len(said.splitlines()) == 1


def test_random_state_is_left_alone(opt, photos):
    before = torch.get_rng_state()
    call("knn", "-opt", opt, "--clean_images", photos, "--crop", 32, "--splits", 1)
    assert torch.equal(before, torch.get_rng_state())
