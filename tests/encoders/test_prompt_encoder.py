"""The text side of InstructIR: a table of words, or a sentence encoder in a folder (a stand-in for transformers)."""

from __future__ import annotations

import copy
import json
import sys
import types
from pathlib import Path
from typing import Any

import pytest
import torch
from arch_configs import ARCH_CONFIGS
from safetensors.torch import save_file
from small_networks import build_network

from uir.encoders.prompt_encoder import LMHead, PromptEncoder

HIDDEN = 5


class StandIn:
    """What the folder needs of transformers: a token for each word, whose state is its length on a wheel of numbers."""

    config = types.SimpleNamespace(hidden_size=HIDDEN)

    @classmethod
    def from_pretrained(cls, folder: str, local_files_only: bool) -> StandIn:
        assert local_files_only, "nothing may be downloaded"
        assert (Path(folder) / "config.json").is_file()
        return cls()

    def eval(self) -> StandIn:
        return self

    def requires_grad_(self, needed: bool) -> StandIn:
        assert not needed
        return self


class Tokenizer(StandIn):
    def __call__(self, sentences: list[str], padding: bool, truncation: bool, return_tensors: str) -> Any:
        ids = torch.tensor([[len(word) for word in sentence.split()] + [0] for sentence in sentences])
        return {"input_ids": ids, "attention_mask": (ids > 0).long()}


class Model(StandIn):
    def __call__(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> Any:
        return (torch.stack([(input_ids * (i + 1.0)).cos() for i in range(HIDDEN)], -1), None)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setitem(sys.modules, "transformers", types.SimpleNamespace(AutoTokenizer=Tokenizer, AutoModel=Model))
    (tmp_path / "config.json").write_text(json.dumps({"hidden_size": HIDDEN}))
    return tmp_path


@torch.no_grad()
def test_a_sentence_is_the_mean_of_its_real_tokens(folder: Path) -> None:
    encoder = PromptEncoder(["noise", "rain"], folder=folder, embedding_dim=HIDDEN, hidden_dim=3)
    lengths = torch.tensor([6.0, 3.0, 4.0])
    states = torch.stack([(lengths * (i + 1.0)).cos() for i in range(HIDDEN)], -1)
    expected = encoder.project(torch.nn.functional.normalize(states.mean(0), dim=0)[None])
    torch.testing.assert_close(encoder(["remove the rain"]).vector, expected.vector)
    assert encoder.unknown_words("zzz") == []


def test_the_folders_weights_are_not_in_the_checkpoint_and_published_heads_load(folder: Path, tmp_path: Path) -> None:
    encoder = PromptEncoder(["noise", "rain"], folder=folder, embedding_dim=HIDDEN, hidden_dim=3)
    encoder.load_state_dict(LMHead(HIDDEN, 3, 2).state_dict(), strict=True)
    assert copy.deepcopy(encoder).sentences is encoder.sentences
    with pytest.raises(ValueError, match=r"embedding_dim: 384, but .* vectors of 5 numbers; write embedding_dim: 5"):
        PromptEncoder(["noise"], folder=folder)


def test_without_transformers_or_an_encoder_the_error_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValueError, match=r"folder: .* holds no sentence encoder"):
        PromptEncoder(folder=tmp_path)
    (tmp_path / "config.json").write_text("{}")
    save_file({"x": torch.zeros(1)}, tmp_path / "model.safetensors")
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ImportError, match=r"needs transformers .*: pip install 'uir\[text\]'"):
        PromptEncoder(folder=tmp_path)


@torch.no_grad()
def test_words_count_without_order_and_unknown_ones_say_nothing() -> None:
    encoder = build_network("PromptEncoder")
    code = encoder(["remove the rain", "The rain: remove, my dear!", "remove the noise"])
    torch.testing.assert_close(code.vector[0], code.vector[1])
    assert not torch.allclose(code.vector[0], code.vector[2])
    torch.testing.assert_close(code.vector.norm(dim=1), torch.ones(3))
    assert encoder.unknown_words("The rain: remove, my dear dear!") == ["my", "dear"]
    with pytest.raises(ValueError, match=r"prompt: 'quelque chose' has no word .* it knows, among others, .*remove"):
        encoder(["quelque chose"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"words": []}, "needs words, or the folder"), ({"tasks": ["rain", "rain"]}, "expected different names")],
)
def test_refuses_what_does_not_fit(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PromptEncoder(**{**ARCH_CONFIGS["PromptEncoder"], **arguments})
