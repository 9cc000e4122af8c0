"""DA-CLIP's conditioning: what each embedding reaches, who gives it, and one code for all tiles."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from arch_configs import ARCH_CONFIGS
from model_configs import MODELS
from small_networks import build_network, made_code

from uir.archs.daclip_arch import DACLIPUNet
from uir.config.options import load_options
from uir.inference.daclip_predictor import DACLIPPredictor
from uir.inference.predictor import Running, predict
from uir.layers.spatial_transformer import SpatialTransformer
from uir.models.building import build_model

Write = Callable[..., Path]


def images(batch: int = 1) -> torch.Tensor:
    return torch.rand(batch, 3, 24, 28, generator=torch.Generator().manual_seed(0))


@torch.no_grad()
@pytest.mark.parametrize("field", ["vector", "content"])
def test_both_embeddings_change_the_estimate(field: str) -> None:
    network, lq = build_network("DACLIPUNet", moved=0.1), images()
    code = made_code(network, lq)
    code = replace(code, content=code.vector.flip(1))
    other = replace(code, **{field: 2 * getattr(code, field) + 1})
    assert not torch.allclose(network(lq, code), network(lq, other))
    assert not torch.allclose(network(lq, code), network(lq))


@torch.no_grad()
def test_a_code_without_a_content_gives_its_vector_for_it() -> None:
    network, lq = build_network("DACLIPUNet", moved=0.1), images()
    code = made_code(network, lq)
    assert torch.equal(network(lq, code), network(lq, replace(code, content=code.vector)))


def test_transformers_stand_at_the_published_levels() -> None:
    with torch.device("meta"):
        network = DACLIPUNet()
    found = {name: m.proj_in.in_channels for name, m in network.named_modules() if isinstance(m, SpatialTransformer)}
    assert found == {"downs.3.2": 256, "ups.0.2": 512, "mid_attn": 512}
    assert network.prompt.shape == (1, 256)


def test_a_transformer_changes_nothing_at_first_and_needs_groups() -> None:
    transformer, x = SpatialTransformer(32, 5), torch.rand(1, 32, 3, 4)
    assert torch.equal(transformer(x, torch.rand(1, 5)), x)
    with pytest.raises(ValueError, match="needs a multiple of 32 channels, got 8"):
        SpatialTransformer(8, 5)


def test_queries_of_one_vector_have_no_effect() -> None:
    tokens, context = torch.rand(2, 7, 32), torch.rand(2, 1, 32)
    attended = torch.nn.functional.scaled_dot_product_attention(tokens, context, context)
    torch.testing.assert_close(attended, context.expand(-1, 7, -1))


def made_model(write_options: Write, pairs: Path, **changes: Any) -> Any:
    changes = {**MODELS["DACLIPModel"](pairs), "model_type": "DACLIPModel", **changes}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return build_model(load_options(write_options(changes)), torch.device("cpu"))


@pytest.mark.parametrize("trained", [True, False])
def test_an_encoder_is_trained_along_or_frozen(write_options: Write, pair_folders: Path, trained: bool) -> None:
    model = made_model(write_options, pair_folders, **({} if trained else {"train.optim_e": None}))
    assert model.net_g.code_channels == model.net_g.content_channels == 8
    for parameter in model.net_g.parameters():  # so that no transformer is switched off
        parameter.data += 0.05
    model.feed_data({"lq": images(2)[..., :16, :16], "gt": images(2)[..., 8:, 12:]})
    sum(model.compute_losses().values()).backward()
    gradients = [p.grad is not None and bool(p.grad.any()) for p in model.bare["e"].E.parameters()]
    assert all(gradients) is trained
    assert any(gradients) is trained
    assert model.net_g.prompt.grad.any()


@torch.no_grad()
def test_all_tiles_get_the_code_of_the_whole_image(write_options: Write, pair_folders: Path) -> None:
    predictor = made_model(write_options, pair_folders).predictor
    assert isinstance(predictor, DACLIPPredictor)
    encoded, codes = [], []
    predictor.networks["e"].eval().register_forward_pre_hook(lambda _module, inputs: encoded.append(inputs[0].shape))
    predictor.networks["g"].eval().register_forward_pre_hook(
        lambda _module, args, kwargs: codes.append(kwargs["code"].vector), with_kwargs=True
    )
    batch = {"lq": images(), "lq_path": ["a.png"]}
    predict(predictor, batch, Running(torch.device("cpu"), tile=16, overlap=8), {"steps": 2})
    assert encoded == [(1, 3, 24, 28)]
    assert len(codes) > 4
    assert all(torch.equal(code[:1], codes[0][:1]) for code in codes)


def test_a_network_that_takes_no_code_is_refused(write_options: Write, pair_folders: Path) -> None:
    network = {"type": "ConditionalUNet", **ARCH_CONFIGS["ConditionalUNet"]}
    with pytest.raises(ValueError, match="ConditionalUNet takes no code; use DACLIPUNet, or IRSDEModel"):
        made_model(write_options, pair_folders, network_g=network)
