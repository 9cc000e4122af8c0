"""Probes at validation: logged like metrics, and without a trace in the training."""

import json
from importlib import import_module

import pytest
import torch
from arch_configs import ARCH_CONFIGS

from uir.analysis.validation_probes import ValidationProbes
from uir.config.options import OptionError, load_options
from uir.core.checkpoint import read_file
from uir.engine.train_loop import train

pytest.importorskip("sklearn")
pytest.importorskip("matplotlib")
NETWORK = {"type": "NAFNet", **ARCH_CONFIGS["NAFNet"]}


@pytest.fixture
def options(write_options, pair_folders):
    """A file whose network has feature points, validated at iterations 1 and 2."""
    probes = {kind: {"images": str(pair_folders / "gt"), "crop": 32, "k": 3, "splits": 2} for kind in ("knn", "linear")}

    def write(changes=None, **own):
        base = {
            "network_g": NETWORK, "scale": 1, "train.total_iter": 2, "val.val_freq": 1, "val.probes": probes | own,
            "train.ema_decay": 0.9, "logger.save_checkpoint_freq": 1,
        }  # fmt: skip
        pairs = {f"datasets.{kind}.dataroot_lq": str(pair_folders / "gt") for kind in ("train", "val")}
        return write_options(base | pairs | (changes or {}))

    return write


def probed(folder):
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [row for row in rows if str(row.get("dataset", "")).startswith("probe_")]


@pytest.mark.thorough
def test_accuracies_are_logged_like_metrics(options, pair_folders):
    own = {"images": str(pair_folders / "gt"), "crop": 32, "splits": 2, "max_images": 4, "every": 2}
    folder = train(load_options(options(linear=own)))
    found = probed(folder)
    assert [(row["iter"], row["dataset"]) for row in found] == [(1, "probe_knn"), (2, "probe_knn"), (2, "probe_linear")]
    assert set(found[0]["metrics"]) == {"decoders.0", "decoders.1"}
    assert all(0 <= value <= 1 for row in found for value in row["metrics"].values())
    assert "Validation probe_knn\n\t # decoders.0: 0." in next(folder.glob("train_small_*.log")).read_text()


@pytest.mark.thorough
def test_features_are_drawn_level_by_level(options, pair_folders):
    own = {"images": str(pair_folders / "gt"), "crop": 32, "iterations": 250, "every": 2}
    folder = train(load_options(options({"val.probes": {"tsne": own | {"levels": ["pixels", "decoders.0"]}}})))
    names = ["tsne_2.json", "tsne_decoders.0_2.png", "tsne_pixels_2.png"]
    assert sorted(file.name for file in (folder / "visualization").iterdir()) == names
    content = json.loads((folder / "visualization" / "tsne_2.json").read_text())
    assert (content["iteration"], content["iterations"], content["perplexity"]) == (2, 250, 30)
    assert [len(level["points"]) for level in content["levels"].values()] == [30, 30]  # 6 photographs, 5 degradations


@pytest.mark.thorough
def test_the_last_level_is_drawn_by_default(options, pair_folders):
    own = {"images": str(pair_folders / "gt"), "crop": 32, "iterations": 250}
    folder = train(load_options(options({"train.total_iter": 1, "val.probes": {"tsne": own}})))
    assert (folder / "visualization" / "tsne_decoders.1_1.png").is_file()
    assert probed(folder) == []


def test_probes_share_the_patches_that_they_agree_in(options, pair_folders):
    own = {"images": str(pair_folders / "gt"), "crop": 32}
    found = ValidationProbes(load_options(options(tsne=own, linear=own | {"max_images": 4})))
    assert found.sources["tsne"] is not found.sources["linear"]
    assert found.sources["tsne"] is found.sources["knn"]
    assert found.sources["tsne"].patches is found.sources["knn"].patches


@pytest.mark.thorough
def test_probing_changes_nothing_in_the_training(options, pair_folders):
    drawn = {"images": str(pair_folders / "gt"), "crop": 32, "iterations": 250, "levels": ["decoders.0"], "every": 2}
    plain = train(load_options(options({"name": "plain", "val.probes": None})))
    looked = train(load_options(options({"name": "looked"}, tsne=drawn)))
    one, other = (read_file(folder / "models" / "net_g_2.pth") for folder in (plain, looked))
    for key in ("params", "params_ema"):
        assert all(torch.equal(value, other[key][name]) for name, value in one[key].items())


@pytest.mark.thorough
def test_a_resumed_run_probes_alike(options):
    file = options()
    whole = probed(train(load_options(file, force=["name=whole"])))
    train(load_options(file, force=["name=parts", "train:total_iter=1"]))
    assert probed(train(load_options(file, force=["name=parts"]), auto_resume=True)) == whole


@pytest.mark.thorough
def test_a_relative_folder_starts_at_the_project(options, pair_folders):
    file = options({"val.probes": {"knn": {"images": "photos", "crop": 32, "splits": 1}}})
    (file.parents[1] / "photos").symlink_to(pair_folders / "gt")
    assert len(probed(train(load_options(file)))) == 2


@pytest.mark.parametrize(
    ("own", "message"),
    [
        ({"images": "nowhere"}, r"val\.probes\.knn: .*nowhere: there is no such folder"),
        ({"recipe": "dcpt_6d"}, r"val\.probes\.knn: recipe 'dcpt_6d'"),
        ({"network": "e"}, r"val\.probes\.knn\.network: the file has no network_e"),
    ],
)
def test_mistakes_are_told_before_the_run_begins(options, pair_folders, own, message):
    file = options(knn={"images": str(pair_folders / "gt"), "crop": 32} | own)
    with pytest.raises(ValueError, match=message):
        train(load_options(file))
    assert not (file.parents[1] / "experiments").exists()


def test_a_level_that_is_not_there_is_told_before_the_run_begins(options, pair_folders):
    file = options(tsne={"images": str(pair_folders / "gt"), "crop": 32, "levels": ["pixels", "decoder"]})
    with pytest.raises(
        ValueError, match=r"tsne\.levels: there is no decoder; .* are pixels, decoders\.0, decoders\.1$"
    ):
        train(load_options(file))
    assert not (file.parents[1] / "experiments").exists()


@pytest.mark.parametrize(("kind", "package"), [("knn", "sklearn"), ("tsne", "matplotlib")])
def test_a_missing_package_is_told_before_the_run_begins(options, pair_folders, monkeypatch, kind, package):
    def imported(name):
        if name.startswith(package):
            raise ImportError(name)
        return import_module(name)

    monkeypatch.setattr("uir.analysis.extras.import_module", imported)
    file = options({"val.probes": {kind: {"images": str(pair_folders / "gt"), "crop": 32}}})
    with pytest.raises(ImportError, match=rf"val\.probes\.{kind}: this needs .*: pip install 'uir\[analysis\]'"):
        train(load_options(file))
    assert not (file.parents[1] / "experiments").exists()


def test_a_network_without_feature_points_is_told(options):
    with pytest.raises(ValueError, match="PixelShuffleSR declares no feature points"):
        train(load_options(options({"network_g": {"type": "PixelShuffleSR", "scale": 1}})))


def test_unknown_keys_are_told_with_the_nearest(options, pair_folders):
    file = options({"val.probes.linaer": {"images": "x"}}, knn={"images": str(pair_folders), "max_image": 3})
    with pytest.raises(OptionError) as error:
        load_options(file)
    assert "val.probes.linaer is not an option; did you mean linear?" in str(error.value)
    assert "val.probes.knn.max_image is not an option; nearest: max_images" in str(error.value)
