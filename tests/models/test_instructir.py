"""InstructIR's training and restoring: sentences by label, the loss on intentions, the control `prompt`."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from model_configs import instructir_changes

from uir.config.options import load_options
from uir.degradations.record import DegradationRecord, RecordBatch
from uir.inference.predictor import Running, predict
from uir.models.building import build_model
from uir.models.prompts import SHIPPED, read_prompts

Write = Callable[..., Path]


class Labelled:
    """What a method asks of a training set of two tasks."""

    labels = ("noise_15", "rain")


@pytest.fixture
def model(write_options: Write, pair_folders: Path) -> Any:
    loaded = load_options(write_options({**instructir_changes(pair_folders), "model_type": "InstructIRModel"}))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield build_model(loaded, torch.device("cpu"), dataset=Labelled())


def batch_of(*labels: str) -> dict[str, Any]:
    images = torch.rand(len(labels), 3, 16, 16, generator=torch.Generator().manual_seed(0))
    return {
        "lq": images,
        "gt": images,
        "degradation": RecordBatch(DegradationRecord(None, label=name) for name in labels),
    }


def test_shipped_sentences_are_many_and_each_says_one_thing() -> None:
    prompts = read_prompts()
    for label, sentences in prompts.by_degradation.items():
        assert len(sentences) >= 30, label
        assert len(set(sentences)) == len(sentences), label
    assert prompts.of("noise_15") == prompts.of("noise")
    with pytest.raises(ValueError, match=r"prompts.yml: has no sentences for the label 'fire', only for noise, blur"):
        prompts.of("fire")


def test_a_file_of_another_form_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "mine.yml"
    for text, message in (("a: 1", "needs a sentence `general`"), ("general: a\ndegradations: {fire: [1]}", "a list")):
        file.write_text(text)
        with pytest.raises(ValueError, match=message):
            read_prompts(file)
    file.write_text("general: do it\ndegradations: {fire: [Put out the fire]}")
    assert read_prompts(file).of("fire") == ("Put out the fire",)
    assert SHIPPED.is_file()


def test_a_sample_gets_a_sentence_for_its_label(model: Any) -> None:
    model.feed_data(batch_of("rain", "noise_15", "rain", "rain"))
    prompts = model.value("prompt")
    sentences = read_prompts()
    expected = [sentences.of(name) for name in ("rain", "noise", "rain", "rain")]
    assert all(prompt in choices for prompt, choices in zip(prompts, expected, strict=True))
    assert len(set(prompts)) > 2
    assert model.value("intent_index").tolist() == [1, 0, 1, 1]
    model.feed_data({**batch_of("rain"), "prompt": ["Get rid of the noise"]})
    assert model.value("prompt") == ["Get rid of the noise"]


def test_the_loss_on_intentions_reaches_the_words_and_the_images_loss_reaches_them_too(model: Any) -> None:
    for parameter in model.net_g.parameters():  # so that no gate is switched off
        parameter.data += 0.05 * torch.randn_like(parameter)
    for slot in ("intent_opt", "pixel_opt"):
        model.feed_data(batch_of("rain", "noise_15"))
        sum(model.losses_of(slot).values()).backward()
        assert model.net_t.words.weight.grad.any(), slot
        model.net_t.zero_grad()


def test_a_prompt_changes_the_result_and_tiles_do_not(model: Any, caplog: pytest.LogCaptureFixture) -> None:
    for parameter in model.net_g.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    predictor = model.predictor
    for network in predictor.networks.values():
        network.eval()
    batch = {"lq": torch.rand(1, 3, 48, 56), "lq_path": ["a.png"]}

    def restored(controls: dict[str, Any], tile: int | None = None) -> Any:
        return predict(predictor, batch, Running(torch.device("cpu"), tile=tile, overlap=16), controls)

    with caplog.at_level(logging.INFO, logger="uir"):
        rain = restored({"prompt": "Remove the rain, s'il vous plaît"})
    assert "these words are not known and say nothing: s, il, vous, plaît" in caplog.text
    assert "is understood as" in caplog.text
    noise, general = restored({"prompt": "Denoise this image"}), restored({})
    assert rain.extras["prompt"] == ["Remove the rain, s'il vous plaît"]
    assert general.extras["prompt"] == [read_prompts().general]
    assert len({float(result.restored.sum()) for result in (rain, noise, general)}) == 3
    tiled = restored({"prompt": "Denoise this image"}, tile=32).restored
    assert (tiled - noise.restored).norm() < 0.5 * (rain.restored - noise.restored).norm()


def test_a_label_chooses_the_sentence_in_validation(model: Any) -> None:
    predictor = model.predictor
    batch = {**batch_of("rain", "fire"), "lq_path": ["a.png", "b.png"]}
    assert predict(predictor, batch, Running(torch.device("cpu"))).extras["prompt"] == [
        read_prompts().of("rain")[0],
        read_prompts().general,
    ]


def test_tasks_words_and_width_are_on_the_cards(model: Any) -> None:
    arch = model.card("t")["arch"]
    assert arch["tasks"] == ["noise_15", "rain"]
    assert {"rain", "denoise"} <= set(arch["words"])
    assert model.card("g")["arch"]["txtdim"] == 6
    assert model.card("g")["predictor"]["sentences"]["rain"] == read_prompts().of("rain")[0]
