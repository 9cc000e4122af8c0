"""What can be known of a run before it starts: missing files are told, unfit networks are mistakes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from uir.cli import main
from uir.config.options import OptionError, load_options

Write = Callable[..., Path]
NAFNET = {"type": "NAFNet", "width": 4, "enc_blk_nums": [1], "dec_blk_nums": [1]}


def call(*arguments: object) -> int:
    """Run the command in this process; its exit code."""
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    return int(stop.value.code or 0)


@pytest.fixture
def dcpt(write_options: Write) -> Callable[..., Path]:
    """Writes a file that pre-trains a network by DCPT or MaskDCPT."""

    def write(model_type: str, network: dict[str, Any], plugin: str = "", **train: Any) -> Path:
        classify = {"type": "CrossEntropyLoss"}
        changes = {
            "model_type": model_type, "scale": 1, "network_g": network, "network_dc": {"type": "FeatureClassifier"},
            "train.classify_opt": classify, "train.optim_dc": {"type": "Adam", "lr": 1e-3}, "val": None,
            "train.labels": ["noise", "haze"], "plugins": ["./small_net.py", *(["./bare.py"] if plugin else [])],
        }  # fmt: skip
        file = write_options({**changes, **{f"train.{key}": value for key, value in train.items()}})
        (file.parent / "bare.py").write_text(plugin)
        return file

    return write


def problems_of(file: Path, **arguments: Any) -> str:
    with pytest.raises(OptionError) as caught:
        load_options(file, **arguments)
    return str(caught.value)


@pytest.mark.parametrize("model_type", ["DCPTModel", "MaskDCPTModel"])
def test_a_backbone_without_feature_points_is_a_mistake(dcpt: Callable[..., Path], model_type: str) -> None:
    text = problems_of(dcpt(model_type, {"type": "PixelShuffleSR", "scale": 1}))
    assert f"network_g (PixelShuffleSR) has no method feature_points(), which {model_type} needs" in text


@pytest.mark.parametrize("model_type", ["DCPTModel", "MaskDCPTModel"])
def test_a_backbone_with_all_that_is_needed_is_right(dcpt: Callable[..., Path], model_type: str) -> None:
    assert load_options(dcpt(model_type, NAFNET)).options.model_type == model_type


BARE = """
from torch import nn
from uir.layers.features import FeaturePoint
from uir.registry import ARCH_REGISTRY
@ARCH_REGISTRY.register()
class {name}(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Conv2d(3, 3, 1)
    def feature_points(self):
        return {points}
    def forward(self, lq):
        return self.body(lq)
"""


def test_masking_a_backbone_without_encoder_blocks_is_a_mistake_unless_the_file_names_them(
    dcpt: Callable[..., Path],
) -> None:
    plugin = BARE.format(name="BareNet", points="[FeaturePoint('body', 3, 1)]")
    text = problems_of(dcpt("MaskDCPTModel", {"type": "BareNet"}, plugin))
    assert "has no method encoder_blocks(), which MaskDCPTModel needs" in text
    assert "or name the modules in train.remask" in text
    for remask in ([], ["body"]):
        assert load_options(dcpt("MaskDCPTModel", {"type": "BareNet"}, plugin, remask=remask)).is_train
    assert load_options(dcpt("MaskDCPTModel", {"type": "BareNet"}, plugin), is_train=False).options.train is not None


@pytest.mark.parametrize(
    ("name", "points", "says"),
    [
        ("PointlessNet", "[]", "names nothing"),
        ("WrongNet", "[FeaturePoint('bodi', 3, 1)]", "names 'bodi', which is no module of it"),
        ("FailingNet", "self.nothing", "fails: AttributeError"),
    ],
)
def test_feature_points_that_cannot_be_used_are_a_mistake(
    dcpt: Callable[..., Path], name: str, points: str, says: str
) -> None:
    file = dcpt("DCPTModel", {"type": name}, BARE.format(name=name, points=points))
    assert f"network_g ({name}): its method feature_points() {says}" in problems_of(file)


def test_missing_files_are_told_and_are_no_mistake(write_options: Write, capsys: pytest.CaptureFixture[str]) -> None:
    file = write_options({"datasets.val.dataroot_gt": "/nowhere/gt", "path.pretrain_network_g": "x.pth"})
    assert call("check", "-opt", file) == 0
    out = capsys.readouterr().out
    assert "datasets.val.dataroot_gt: there is no /nowhere/gt" in out
    assert f"path.pretrain_network_g: there is no {file.parents[1]}/x.pth" in out
    assert out.splitlines()[-1] == f"{file}: valid, but it names 2 files or folders that do not exist"
    assert call("check", "-opt", file, "--json") == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["ok"], len(answer["missing"])) == (True, 2)


def test_a_folder_that_a_run_makes_is_not_missing(write_options: Write) -> None:
    assert load_options(write_options({"path.experiments_root": "to_be_made"})).absent == ()


@pytest.mark.parametrize(("model", "role"), [("SRModel", "g"), ("basicsr:ESRGANModel", "d")])
def test_a_network_that_basicsr_s_own_models_read_is_required(
    write_options: Write, basicsr: Any, model: str, role: str
) -> None:
    changes = {"model_type": f"basicsr:{model}", "network_g": None} if role == "g" else {"model_type": model}
    assert f"network_{role} is missing; {changes['model_type']} needs it" in problems_of(write_options(changes))
