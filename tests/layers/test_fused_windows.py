"""The Swin block for inference on a CPU gives what its parts give one after another."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from uir.archs.swinir_arch import SwinIR
from uir.inference.macs import count_macs
from uir.layers import fused_windows, onednn, swin
from uir.layers.swin import SwinTransformerBlock
from uir.layers.windows import WindowLayout

pytestmark = pytest.mark.skipif(
    not onednn.has_onednn(torch.float32), reason="this torch or processor has no fused linear layers"
)


def make_block(channels: int = 30, heads: int = 1, window: int = 4, **arguments: Any) -> SwinTransformerBlock:
    torch.manual_seed(0)
    block = SwinTransformerBlock(channels, heads, window, True, 2.0, **arguments).eval()
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.normal_(0, 0.3)
    return block


def both(block: SwinTransformerBlock, dtype: torch.dtype = torch.float32, masked: bool = True) -> tuple[Tensor, Tensor]:
    """The block's output for two maps of 12×16 pixels: fused, and part by part."""
    window = block.attn.window
    height, width = 3 * window, 4 * window
    tokens = torch.randn(2, height * width, block.norm1.normalized_shape[0])
    shape = (2, height, width)
    layouts = tuple(WindowLayout.of(shape, window, shift, masked, tokens) for shift in (0, window // 2))
    with torch.inference_mode(), torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
        assert fused_windows.can_fuse(block, tokens)
        return fused_windows.fused_block(block, tokens, layouts[1]), plain(block, tokens, layouts)


def plain(block: SwinTransformerBlock, tokens: Tensor, layouts: Any) -> Tensor:
    layout = layouts[1]
    tokens = tokens + layout.join(block.attn(layout.cut(block.norm1(tokens)), layout.mask))
    return tokens + block.mlp(block.norm2(tokens))


@pytest.mark.parametrize(
    "arguments",
    [
        {"heads": 1},  # heads of 30 channels are padded to 32
        {"channels": 20, "heads": 2},  # heads of 10 are not
        {"window": 7, "rel_pos_bias": False},
        {"qkv_bias": False, "qk_scale": 0.1},
    ],
)
@pytest.mark.parametrize("masked", [True, False])
def test_the_fused_block_gives_what_the_parts_give(arguments: dict[str, Any], masked: bool) -> None:
    fused, parts = both(make_block(**arguments), masked=masked)
    torch.testing.assert_close(fused, parts, rtol=1e-4, atol=1e-4)


def test_windows_in_several_groups_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fused_windows, "_BYTES_AT_A_TIME", 12 * 16 * 30 * 5)  # five windows at a time
    fused, parts = both(make_block())
    torch.testing.assert_close(fused, parts, rtol=1e-4, atol=1e-4)


@pytest.mark.skipif(not onednn.has_onednn(torch.bfloat16), reason="this processor has no bfloat16")
@pytest.mark.parametrize("scale", [None, 50.0], ids=["exponentials as they are", "too large for a number"])
@pytest.mark.parametrize("arguments", [{}, {"qkv_bias": False}, {"channels": 20, "heads": 2}])
@pytest.mark.parametrize("masked", [True, False])
def test_bfloat16_differs_from_float32_no_more_than_the_parts_do(
    arguments: dict[str, Any], masked: bool, scale: float | None
) -> None:
    block = make_block(qk_scale=scale, **arguments)
    exact = both(block, masked=masked)[1]
    torch.manual_seed(0)
    block = make_block(qk_scale=scale, **arguments)
    fused, parts = both(block, torch.bfloat16, masked)
    assert (fused - exact).abs().mean() <= 1.5 * (parts - exact).abs().mean()


@pytest.mark.skipif(not onednn.has_onednn(torch.bfloat16), reason="this processor has no bfloat16")
@pytest.mark.parametrize("logit", [0.0, 85.0, 200.0, -200.0])  # the largest number is the exponential of 88.7
def test_sums_of_exponentials_are_taken_only_where_they_are_numbers(logit: float) -> None:
    step = fused_windows._Step(make_block(), torch.bfloat16, 16)
    assert step.counts
    values = torch.linspace(10, 20, 16).bfloat16()[None, :, None].repeat(2, 1, 32)
    values[..., -1] = 1
    nothing = torch.zeros(2, 16, 32, dtype=torch.bfloat16)
    averaged = step._products(nothing, nothing, values, torch.full((1, 1, 16, 16), logit).bfloat16())
    torch.testing.assert_close(averaged[..., :-1], torch.full((2, 16, 31), 15.0).bfloat16())


def test_a_changed_weight_is_seen_at_once() -> None:
    block = make_block()
    before, _ = both(block)
    block.mlp.fc2.weight.data.zero_()
    torch.manual_seed(0)
    fused, parts = both(block)
    torch.testing.assert_close(fused, parts, rtol=1e-4, atol=1e-4)
    assert not torch.equal(fused, before)


@pytest.mark.parametrize("reason", ["gradients", "training", "a hook", "a counter"])
def test_the_parts_run_one_by_one_where_somebody_needs_them(reason: str) -> None:
    block, tokens = make_block(), torch.randn(1, 16, 30)
    if reason == "gradients":
        assert not fused_windows.can_fuse(block, tokens)
    elif reason == "training":
        with torch.no_grad():
            assert not fused_windows.can_fuse(block.train(), tokens)
    elif reason == "a hook":
        block.mlp.act.register_forward_hook(lambda *_: None)
        with torch.no_grad():
            assert not fused_windows.can_fuse(block, tokens)
    else:
        from torch.utils.flop_counter import FlopCounterMode

        with torch.no_grad(), FlopCounterMode(display=False):
            assert not fused_windows.can_fuse(block, tokens)


def test_a_network_counts_the_same_operations_and_gives_the_same_image(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    network = SwinIR(embed_dim=30, depths=[2], num_heads=[1], window_size=8, mlp_ratio=2).eval()
    image = torch.rand(1, 3, 20, 27)
    with torch.inference_mode():
        fused, count = network(image), count_macs(network, image)
        monkeypatch.setattr(swin, "can_fuse", lambda *_: False)
        torch.testing.assert_close(fused, network(image), rtol=1e-5, atol=1e-5)
        assert count_macs(network, image) == count
