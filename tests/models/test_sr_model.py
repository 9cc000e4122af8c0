from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from arch_configs import ARCH_CONFIGS
from torch import Tensor, nn

from uir.config.options import load_options
from uir.core.checkpoint import read_file
from uir.engine.train_loop import train
from uir.inference.restorer import Restorer
from uir.models.base_model import NonFiniteLossError
from uir.models.building import build_model
from uir.registry.components import build_network

Write = Callable[..., Path]
CPU = torch.device("cpu")


def model_of(file: Path) -> Any:
    torch.manual_seed(0)
    return build_model(load_options(file), CPU)


def batch(count: int = 2, seed: int = 1) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    gt = torch.rand(count, 3, 16, 16, generator=generator)
    return {"lq": nn.functional.avg_pool2d(gt, 2), "gt": gt}


def step(model: Any, data: dict[str, Tensor], iteration: int = 1) -> None:
    model.feed_data(data)
    model.optimize_parameters(iteration)


def test_a_step_lowers_the_loss_of_its_batch(write_options: Write) -> None:
    model = model_of(write_options({"train.optim_g.lr": 1e-2}))
    losses = []
    for iteration in range(1, 30):
        step(model, batch(), iteration)
        losses.append(model.log_dict["l_pix"])
    assert losses[-1] < 0.7 * losses[0]


def test_every_named_loss_is_summed_and_logged(write_options: Write) -> None:
    model = model_of(write_options({"train.fft_opt": {"type": "FFTLoss", "loss_weight": 0.1}}))
    model.feed_data(batch())
    losses = model.compute_losses()
    assert set(losses) == {"l_pix", "l_fft"}


def test_accumulated_batches_give_the_step_of_their_union(write_options: Write) -> None:
    """L1 is a mean over equal batches; batch statistics would differ, so the network has none in use."""
    whole, parts = model_of(write_options()), model_of(write_options({"train.accumulate": 2}))
    for model in (whole, parts):
        model.bare["g"].eval()
    data = batch(4)
    step(whole, data)
    for half in (slice(0, 2), slice(2, 4)):
        step(parts, {key: value[half] for key, value in data.items()})
    for one, other in zip(whole.bare["g"].parameters(), parts.bare["g"].parameters(), strict=True):
        torch.testing.assert_close(one, other, atol=1e-7, rtol=1e-5)


def test_the_average_follows_weights_and_buffers(write_options: Write) -> None:
    model = model_of(write_options({"train.ema_decay": 0.9}))
    network, average = model.bare["g"], model.ema["g"].module
    before = {key: value.clone() for key, value in average.state_dict().items()}
    step(model, batch())
    for key, value in network.state_dict().items():
        if value.is_floating_point():
            expected = 0.9 * before[key] + 0.1 * value
            torch.testing.assert_close(average.state_dict()[key], expected, atol=1e-7, rtol=1e-5)
    assert not torch.equal(before["body.1.running_mean"], average.state_dict()["body.1.running_mean"])


@pytest.mark.parametrize("key", [None, "params_ema"])
def test_fine_tuning_takes_up_network_and_average_of_a_file(write_options: Write, tmp_path: Path, key: Any) -> None:
    trained = model_of(write_options({"train.ema_decay": 0.9}))
    step(trained, batch())
    trained.save(tmp_path, 5)
    content = read_file(tmp_path / "net_g_5.pth")
    path = {"pretrain_network_g": str(tmp_path / "net_g_5.pth"), **({"param_key_g": key} if key else {})}
    model = model_of(write_options({"train.ema_decay": 0.9, "path": path}))
    for network, entry in ((model.bare["g"], key or "params"), (model.ema["g"].module, "params_ema")):
        assert all(torch.equal(content[entry][name], value) for name, value in network.state_dict().items())
    assert not torch.equal(content["params"]["body.0.weight"], content["params_ema"]["body.0.weight"])


def test_validation_uses_the_average(write_options: Write) -> None:
    model = model_of(write_options({"train.ema_decay": 0.9}))
    assert model.test_network() is model.ema["g"].module


def test_clipping_bounds_the_gradient(write_options: Write) -> None:
    model = model_of(write_options({"train.grad_clip": 1e-4}))
    step(model, batch())
    norm = torch.linalg.vector_norm(torch.stack([p.grad.norm() for p in model.bare["g"].parameters()]))
    assert norm <= 1.001e-4


class Poison(nn.Module):
    """A loss that is NaN while `on`."""

    on = True

    def forward(self, restored: Tensor, gt: Tensor) -> Tensor:
        return (restored - gt).abs().mean() * (float("nan") if self.on else 1.0)


def test_a_nonfinite_loss_skips_the_step_and_is_named(write_options: Write, caplog: pytest.LogCaptureFixture) -> None:
    model = model_of(write_options({"train.ema_decay": 0.5}))
    model.losses["pixel_opt"] = Poison()
    before = {key: value.clone() for key, value in model.bare["g"].named_parameters()}
    with caplog.at_level(logging.WARNING, logger="uir"):
        step(model, batch(), 7)
    assert "iteration 7: l_pix is nan; step skipped (1 in a row" in caplog.text
    assert all(torch.equal(before[key], value) for key, value in model.bare["g"].named_parameters())


def test_too_many_nonfinite_losses_in_a_row_end_the_run(write_options: Write) -> None:
    model = model_of(write_options({"train.max_nonfinite": 3}))
    model.losses["pixel_opt"] = Poison()
    step(model, batch(), 1)
    step(model, batch(), 2)
    with pytest.raises(NonFiniteLossError, match=r"iteration 3: l_pix is nan.*3 in a row"):
        step(model, batch(), 3)


