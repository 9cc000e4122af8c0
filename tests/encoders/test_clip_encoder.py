"""Embeddings by a CLIP in a folder; a stand-in takes the place of transformers."""

from __future__ import annotations

import copy
import sys
import types
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from uir.encoders.clip_encoder import MEAN, STD, CLIPEncoder

WIDTH, SIDE = 4, 8


class Tokenizer:
    """A token for each letter."""

    @classmethod
    def from_pretrained(cls, folder: str, local_files_only: bool) -> Tokenizer:
        assert local_files_only, "nothing may be downloaded"
        return cls()

    def __call__(self, texts: list[str], padding: bool, return_tensors: str) -> dict[str, torch.Tensor]:
        longest = max(map(len, texts))
        return {"input_ids": torch.tensor([[*map(ord, text), *[0] * (longest - len(text))] for text in texts])}


class Tower(nn.Module):
    """Means as its pooled output; it keeps what it got."""

    def forward(self, pixels: torch.Tensor | None = None, input_ids: torch.Tensor | None = None) -> Any:
        self.got = pixels if input_ids is None else input_ids.float()
        pooled = self.got.flatten(1).mean(1, keepdim=True) if input_ids is not None else self.got.mean((2, 3))
        return None, pooled.expand(-1, 3) if pooled.shape[1] == 1 else pooled


class Model(nn.Module):
    """What CLIPModel of transformers has, as far as it is used."""

    def __init__(self) -> None:
        super().__init__()
        self.config = types.SimpleNamespace(vision_config=types.SimpleNamespace(image_size=SIDE), projection_dim=WIDTH)
        self.text_model, self.vision_model = Tower(), Tower()
        self.text_projection, self.visual_projection = (nn.Linear(3, WIDTH, bias=False) for _ in range(2))
        self.logit_scale = nn.Parameter(torch.tensor(2.0))

    @classmethod
    def from_pretrained(cls, folder: str, local_files_only: bool) -> Model:
        assert local_files_only, "nothing may be downloaded"
        return cls()


@pytest.fixture
def encoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CLIPEncoder:
    stand_in = types.SimpleNamespace(AutoTokenizer=Tokenizer, CLIPModel=Model)
    monkeypatch.setitem(sys.modules, "transformers", stand_in)
    (tmp_path / "config.json").write_text("{}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return CLIPEncoder(tmp_path, types=("rainy", "hazy", "noisy"))


@torch.no_grad()
def test_content_is_the_image_and_the_vector_mixes_the_names_that_fit_it(encoder: CLIPEncoder) -> None:
    code = encoder(torch.rand(2, 3, 30, 44, generator=torch.Generator().manual_seed(0)))
    assert code.content.shape == code.vector.shape == (2, WIDTH)
    cosines = nn.functional.cosine_similarity(code.content[:, None], encoder.names[None], dim=2)
    torch.testing.assert_close(code.logits, torch.tensor(2.0).exp() * cosines)
    torch.testing.assert_close(code.vector, code.logits.softmax(1) @ encoder.names)


@torch.no_grad()
def test_images_are_resized_and_normalised_as_clip_expects(encoder: CLIPEncoder) -> None:
    encoder(torch.full((1, 3, 30, 44), 0.5))
    got = encoder.clip.model.vision_model.got
    expected = (torch.full((3,), 0.5) - torch.tensor(MEAN)) / torch.tensor(STD)
    assert got.shape == (1, 3, SIDE, SIDE)
    torch.testing.assert_close(got.mean((0, 2, 3)), expected, atol=1e-4, rtol=0)


def test_its_file_holds_the_names_alone_and_copies_share_the_clip(encoder: CLIPEncoder) -> None:
    assert list(encoder.state_dict()) == ["names"]
    assert list(encoder.parameters()) == []
    assert copy.deepcopy(encoder).clip is encoder.clip


def test_a_check_of_an_option_file_can_build_it(encoder: CLIPEncoder, tmp_path: Path) -> None:
    with torch.device("meta"):
        built = CLIPEncoder(tmp_path, types=("rainy",))
    assert built.names.isfinite().all()


def test_a_folder_without_a_clip_and_a_missing_library_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValueError, match=r"CLIPEncoder.folder: .* holds no CLIP"):
        CLIPEncoder(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ImportError, match=r"needs transformers .*pip install 'uir\[text\]'"):
        CLIPEncoder(tmp_path)
