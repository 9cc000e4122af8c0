"""The JSON Schema of option files: what it accepts, what it refuses, and what it tells an editor."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from schema_options import DELETED, OVERLAY, STAGES, TRAINING, changed, complaint

from uir.compat import basicsr_names
from uir.config.checks import check
from uir.config.json_schema import option_schema
from uir.config.options import load_options
from uir.config.yaml_file import parse_yaml, read_yaml
from uir.registry import REGISTRIES, UnknownNameError

pytestmark = pytest.mark.thorough

ROOT = Path(__file__).resolve().parents[3]
OPTION_FILES = sorted(file for kind in ("train", "test") for file in (ROOT / "options" / kind).rglob("*.yml"))
needs_basicsr = pytest.mark.skipif(not basicsr_names(), reason="basicsr is not installed")


# --- what it accepts ---


def test_it_is_a_schema(schema: dict[str, Any]) -> None:
    Draft202012Validator.check_schema(schema)
    assert schema["$schema"].endswith("2020-12/schema")


def test_every_reference_leads_somewhere(schema: dict[str, Any]) -> None:
    text = json.dumps(schema)
    for ref in {part.partition('"')[0] for part in text.split('"$ref": "')[1:]}:
        target: Any = schema
        for key in ref.removeprefix("#/").split("/"):
            assert key in target, ref
            target = target[key]


@pytest.mark.parametrize("file", OPTION_FILES, ids=lambda file: str(file.relative_to(ROOT / "options")))
def test_shipped_option_files_are_accepted(schema: dict[str, Any], file: Path) -> None:
    assert complaint(schema, read_yaml(file)[0]) == ""


@pytest.mark.parametrize("text", [TRAINING, STAGES, OVERLAY], ids=["training", "stages", "overlay"])
def test_files_as_people_write_them_are_accepted(schema: dict[str, Any], single: dict[str, Any], text: str) -> None:
    assert complaint(schema, parse_yaml(text)) == ""
    assert complaint(single, parse_yaml(text)) == ""


@pytest.mark.parametrize("text", [TRAINING, STAGES], ids=["training", "stages"])
def test_the_checker_accepts_the_same_files(text: str, tmp_path: Path) -> None:
    file = tmp_path / "run.yml"
    file.write_text(text.replace("plugins: [./mine.py]", "").replace("5e3", "5000"))
    assert load_options(file).options.model_type == "SRModel"


# --- what it refuses ---

MISTAKES = [
    ("train.ema_decya", 0.9, "ema_decya"),
    ("network_g.widht", 8, "widht"),
    ("network_g.type", "NAFNett", "NAFNett"),
    ("network_g.type", "uir:NAFNett", "uir:NAFNett"),
    ("network_g.width", "wide", "network_g.width: 'wide' is not of type 'integer'"),
    ("network_g", "NAFNet", "'NAFNet' is not of type 'object'"),
    ("network_g", DELETED, "'network_g' is a required property"),
    ("network_g.type", DELETED, "'type' is a required property"),
    ("network_h", {"type": "NAFNet"}, "network_h"),
    ("model_type", "SRModle", "SRModle"),
    ("model_type", DELETED, "model_type"),
    ("precision", "fp8", "precision: 'fp8'"),
    ("datasets", DELETED, "'datasets' is a required property"),
    ("datasets.valid", {"type": "PairedImageDataset"}, "valid"),
    ("datasets.train.batch_size_per_gpu", DELETED, "'batch_size_per_gpu' is a required property"),
    ("datasets.train.batch_size_per_gpu", 0, "less than the minimum"),
    ("datasets.train.use_flip", True, "use_flip"),
    ("datasets.train.tasks.haze.dataroot_gt", DELETED, "'dataroot_gt' is a required property"),
    ("datasets.train.tasks.haze.num_worker_per_gpu", 2, "num_worker_per_gpu"),
    ("datasets.train.tasks.haze.degradation.beta", "thick", "datasets.train.tasks.haze.degradation.beta"),
    ("datasets.train.tasks.mixed.degradation.steps.0.step.steps.1.gama", 2, "gama"),
    ("datasets.train.tasks.mixed.degradation.steps.1.type", "GaussNoise", "GaussNoise"),
    ("path.vgg_weights", "a.pth", "vgg_weights"),
    ("path.strict_load_g", "yes", "strict_load_g"),
    ("train.total_iter", "fast", "train.total_iter: 'fast'"),
    ("train.total_iter", DELETED, "'total_iter' is a required property"),
    ("train.optim_g", DELETED, "'optim_g' is a required property"),
    ("train.optim_g.lr", "fast", "train.optim_g.lr: 'fast'"),
    ("train.optim_g.lr", DELETED, "'lr' is a required property"),
    ("train.optim_g.betas", "high", "train.optim_g.betas: 'high'"),
    ("train.optim_g.type", "Adamm", "Adamm"),
    ("train.scheduler.gama", 0.5, "gama"),
    ("train.scheduler.type", "CosineLR", "CosineLR"),
    ("train.pixel_opt.reduction", 3, "reduction"),
    ("train.frequency_opt.type", "FTLoss", "FTLoss"),
    ("train.grad_clip.max_nrom", 1, "max_nrom"),
    ("val.metrics.psnr.crop_border", DELETED, "'crop_border' is a required property"),
    ("val.metrics.psnr.test_y_chanel", True, "test_y_chanel"),
    ("val.metrics.psnr.img", 1, "img"),
    ("logger.print_freq", 0, "logger.print_freq: 0 is less than the minimum"),
    ("logger.wandb.projekt", "a", "projekt"),
]


@pytest.mark.parametrize(("key", "value", "message"), MISTAKES, ids=[f"{m[0]}={m[1]}"[:60] for m in MISTAKES])
def test_mistakes_are_refused_by_the_schema_and_by_the_checker(
    schema: dict[str, Any], tmp_path: Path, key: str, value: Any, message: str
) -> None:
    raw = changed(TRAINING, key, value)
    assert message in complaint(schema, raw)
    if (key, value) != ("path.strict_load_g", "yes"):  # which the checker takes for true
        assert check(copy.deepcopy(raw), {}, tmp_path, True).problems


@pytest.mark.parametrize(
    "key", ["pixel_opt", "frequency_opt", "optim_g", "scheduler", "val", "network_g", "ema_decay", "path"]
)
def test_null_deletes_a_key_in_a_stage(schema: dict[str, Any], single: dict[str, Any], key: str) -> None:
    raw = changed(STAGES, f"train.stages.1.{key}", None)
    assert complaint(schema, raw) == ""
    assert complaint(single, raw) == ""


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("train.stages.0.iterations", DELETED, "'iterations' is a required property"),
        ("train.stages.0.los", [], "los"),
        ("train.stages.1.optim_g.lr", "fast", "fast"),
        ("train.stages.1.frequency_opt", "FFTLoss", "train.stages.1.frequency_opt: 'FFTLoss'"),
        ("train.stages.1.model_type", "SRModle", "SRModle"),
        ("train.total_iter", 5, "total_iter"),
        ("train.stages", [], "[]"),
    ],
)
def test_mistakes_in_stages_are_refused(schema: dict[str, Any], key: str, value: Any, message: str) -> None:
    assert message in complaint(schema, changed(STAGES, key, value))


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("train.ema_decya", 0.9, "ema_decya"),
        ("network_g.width", "wide", ""),  # nobody knows yet which network it is
        ("network_g", {"type": "NAFNet", "widht": 3}, "widht"),
        ("network_g", {"type": "NAFNet", "width": "wide"}, "wide"),
        ("logger", {"print_freq": "often"}, "often"),
        ("networks", {}, "networks"),
    ],
)
def test_files_with_a_base_are_checked_as_far_as_they_go(
    schema: dict[str, Any], key: str, value: Any, message: str
) -> None:
    found = complaint(schema, changed(OVERLAY, key, value))
    assert (message in found) if message else (found == "")


# --- what it tells ---


def test_names_come_with_the_first_line_of_their_docstring(schema: dict[str, Any]) -> None:
    choice = schema["$defs"]["archs"]["properties"]["type"]["anyOf"][0]
    told = dict(zip(choice["enum"], choice["enumDescriptions"], strict=True))
    assert told["NAFNet"].startswith("U-shaped NAFNet.")
    for kind in ("archs", "losses", "metrics", "datasets", "degradations"):
        offered = schema["$defs"][kind]["properties"]["type"]["anyOf"][0]["enum"]
        assert offered == [entry.name for entry in REGISTRIES[kind].entries()]


def test_arguments_come_with_type_default_and_description(schema: dict[str, Any]) -> None:
    assert schema["$defs"]["archs.NAFNet"]["properties"]["width"] == {
        "description": "channels at full resolution; they double at each level.",
        "type": "integer",
        "default": 16,
    }
    assert schema["$defs"]["metrics.SSIM"]["properties"]["window"]["enum"] == ["gaussian", "uniform", None]
    assert schema["$defs"]["optimizers.AdamW"]["properties"]["betas"]["default"] == [0.9, 0.999]
    assert "milestones" in schema["$defs"]["schedulers.MultiStepLR"]["properties"]
    assert "params" not in schema["$defs"]["optimizers.AdamW"]["properties"]


def test_arguments_that_a_method_supplies_are_not_asked_for(schema: dict[str, Any]) -> None:
    raw = changed(TRAINING, "model_type", "DCPTModel")
    raw["network_dc"] = {"type": "FeatureClassifier"}
    raw["train"] |= {"optim_dc": {"type": "Adam", "lr": 1e-4}, "classify_opt": {"type": "FocalLoss"}}
    del raw["train"]["frequency_opt"], raw["train"]["perceptual_opt"]
    assert complaint(schema, raw) == ""


def test_observers_are_checked_like_other_components(schema: dict[str, Any]) -> None:
    assert "Nobody" in complaint(schema, changed(TRAINING, "val.observers", {"mine": {"type": "Nobody"}}))


SECTIONS = [
    "Options", "PathOptions", "TrainOptions", "ValOptions", "LoggerOptions", "LoaderOptions", "ClipOptions",
    "WandbOptions", "Options.SRModel", "TrainOptions.BlindSRModel", "PathOptions.any", "Stage",
]  # fmt: skip


@pytest.mark.parametrize("section", SECTIONS)
def test_every_key_of_a_section_is_described(schema: dict[str, Any], section: str) -> None:
    definition = schema["$defs"][section]
    undescribed = [
        key
        for key, value in definition["properties"].items()
        if "/properties/" not in value.get("$ref", "") and not value.get("description")
    ]
    assert undescribed == [], f"{section}: give these keys of uir/config/schema.py a description"


def test_it_is_small_and_always_the_same(schema: dict[str, Any]) -> None:
    text = json.dumps(schema)
    assert len(text) < 1_200_000
    assert json.dumps(option_schema()) == text


def test_one_method_alone_is_smaller_and_an_unknown_one_an_error(
    schema: dict[str, Any], single: dict[str, Any]
) -> None:
    assert len(json.dumps(single)) <= len(json.dumps(schema))
    assert "SwinIRModel" in complaint(single, changed(TRAINING, "model_type", "SwinIRModel"))
    with pytest.raises(UnknownNameError, match="nearest: SRModel"):
        option_schema("SRModle")


def test_neither_torch_nor_basicsr_is_imported_without_need() -> None:
    code = (
        "import sys, uir.config.json_schema as j\n"
        "assert 'torch' not in sys.modules\n"
        "j.option_schema()\n"
        "assert 'basicsr' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


# --- basicsr ---


@needs_basicsr
def test_basicsr_classes_are_named_and_their_arguments_open(schema: dict[str, Any]) -> None:
    assert complaint(schema, changed(TRAINING, "network_g", {"type": "MSRResNet", "num_feat": 8})) == ""
    assert complaint(schema, changed(TRAINING, "network_g", {"type": "basicsr:MSRResNet"})) == ""
    assert "MSRResnet" in complaint(schema, changed(TRAINING, "network_g", {"type": "MSRResnet"}))
    assert complaint(schema, changed(TRAINING, "train.pixel_opt", {"type": "basicsr:L1Loss", "reduction": "sum"})) == ""


@needs_basicsr
def test_basicsr_datasets_and_models_have_the_keys_of_the_table(schema: dict[str, Any]) -> None:
    faces = {"type": "FFHQDataset", "dataroot_gt": "a", "batch_size_per_gpu": 1}
    assert complaint(schema, changed(TRAINING, "datasets.train", faces)) == ""
    assert "dataroot_lq" in complaint(schema, changed(TRAINING, "datasets.train", {**faces, "dataroot_lq": "a"}))
    gan = changed(TRAINING, "model_type", "ESRGANModel")
    del gan["train"]["frequency_opt"]
    gan["network_d"] = {"type": "VGGStyleDiscriminator", "num_in_ch": 3, "num_feat": 8}
    gan_loss = {"type": "GANLoss", "gan_type": "vanilla"}
    gan["train"] |= {"net_d_iters": 1, "optim_d": {"type": "Adam", "lr": 1e-4}, "gan_opt": gan_loss}
    assert complaint(schema, gan) == ""
    gan["train"]["net_d_itres"] = 1
    assert "net_d_itres" in complaint(schema, gan)


def test_rules_between_keys_are_left_to_the_checker(schema: dict[str, Any], tmp_path: Path) -> None:
    raw = changed(TRAINING, "datasets.train", DELETED)
    assert complaint(schema, raw) == ""
    assert any("lacks `train`" in problem.message for problem in check(raw, {}, tmp_path, True).problems)
