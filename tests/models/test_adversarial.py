"""Adversarial training: basicsr's numbers, whose turn it is, what a discriminator may look like, exact resuming."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from adversarial_options import METHODS, changes

from uir.compat import basicsr_names
from uir.config.options import OptionError, load_options
from uir.core.checkpoint import read_file
from uir.engine.train_loop import train
from uir.models.building import build_model

Write = Callable[..., Path]
needs_basicsr = pytest.mark.skipif(not basicsr_names(), reason="basicsr is not installed")
CPU = torch.device("cpu")
SCALES = {"type": "MultiScaleDiscriminator", "num_feat": 4, "n_layers": 1}


def batch(seed: int, size: int = 16, count: int = 2) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    gt = torch.rand(count, 3, size, size, generator=generator)
    return {"lq": torch.nn.functional.avg_pool2d(gt, 2), "gt": gt}


def built(write_options: Write, options: dict[str, Any], name: str = "train.yml") -> Any:
    torch.manual_seed(0)
    return build_model(load_options(write_options(options, name)), CPU)


def logs(model: Any, iterations: int, size: int = 16) -> list[dict[str, float]]:
    rows = []
    for iteration in range(1, iterations + 1):
        model.update_learning_rate(iteration, warmup_iter=-1)
        model.feed_data(batch(iteration, size))
        model.optimize_parameters(iteration)
        rows.append(dict(model.get_current_log()))
    return rows


@pytest.mark.thorough
@needs_basicsr
@pytest.mark.parametrize(
    ("method", "more", "size"),
    [
        ("SRGANModel", {}, 16),
        ("ESRGANModel", {}, 16),
        ("SRGANModel", {"train.gan_opt.gan_type": "hinge", "train.net_d_iters": 2, "train.net_d_init_iters": 3}, 16),
        ("ESRGANModel", {"train.gan_opt.gan_type": "lsgan", "train.net_d_iters": 3}, 16),
        ("ESRGANModel", {"network_d": {"type": "VGGStyleDiscriminator", "num_in_ch": 3, "num_feat": 2}}, 128),
    ],
    ids=["srgan", "esrgan", "turns", "relativistic_lsgan", "vgg"],
)
def test_twenty_iterations_equal_basicsrs(
    write_options: Write, tmp_path: Path, method: str, more: dict[str, Any], size: int
) -> None:
    options = changes(method, **more)
    options["network_g"] = {"type": "MSRResNet", "num_feat": 4, "num_block": 1, "upscale": 2}
    first = built(write_options, options)
    for role in ("g", "d"):
        torch.save({"params": first.bare[role].state_dict(), "params_ema": first.bare[role].state_dict()},
                   tmp_path / f"{role}.pth")  # fmt: skip
        options[f"path.pretrain_network_{role}"] = str(tmp_path / f"{role}.pth")
    ours = built(write_options, options)
    theirs = built(write_options, {**options, "model_type": f"basicsr:{method}"})
    assert type(theirs.model).__module__.startswith("basicsr.")
    iterations = 20 if size < 100 else 3
    one, other = logs(ours, iterations, size), logs(theirs, iterations, size)
    for row, expected in zip(one, other, strict=True):
        assert row.keys() == expected.keys()
        assert row == pytest.approx(expected, rel=1e-5, abs=1e-6)
    averages = ours.ema["g"].module.state_dict(), theirs.model.net_g_ema.state_dict()
    torch.testing.assert_close(*averages, rtol=1e-5, atol=1e-6)
    if not more:
        check_record(other, method)


def check_record(rows: list[dict[str, float]], method: str) -> None:
    """Compare with the losses that basicsr 1.4.2 had."""
    recorded = json.loads((Path(__file__).parent / "basicsr_losses.json").read_text())[method]
    for name, expected in recorded.items():
        assert [row[name] for row in rows] == pytest.approx(expected, rel=1e-3, abs=1e-4), name


@pytest.mark.thorough
@pytest.mark.parametrize("method", METHODS)
def test_twenty_iterations_equal_basicsrs_where_it_is_absent(write_options: Write, method: str) -> None:
    network = {"type": "MSRResNet", "num_feat": 4, "num_block": 1, "upscale": 2}
    check_record(logs(built(write_options, changes(method, network_g=network)), 20), method)


@pytest.mark.thorough
def test_discriminator_warms_up_alone_and_then_takes_turns(write_options: Write) -> None:
    model = built(write_options, changes("SRGANModel", **{"train.net_d_init_iters": 2, "train.net_d_iters": 2}))
    rows = logs(model, 6)
    assert [index for index, row in enumerate(rows, start=1) if "l_g_gan" in row] == [4, 6]
    assert all("l_d_real" in row for row in rows)


@pytest.mark.thorough
def test_restorer_waits_for_a_critic_that_is_good_enough(write_options: Write) -> None:
    model = built(write_options, changes("SRGANModel", **{"train.critic_threshold": 0.65, "train.optim_d.lr": 0.05}))
    rows = logs(model, 12)
    for before, row in zip([None, *rows], rows, strict=False):
        good = before is not None and (before["l_d_real"] + before["l_d_fake"]) / 2 < 0.65
        assert ("l_g_gan" in row) == good
    assert any("l_g_gan" in row for row in rows)
    assert not all("l_g_gan" in row for row in rows[1:])


@pytest.mark.thorough
@pytest.mark.parametrize("method", METHODS)
def test_each_network_moves_only_in_its_own_objective(write_options: Write, method: str) -> None:
    for still, moving in (("g", "d"), ("d", "g")):
        model = built(write_options, changes(method, **{f"train.optim_{still}.lr": 1e-30}))
        before = {role: [p.clone() for p in model.bare[role].parameters()] for role in "gd"}
        logs(model, 2)
        torch.testing.assert_close(before[still], list(model.bare[still].parameters()), rtol=0, atol=1e-20)
        assert any(not torch.equal(a, b) for a, b in zip(before[moving], model.bare[moving].parameters(), strict=True))


@pytest.mark.parametrize(
    "network",
    [
        {"type": "PatchDiscriminator", "num_feat": 4, "n_layers": 1},
        SCALES,
        {"type": "ResidualDiscriminator", "discriminator": {"type": "UNetDiscriminatorSN", "num_feat": 4}},
        {
            "type": "PairDiscriminator",
            "discriminator": SCALES,
        },
        {"type": "WaveletDiscriminator", "discriminator": {"type": "UNetDiscriminatorSN", "num_feat": 4}},
    ],
    ids=lambda network: network["type"],
)
@pytest.mark.parametrize("method", METHODS)
def test_any_discriminator_with_every_loss(write_options: Write, method: str, network: dict[str, Any]) -> None:
    more = {
        "network_d": network,
        "train.feature_opt": {"type": "FeatureMatchingLoss"},
        "train.edge_opt": {"type": "SobelEdgeLoss"},
        "train.tv_opt": {"type": "WeightedTVLoss"},
        "train.r1_opt": {"type": "R1Loss", "every": 2},
        "train.gp_opt": {"type": "GradientPenaltyLoss"},
    }
    rows = logs(built(write_options, changes(method, **more)), 2)
    assert set(rows[1]) == {
        "l_g_pix", "l_g_feature", "l_g_edge", "l_g_tv", "l_g_gan", "l_d_real", "l_d_fake", "l_d_r1", "l_d_gp",
        "out_d_real", "out_d_fake",
    }  # fmt: skip
    assert rows[0]["l_d_r1"] == 0 < rows[1]["l_d_r1"]


def test_a_penalty_of_every_second_step_may_be_the_only_one(write_options: Write) -> None:
    rows = logs(built(write_options, changes("SRGANModel", **{"train.r1_opt": {"type": "R1Loss", "every": 2}})), 2)
    assert rows[0]["l_d_r1"] == 0 < rows[1]["l_d_r1"]


@pytest.mark.thorough
def test_a_compiled_discriminator_is_penalised(write_options: Write) -> None:
    """A compiled network has no second derivative."""
    options = changes("SRGANModel", **{"train.r1_opt": {"type": "R1Loss"}})
    plain, compiled = (built(write_options, options) for _ in range(2))
    torch.compiler.reset()
    compiled.net_d = torch.compile(compiled.net_d, backend="aot_eager")
    for row, expected in zip(logs(compiled, 2), logs(plain, 2), strict=True):
        assert row == pytest.approx(expected, rel=1e-4)


@needs_basicsr
def test_a_discriminator_of_nested_lists_gives_its_features(write_options: Write) -> None:
    network = {"type": "basicsr:HiFaceGANDiscriminator", "num_feat": 4, "n_layers_d": 2, "conditional_d": False}
    more = {"network_d": network, "train.feature_opt": {"type": "FeatureMatchingLoss"}}
    (row,) = logs(built(write_options, changes("SRGANModel", **more)), 1)
    assert row["l_g_feature"] > 0


def test_features_of_a_discriminator_that_has_none_are_refused(write_options: Write) -> None:
    more = {"network_d": {"type": "Identity"}, "train.feature_opt": {"type": "FeatureMatchingLoss"}}
    with pytest.raises(ValueError, match="Identity cannot be tapped: it declares no feature points"):
        built(write_options, changes("SRGANModel", **{"train.optim_d": None, **more}))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"train.ldl_opt": {"type": "L1Loss"}}, "ldl_opt: SRGANModel does not compute it; RealESRGANModel does"),
        ({"train.optim_g": None, "train.optim_d": None}, "no network would learn"),
        ({"train.gan_opt": None}, "lacks gan_opt, the loss of network_d"),
        ({"train.net_d_iters": 0}, "net_d_iters"),
    ],
)
def test_contradictions_are_named(write_options: Write, more: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        load_options(write_options(changes("SRGANModel", **more)))


@pytest.mark.thorough
def test_stages_train_one_network_after_the_other(write_options: Write) -> None:
    """NoGAN: the restorer, then the critic, then both."""
    stages = [
        {"name": "restorer", "iterations": 2, "train": ["network_g"], "losses": ["pixel_opt"]},
        {"name": "critic", "iterations": 2, "train": ["network_d"], "losses": ["gan_opt"]},
        {"name": "both", "iterations": 2},
    ]
    options = changes("SRGANModel", **{"train.total_iter": None, "train.stages": stages, "datasets.val": None})
    options["train.scheduler"] = None
    run = train(load_options(write_options(options)))
    files = {
        (role, tag): read_file(run / "models" / f"net_{role}_{tag}.pth")["params"] for role in "gd" for tag in (2, 4, 6)
    }

    def same(role: str, one: int, other: int) -> bool:
        return all(torch.equal(value, files[role, other][key]) for key, value in files[role, one].items())

    assert same("g", 2, 4)
    assert not same("g", 4, 6)
    assert not same("d", 2, 4)
    assert not same("d", 4, 6)


@pytest.mark.thorough
@pytest.mark.parametrize("threshold", [None, 0.691])
def test_a_resumed_run_goes_on_exactly_with_losses_that_draw(write_options: Write, threshold: float | None) -> None:
    vgg = {"vgg_type": "vgg11", "weights": "random"}
    more = {
        "train.r1_opt": {"type": "R1Loss", "every": 2},
        "train.gp_opt": {"type": "GradientPenaltyLoss"},
        "train.contextual_opt": {"type": "ContextualLoss", "layer_weights": {"conv1_1": 1.0}, "max_places": 30, **vgg},
        "train.fdl_opt": {"type": "FDLLoss", "layers": ["conv1_1"], "num_proj": 4, **vgg},
        "train.critic_threshold": threshold,
        "logger.save_checkpoint_freq": 3,
        "datasets.val": None,
    }
    file = write_options(changes("SRGANModel", **more))
    whole = train(load_options(file, force=["name=whole"]))
    train(load_options(file, force=["name=parts", "train:total_iter=3"]))
    parts = train(load_options(file, force=["name=parts"]), auto_resume=True)
    for role in "gd":
        one, other = (read_file(run / "models" / f"net_{role}_6.pth")["params"] for run in (whole, parts))
        assert all(torch.equal(value, other[key]) for key, value in one.items())
    state = torch.load(parts / "training_states" / "6.state", weights_only=True)
    assert set(state["losses"]["fdl_opt"]["projections"]) == {"conv1_1"}
