"""DASR-Liang: what the predictor learns from, the pool, the published errors, restoring by turned numbers."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from arch_configs import NAFNET
from dasr_options import G, changes, degrading

from uir.config.options import load_options
from uir.core.checkpoint import read_file
from uir.data.building import training_stream
from uir.degradations.dasr_liang_vectoriser import DASRLiangVector, turned
from uir.degradations.record import DegradationRecord, RecordBatch
from uir.engine.train_loop import train
from uir.inference.restorer import Restorer
from uir.models.building import build_model

Write = Callable[..., Path]
CPU = torch.device("cpu")
PLAIN = {"type": "MSRResNet", "num_feat": 4, "num_block": 1}


def built(write_options: Write, options: dict[str, Any]) -> tuple[Any, Any]:
    loaded = load_options(write_options(options))
    torch.manual_seed(0)
    return build_model(loaded, CPU), training_stream(loaded)


def targets_of(model: Any) -> torch.Tensor:
    return model.value("record.dasr_liang").values


def fed(model: Any, stream: Any, batches: int) -> list[tuple[RecordBatch, RecordBatch]]:
    """The records that came in and those that the model has after the pool."""
    rows = []
    for _ in range(batches):
        batch = stream.next()
        model.feed_data(batch)
        rows.append((batch["degradation"], model.batch["degradation"]))
    return rows


@pytest.mark.thorough
def test_the_predictor_and_the_restorer_learn_together(write_options, pair_folders):
    model, stream = built(write_options, degrading(pair_folders))
    before = {role: [p.clone() for p in model.bare[role].parameters()] for role in "pgd"}
    for iteration in (1, 2):
        model.feed_data(stream.next())
        model.optimize_parameters(iteration)
    assert set(model.log_dict) >= {"l_g_pix", "l_g_regress", "l_g_gan", "l_d_real", "l_d_fake"}
    for role, parameters in before.items():
        assert all(not torch.equal(p, old) for p, old in zip(model.bare[role].parameters(), parameters, strict=True))
    assert set(model.ema) == {"p", "g"}


def test_the_predictor_may_be_trained_alone(write_options, pair_folders):
    absent = dict.fromkeys(("train.optim_g", "train.optim_d", "train.pixel_opt", "train.gan_opt"))
    model, stream = built(write_options, degrading(pair_folders, **absent))
    before = {role: [p.clone() for p in model.bare[role].parameters()] for role in "pg"}
    model.feed_data(stream.next())
    model.optimize_parameters(1)
    assert set(model.log_dict) == {"l_g_regress"}
    changed = {
        role: any(not torch.equal(p, old) for p, old in zip(model.bare[role].parameters(), parameters, strict=True))
        for role, parameters in before.items()
    }
    assert changed == {"p": True, "g": False}


def test_only_known_numbers_count(write_options, pair_folders):
    model, stream = built(write_options, degrading(pair_folders))
    model.feed_data(stream.next())
    targets = DASRLiangVector()(model.batch["degradation"])
    estimated = model.value("code").params
    expected = (estimated - targets.values).abs()[targets.mask].mean()
    torch.testing.assert_close(model.losses_of("regress_opt")["l_regress"], expected)
    model.feed_data({**model.batch, "degradation": RecordBatch([DegradationRecord(None)] * 2)})
    assert model.losses_of("regress_opt")["l_regress"].item() == 0


@pytest.mark.thorough
def test_the_pool_carries_the_targets_and_the_published_one_does_not(write_options, pair_folders):
    model, stream = built(write_options, degrading(pair_folders))
    rows = fed(model, stream, 6)
    assert rows[-1][0] != rows[-1][1]  # exchanged, as the images are
    by_image = {id(record) for own, _ in rows for record in own}
    assert all(id(record) in by_image for record in rows[-1][1])
    legacy, stream = built(write_options, degrading(pair_folders, legacy=True))
    for _ in range(6):
        batch = stream.next()
        legacy.feed_data(batch)
    assert not torch.equal(legacy.lq, batch["lq"])
    assert legacy.batch["degradation"] is batch["degradation"]
    assert torch.equal(targets_of(legacy), DASRLiangVector(legacy=True)(batch["degradation"]).values)
    assert set(legacy.ema) == {"g"}


def test_images_and_records_of_the_pool_belong_together(write_options, pair_folders):
    model, stream = built(write_options, degrading(pair_folders))
    made = {}
    for _ in range(6):
        batch = stream.next()
        made |= {image.sum().item(): record for image, record in zip(batch["lq"], batch["degradation"], strict=True)}
        model.feed_data(batch)
        assert all(made[image.sum().item()] == r for image, r in zip(model.lq, model.batch["degradation"], strict=True))


@pytest.mark.thorough
def test_a_resumed_run_with_a_full_pool_goes_on_exactly(write_options, pair_folders):
    def run(name: str, iterations: int) -> Path:
        more = {"train.total_iter": iterations, "val": None, "logger.save_checkpoint_freq": 4, "name": name}
        return train(load_options(write_options(degrading(pair_folders, **more))), auto_resume=True)

    once = run("once", 6)
    run("parts", 4)
    again = run("parts", 6)
    for role in "pgd":
        one, other = (read_file(run / "models" / f"net_{role}_latest.pth") for run in (once, again))
        for kind in ("params", "params_ema"):
            for key, value in one.get(kind, {}).items():
                assert torch.equal(value, other[kind][key]), (role, kind, key)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"network_g": {**G, "upscale": 2, "num_models": 4}}, "has 4 experts, but network_p weighs 3"),
        ({"network_g": {"type": "MSRResNet", "num_feat": 4, "upscale": 2}}, "MSRResNet has no experts"),
        ({"network_p": {"type": "IKCPredictor", "nf": 4}}, "IKCPredictor cannot weigh experts"),
    ],
)
def test_networks_that_do_not_fit_are_refused(write_options, wrong, message):
    with pytest.raises(ValueError, match=message):
        built(write_options, changes(**wrong))


@pytest.fixture
def restorer(write_options, pair_folders) -> Restorer:
    model, _ = built(write_options, degrading(pair_folders))
    with torch.no_grad():
        for index, parameter in enumerate(model.bare["g"].parameters()):
            noise = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(index))
            parameter.add_(noise, alpha=0.1)
        model.bare["p"].MappingNet[1].weight.mul_(10)
    model.ema.clear()
    model._predictor = None
    return Restorer(model.predictor, device="cpu")


@torch.no_grad()
def test_predict_route_and_restore_give_what_the_restorer_gives(restorer):
    image = torch.rand(1, 3, 20, 24)
    predictor = restorer.predictor
    code = predictor.predict(image)
    torch.testing.assert_close(predictor.restore(image, code).clamp(0, 1), restorer.restore_tensor(image))
    params = turned(code.params, {"blur_sigma": 2.0})
    expected = predictor.network(image, predictor.route(replace(code, params=params))).clamp(0, 1)
    torch.testing.assert_close(restorer.restore_tensor(image, blur_sigma="2.0"), expected)
    assert not torch.equal(expected, restorer.restore_tensor(image))


def test_one_photograph_is_restored_by_the_numbers_of_another(restorer):
    one, other = torch.rand(20, 24, 3).numpy(), np.full((20, 24, 3), 0.9, np.float32)
    code = restorer.code_of(other)
    assert code.params.shape == (1, 33)
    np.testing.assert_allclose(restorer(one, code), restorer(one, code_from=other), atol=1e-6)
    assert restorer(one, code).tobytes() != restorer(one).tobytes()


def test_a_knob_sets_the_numbers_that_a_record_with_this_value_has():
    steps = [
        {"op": "Mark", "level": "weak"},
        {"op": "IsotropicGaussianBlur", "sigma_px": 2.0, "kernel_size": 21, "stage": "first"},
        {"op": "GaussianNoise", "sigma_255": 0.6, "grey": False, "stage": "first"},
        {"op": "Resize", "scale": 0.25, "mode": "area", "stage": "final"},
    ]
    described = DASRLiangVector()(RecordBatch([DegradationRecord(tuple(steps))])).values
    set_by_hand = turned(torch.full((1, 33), 0.123), {"blur_sigma": 2.0, "noise": 0.6})
    changed = (set_by_hand != 0.123)[0]
    assert changed.nonzero().flatten().tolist() == [1, 2, 18, 20, 21]
    torch.testing.assert_close(set_by_hand[:, changed], described[:, changed])


def test_strength_moves_from_clean_to_the_worst_and_other_knobs_have_priority():
    numbers = torch.full((1, 33), 0.5)
    clean, worst = (turned(numbers, {"strength": share})[0] for share in (0, 1))
    assert clean[[1, 2, 5, 6, 18, 22]].tolist() == [0] * 6
    assert worst[[1, 2, 18]].tolist() == [1] * 3
    assert float(turned(numbers, {"strength": 1, "noise": 15})[0, 18]) == 0.5
    with pytest.raises(ValueError, match="there is no knob 'blur'"):
        turned(numbers, {"blur": 1})


DYNAMIC = {"network_g": {**G, "upscale": 2}}
OF_SAME_SIZE = {"network_g": {"type": "ExpertNet", "experts": 3, "backbone": {"type": "NAFNet", **NAFNET}}, "scale": 1}
OF_TWICE = {"network_g": {"type": "ExpertNet", "experts": 3, "backbone": {**PLAIN, "upscale": 2}}}


@pytest.mark.thorough
@pytest.mark.parametrize(
    "method",
    [
        pytest.param(DYNAMIC, marks=pytest.mark.slow, id="dynamic"),
        pytest.param(OF_TWICE, marks=pytest.mark.slow, id="MSRResNet"),
        pytest.param(OF_SAME_SIZE, id="NAFNet"),
    ],
)
def test_two_processes_learn_what_one_does(write_options, pair_folders, method):
    more = {"datasets.val": None, "train.total_iter": 2}
    if method.get("scale") == 1:
        more |= {"datasets.train.dataroot_lq": str(pair_folders / "gt")}
    file = write_options(changes(**method, **more))
    runs = []
    for processes in (1, 2):
        several = ["-m", "torch.distributed.run", "--nproc_per_node=2", "--standalone"] if processes > 1 else []
        launcher = ["--launcher", "pytorch"] if processes > 1 else []
        force = ["--force_yml", f"name=run{processes}", f"datasets:train:batch_size_per_gpu={4 // processes}"]
        command = [sys.executable, *several, "-m", "uir", "train", *launcher, "-opt", str(file), *force]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, env={**os.environ})
        assert done.returncode == 0, done.stdout + done.stderr
        runs.append(file.parents[1] / "experiments" / f"run{processes}" / "models")
    for role in "pg":
        one, two = (read_file(run / f"net_{role}_latest.pth")["params"] for run in runs)
        for key, value in one.items():
            torch.testing.assert_close(two[key], value, atol=2e-4, rtol=1e-3, msg=key)
