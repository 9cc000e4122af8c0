"""Masked pre-training: the masks, where they are laid, and a step with them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
from dcpt_options import NETWORK, SMALL_BACKBONES, batch, changes, gradients, model_of, step, weights
from torch import Tensor, nn

from uir.config.options import load_options
from uir.engine.train_loop import train
from uir.layers.features import FeaturePoint
from uir.layers.patch_mask import hide, patch_mask
from uir.models.mask_dcpt_model import _MaskedStep

Write = Callable[..., Path]
# The blocks of each backbone's encoder, by hand.
ENCODERS: dict[str, list[str]] = {
    "NAFNet": ["encoders.0.0", "encoders.1.0"],
    "PromptIR": ["encoder_level1.0", "encoder_level2.0", "encoder_level3.0"],
    "Restormer": ["encoder_level1.0", "encoder_level2.0", "encoder_level3.0"],
    "SwinIR": ["layers.0.residual_group.blocks.0", "layers.0.residual_group.blocks.1", "layers.0"],
}


class Plain(nn.Module):
    """A network that says where its features are, and nothing of an encoder."""

    def __init__(self) -> None:
        super().__init__()
        self.inward, self.outward = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 3, 3, padding=1)

    def feature_points(self) -> list[FeaturePoint]:
        return [FeaturePoint("inward", 4, 1)]

    def forward(self, lq: Tensor) -> Tensor:
        restored: Tensor = self.outward(self.inward(lq))
        return restored


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
    model, data = make(**{"train.remask": []}), batch(size=32)
    assert model._patch == 4
    model.feed_data(data)
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
    mask = model._draw_mask()
    restored, _ = model.tapped(data["lq"], mask)
    same, _ = model.tapped(data["lq"] + (1 - mask), mask)
    other, _ = model.tapped(data["lq"] + mask, mask)
    torch.testing.assert_close(same, restored)
    assert not torch.allclose(other, restored)


def test_every_step_has_masks_of_its_own_whatever_iterations_are_counted_from(make: Callable[..., Any]) -> None:
    model, other, seen = make(), make(), []
    for net in (model, other):
        net.bare["g"].intro.register_forward_pre_hook(lambda _m, args: seen.append(args[0] == 0))
    for iteration in (1, 2):
        step(model, batch(size=32), iteration)
        step(other, batch(size=32), iteration + 100)  # of a later stage
    assert torch.equal(seen[0], seen[1])
    assert torch.equal(seen[2], seen[3])
    assert not torch.equal(seen[0], seen[2])


def outputs_of(modules: Iterable[nn.Module]) -> list[Tensor]:
    """What the modules give from now on, as soon as they run."""
    caught: list[Tensor] = []
    for module in modules:
        module.register_forward_hook(lambda _m, _a, output: caught.append(output))
    return caught


def test_the_features_of_the_encoder_are_masked_again_in_training_alone(make: Callable[..., Any]) -> None:
    model, data = make(network_g={**NETWORK, "enc_blk_nums": [2, 1]}), batch(size=32)
    model.feed_data(data)
    mask = model._draw_mask()
    blocks = [block for stage in model.bare["g"].encoders for block in stage]
    caught, rest = outputs_of(blocks), outputs_of([*model.bare["g"].middle_blks, *model.bare["g"].decoders])
    step(model, data)
    assert len(caught) == 3
    for features in caught:
        shown = mask[:, :, :: 32 // features.shape[-1], :: 32 // features.shape[-1]].expand_as(features)
        assert torch.equal(features == 0, shown == 0)
    assert all((features != 0).all() for features in rest)
    caught.clear()
    model.restore(data["lq"])
    assert all((features != 0).all() for features in caught)


def test_the_file_may_name_other_modules(make: Callable[..., Any]) -> None:
    model = make(**{"train.remask": ["downs", "middle_blks"]})
    net = model.bare["g"]
    named, others = outputs_of([*net.downs, net.middle_blks]), outputs_of([*net.encoders, *net.decoders])
    step(model, batch(size=32))
    assert all((features == 0).float().mean() == 0.5 for features in named)
    assert all((features != 0).all() for features in others)


@pytest.mark.parametrize("type_name", sorted(SMALL_BACKBONES))
def test_every_backbone_hides_its_encoder_and_learns_all_of_itself(make: Callable[..., Any], type_name: str) -> None:
    model, data = make(network_g={"type": type_name, **SMALL_BACKBONES[type_name]}), batch(size=32)
    network = model.bare["g"]
    caught = outputs_of(network.get_submodule(name) for name in ENCODERS[type_name])
    before = weights(network)
    step(model, data)
    assert len(caught) == len(ENCODERS[type_name])
    for features in caught:
        zero, channels = features == 0, 1 if features.ndim == 4 else 2
        assert torch.equal(zero.all(channels), zero.any(channels))
        assert zero.all(channels).float().mean() == 0.5
    silent = [name for name, value in network.named_parameters() if torch.equal(value, before[name])]
    assert silent == []


@pytest.mark.thorough
@pytest.mark.parametrize("type_name", sorted(SMALL_BACKBONES))
def test_every_backbone_trains_from_a_file_that_only_names_it(
    write_options: Write, pair_folders: Path, type_name: str
) -> None:
    network = {"type": type_name, **SMALL_BACKBONES[type_name]}
    more = {"train.total_iter": 2, "val": None, "datasets.val": None, "datasets.train.gt_size": 32}
    file = write_options(changes(pair_folders, "MaskDCPTModel", network_g=network, **more))
    rows = [json.loads(line) for line in (train(load_options(file)) / "metrics.jsonl").read_text().splitlines()]
    assert [set(row) & {"l_pix", "l_classify"} for row in rows] == [{"l_pix", "l_classify"}] * 2


@pytest.mark.thorough
def test_activations_that_are_computed_again_are_masked_again(make: Callable[..., Any]) -> None:
    found = []
    for again in (False, True):
        swin = {"type": "SwinIR", **SMALL_BACKBONES["SwinIR"], "drop_path_rate": 0.0, "use_checkpoint": again}
        model = make(network_g=swin)
        step(model, batch(size=32))
        found.append(gradients(model))
    torch.testing.assert_close(found[0], found[1])


def test_of_a_network_that_names_no_encoder_only_the_input_is_masked_if_the_file_says_so() -> None:
    network, image, mask = Plain(), torch.ones(1, 3, 16, 16), patch_mask([1], 16, 16, 4, 0.5)
    expected = network(image * mask)
    restored, _ = _MaskedStep(network, None, [])(image, mask)
    assert torch.equal(restored, expected)
    with pytest.raises(ValueError, match=r"Plain\.encoder_blocks\(\): there is no such method; name the modules"):
        _MaskedStep(network, None, "encoder")


def test_an_encoder_that_does_not_exist_is_named() -> None:
    class Mistaken(Plain):
        def encoder_blocks(self) -> list[str]:
            return ["body"]

    with pytest.raises(ValueError, match=r"Mistaken\.encoder_blocks\(\): there is no module 'body' in Mistaken"):
        _MaskedStep(Mistaken(), None, "encoder")


def test_patch_and_ratio_are_as_the_file_says(make: Callable[..., Any]) -> None:
    model = make(**{"train.mask_patch": 8, "train.mask_ratio": 0.25})
    model.feed_data(batch(size=32))
    assert model._draw_mask()[:, :, ::8, ::8].sum((1, 2, 3)).tolist() == [12.0] * 4


def test_an_unknown_module_is_named(make: Callable[..., Any]) -> None:
    with pytest.raises(ValueError, match=r"train\.remask: there is no module 'encoder9' in NAFNet"):
        make(**{"train.remask": ["encoder9"]})


class Vectors(nn.Module):
    """Ones [B, 3], or keys [B, 4, 3], as many as the pixels of a map of 2×2."""

    def __init__(self, keys: bool) -> None:
        super().__init__()
        self.shape, self.gives_places = ((4, 3) if keys else (3,)), not keys

    def forward(self, lq: Tensor) -> Tensor:
        return torch.ones(len(lq), *self.shape)


class WithVectors(Plain):
    def __init__(self, keys: bool) -> None:
        super().__init__()
        self.vectors = Vectors(keys)

    def encoder_blocks(self) -> list[str]:
        return ["inward"]

    decoder_blocks = encoder_blocks

    def depths(self) -> list[list[str]]:
        return [["inward", "vectors"], ["outward"]]

    def forward(self, lq: Tensor) -> Tensor:
        return super().forward(lq) + self.vectors(lq).mean()


@pytest.mark.parametrize("keys", [False, True])
def test_what_has_no_places_is_not_masked_and_cannot_be_named(keys: bool) -> None:
    net, lq, mask = WithVectors(keys), torch.rand(1, 3, 8, 8), torch.zeros(1, 1, 8, 8)
    masked = _MaskedStep(net, None, "all")
    inward, vectors = outputs_of([net.inward, net.vectors]), outputs_of([net.vectors])
    masked(lq, mask)
    assert not inward[0].any()
    assert (vectors[0] == 1).all()
    with pytest.raises(ValueError, match=r"train\.remask: the output of 'vectors' cannot be masked: it has no places"):
        _MaskedStep(WithVectors(keys), None, ["vectors"])(lq, mask)


def test_the_average_is_not_masked(make: Callable[..., Any]) -> None:
    model, data = make(**{"train.ema_decay": 0.9}), batch(size=32)
    step(model, data)
    average = model.ema["g"].module
    caught = outputs_of(average.encoders)
    average.train()(data["lq"])
    assert all((features != 0).all() for features in caught)