def test_a_finite_loss_starts_the_count_anew(write_options: Write) -> None:
    model = model_of(write_options({"train.max_nonfinite": 2}))
    poison = model.losses["pixel_opt"] = Poison()
    for iteration, on in enumerate([True, False, True, False], 1):
        poison.on = on
        step(model, batch(), iteration)
    assert model.nonfinite_in_a_row == 0


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_mixed_precision_trains_close_to_fp32(write_options: Write, precision: str) -> None:
    full, mixed = model_of(write_options()), model_of(write_options({"precision": precision}))
    for model in (full, mixed):
        step(model, batch())
    assert mixed.log_dict["l_pix"] == pytest.approx(full.log_dict["l_pix"], rel=2e-2)
    assert all(p.dtype == torch.float32 for p in mixed.bare["g"].parameters())


def test_channels_last_changes_nothing_but_the_layout(write_options: Write) -> None:
    plain, other = model_of(write_options()), model_of(write_options({"channels_last": True}))
    for model in (plain, other):
        step(model, batch())
    assert other.lq.is_contiguous(memory_format=torch.channels_last)
    assert other.log_dict["l_pix"] == pytest.approx(plain.log_dict["l_pix"], rel=1e-5)


@pytest.mark.thorough
def test_compiled_and_plain_give_the_same_losses(write_options: Write) -> None:
    plain, compiled = model_of(write_options()), model_of(write_options({"compile": True}))
    for iteration in (1, 2):
        for model in (plain, compiled):
            step(model, batch(seed=iteration), iteration)
        assert compiled.log_dict["l_pix"] == pytest.approx(plain.log_dict["l_pix"], rel=1e-4)
    assert list(compiled.bare["g"].state_dict()) == list(plain.bare["g"].state_dict())


def test_restoring_takes_any_size_and_pads_to_the_multiple(write_options: Write) -> None:
    model = model_of(write_options())
    model.bare["g"].pad_multiple = 8
    assert model.restore(torch.rand(1, 3, 13, 21)).shape == (1, 3, 26, 42)


@pytest.mark.parametrize("optimizer", ["AdamW", "SGD", "NAdam", "Adagrad"])
def test_any_optimizer_of_torch_by_name(write_options: Write, optimizer: str) -> None:
    model = model_of(write_options({"train.optim_g.type": optimizer}))
    step(model, batch())
    assert type(model.optimizers[0]).__name__ == optimizer


def test_a_file_has_weights_average_and_card(write_options: Write, tmp_path: Path) -> None:
    model = model_of(write_options({"train.ema_decay": 0.9}))
    step(model, batch())
    model.save(tmp_path, 5)
    content = read_file(tmp_path / "net_g_5.pth")
    assert set(content) == {"params", "params_ema", "card"}
    assert content["card"]["arch"] == {"type": "PixelShuffleSR", "width": 6, "scale": 2}
    assert not torch.equal(content["params"]["body.0.weight"], content["params_ema"]["body.0.weight"])


def test_a_wrong_scale_is_explained(write_options: Write) -> None:
    model = model_of(write_options())
    data = batch()
    data["gt"] = data["gt"][..., :8, :8]
    model.feed_data(data)
    with pytest.raises(ValueError, match="does `scale` \\(2\\) fit the network"):
        model.optimize_parameters(1)


@pytest.mark.thorough
def test_a_published_network_is_written_with_all_its_published_keys(write_options: Write, tmp_path: Path) -> None:
    swinir = {"type": "SwinIR", **ARCH_CONFIGS["SwinIR"]}
    file = write_options({"network_g": swinir, "train.ema_decay": 0.9})
    model = model_of(file)
    model.save(tmp_path, 1)
    content = read_file(tmp_path / "net_g_1.pth")
    for kind, network in (("params", model.bare["g"]), ("params_ema", model.ema["g"].module)):
        torch.testing.assert_close(content[kind], network.published_state_dict())
        assert any(key.endswith("attn_mask") for key in content[kind])
    other = model_of(file)
    for parameter in other.bare["g"].parameters():
        parameter.data.zero_()
    other.resume_training({**model.training_state(), "iter": 1}, tmp_path)
    torch.testing.assert_close(other.bare["g"].state_dict(), model.bare["g"].state_dict())


NEEDS_EIGHT = """
from torch import nn
from uir.registry import ARCH_REGISTRY
if "NeedsEight" not in ARCH_REGISTRY:
    @ARCH_REGISTRY.register()
    class NeedsEight(nn.Module):
        def __init__(self, scale=2):
            super().__init__()
            self.body = nn.Sequential(nn.Conv2d(3, 3 * scale ** 2, 3, padding=1), nn.PixelShuffle(scale))

        def forward(self, lq):
            if lq.shape[-1] % 8 or lq.shape[-2] % 8:
                raise ValueError("sides must be multiples of 8")
            return self.body(lq)
"""


def test_a_network_that_does_not_declare_it_is_padded_as_the_file_says(write_options: Write) -> None:
    """In validation and, by the card of its checkpoint, in a restoration."""
    changes = {"network_g": {"type": "NeedsEight", "pad_multiple": 8}, "plugins": ["./eight.py"], "train.total_iter": 3}
    file = write_options(changes)
    (file.parent / "eight.py").write_text(NEEDS_EIGHT)
    folder = train(load_options(file))
    restorer = Restorer.from_pretrained(folder / "models" / "net_g_latest.pth")
    assert restorer(np.zeros((13, 21, 3), np.uint8)).shape == (26, 42, 3)


def test_a_network_that_declares_its_multiple_takes_no_other() -> None:
    with pytest.raises(ValueError, match=r"NAFNet\.pad_multiple: the network declares its own \(\d+\)"):
        build_network({"type": "NAFNet", "width": 8, "pad_multiple": 3})
