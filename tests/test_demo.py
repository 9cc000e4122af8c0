"""The demo fails unless every degradation becomes better: checked on made-up numbers, without a training."""

from __future__ import annotations

import math
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from scripts import load_script

from uir.engine.evaluation import Evaluation

ROOT = Path(__file__).resolve().parents[1]
DEGRADED = {"noise": {"psnr": 20.0, "ssim": 0.5}, "haze": {"psnr": 12.0, "ssim": 0.6}}
RESTORED = {"noise": {"psnr": 29.0, "ssim": 0.8}, "haze": {"psnr": 14.0, "ssim": 0.6}}
TUNED = {"haze": {"psnr": 18.0, "ssim": 0.8}}


@pytest.fixture
def demo() -> ModuleType:
    return load_script("demo.py")


def test_what_rises_without_a_lower_ssim_is_better(demo: ModuleType) -> None:
    assert demo.worse(DEGRADED, RESTORED, "uir-small") == []


@pytest.mark.parametrize(
    "haze",
    [
        {"psnr": 12.0, "ssim": 0.7},
        {"psnr": 11.9, "ssim": 0.7},
        {"psnr": 13.0, "ssim": 0.599},
        {"psnr": math.nan, "ssim": 0.7},
        {"psnr": 13.0, "ssim": math.nan},
    ],
)
def test_a_row_that_is_not_better_is_named(demo: ModuleType, haze: dict[str, float]) -> None:
    (fault,) = demo.worse(DEGRADED, {**RESTORED, "haze": haze}, "uir-small")
    assert fault.startswith("uir-small, haze: ")
    assert fault.endswith("after 12.00 dB / 0.6000")


@pytest.mark.parametrize(("results", "inputs"), [(RESTORED["haze"], DEGRADED["haze"]), ({}, {})])
def test_a_set_with_an_image_that_is_not_finite_is_not_better(
    demo: ModuleType, monkeypatch: pytest.MonkeyPatch, results: dict[str, float], inputs: dict[str, float]
) -> None:
    found = Evaluation("haze", 2, results, inputs, nonfinite=["coffee.png"])
    monkeypatch.setattr(demo, "test_pipeline", lambda *arguments: [found])
    assert demo.worse(*demo.measured(demo.TEST), "uir-small")


@pytest.mark.parametrize(
    ("restored", "tuned", "faults"),
    [
        (RESTORED, TUNED, []),
        ({**RESTORED, "noise": {"psnr": 19.0, "ssim": 0.8}}, TUNED, ["uir-small, noise: 19.00 dB / 0.8000 after"]),
        (RESTORED, {"haze": {"psnr": 18.0, "ssim": 0.5}}, ["fine-tuned, haze: 18.00 dB / 0.5000 after 14.00 dB"]),
    ],
)
def test_the_exit_code_and_a_sentence_say_which_row_is_not_better(
    demo: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    restored: dict[str, Any],
    tuned: dict[str, Any],
    faults: list[str],
) -> None:
    tables = {demo.TEST: (DEGRADED, restored), demo.TEST_TUNED: ({"haze": DEGRADED["haze"]}, tuned)}
    monkeypatch.setattr(demo, "measured", tables.__getitem__)
    monkeypatch.setattr(demo, "train_pipeline", lambda *arguments: Path("run"))
    monkeypatch.setattr(demo.Restorer, "from_pretrained", lambda *arguments: None)
    monkeypatch.setattr(demo, "restore_one", lambda *arguments: (Path("restored.png"), "noise, 99% sure"))
    monkeypatch.setattr(demo, "draw_sheet", lambda *arguments: Path("sheet.jpg"))
    assert demo.main() == bool(faults)
    said = capsys.readouterr().err
    assert ("FAILED: every PSNR must rise, and no SSIM may fall" in said) == bool(faults)
    assert all(fault in said for fault in faults)


def test_it_restores_every_degradation_of_uir_small_and_tunes_two_of_them(demo: ModuleType) -> None:
    from uir.config.options import load_options

    names = [
        [str(each.name) for each in load_options(file, is_train=False).options.datasets.values()]
        for file in (demo.TEST, demo.TEST_TUNED)
    ]
    assert {*names[0]} == {"noise", "rain", "haze", "low_light", "motion_blur", "defocus_blur", "jpeg"}
    assert {*names[1]} < {*names[0]}
