"""Checkpoints that hold something else than a network's numbers: one clear line for each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from uir.core.checkpoint import CheckpointError, load_weights, read_file, read_weights

KEY = "weight"


def refusal(tmp_path: Path, content: Any) -> str:
    """What is said about a file, in one line and without its name."""
    file = tmp_path / "x.pth"
    torch.save(content, file)
    with pytest.raises(CheckpointError) as caught:
        load_weights(nn.Linear(4, 4), file)
    text = str(caught.value)
    assert text.startswith(f"{file}: ")
    assert len(text.splitlines()) == 1
    return text.removeprefix(f"{file}: ")


@pytest.mark.parametrize("key", [0, None, (1, 2), b"weight"])
def test_a_key_that_is_no_name(tmp_path: Path, key: Any) -> None:
    said = refusal(tmp_path, {"params": {**nn.Linear(4, 4).state_dict(), key: torch.zeros(4, 4)}})
    assert said == f"expected the names of weights as keys, got {key!r}; save a state dict"


@pytest.mark.filterwarnings("ignore")  # torch's own, of kinds of tensors that it has given up or not finished
@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda w: w.to_sparse(), "is a tensor that is sparse"),
        (lambda w: w.to_sparse_csr(), "is a tensor that is sparse"),
        (lambda w: w.to("meta"), "is a tensor that is without values"),
        (lambda w: torch.quantize_per_tensor(w, 0.1, 0, torch.qint8), "is a tensor that is quantised"),
        (lambda w: torch.nested.nested_tensor([w, w]), "is a tensor that is nested"),
        (lambda w: w.to(torch.complex64), "holds complex64, the network expects float32"),
        (lambda w: w.to(torch.int64), "holds int64, the network expects float32"),
        (lambda w: w.bool(), "holds bool, the network expects float32"),
    ],
)
def test_a_tensor_of_another_kind(tmp_path: Path, change: Callable[[Tensor], Tensor], says: str) -> None:
    state = nn.Linear(4, 4).state_dict()
    assert refusal(tmp_path, {**state, KEY: change(state[KEY])}).startswith(f"{KEY} {says}")


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16, torch.float8_e4m3fn])
def test_numbers_of_another_width_load(tmp_path: Path, dtype: torch.dtype) -> None:
    network = nn.Linear(4, 4)
    torch.save({**network.state_dict(), KEY: torch.full((4, 4), 0.5, dtype=dtype)}, tmp_path / "x.pth")
    load_weights(network, tmp_path / "x.pth")
    assert bool((network.weight == 0.5).all())


def test_a_mapping_that_contains_itself(tmp_path: Path) -> None:
    content: dict[str, Any] = {KEY: torch.zeros(1)}
    content["params"] = content
    assert refusal(tmp_path, content).startswith("a mapping or list in it contains itself")


@pytest.mark.parametrize(
    ("card", "says"),
    [
        ({"scale": "2"}, "`scale` on its card is to be an integer, it is '2'"),
        ({"scale": 2.0}, "`scale` on its card is to be an integer, it is 2.0"),
        ({"scale": True}, "`scale` on its card is to be an integer, it is True"),
        ({"scale": 10**20}, "`scale` on its card is to be at least 1 and at most 64"),
        ({"arch": "NAFNet"}, "`arch` on its card is to be a mapping, it is 'NAFNet'"),
        ({"arch": {"type": 3}}, "`arch.type` on its card is to be the name of a class"),
        ({"labels": [1, 2]}, "`labels` on its card are to be texts"),
    ],
)
def test_a_card_of_another_kind(tmp_path: Path, card: dict[str, Any], says: str) -> None:
    assert says in refusal(tmp_path, {"params": nn.Linear(4, 4).state_dict(), "card": card})


@pytest.mark.parametrize("width", ["wide", None, [4], 4.0, -4])
def test_a_width_of_another_kind(tmp_path: Path, width: Any) -> None:
    from uir.inference.restorer import Restorer
    from uir.registry.components import build_network

    arch = {"type": "NAFNet", "width": 4, "enc_blk_nums": [1], "dec_blk_nums": [1]}
    card = {"arch": {**arch, "width": width}, "scale": 1, "predictor": {"type": "NetworkPredictor"}}
    torch.save({"params": build_network(arch).state_dict(), "card": card}, tmp_path / "x.pth")
    assert read_weights(tmp_path / "x.pth")[1]["scale"] == 1
    with pytest.raises(ValueError, match=r"x\.pth: NAFNet cannot be built as its card describes it") as caught:
        Restorer.from_pretrained(tmp_path / "x.pth", device="cpu")
    assert len(str(caught.value).splitlines()) == 1


def test_the_message_of_a_wild_card_is_short(tmp_path: Path) -> None:
    file = tmp_path / "net.pth"
    torch.save({"params": {}, "card": {"labels": list(range(1000))}}, file)
    with pytest.raises(CheckpointError) as raised:
        read_file(file)
    assert len(str(raised.value)) == 300
