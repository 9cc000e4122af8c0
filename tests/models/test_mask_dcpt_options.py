"""Masked pre-training as one likes: where features are masked, what makes the image, which pixels count."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from dcpt_options import NETWORK, SMALL_BACKBONES, batch, changes, model_of, step, weights
from torch import Tensor
from torch.nn import functional as F

from uir.config.options import OptionError, load_options
from uir.engine.train_loop import train

Write = Callable[..., Path]
# Without paths that are dropped at random, which would hide what comes from where.
BACKBONES = {**SMALL_BACKBONES, "SwinIR": {**SMALL_BACKBONES["SwinIR"], "drop_path_rate": 0.0}}
# The layer whose output the network adds to its input, of each backbone.
HEADS = {"NAFNet": "ending", "PromptIR": "output", "Restormer": "output", "SwinIR": "conv_last"}
DECODER = {
    "network_r": {"type": "TapDecoder", "width": 8},
    "train.optim_r": {"type": "Adam", "lr": 1e-3},
    "train.global_residual": False,
}


@pytest.fixture
def make(write_options: Write, pair_folders: Path) -> Callable[..., Any]:
    def made(type_name: str = "NAFNet", **more: Any) -> Any:
        network = {"type": type_name, **BACKBONES[type_name]}
        return model_of(write_options(changes(pair_folders, "MaskDCPTModel", network_g=network, **more)))

    return made


def masked_run(model: Any, lq: Tensor, mask: Tensor) -> tuple[Tensor | None, list[Tensor]]:
    restored, features = model.stepped["g"](lq, mask)
    return restored, features


def drawn_mask(model: Any, data: dict[str, Any]) -> Tensor:
    model.feed_data(data)
    mask: Tensor = model._draw_mask()
    return mask


def as_map(feature: Tensor, size: int) -> Tensor:
    return feature if feature.ndim == 4 else feature.transpose(1, 2).unflatten(2, (size, size))


@pytest.mark.parametrize("type_name", sorted(BACKBONES))
def test_with_all_masked_nothing_of_hidden_pixels_reaches_a_feature(make: Callable[..., Any], type_name: str) -> None:
    model, data = make(type_name, **{"train.remask": "all"}), batch(size=32)
    mask, lq = drawn_mask(model, data), data["lq"].requires_grad_()
    _, features = masked_run(model, lq, mask)
    sum(feature.sin().sum() for feature in features).backward()
    assert not lq.grad[(mask == 0).expand_as(lq)].any()
    assert lq.grad[(mask == 1).expand_as(lq)].any()
    _, others = masked_run(model, lq + (1 - mask) * 3, mask)
    assert all(torch.equal(one, other) for one, other in zip(features, others, strict=True))


@pytest.mark.parametrize("type_name", sorted(BACKBONES))
def test_with_all_masked_every_feature_is_zero_in_hidden_patches_and_only_there(
    make: Callable[..., Any], type_name: str
) -> None:
    model, data = make(type_name, **{"train.remask": "all"}), batch(size=32)
    mask = drawn_mask(model, data)
    for feature in masked_run(model, data["lq"], mask)[1]:
        shown = as_map(feature, 32)
        expected = F.interpolate(mask, shown.shape[-2:], mode="nearest")
        assert torch.equal(shown != 0, (expected == 1).expand_as(shown))
    encoder = make(type_name)
    assert all((feature != 0).all() for feature in masked_run(encoder, data["lq"], mask)[1])


@pytest.mark.thorough
@pytest.mark.parametrize("type_name", sorted(BACKBONES))
@pytest.mark.parametrize(
    ("more", "fills"), [({}, True), ({"train.remask": "all"}, False), ({"train.remask": "all", **DECODER}, True)]
)
def test_what_can_fill_a_hidden_patch(
    make: Callable[..., Any], type_name: str, more: dict[str, Any], fills: bool
) -> None:
    """The innermost pixels of a hidden patch depend on what is visible, or they do not."""
    model, data = make(type_name, **{"train.mask_patch": 16, **more}), batch(size=64)
    mask = drawn_mask(model, data)
    inner = 1 - F.max_pool2d(mask, 9, stride=1, padding=4)  # at least 5 pixels from what is visible
    assert inner.any()
    model.lq = data["lq"].requires_grad_()
    (model.value("restored") * inner).sin().sum().backward()
    model.values.clear()
    assert bool((model.lq.grad.abs() > 1e-12).any()) == fills


@pytest.mark.parametrize("type_name", sorted(BACKBONES))
def test_without_the_global_residual_the_output_layer_alone_makes_the_image(
    make: Callable[..., Any], type_name: str
) -> None:
    model, data = make(type_name, **{"train.global_residual": False}), batch(size=32)
    made: list[Tensor] = []
    model.bare["g"].get_submodule(HEADS[type_name]).register_forward_hook(lambda _m, _a, out: made.append(out))
    model.feed_data(data)
    restored = model.value("restored")
    torch.testing.assert_close(restored, made[0], atol=1e-6, rtol=1e-5)
    model.values.clear()


def test_the_decoder_makes_the_image_and_only_the_output_layer_does_not_learn(make: Callable[..., Any]) -> None:
    model, data = make(**DECODER), batch(size=32)
    before = {role: weights(model.bare[role]) for role in model.roles()}
    step(model, data)
    unchanged = [
        f"{role}.{name}"
        for role in model.roles()
        for name, value in model.bare[role].state_dict().items()
        if torch.equal(value, before[role][name])
    ]
    assert unchanged == ["g.ending.weight", "g.ending.bias"]
    assert model.leaves_unused("g")
    model.feed_data(data)
    made = model.value("step")
    expected = model.bare["r"](data["lq"], made.features)
    torch.testing.assert_close(model.value("restored"), expected)
    model.train_opt = model.train_opt.model_copy(update={"global_residual": True})
    torch.testing.assert_close(model.restored_batch(), expected + made.seen)
    model.values.clear()


def test_an_image_that_is_no_multiple_is_reconstructed_too(make: Callable[..., Any]) -> None:
    model = make("SwinIR", **DECODER)
    step(model, batch(size=30))
    assert set(model.log_dict) == {"l_pix", "l_classify"}


@pytest.mark.parametrize("size", [32, 36])
def test_the_loss_on_hidden_pixels_is_their_mean(make: Callable[..., Any], size: int) -> None:
    model, data = make(**{"train.loss_on": "hidden", "train.mask_patch": 8, "train.mask_ratio": 0.3}), batch(size=size)
    mask = drawn_mask(model, data)
    restored, _ = masked_run(model, data["lq"], mask)
    assert restored is not None
    errors = (restored - data["gt"]).abs()[(mask == 0).expand_as(restored)]
    losses = model.compute_losses()
    assert losses["l_pix"].item() == pytest.approx(float(errors.mean()), rel=1e-5)
    logits = model.value("logits").log_softmax(1)[range(4), model.target]
    assert losses["l_classify"].item() == pytest.approx(float(((1 - logits.exp()) ** 2 * -logits).mean()), rel=1e-5)
    to_image = torch.autograd.grad(losses["l_pix"], model.value("step").restored)[0]
    assert torch.equal(to_image != 0, (mask == 0).expand_as(to_image))
    model.values.clear()


def test_the_network_after_pre_training_is_whole(make: Callable[..., Any]) -> None:
    plain, model, data = make(), make(**{**DECODER, "train.remask": "all"}), batch(size=32)
    assert torch.equal(model.restore(data["lq"]), plain.restore(data["lq"]))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"train.remask": "both"}, "train.remask"),
        ({"train.loss_on": "hidden", "train.mask_ratio": 0}, "loss_on: hidden, but train.mask_ratio is 0"),
        ({"train.loss_on": "hidden", "train.pixel_opt": {"type": "PSNRLoss"}}, "PSNRLoss is no mean of the pixels"),
        ({"train.loss_on": "hidden", "train.pixel_opt": {"type": "L1Loss", "reduction": "sum"}}, "L1Loss is no mean"),
        ({"network_r": {"type": "TapDecoder"}}, "optim_r"),
        ({"network_g": {"type": "Bicubic", "scale": 1}}, "feature_points"),
    ],
)
def test_what_does_not_fit_is_refused(
    write_options: Write, pair_folders: Path, more: dict[str, Any], message: str
) -> None:
    with pytest.raises((OptionError, ValueError), match=message):
        model_of(write_options(changes(pair_folders, "MaskDCPTModel", **{"network_g": NETWORK, **more})))


def test_a_network_that_does_not_add_its_input_keeps_its_output(
    make: Callable[..., Any], write_options: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make(**{"train.global_residual": False})
    monkeypatch.setattr(type(model.bare["g"]), "adds_input", False)
    with pytest.raises(ValueError, match=r"train\.global_residual: false, but NAFNet does not say that it adds"):
        model.check_network("g", model.bare["g"])


def test_fine_tuning_goes_on_without_the_decoder(write_options: Write, pair_folders: Path) -> None:
    without: dict[str, Any] = {"network_dc": None, "network_r": None, "optim_dc": None, "optim_r": None}
    stages = [
        {"name": "pretrain", "iterations": 1, "remask": "all", "global_residual": False},
        {"name": "finetune", "iterations": 1, "model_type": "SRModel", **without, "losses": ["pixel_opt"]},
    ]
    more: dict[str, Any] = {**DECODER, "train.global_residual": None, "train.stages": stages, "train.total_iter": None}
    more |= {"val": None, "datasets.val": None}
    run = train(load_options(write_options(changes(pair_folders, "MaskDCPTModel", **more))))
    names = {file.name for file in (run / "models").glob("*.pth")}
    assert {"net_g_latest.pth", "net_g_1.pth", "net_r_1.pth", "net_dc_1.pth"} <= names
    assert "net_r_latest.pth" not in names
