"""`train.stages`: one file equals its stages run one by one as files of their own."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from uir.config.options import OptionError, load_options
from uir.core.checkpoint import read_file
from uir.engine.train_loop import train

Write = Callable[..., Path]

STAGES = [
    {"name": "warm", "iterations": 4, "losses": ["pixel_opt"]},
    {"name": "main", "iterations": 5, "optim_g": {"lr": 2e-4}, "datasets": {"train": {"gt_size": 24}}},
]
CHANGES: dict[str, Any] = {
    "train.total_iter": None,
    "train.stages": STAGES,
    "train.ema_decay": 0.9,
    "train.fft_opt": {"type": "FFTLoss", "loss_weight": 0.1},
    "logger.save_checkpoint_freq": 100,
    "val": None,
    "datasets.val": None,
}


def weights(folder: Path, name: str = "net_g_latest.pth") -> dict[str, Any]:
    content = read_file(folder / "models" / name)
    return {f"{kind}.{key}": value for kind in ("params", "params_ema") for key, value in content[kind].items()}


def losses(folder: Path) -> list[float]:
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [row["l_pix"] for row in rows if "l_pix" in row]


def equal(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.thorough
def test_a_staged_run_equals_its_stages_chained_by_hand(write_options: Write) -> None:
    staged = train(load_options(write_options({**CHANGES, "name": "staged"})))
    plain = {key: value for key, value in CHANGES.items() if key != "train.stages"}
    first = train(load_options(write_options({**plain, "name": "first", "train.total_iter": 4, "train.fft_opt": None})))
    second = train(
        load_options(
            write_options({
                **plain, "name": "second", "train.total_iter": 5, "train.optim_g.lr": 2e-4,
                "datasets.train.gt_size": 24, "path.pretrain_network_g": str(first / "models" / "net_g_latest.pth"),
            })
        )
    )  # fmt: skip
    assert equal(weights(staged), weights(second))
    assert losses(staged) == [*losses(first), *losses(second)]


def test_iteration_numbers_are_global(write_options: Write) -> None:
    folder = train(load_options(write_options(CHANGES)))
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [row["iter"] for row in rows] == list(range(1, 10))
    assert sorted(p.name for p in (folder / "models").iterdir()) == ["net_g_4.pth", "net_g_9.pth", "net_g_latest.pth"]


def test_learning_rates_count_from_the_stage_s_start(write_options: Write) -> None:
    stages = [{"name": "a", "iterations": 3}, {"name": "b", "iterations": 6}]
    folder = train(load_options(write_options({**CHANGES, "train.stages": stages, "train.fft_opt": None})))
    rates = [json.loads(line)["lr"][0] for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert rates == pytest.approx([1e-3] * 3 + [1e-3] * 4 + [5e-4] * 2)


@pytest.mark.thorough
@pytest.mark.parametrize("stop", [2, 4, 6])
def test_a_staged_run_is_resumed_in_the_stage_where_it_was(write_options: Write, stop: int) -> None:
    whole = train(load_options(write_options({**CHANGES, "name": "whole"})))
    file = write_options({**CHANGES, "name": "parts", "logger.save_checkpoint_freq": 2})
    parts = train(load_options(file))
    for state in (parts / "training_states").iterdir():
        if int(state.stem) > stop:
            state.unlink()
    parts = train(load_options(file), auto_resume=True)
    assert equal(weights(whole), weights(parts))
    assert losses(whole) == losses(parts)


def test_carried_moments_go_on_and_others_start_anew(write_options: Write) -> None:
    def run(name: str, carry: list[str]) -> dict[str, Any]:
        stages = [{"name": "a", "iterations": 3}, {"name": "b", "iterations": 1, "carry": carry}]
        changes = {**CHANGES, "train.stages": stages, "name": name}
        folder = train(load_options(write_options(changes)))
        return read_file(folder / "training_states" / "4.state")["optimizers"][0]["state"][0]  # type: ignore[no-any-return]

    assert int(run("anew", [])["step"]) == 1
    assert int(run("carried", ["optim_g"])["step"]) == 4


def average_warning(file: Path, caplog: pytest.LogCaptureFixture) -> str:
    caplog.clear()
    with caplog.at_level("WARNING", "uir"):
        load_options(file)
    return "\n".join(record.getMessage() for record in caplog.records if "moving average" in record.getMessage())


def test_a_stage_too_short_for_its_average_is_told(write_options: Write, caplog: pytest.LogCaptureFixture) -> None:
    stages = [{"name": "warm", "iterations": 10}, {"name": "main", "iterations": 500}]
    file = write_options({**CHANGES, "train.stages": stages, "train.ema_decay": 0.999})
    assert average_warning(file, caplog) == (
        "train.stages.1: at the end of 'main' 61% of the moving average, which is validated, are still weights of the "
        "stage before; with 500 iterations ema_decay should be at most 0.994, not 0.999"
    )
    stages[1]["iterations"] = 17
    file = write_options({**CHANGES, "train.stages": stages, "train.ema_decay": 0.999})
    assert average_warning(file, caplog).endswith("with 17 iterations ema_decay should be at most 0.823, not 0.999")


@pytest.mark.parametrize(
    "second",
    [
        {"ema_decay": 0.994},
        {"ema_decay": 0},
        {"iterations": 3000},
        {"path": {"pretrain_network_g": "other.pth"}},
    ],
)
def test_a_stage_with_time_for_its_average_or_none_is_not(
    write_options: Write, caplog: pytest.LogCaptureFixture, second: dict[str, Any]
) -> None:
    stages = [{"name": "warm", "iterations": 10}, {"name": "main", "iterations": 500, **second}]
    file = write_options({**CHANGES, "train.stages": stages, "train.ema_decay": 0.999})
    assert average_warning(file, caplog) == ""


def test_only_the_named_networks_are_trained(write_options: Write) -> None:
    stages = [{"name": "a", "iterations": 1, "train": {"warmup_iter": 3}, "pixel_opt": {"loss_weight": 0.5}}]
    loaded = load_options(write_options({**CHANGES, "train.stages": stages}))
    train_options = loaded.stages[0].file.options.train
    assert train_options is not None
    assert train_options.warmup_iter == 3
    assert train_options.pixel_opt.arguments == {"loss_weight": 0.5}  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        ([{"iterations": 4}], "train.stages.0.name: expected a name, got None"),
        ([{"name": "a", "iterations": 0}], "train.stages.0.iterations: expected a whole number above 0, got 0"),
        ([{"name": "a", "iterations": 1}] * 2, "two stages are called 'a'"),
        (
            [{"name": "a", "iterations": 1, "losses": ["pixle_opt"]}],
            "expected a list of losses from pixel_opt, fft_opt",
        ),
        ([{"name": "a", "iterations": 1, "optm_g": {"lr": 1}}], "optm_g is not an option"),
        ([{"name": "a", "iterations": 1, "optim_g": {"lrr": 1}}], "train.optim_g.lrr is not an argument of Adam"),
        ("x", "expected a list of stages"),
        ([{"name": "a", "iterations": 1, "carry": ["optim_g"]}], "optim_g cannot be carried into the first stage"),
        (
            [{"name": "a", "iterations": 1}, {"name": "b", "iterations": 1, "carry": ["optim_x"]}],
            "stage 'a' has no optim_x",
        ),
    ],
)
def test_mistakes_in_stages_are_named(write_options: Write, stages: Any, message: str) -> None:
    with pytest.raises(OptionError) as caught:
        load_options(write_options({**CHANGES, "train.stages": stages}))
    assert message in str(caught.value)


def test_a_mistake_in_a_stage_points_to_its_own_line(write_options: Write) -> None:
    stages = copy.deepcopy(STAGES)
    stages[1]["optim_g"] = {"lrr": 1}
    file = write_options({**CHANGES, "train.stages": stages})
    line = next(i for i, text in enumerate(file.read_text().splitlines(), 1) if "lrr" in text)
    with pytest.raises(OptionError, match=f"run.yml:{line}: train.optim_g.lrr"):
        load_options(file)


def test_total_iter_beside_stages_is_an_error(write_options: Write) -> None:
    with pytest.raises(OptionError, match=r"train\.total_iter and `stages` exclude each other"):
        load_options(write_options({**CHANGES, "train.total_iter": 9}))


def test_the_option_file_of_a_staged_run_is_recorded_whole(write_options: Write) -> None:
    folder = train(load_options(write_options(CHANGES)))
    assert len(yaml.safe_load((folder / "options.yml").read_text())["train"]["stages"]) == 2
