"""Masked pre-training: the masks, where they are laid, and a step with them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from dcpt_options import batch, changes, gradients, model_of, step
from torch import nn

from uir.layers.patch_mask import hide, patch_mask

Write = Callable[..., Path]


@pytest.fixture
def make(write_options: Write, pair_folders: Path) -> Callable[..., Any]:
    def made(**more: Any) -> Any:
        return model_of(write_options(changes(pair_folders, "MaskDCPTModel", **more)))

    return made


@pytest.mark.parametrize(("ratio", "hidden"), [(0.0, 0), (0.5, 10), (0.75, 15), (0.99, 20)])
def test_so_many_whole_patches_are_hidden(ratio: float, hidden: int) -> None:
    mask = patch_mask([1, 2, 3], 40, 30, 8, ratio)
    assert mask.shape == (3, 1, 40, 30)
    for image in mask:
        tiles = [image[0, y : y + 8, x : x + 8] for y in range(0, 40, 8) for x in range(0, 30, 8)]
        assert all(tile.min() == tile.max() for tile in tiles)
        assert sum(tile.max() == 0 for tile in tiles) == hidden


def test_a_seed_gives_a_mask_and_others_give_others() -> None:
    first, again, other = patch_mask([5, 5, 6], 64, 64, 8, 0.5)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_every_patch_is_hidden_as_often() -> None:
    shares = patch_mask(range(2000), 4, 4, 1, 0.25).mean((0, 1))
    assert (shares - 0.75).abs().max() < 5 * (0.75 * 0.25 / 2000) ** 0.5


@pytest.mark.parametrize(("patch", "ratio"), [(0, 0.5), (8, 1.0), (8, -0.1)])
def test_impossible_masks_are_refused(patch: int, ratio: float) -> None:
    with pytest.raises(ValueError, match="patch_mask: expected a patch of at least 1 and a ratio in"):
        patch_mask([1], 8, 8, patch, ratio)


def test_features_are_hidden_where_their_pixels_are_in_either_layout() -> None:
    mask = patch_mask([3, 4], 32, 48, 8, 0.5)
    features = torch.rand(2, 5, 8, 12) + 1
    hidden = hide(features, mask)
    assert torch.equal(hidden == 0, (mask[:, :, ::4, ::4] == 0).expand_as(hidden))
    tokens = hide(features.flatten(2).transpose(1, 2), mask)
    assert torch.equal(tokens.transpose(1, 2).unflatten(2, (8, 12)), hidden)


def test_a_step_is_the_formula_written_out(make: Callable[..., Any]) -> None:
    model, data = make(), batch(size=32)
    assert model._patch == 4
    model.feed_data(data)
    model._iteration = 1
    mask = model._draw_mask()
    assert (mask.mean((1, 2, 3)) == 0.5).all()
    net, head, caught = model.bare["g"], model.bare["dc"], []
    handles = [d.register_forward_hook(lambda _m, _a, output: caught.append(output)) for d in net.decoders]
    restored = net(data["lq"] * mask)
    for handle in handles:
        handle.remove()
    log_p = head(data["lq"] * mask, caught[::-1]).log_softmax(1)[range(4), model.target]
    loss = (restored - data["gt"]).abs().mean() + ((1 - log_p.exp()) ** 2 * -log_p).mean()
    loss.backward()
    expected = {name: grad.clone() for name, grad in gradients(model).items()}
    step(model, data)
    for name, grad in gradients(model).items():
        torch.testing.assert_close(grad, expected[name], atol=1e-6, rtol=1e-4)


def test_hidden_pixels_do_not_matter_and_shown_ones_do(make: Callable[..., Any]) -> None:
    model, data = make(), batch(size=32)
    model.feed_data(data)
    model._iteration = 1
    mask = model._draw_mask()
    restored, _ = model.tapped(data["lq"], mask)
    same, _ = model.tapped(data["lq"] + (1 - mask), mask)
    other, _ = model.tapped(data["lq"] + mask, mask)
    torch.testing.assert_close(same, restored)
    assert not torch.allclose(other, restored)


def test_masks_change_with_the_iteration(make: Callable[..., Any]) -> None:
    model = make()
    model.feed_data(batch(size=32))
    masks = []
    for model._iteration in (1, 2, 1):
        masks.append(model._draw_mask())
    assert torch.equal(masks[0], masks[2])
    assert not torch.equal(masks[0], masks[1])


def test_named_modules_are_masked_again_in_training_alone(make: Callable[..., Any]) -> None:
    model, data, caught = make(**{"train.remask": ["encoders"]}), batch(size=32), []
    for encoder in model.bare["g"].encoders:
        encoder.register_forward_hook(lambda _m, _a, output: caught.append(output))
    step(model, data)
    mask = model._draw_mask()
    for level, features in enumerate(caught):
        shown = mask[:, :, :: 2**level, :: 2**level].expand_as(features)
        assert (features[shown == 0] == 0).all()
        assert (features[shown == 1] != 0).all()
    caught.clear()
    model.restore(data["lq"])
    assert all((features != 0).all() for features in caught)


@pytest.mark.parametrize("remask", [[], ["encoders"]])
def test_a_compiled_step_is_the_same(
    make: Callable[..., Any], remask: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="aot_eager"))
    plain, compiled = make(**{"train.remask": remask}), make(**{"train.remask": remask, "compile": True})
    for iteration in (1, 2):
        for model in (plain, compiled):
            step(model, batch(size=32), iteration)
        assert compiled.log_dict == pytest.approx(plain.log_dict, rel=1e-4)


def test_patch_and_ratio_are_as_the_file_says(make: Callable[..., Any]) -> None:
    model = make(**{"train.mask_patch": 8, "train.mask_ratio": 0.25})
    model.feed_data(batch(size=32))
    model._iteration = 1
    assert model._draw_mask()[:, :, ::8, ::8].sum((1, 2, 3)).tolist() == [12.0] * 4


def test_an_unknown_module_is_named(make: Callable[..., Any]) -> None:
    with pytest.raises(ValueError, match=r"train\.remask: there is no module 'encoder9' in NAFNet"):
        make(**{"train.remask": ["encoder9"]})


def test_the_average_holds_no_mask(make: Callable[..., Any]) -> None:
    model = make(**{"train.ema_decay": 0.9, "train.remask": ["encoders"]})
    step(model, batch(size=32))
    average: nn.Module = model.ema["g"].module
    assert all(hook.tensor is None for e in average.encoders for hook in e._forward_hooks.values())
