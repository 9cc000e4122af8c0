"""Pictures at validation: the sheet of restored images and the radar chart over the validation sets."""

import copy
import logging
from dataclasses import dataclass, field

import pytest
import torch
from arch_configs import ARCH_CONFIGS
from dcpt_options import changes as dcpt_changes

from uir.analysis import validation_pictures
from uir.analysis.validation_pictures import ValidationPictures
from uir.compat import basicsr_names
from uir.config.options import OptionError, load_options
from uir.config.schema import RadarOptions, SheetOptions, ValOptions
from uir.core.images import read_rgb
from uir.engine.testing import test as run_test
from uir.engine.train_loop import train

pytest.importorskip("matplotlib")
NETWORK = {"type": "NAFNet", **ARCH_CONFIGS["NAFNet"]}
SETS = {"val": "rain", "val_2": "haze", "val_3": "noise"}


@dataclass
class Found:
    dataset: str
    results: dict = field(default_factory=dict)
    inputs: dict = field(default_factory=dict)


@pytest.fixture
def options(write_options, pair_folders):
    """A file with three validation sets, whose degraded images are the clean ones at half size."""

    def write(changes=None):
        roots = {f"dataroot_{kind}": str(pair_folders / kind) for kind in ("gt", "lq")}
        sets = {f"datasets.{key}": {"type": "PairedImageDataset", **roots, "name": name} for key, name in SETS.items()}
        base = {"train.total_iter": 2, "val.val_freq": 1, "val.radar": {"metric": "psnr"}, "val.sheet": {"images": 2}}
        return write_options(sets | base | (changes or {}))

    return write


def written(folder):
    return sorted(file.name for file in (folder / "visualization").iterdir() if file.is_file())


def image(red, size=(8, 8)):
    """A batch of one image of one shade of red."""
    return torch.tensor([red, 0.0, 0.0]).view(1, 3, 1, 1).expand(1, 3, *size)


def shades(sheet, row):
    """The red shade in the middle of the last three pictures of a row; all are square, 320 pixels wide, 6 apart."""
    middle = 42 + 326 * row + 160  # below the titles
    return [round(float(sheet[middle, column, 0]), 1) for column in (-818, -492, -166)]


@pytest.mark.thorough
def test_a_training_writes_all_pictures_under_its_iterations(options, pair_folders):
    pytest.importorskip("sklearn")
    probe = {"images": str(pair_folders / "gt"), "crop": 32, "iterations": 250, "every": 2}
    same = {f"datasets.{key}.dataroot_lq": str(pair_folders / "gt") for key in ("train", *SETS)}
    own = {"network_g": NETWORK, "scale": 1, "val.probes": {"tsne": probe}, "val.measure_input": True}
    folder = train(load_options(options({**same, **own, "val.radar": {"metric": "psnr", "every": 2}})))
    names = ["radar_2.png", "sheet_1.png", "sheet_2.png", "tsne_2.json", "tsne_decoders.1_2.png"]
    assert written(folder) == names


@pytest.mark.thorough
def test_a_test_writes_them_under_its_name(options):
    changes = {"val.sheet": {"images": 2, "every": 100}, "val.suffix": "final"}
    file = options(changes)
    run_test(load_options(file, is_train=False), quiet=True)
    assert written(file.parents[1] / "results" / "small") == ["radar_final.png", "sheet_final.png"]


@pytest.mark.thorough
def test_drawing_changes_nothing_in_the_training(options):
    plain = train(load_options(options({"name": "plain", "val.radar": None, "val.sheet": None})))
    drawn = train(load_options(options({"name": "drawn"})))
    assert written(plain) == []
    assert (plain / "metrics.jsonl").read_text().splitlines()[-1] == (drawn / "metrics.jsonl").read_text().splitlines()[
        -1
    ]


