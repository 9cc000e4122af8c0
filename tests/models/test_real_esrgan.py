"""Real-ESRGAN's methods: basicsr's numbers with the same draws, sharpened targets, the pool, exact resuming."""

from __future__ import annotations

import importlib
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from adversarial_options import degrading

from uir.compat import basicsr_names
from uir.config.options import OptionError, load_options
from uir.core.checkpoint import read_file
from uir.core.seeds import derive_seed
from uir.degradations.kernels import gaussian_kernel
from uir.engine.train_loop import train
from uir.models.building import build_model

Write = Callable[..., Path]
CPU = torch.device("cpu")
HIGH_ORDER = {
    "high_order_degradation": True, "queue_size": 8, "gt_size": 32, "resize_prob": [0.2, 0.7, 0.1],
    "resize_range": [0.5, 1.5], "gaussian_noise_prob": 0.5, "noise_range": [1, 30], "poisson_scale_range": [0.05, 3],
    "gray_noise_prob": 0.4, "jpeg_range": [30, 95], "second_blur_prob": 0.8, "resize_prob2": [0.3, 0.4, 0.3],
    "resize_range2": [0.6, 1.2], "gaussian_noise_prob2": 0.5, "noise_range2": [1, 25],
    "poisson_scale_range2": [0.05, 2.5], "gray_noise_prob2": 0.4, "jpeg_range2": [30, 95],
}  # fmt: skip
FLAGS = {"l1_gt_usm": True, "percep_gt_usm": True, "gan_gt_usm": False}
LDL = {"train.ldl_opt": {"type": "L1Loss", "loss_weight": 10.0}}


def batch(seed: int, size: int = 40) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    gt = torch.rand(2, 3, size, size, generator=generator)
    kernel = torch.stack([gaussian_kernel(7, sigma).float() for sigma in (0.8, 1.6)])
    pulse = torch.zeros(2, 7, 7)
    pulse[:, 3, 3] = 1
    small = torch.nn.functional.avg_pool2d(gt, 2)
    return {"gt": gt, "lq": small, "kernel1": kernel, "kernel2": kernel.flip(0), "sinc_kernel": pulse}


def built(write_options: Write, options: dict[str, Any]) -> Any:
    torch.manual_seed(0)
    return build_model(load_options(write_options(options)), CPU)


def logs(model: Any, iterations: int, before: Callable[[int], None] = lambda _: None) -> list[dict[str, float]]:
    rows = []
    for iteration in range(1, iterations + 1):
        model.update_learning_rate(iteration, warmup_iter=-1)
        before(iteration)
        model.feed_data(batch(iteration))
        model.optimize_parameters(iteration)
        rows.append(dict(model.get_current_log()))
    return rows


@pytest.mark.thorough
@pytest.mark.skipif(not basicsr_names(), reason="basicsr is not installed")
@pytest.mark.parametrize(
    ("method", "more"),
    [
        ("RealESRNetModel", {**HIGH_ORDER, "gt_usm": True, "queue_size": 20}),
        ("RealESRGANModel", {**HIGH_ORDER, **FLAGS, "queue_size": 20}),
        ("RealESRGANModel", {**FLAGS, **LDL, "l1_gt_usm": False, "gan_gt_usm": True}),
    ],
    ids=["net", "gan", "pairs_and_ldl"],
)
def test_equals_basicsrs_with_the_same_draws(
    write_options: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str, more: dict[str, Any]
) -> None:
    """basicsr's class hard-codes CUDA; here its tensors stay on the CPU."""
    monkeypatch.setattr(torch.Tensor, "cuda", lambda self: self)
    monkeypatch.setattr(torch.nn.Module, "cuda", lambda self: self)
    options = degrading(method, **more)
    options["network_g"] = {"type": "MSRResNet", "num_feat": 4, "num_block": 1, "upscale": 2}
    first = built(write_options, options)
    for role in first.bare:
        state = first.bare[role].state_dict()
        torch.save({"params": state, "params_ema": state}, tmp_path / f"{role}.pth")
        options[f"path.pretrain_network_{role}"] = str(tmp_path / f"{role}.pth")
    ours = built(write_options, options)
    theirs = built(write_options, {**options, "model_type": f"basicsr:{method}"})

    def draw_alike(iteration: int) -> None:
        seed = derive_seed(5, "real esrgan", 0, iteration) % 2**32
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)

    module = importlib.import_module(type(theirs.model).__module__)
    blur = module.filter2D  # its view fails on the CPU for images in channels-last order
    monkeypatch.setattr(module, "filter2D", lambda image, kernel: blur(image.contiguous(), kernel))
    one, other = logs(ours, 8), logs(theirs, 8, draw_alike)
    for row, expected in zip(one, other, strict=True):
        assert row.keys() == expected.keys()
        assert row == pytest.approx(expected, rel=2e-4, abs=2e-5)


