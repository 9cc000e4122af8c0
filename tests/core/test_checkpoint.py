from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from uir.core.checkpoint import CheckpointError, digest, load_weights, read_weights, write_checkpoint


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 3, 3))


@pytest.mark.parametrize("form", ["params", "params_ema", "state_dict", "raw", "module", "safetensors"])
def test_every_usual_form_loads(tmp_path: Path, form: str) -> None:
    state = network().state_dict()
    file = tmp_path / ("x.safetensors" if form == "safetensors" else "x.pth")
    if form == "safetensors":
        save_file(state, file)
    elif form == "raw":
        torch.save(state, file)
    elif form == "module":
        torch.save({"params": {f"module.{key}": value for key, value in state.items()}}, file)
    else:
        torch.save({form: state}, file)
    target = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 3, 3))
    load_weights(target, file)
    assert all(torch.equal(state[key], value) for key, value in target.state_dict().items())


def test_the_moving_average_is_preferred_unless_asked_otherwise(tmp_path: Path) -> None:
    file = tmp_path / "x.pth"
    torch.save({"params": {"a": torch.zeros(1)}, "params_ema": {"a": torch.ones(1)}}, file)
    assert read_weights(file)[0]["a"] == 1
    assert read_weights(file, "params")[0]["a"] == 0


def test_a_misfit_lists_the_differences(tmp_path: Path) -> None:
    file = tmp_path / "x.pth"
    state = network().state_dict()
    state["extra"] = state.pop("1.bias")
    state["0.weight"] = torch.zeros(5, 3, 3, 3)
    torch.save(state, file)
    with pytest.raises(CheckpointError) as caught:
        load_weights(network(), file)
    text = str(caught.value)
    assert "missing    1.bias" in text
    assert "unexpected extra" in text
    assert "0.weight: (5, 3, 3, 3) in the file, (4, 3, 3, 3) in the network" in text
    assert "  3 differences; is the network built with the arguments it was trained with?" in text


def test_differences_of_all_kinds_are_counted(tmp_path: Path) -> None:
    state = network().state_dict()
    state["extra"] = state.pop("1.bias")
    state["0.weight"], state["0.bias"] = torch.zeros(5, 3, 3, 3), torch.zeros(5)
    torch.save(state, tmp_path / "x.pth")
    with pytest.raises(CheckpointError, match="4 differences"):
        load_weights(network(), tmp_path / "x.pth")


def test_not_strict_loads_what_fits_and_says_what_does_not(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "x.pth"
    state = network().state_dict()
    del state["1.bias"]
    torch.save(state, file)
    target = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 3, 3))
    with caplog.at_level("WARNING", logger="uir"):
        load_weights(target, file, strict=False)
    assert torch.equal(target.state_dict()["0.weight"], state["0.weight"])
    assert "1 weights are left out, missing: 1.bias" in caplog.text


def test_weights_that_were_asked_for_by_name_must_be_there(tmp_path: Path) -> None:
    file = tmp_path / "x.pth"
    torch.save({"params": network().state_dict()}, file)
    with pytest.raises(CheckpointError, match="has no 'params_emma'; it has params"):
        read_weights(file, "params_emma", must_have=True)


def test_weights_that_fit_nowhere_are_refused_even_if_not_strict(tmp_path: Path) -> None:
    file = tmp_path / "x.pth"
    torch.save({"a": torch.zeros(1)}, file)
    with pytest.raises(CheckpointError, match="do not fit Sequential"):
        load_weights(network(), file, strict=False)


class Payload:
    def __reduce__(self) -> tuple[object, tuple[str, ...]]:
        return print, ("run!",)


def test_a_file_that_would_run_code_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "x.pth"
    file.write_bytes(pickle.dumps({"params": Payload()}))
    with pytest.raises(CheckpointError, match="cannot be read as weights"):
        read_weights(file)
    assert capsys.readouterr().out == ""


def test_the_card_holds_a_digest_of_the_tensors(tmp_path: Path) -> None:
    state = network().state_dict()
    write_checkpoint(tmp_path / "x.pth", {"params": state}, {"arch": {"type": "X"}})
    loaded, card = read_weights(tmp_path / "x.pth")
    assert card["sha256"]["params"] == digest(loaded)
    loaded["0.bias"][0] += 1
    assert card["sha256"]["params"] != digest(loaded)


def test_a_crash_while_writing_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "x.pth"
    write_checkpoint(file, {"params": {"a": torch.zeros(1)}}, {})
    monkeypatch.setattr(torch, "save", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        write_checkpoint(file, {"params": {"a": torch.ones(1)}}, {})
    assert read_weights(file)[0]["a"] == 0
    assert [p.name for p in tmp_path.iterdir()] == ["x.pth"]