def test_a_sheet_shows_the_first_images_of_every_set(tmp_path):
    pictures = ValidationPictures(ValOptions(sheet=SheetOptions(images=2)))
    for name, degraded in (("rain", 0.1), ("haze", 0.2)):
        observe = pictures.watch(name, 10)
        for number in range(3):
            batch = {"lq": image(degraded), "gt": image(0.9), "lq_path": [f"in/{number}.png"]}
            observe(batch, image(0.5 + number / 10))
    pictures.write(tmp_path, 10, [])
    sheet = read_rgb(tmp_path / "sheet_10.png")
    found = [shades(sheet, row) for row in range(4)]
    assert found == [[0.1, 0.5, 0.9], [0.1, 0.6, 0.9], [0.2, 0.5, 0.9], [0.2, 0.6, 0.9]]


def test_a_smaller_degraded_image_is_enlarged_and_a_missing_clean_one_left_empty(tmp_path):
    pictures = ValidationPictures(ValOptions(sheet=SheetOptions()))
    observe = pictures.watch("real", 1)
    observe({"lq": image(0.3, (4, 4)), "lq_path": ["a.png"]}, image(0.6))
    observe = pictures.watch("made", 1)
    observe({"lq": image(0.3, (4, 4)), "gt": image(0.9), "lq_path": ["a.png"]}, image(0.6))
    pictures.write(tmp_path, 1, [])
    sheet = read_rgb(tmp_path / "sheet_1.png")
    assert [shades(sheet, row) for row in range(2)] == [[0.3, 0.6, 1.0], [0.3, 0.6, 0.9]]


def test_without_any_clean_image_the_column_is_left_out(tmp_path):
    pictures = ValidationPictures(ValOptions(sheet=SheetOptions()))
    pictures.watch("real", 1)({"lq": image(0.3), "lq_path": ["a.png"]}, image(torch.nan))
    pictures.write(tmp_path, 1, [])
    assert read_rgb(tmp_path / "sheet_1.png").shape[1] < 3 * 326


def test_images_that_processes_share_come_back_in_order(tmp_path, monkeypatch):
    ranks = [ValidationPictures(ValOptions(sheet=SheetOptions(images=3))) for _ in range(2)]
    for rank, own in enumerate(ranks):
        monkeypatch.setattr(validation_pictures, "rank_and_world", lambda rank=rank: (rank, 2))
        observe = own.watch("rain", 1)
        for number in range(rank, 6, 2):
            observe({"lq": image(number / 10), "lq_path": ["a.png"], "gt": image(1.0)}, image(0.5))
    shares = [list(own._rows) for own in ranks]
    assert [len(rows) for rows in shares] == [2, 1]
    monkeypatch.setattr(validation_pictures, "gathered", lambda rows: shares)
    ranks[0].write(tmp_path, 1, [])
    sheet = read_rgb(tmp_path / "sheet_1.png")
    assert [shades(sheet, row)[0] for row in range(3)] == [0.0, 0.1, 0.2]


@pytest.fixture
def drawn(monkeypatch):
    """What is handed to the radar charts, in place of drawing them."""
    calls = []
    monkeypatch.setattr(validation_pictures, "radar_picture", lambda *arguments: calls.append(copy.deepcopy(arguments)))
    return calls


def test_a_radar_chart_compares_with_the_input_and_with_the_best_so_far(tmp_path, drawn):
    found = [Found(name, {"psnr": 20.0 + index}, {"psnr": 10.0 + index}) for index, name in enumerate("abc")]
    best = {name: {"psnr": {"val": 20.0 + index, "iter": 5}} for index, name in enumerate("abc")}
    pictures = ValidationPictures(ValOptions(radar=RadarOptions(metric="psnr")))
    pictures.write(tmp_path, 5, found, best)
    best["a"]["psnr"]["val"] = 25.0
    pictures.write(tmp_path, 6, found, best)
    lines = {"input": [10.0, 11.0, 12.0], "iteration 5": [20.0, 21.0, 22.0]}
    assert drawn[0] == (tmp_path / "radar_5.png", lines, ["a", "b", "c"], "psnr")
    assert drawn[1][1] == {
        "input": [10.0, 11.0, 12.0],
        "best so far": [25.0, 21.0, 22.0],
        "iteration 6": [20.0, 21.0, 22.0],
    }