def test_each_loss_has_its_own_target(write_options: Write) -> None:
    options = degrading("RealESRGANModel", l1_gt_usm=True, percep_gt_usm=False, gan_gt_usm=False)
    model = built(write_options, options)
    model.feed_data(batch(1))
    assert torch.equal(model.value_for("pixel_opt", "gt"), model.sharpened(model.gt))
    assert torch.equal(model.value_for("perceptual_opt", "gt"), model.gt)
    assert torch.equal(model.value("real_images"), model.gt)
    assert not torch.equal(model.value("gt_usm"), model.gt)


def test_pool_mixes_batches_once_it_is_full(write_options: Write) -> None:
    model = built(write_options, degrading("RealESRNetModel", **HIGH_ORDER, gt_usm=False))
    fed = []
    for number in range(1, 7):
        model.feed_data(batch(number, 32))
        fed.append(model.gt)
    new = [torch.equal(gt, batch(number, 32)["gt"]) for number, gt in enumerate(fed, start=1)]
    assert new == [True] * 4 + [False] * 2
    earlier = torch.cat([batch(number, 32)["gt"] for number in range(1, 5)])
    assert all(any(torch.equal(image, known) for known in earlier) for image in fed[4])


def test_degrading_goes_on_from_a_state_and_leaves_the_global_draws_alone(write_options: Write) -> None:
    options = degrading("RealESRGANModel", **HIGH_ORDER)
    whole, parts = built(write_options, options), built(write_options, options)
    for number in range(1, 6):
        whole.feed_data(batch(number))
    before = torch.random.get_rng_state(), random.getstate()
    whole_state = whole.training_state()
    parts._pool.load_state_dict(whole_state["pool"])
    parts._batches = whole_state["batches"]
    for model in (whole, parts):
        model.feed_data(batch(6))
    assert torch.equal(whole.lq, parts.lq)
    assert torch.equal(before[0], torch.random.get_rng_state())
    assert before[1] == random.getstate()


KERNELS = '''
import torch
from torch.utils.data import Dataset
from uir.registry import DATASET_REGISTRY

@DATASET_REGISTRY.register()
class WithKernels(Dataset):
    """Clean images and the kernels to degrade them by, as basicsr's RealESRGANDataset gives them."""
    def __init__(self, opt):
        pass
    def __len__(self):
        return 4
    def __getitem__(self, index):
        generator = torch.Generator().manual_seed(index)
        kernels = torch.rand(3, 5, 5, generator=generator)
        names = ("kernel1", "kernel2", "sinc_kernel")
        gt = torch.rand(3, 40, 40, generator=generator)
        return {"gt": gt, "gt_path": str(index), **dict(zip(names, kernels / kernels.sum((1, 2), keepdim=True)))}
'''


@pytest.mark.thorough
def test_a_resumed_run_with_a_full_pool_goes_on_exactly(write_options: Write) -> None:
    more = {
        "datasets": {"train": {"type": "WithKernels", "batch_size_per_gpu": 2}},
        "plugins": ["./small_net.py", "./kernels.py"],
        "logger.save_checkpoint_freq": 2,
        "queue_size": 4,
    }
    file = write_options(degrading("RealESRGANModel", **{**HIGH_ORDER, **more}))
    (file.parent / "kernels.py").write_text(KERNELS)
    whole = train(load_options(file, force=["name=whole"]))
    train(load_options(file, force=["name=parts", "train:total_iter=4"]))
    parts = train(load_options(file, force=["name=parts"]), auto_resume=True)
    state = torch.load(parts / "training_states" / "6.state", weights_only=True)
    assert (len(state["pool"]["held"]["gt"]), state["pool"]["exchanges"], state["batches"]) == (4, 4, 6)
    for role in "gd":
        one, other = (read_file(run / "models" / f"net_{role}_6.pth") for run in (whole, parts))
        for kind in ("params", "params_ema"):
            for key, value in one.get(kind, {}).items():
                assert torch.equal(value, other[kind][key]), (role, kind, key)


def test_a_batch_without_kernels_is_refused(write_options: Write) -> None:
    model = built(write_options, degrading("RealESRGANModel", **HIGH_ORDER))
    with pytest.raises(ValueError, match=r"no `kernel1`; use a dataset .* high_order_degradation: false"):
        model.feed_data({"gt": torch.rand(2, 3, 32, 32), "lq": torch.rand(2, 3, 16, 16)})


def test_ldl_without_an_average_is_refused(write_options: Write) -> None:
    with pytest.raises(ValueError, match=r"train\.ldl_opt: it compares with the moving average"):
        built(write_options, degrading("RealESRGANModel", **LDL, **{"train.ema_decay": 0}))


def test_keys_at_the_top_are_checked(write_options: Write) -> None:
    with pytest.raises(OptionError, match="l1_gt_umm"):
        load_options(write_options(degrading("RealESRGANModel", l1_gt_umm=True)))
    with pytest.raises(OptionError, match="gan_gt_usm"):
        load_options(write_options(degrading("RealESRNetModel", gan_gt_usm=True)))
