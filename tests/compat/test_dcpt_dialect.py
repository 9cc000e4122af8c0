"""Option files as DCPT's authors write them: what they become, and that they run."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from dcpt_dialect_options import (
    NAMES,
    SETTINGS,
    Form,
    final_test,
    fine_tuning,
    problem_of,
    published,
    transfer,
    translated,
)

from uir.compat.dcpt_dialect import is_dialect
from uir.config.dialects import translate
from uir.config.options import load_options, read_merged
from uir.core.checkpoint import read_file
from uir.data.building import build_dataset, training_stream
from uir.engine.train_loop import train
from uir.metrics.building import build_metric
from uir.models.building import build_model

ROOT = Path(__file__).resolve().parents[2]


# --- whole files ---


@pytest.mark.parametrize("backbone", SETTINGS)
def test_the_published_pretraining_of_each_backbone_is_understood(write: Callable[[Form], Path], backbone: str) -> None:
    loaded = load_options(write(published(backbone)))
    train_set: Any = loaded.options.datasets["train"]
    assert train_set.type == "MultiTaskDataset"
    assert list(train_set.arguments["tasks"]) == NAMES
    assert train_set.batch_size_per_gpu == SETTINGS[backbone][3]
    assert train_set.num_worker_per_gpu == 8
    assert loaded.options.datasets["val_3"].num_worker_per_gpu == 2
    train_options: Any = loaded.options.train
    assert train_options.labels == NAMES
    assert train_options.taps is None  # all the feature points


@pytest.mark.thorough
def test_a_published_pretraining_runs_and_resumes(
    write: Callable[[Form], Path], small: Form, caplog: pytest.LogCaptureFixture
) -> None:
    file = write(small)
    with caplog.at_level("WARNING", "uir"):
        folder = train(load_options(file))
    assert "is in DCPT's dialect" in caplog.text
    assert "train_1 to train_5 are the tasks rain, noise, haze, low, blur" in caplog.text
    head = read_file(folder / "models" / "net_dc_2.pth")
    assert head["card"]["labels"] == NAMES
    assert head["params"]["fc.weight"].shape[0] == 5
    assert read_file(folder / "models" / "net_g_2.pth")["card"]["arch"]["type"] == "NAFNetLocal"
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    measured = {row["dataset"]: row["metrics"] for row in rows if "metrics" in row}
    assert set(measured) == {f"{name}_val" for name in NAMES}
    assert all(set(values) == {"psnr", "ssim", "top1"} for values in measured.values())

    train(load_options(file, force=["train:total_iter=4"]), auto_resume=True)
    whole = train(load_options(file, force=["train:total_iter=4", "name=whole"]))
    for name in ("net_g_4.pth", "net_dc_4.pth"):
        resumed, straight = (read_file(run / "models" / name)["params"] for run in (folder, whole))
        for key, value in straight.items():
            assert torch.equal(value, resumed[key])


def test_a_published_fine_tuning_and_its_test_are_understood(write: Callable[[Form], Path]) -> None:
    loaded = load_options(write(fine_tuning()))
    assert loaded.options.grad_clip == 0.01
    assert loaded.raw["network_g"]["type"] == "NAFNetLocal"
    assert load_options(write(final_test()), is_train=False).raw["network_g"]["type"] == "NAFNet"


@pytest.mark.thorough
@pytest.mark.parametrize(("index", "label"), [(0, "rain"), (1, "noise"), (4, "blur")])
def test_a_published_transfer_is_understood(write: Callable[[Form], Path], index: int, label: str) -> None:
    form = transfer(index)
    loaded = load_options(write(form))
    train_options: Any = loaded.options.train
    assert loaded.raw["network_g"]["type"] == "Restormer"
    assert loaded.raw["datasets"]["train"]["label"] == label
    assert loaded.raw["datasets"]["val_1"]["dataset"]["label"] == label
    assert train_options.labels == ["rain", "noise", "haze", "low_light", "blur"]
    assert train_options.scheduler.spec() == form["train"]["scheduler"]
    assert train_options.classify_opt.type == "CrossEntropyLoss"


@pytest.mark.thorough
@pytest.mark.parametrize("file", sorted((ROOT / "options").rglob("t*/*.yml")), ids=lambda file: file.name)
def test_files_in_uir_s_own_form_pass_as_they_are(file: Path) -> None:
    raw, marks = read_merged(file)
    assert not is_dialect(raw)
    found = translate(raw, marks)
    assert (found.raw, found.marks, found.moved, found.notes) == (raw, marks, {}, ())


def test_translating_leaves_the_file_s_mapping_alone() -> None:
    form = published()
    kept = copy.deepcopy(form)
    translate(form, {})
    assert form == kept


# --- parts ---


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("NAFNet", {"type": "NAFNetLocal", "train_size": [1, 3, 128, 128]}),
        ("NAFNetBaseline", {"type": "NAFNet"}),
        ("Restormer", {"type": "RestormerDCPT"}),
        ("Restormer_origin", {"type": "Restormer"}),
        ("PromptIR", {"type": "PromptIR"}),
        ("SwinIR", {"type": "SwinIR", "rel_pos_bias": False, "attn_mask": False}),
        ("uir:NAFNet", {"type": "uir:NAFNet"}),
    ],
)
def test_networks_are_those_that_dcpt_calls_so(name: str, expected: Form) -> None:
    assert translated({"classify": True, "network_g": {"type": name}})["network_g"] == expected


def test_what_the_file_says_of_a_network_stays() -> None:
    network = {"type": "SwinIR", "rel_pos_bias": True}
    assert translated({"classify": True, "network_g": network})["network_g"]["rel_pos_bias"] is True


def test_training_sets_are_drawn_by_size_times_their_ratio(write: Callable[[Form], Path], small: Form) -> None:
    small["datasets"]["train_4"]["dataset_enlarge_ratio"] = 10
    dataset: Any = build_dataset(load_options(write(small)), "train")
    assert dataset.shares() == pytest.approx({name: (10 if name == "low" else 1) / 14 for name in NAMES})


def test_training_sets_of_one_name_are_classes_of_their_own(write: Callable[[Form], Path], small: Form) -> None:
    small["datasets"]["train_2"]["name"] = "rain"
    loaded = load_options(write(small))
    assert loaded.raw["train"]["labels"] == ["rain", "rain_2", "haze", "low", "blur"]


def test_loader_keys_may_stand_in_the_training_sets(write: Callable[[Form], Path], small: Form) -> None:
    del small["dataloader"]
    for number in (1, 2):
        small["datasets"][f"train_{number}"]["batch_size_per_gpu"] = 4
    file = write(small)
    assert load_options(file).options.datasets["train"].batch_size_per_gpu == 4
    found = problem_of(file, force=["datasets:train_2:batch_size_per_gpu=3"])
    assert "datasets.train_2.batch_size_per_gpu: 3 is not datasets.train_1.batch_size_per_gpu" in found


@pytest.mark.parametrize("as_text", [False, True])
def test_listed_pairs_may_have_one_list_or_several(
    write: Callable[[Form], Path], small: Form, pair_folders: Path, as_text: bool
) -> None:
    names = pair_folders / "names.txt"
    names.write_text("\n".join(f"{file.name} {file.name}" for file in sorted((pair_folders / "gt").iterdir())[:2]))
    listed: list[Any] = [str(pair_folders / "gt"), str(names)]
    keys = (
        {"dataroot": listed[0], "txt_lists": listed[1]}
        if as_text
        else {"dataroot": listed[:1], "txt_lists": listed[1:]}
    )
    section = {"name": "low", "type": "PairedImageTxtlistDataset", "datasets_balance": [3], "gt_size": 16, **keys}
    small["datasets"]["train_4"] = section
    dataset: Any = build_dataset(load_options(write(small)), "train")
    assert dataset.labels == tuple(NAMES)
    assert len(dataset.datasets["low"]) == 2
    assert dataset.shares()["low"] == pytest.approx(2 * 3 / (2 * 3 + 4 * 6))


def test_blurred_sets_are_tasks_too(write: Callable[[Form], Path], small: Form) -> None:
    small["datasets"]["train_5"] |= {
        "type": "PairedImageGaussianBlurDataset",
        "blur_sigma": [1, 3],
        "scale_range": [1, 2],
    }
    dataset: Any = build_dataset(load_options(write(small)), "train")
    assert dataset.labels == tuple(NAMES)


def test_pairs_in_several_folders_are_one_task(write: Callable[[Form], Path], small: Form, pair_folders: Path) -> None:
    folders = [str(pair_folders / "gt")] * 2
    small["datasets"]["train_1"] |= {
        "dataroot_gt": folders, "dataroot_lq": folders, "datasets_balance": [1, 4], "dataset_enlarge_ratio": 2,
    }  # fmt: skip
    dataset: Any = build_dataset(load_options(write(small)), "train")
    assert dataset.labels == tuple(NAMES)
    shares = dataset.shares()
    assert [shares[task] for task in ("rain_1", "rain_2", "noise")] == pytest.approx([2 / 14, 8 / 14, 1 / 14])
    assert {dataset.sample(index, 0)["degradation"].label for index in (0, 7)} == {"rain"}


def test_a_training_set_alone_may_have_several_folders(pair_folders: Path) -> None:
    folders = [str(pair_folders / "gt")] * 2
    section = {"name": "rain", "type": "PairedImageDataset", "dataroot_gt": folders, "dataroot_lq": folders}
    more = {"datasets_balance": [2, 1], "gt_size": 16, "batch_size_per_gpu": 4}
    found = translated({"classify": False, "datasets": {"train": {**section, **more}}})["datasets"]["train"]
    assert (found["type"], list(found["tasks"]), found["ratios"]) == (
        "MultiTaskDataset",
        ["rain_1", "rain_2"],
        {"rain_1": 2},
    )
    assert (found["batch_size_per_gpu"], found["tasks"]["rain_1"]["gt_size"]) == (4, 16)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"dataroot_gt": ["gt"]}, "datasets.train_1.dataroot_lq: has 2 items, but dataroot_gt has 1; give"),
        ({"dataroot_gt": []}, "datasets.train_1.dataroot_gt: is empty; expected at least one folder"),
        ({"datasets_balance": [1]}, "datasets.train_1.datasets_balance: expected 2 whole numbers above 0"),
        ({"datasets_balance": [1, 0]}, "datasets.train_1.datasets_balance: expected 2 whole numbers above 0"),
        ({"dataroot_lq": ["gt", 3]}, "datasets.train_1.dataroot_lq.1: expected text, got 3"),
        ({"hist": True}, "datasets.train_1.hist: uir equalises no colours"),
        ({"prctile_norm": True}, "datasets.train_1.prctile_norm: uir stretches no images"),
    ],
)  # fmt: skip
def test_mistakes_in_lists_of_folders_are_told(
    write: Callable[[Form], Path], small: Form, changes: Form, said: str
) -> None:
    small["datasets"]["train_1"] |= {"dataroot_gt": ["gt", "gt"], "dataroot_lq": ["gt", "gt"], **changes}
    assert said in problem_of(write(small))


def test_a_set_of_a_folder_does_not_replace_another(write: Callable[[Form], Path], small: Form) -> None:
    small["datasets"]["train_1"] |= {"dataroot_gt": ["gt", "gt"], "dataroot_lq": ["gt", "gt"]}
    small["datasets"]["train_2"]["name"] = "rain_2"
    assert "datasets.train_2: rain_2 is the name of another set already" in problem_of(write(small))


def test_training_knows_no_centre_crop(small: Form) -> None:
    small["datasets"]["train_1"]["center_crop"] = 64
    found = translate(small, {})
    assert "center_crop" not in found.raw["datasets"]["train"]["tasks"]["rain"]
    assert "datasets.train_1.center_crop is left out (training crops at random)" in found.notes


def test_validation_sees_the_middle_of_the_images_and_their_labels(write: Callable[[Form], Path], small: Form) -> None:
    loaded = load_options(write(small))
    whole, middle = (build_dataset(load_options(write(form)), "val_1") for form in (uncropped(small), small))
    image, cut = whole[2]["gt"], middle[2]["gt"]
    assert image.shape == (3, 64, 72)
    assert torch.equal(cut, image[:, 20:44, 24:48])
    assert middle[2]["degradation"].label == "rain"
    assert loaded.options.datasets["val_1"].name == "rain_val"


def uncropped(form: Form) -> Form:
    form = copy.deepcopy(form)
    for section in form["datasets"].values():
        section.pop("center_crop", None)
    return form


@pytest.mark.parametrize(("where", "value"), [("datasets.val_1", 24), ("val", 24), ("dataloader_val", 24)])
def test_center_crop_may_be_a_size_and_stand_elsewhere(small: Form, where: str, value: int) -> None:
    form = uncropped(small)
    target: Any = form
    for key in where.split("."):
        target = target[key]
    target["center_crop"] = value
    found = translated(form)["datasets"]["val_1"]
    assert (found["type"], found["size"]) == ("CenterCropDataset", 24)


def test_metrics_round_as_image_range_says(small: Form) -> None:
    generator = torch.Generator().manual_seed(0)
    gt = torch.rand(1, 3, 16, 16, generator=generator)
    restored = (gt + 0.001 * torch.randn(gt.shape, generator=generator)).clamp(0, 1)
    metrics = {}
    for image_range in (255, 1.0):
        small["val"]["metrics"]["psnr"]["image_range"] = image_range
        metrics[image_range] = build_metric(translated(small)["val"]["metrics"]["psnr"])(restored, gt)

    def psnr(one: torch.Tensor, other: torch.Tensor) -> float:
        return float(-10 * torch.log10((one - other).double().square().mean()))

    assert metrics[1.0] == pytest.approx(psnr(restored, gt), abs=1e-4)
    rounded = [(image * 255).round() / 255 for image in (restored, gt)]
    assert metrics[255] == pytest.approx(psnr(rounded[0], rounded[1]), abs=1e-4)
    assert abs(metrics[1.0] - metrics[255]) > 0.1


def test_an_eta_min_for_each_period_is_a_cyclic_schedule(small: Form) -> None:
    small["train"]["scheduler"] |= {"periods": [2, 4], "restart_weights": [1, 1], "eta_min": [3e-4, 1e-6]}
    assert translated(small)["train"]["scheduler"] == {
        "type": "CosineAnnealingRestartCyclicLR", "periods": [2, 4], "restart_weights": [1, 1],
        "eta_mins": [3e-4, 1e-6],
    }  # fmt: skip


def test_switched_off_clipping_is_none_and_idle_keys_are_told(small: Form) -> None:
    small["grad_clip"] = False
    small["dataloader"]["gt_sizes"] = [128, 160]
    found = translate(small, {})
    assert "grad_clip" not in found.raw
    assert "gt_sizes" not in found.raw["datasets"]["train"]
    assert "gt_sizes of dataloader are ignored" in "; ".join(found.notes)


def test_clipping_may_be_said_twice_but_not_two_ways(write: Callable[[Form], Path], small: Form) -> None:
    small["grad_clip"] = small["train"]["grad_clip"] = 0.01
    file = write(small)
    assert load_options(file).options.grad_clip == 0.01
    found = problem_of(file, force=["train:grad_clip=1"])
    assert found.endswith("grad_clip: 0.01, but train.grad_clip is 1; keep one of them")


def test_a_file_that_does_not_classify_restores_alone(write: Callable[[Form], Path], small: Form) -> None:
    for key in ("network_dc", "hook_names"):
        del small[key]
    del small["train"]["optim_dc"], small["train"]["classify_opt"]
    small |= {"model_type": "SRModel", "classify": False}
    loaded = load_options(write(small))
    assert "classify" not in loaded.raw
    assert "labels" not in loaded.raw["train"]
    assert "label" not in loaded.raw["datasets"]["val_1"]["dataset"]


def test_a_validation_set_that_is_not_classified_has_no_label(small: Form) -> None:
    small["datasets"]["val_2"]["classify"] = False
    found = translated(small)["datasets"]
    assert ["label" in found[f"val_{number}"]["dataset"] for number in range(1, 6)] == [True, False, True, True, True]


def test_hooks_name_feature_points(small: Form) -> None:
    small["hook_names"] = ["decoder1"]
    assert translated(small)["train"]["taps"] == ["decoders.1"]


def test_the_draws_are_labelled_by_task(write: Callable[[Form], Path], small: Form) -> None:
    stream = training_stream(load_options(write(small)))
    seen = {label for _ in range(12) for label in stream.next()["degradation"].labels}
    assert seen == set(NAMES)


@pytest.mark.parametrize(("decay", "said"), [(0.9, "MaskDCPT's code has no table of layers for NAFNet"), (1.0, "")])
def test_one_learning_rate_for_all_layers(write: Callable[[Form], Path], decay: float, said: str) -> None:
    file = write({**fine_tuning(), "layer_decay": decay})
    if said:
        assert said in problem_of(file)
    else:
        assert "layer_decay" not in load_options(file).raw


def published_layer(name: str) -> int:
    """A parameter's layer, by the published rule: what its name starts with, and its first part's last digit."""
    first = name.partition(".")[0]
    if first == "patch_embed":
        return 0
    if first == "latent":
        return 3
    if first.startswith(("encoder_level", "down")):
        return int(first[-1]) - 1
    if first.startswith(("decoder", "up", "reduce", "prompt", "noise")):
        return int(first[-1]) + 3
    return 7


def test_the_layers_of_mask_dcpt_have_the_published_rates(write: Callable[[Form], Path]) -> None:
    form = {**fine_tuning(), "layer_decay": 0.8}
    small: Form = {"dim": 4, "num_blocks": [1] * 4, "num_refinement_blocks": 1, "heads": [1] * 4}
    form["network_g"] = {
        "type": "PromptIR",
        **small,
        "prompt_dims": [4] * 3,
        "prompt_len": 2,
        "prompt_sizes": [8, 4, 2],
    }
    form["train"]["optim_g"] = {"type": "AdamW", "lr": 3e-4, "weight_decay": 0.1}
    model: Any = build_model(load_options(write(form)), torch.device("cpu"))
    model.update_learning_rate(1)
    names = iter(model.parameter_names["g"])
    layers = set()
    for group in model.optimizers[0].param_groups:
        for parameter, name in zip(group["params"], names, strict=False):
            assert parameter is dict(model.bare["g"].named_parameters())[name]
            layers.add(published_layer(name))
            assert group["lr"] == pytest.approx(3e-4 * 0.8 ** (7 - published_layer(name)), rel=1e-12), name
            assert group["weight_decay"] == (0.0 if parameter.ndim == 1 else 0.1), name
    assert layers == set(range(8))