def test_an_input_that_was_not_measured_everywhere_is_left_out(tmp_path, drawn):
    found = [Found(name, {"psnr": 20.0}, {"psnr": 10.0}) for name in "abc"]
    found[1].inputs = {}
    ValidationPictures(ValOptions(radar=RadarOptions(metric="psnr"))).write(tmp_path, "final", found)
    assert drawn[0][1] == {"final": [20.0, 20.0, 20.0]}


def test_sets_without_the_metric_are_left_out_and_told_where_too_few_remain(tmp_path, drawn, caplog):
    logging.getLogger("uir").propagate = True
    found = [*(Found(name, {"psnr": 20.0}) for name in "abc"), Found("real", {"niqe": 3.0})]
    pictures = ValidationPictures(ValOptions(radar=RadarOptions(metric="psnr")))
    pictures.write(tmp_path, 1, found)
    assert drawn[0][2] == ["a", "b", "c"]
    pictures.write(tmp_path, 2, found[1:])
    assert len(drawn) == 1
    assert "psnr was measured on fewer than 3 datasets: b, c" in caplog.text


def test_each_has_its_own_turn(tmp_path, drawn):
    val = ValOptions(radar=RadarOptions(metric="psnr", every=4), sheet=SheetOptions(every=6))
    pictures = ValidationPictures(val)
    found = [Found(name, {"psnr": 20.0}) for name in "abc"]
    assert [pictures.watch("a", iteration) is not None for iteration in (2, 6, "final")] == [False, True, True]
    for iteration in (2, 4, 6):
        pictures.write(tmp_path, iteration, found)
    assert [call[0].name for call in drawn] == ["radar_4.png"]


def test_mistakes_are_told_when_the_file_is_checked(options):
    wrong = {"val.radar": {"metric": "pnsr", "evry": 1}, "val.sheet": {"images": 0}, "datasets.val_3": None}
    with pytest.raises(OptionError) as error:
        load_options(options(wrong))
    text = str(error.value)
    assert "val.radar.metric: no metric of val.metrics is called 'pnsr'; did you mean psnr?" in text
    assert "val.radar: a radar chart needs at least 3 validation sets; the file has val, val_2" in text
    assert "val.radar.evry is not an option; did you mean every?" in text
    assert "val.sheet.images" in text


def test_a_measure_of_the_method_may_be_drawn(write_options, pair_folders):
    own = dcpt_changes(pair_folders, "DCTModel", **{"val.radar": {"metric": "top1"}})
    sets = own["datasets"] | dict.fromkeys(SETS, own["datasets"]["val"])
    assert load_options(write_options(own | {"datasets": sets})).options.val.radar.metric == "top1"
    with pytest.raises(OptionError, match=r"no metric of val\.metrics is called 'top1'"):
        load_options(write_options({"val.radar": {"metric": "top1"}}))


def test_a_missing_package_is_told_before_the_run_begins(options, monkeypatch):
    def missing(module):
        raise ImportError(module)

    monkeypatch.setattr("uir.analysis.extras.import_module", missing)
    file = options()
    with pytest.raises(ImportError, match=r"val\.radar: this needs matplotlib: pip install 'uir\[analysis\]'"):
        train(load_options(file))
    assert not (file.parents[1] / "experiments").exists()


@pytest.mark.thorough
@pytest.mark.skipif(not basicsr_names(), reason="basicsr is not installed")
def test_basicsr_s_models_draw_a_radar_chart_and_refuse_what_they_cannot_show(options, pair_folders):
    network = {"type": "MSRResNet", "num_feat": 4, "num_block": 1, "upscale": 2}
    changes = {"model_type": "basicsr:SRModel", "network_g": network, "train.ema_decay": 0.9}
    probes = {"knn": {"images": str(pair_folders / "gt")}}
    with pytest.raises(OptionError) as error:
        load_options(options({**changes, "val.probes": probes}))
    for key in ("val.sheet", "val.probes"):
        assert f"{key} cannot be used with basicsr:SRModel" in str(error.value)
    folder = train(load_options(options({**changes, "val.sheet": None})))
    assert written(folder) == ["radar_1.png", "radar_2.png"]
