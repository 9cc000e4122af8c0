"""Exports give what the network gives, and ONNX models restore like networks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from arch_configs import ARCH_CONFIGS
from small_networks import build_network
from small_release import small_release
from torch import Tensor

from uir import Restorer
from uir.cli import run
from uir.core.checkpoint import CheckpointError, read_weights, roles_in, write_checkpoint
from uir.core.images import write_image
from uir.inference import exporting
from uir.inference.exporting import export
from uir.inference.image_files import restore_files

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


def image(height: int, width: int) -> Tensor:
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(3))


def blur(file: Path, sides: tuple[Any, Any] = ("h", "w"), card: dict[str, Any] | None = None) -> Path:
    """A model of another program: the mean of 3×3 pixels, for each colour."""
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    weight = helper.make_tensor("weight", kind, [3, 1, 3, 3], [1 / 9] * 27)
    node = helper.make_node("Conv", ["in", "weight"], ["out"], pads=[1, 1, 1, 1], group=3)
    ends = [helper.make_tensor_value_info(name, kind, [1, 3, *sides]) for name in ("in", "out")]
    model = helper.make_model(helper.make_graph([node], "blur", ends[:1], ends[1:], [weight]))
    model.ir_version = 10
    model.opset_import[0].version = 18
    if card is not None:
        helper.set_model_props(model, {"uir": json.dumps(card)})
    onnx.save(model, file)
    return file


def blurred(lq: Tensor) -> Tensor:
    return torch.nn.functional.conv2d(lq, torch.full((3, 1, 3, 3), 1 / 9), padding=1, groups=3).clamp(0, 1)


@pytest.mark.parametrize("tile", [None, 32])
def test_a_model_of_another_program_restores(tmp_path: Path, tile: int | None) -> None:
    restorer = Restorer.from_pretrained(blur(tmp_path / "blur.onnx"), tile=tile, device="cpu")
    lq = image(41, 60)
    torch.testing.assert_close(restorer.restore_tensor(lq), blurred(lq), atol=1e-6, rtol=0)


def test_a_model_of_one_size_restores_in_tiles_of_it(tmp_path: Path) -> None:
    restorer = Restorer.from_pretrained(blur(tmp_path / "blur.onnx", (32, 32)), device="cpu")
    lq = image(50, 70)
    restored, expected = restorer.restore_tensor(lq), blurred(lq)
    torch.testing.assert_close(restored[..., :49, :69], expected[..., :49, :69], atol=1e-6, rtol=0)
    assert restorer.restore_tensor(image(9, 12)).shape == (1, 3, 9, 12)


def of_one_size(file: Path, side: int) -> Path:
    """A model that says to take any size, and fails on all but one."""
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    added = helper.make_tensor("added", kind, [1, 3, side, side], [0.0] * (3 * side * side))
    node = helper.make_node("Add", ["in", "added"], ["out"])
    ends = [helper.make_tensor_value_info(name, kind, [1, 3, "h", "w"]) for name in ("in", "out")]
    model = helper.make_model(helper.make_graph([node], "of one size", ends[:1], ends[1:], [added]))
    model.ir_version = 10
    model.opset_import[0].version = 18
    onnx.save(model, file)
    return file


def test_an_image_that_a_model_fails_on_stops_no_other(tmp_path: Path) -> None:
    restorer = Restorer.from_pretrained(of_one_size(tmp_path / "it.onnx", 64), device="cpu", tile=None)
    write_image(tmp_path / "in" / "a.png", image(40, 40)[0])
    write_image(tmp_path / "in" / "b.png", image(64, 64)[0])
    outcome = restore_files(restorer, tmp_path / "in", tmp_path / "out")
    assert [file.name for file in outcome.written] == ["b.png"]
    assert [Path(name).name for name in outcome.failed] == ["a.png"]
    with pytest.raises(CheckpointError, match=r"other.onnx: fails on an image of 64×64 pixels"):
        Restorer.from_pretrained(of_one_size(tmp_path / "other.onnx", 32), device="cpu")


def test_a_card_in_the_file_says_the_multiple(tmp_path: Path) -> None:
    file = blur(tmp_path / "blur.onnx", card={"pad_multiple": 8, "labels": ["rain"]})
    restorer = Restorer.from_pretrained(file, device="cpu")
    assert (restorer.multiple, restorer.predictor.labels) == (8, ("rain",))


def test_files_that_are_no_such_model_are_refused(tmp_path: Path) -> None:
    (tmp_path / "bad.onnx").write_bytes(b"nonsense")
    with pytest.raises(CheckpointError, match=r"bad.onnx: onnxruntime cannot load it"):
        Restorer.from_pretrained(tmp_path / "bad.onnx")
    with pytest.raises(CheckpointError, match="for images of any size, or of one square size"):
        Restorer.from_pretrained(blur(tmp_path / "wide.onnx", (32, 64)))
    with pytest.raises(CheckpointError, match=r"no.onnx: there is no such file"):
        Restorer.from_pretrained(tmp_path / "no.onnx")


def test_a_released_model_comes_out_of_a_release_and_of_a_run(tmp_path: Path) -> None:
    given = small_release(tmp_path / "it.safetensors", temperature=2.0)
    run(["export", "-o", str(tmp_path / "again.safetensors"), "--model", str(given)])
    assert roles_in(tmp_path / "again.safetensors") == ("g", "dc")
    assert read_weights(tmp_path / "again.safetensors", role="dc")[1]["temperature"] == 2.0
    lq = image(20, 24)
    restored = [Restorer.from_pretrained(file).restore_tensor(lq) for file in (given, tmp_path / "again.safetensors")]
    assert torch.equal(*restored)


def test_what_cannot_be_exported_is_said(tmp_path: Path) -> None:
    model = small_release(tmp_path / "it.safetensors")
    with pytest.raises(ValueError, match=r"it.onnx: expected a name that ends in .pt2 for --format torch"):
        export(model, tmp_path / "it.onnx", "torch")
    with pytest.raises(ValueError, match=r"--size: expected a multiple of 4"):
        export(model, tmp_path / "it.onnx", "onnx", size=33)


def written(name: str, folder: Path) -> tuple[Path, torch.nn.Module]:
    network = build_network(name, moved=0.1)
    card = {"arch": {"type": name, **ARCH_CONFIGS[name]}, "scale": network.scale}
    write_checkpoint(folder / "net.pth", {"params": network.state_dict()}, card)
    return folder / "net.pth", network


@pytest.mark.slow
@pytest.mark.parametrize("name", ["HalfNAFNet", "NAFNet", "PromptIR", "Restormer", "SwinIR"])
def test_onnx_takes_any_size_and_gives_what_the_network_gives(tmp_path: Path, name: str) -> None:
    model, network = written(name, tmp_path)
    exported = run(["export", "-o", str(tmp_path / "net.onnx"), "--model", str(model)])
    assert exported.any_size
    assert len(set(exported.checked)) == 2
    assert exported.difference < 1e-4
    lq = image(40, 56)
    restorer = Restorer.from_pretrained(tmp_path / "net.onnx", device="cpu")
    with torch.no_grad():
        expected = network(lq).clamp(0, 1)
    torch.testing.assert_close(restorer.restore_tensor(lq), expected, atol=1e-4, rtol=0)


@pytest.mark.slow
def test_torchs_program_runs_without_uir_and_a_wrong_one_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, network = written("NAFNet", tmp_path)
    exported = export(model, tmp_path / "net.pt2", "torch", size=32)
    assert (exported.any_size, exported.size, exported.checked) == (False, 32, [(32, 32)])
    lq = image(32, 32)
    with torch.no_grad():
        torch.testing.assert_close(torch.export.load(tmp_path / "net.pt2").module()(lq), network(lq), atol=1e-5, rtol=0)
    monkeypatch.setattr(exporting, "TOLERANCE", -1.0)
    with pytest.raises(ValueError, match="is not written, because it differs from the network by"):
        export(model, tmp_path / "other.pt2", "torch", size=32)
    assert not (tmp_path / "other.pt2").exists()
