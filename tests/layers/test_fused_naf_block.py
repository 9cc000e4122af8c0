"""NAFNet's block for inference on a CPU gives what its parts give one after another."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor

from uir.archs.half_nafnet_arch import HalfNAFNet
from uir.archs.nafnet_arch import NAFNetLocal
from uir.inference.macs import count_macs
from uir.inference.pooled_statistics import PooledStatistics
from uir.layers import fused_naf_block, naf_block, onednn
from uir.layers.naf_block import NAFBlock

pytestmark = pytest.mark.skipif(
    not onednn.has_onednn(torch.float32), reason="this torch or processor has no fused linear layers"
)


@pytest.fixture(autouse=True)
def _several_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A part of a map of 6 channels has 5 rows and 8 columns."""
    monkeypatch.setattr(fused_naf_block, "_BYTES_AT_A_TIME", 4 * 6 * 40)
    monkeypatch.setattr(fused_naf_block, "_FEWEST_ROWS", 5)
    torch.manual_seed(0)


def randomized(network: Any) -> Any:
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.3)
    return network.eval()


def plain(block: NAFBlock, x: Tensor) -> Tensor:
    """Part by part: with a hook that does nothing."""
    handle = block.norm1.register_forward_hook(lambda *_: None)
    assert not fused_naf_block.can_fuse(block, x)
    output = block(x)
    handle.remove()
    return output


def both(block: NAFBlock, x: Tensor, autocast: bool = False) -> tuple[Tensor, Tensor]:
    """The block's output: fused, and part by part."""
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        assert fused_naf_block.can_fuse(block, x)
        return block(x), plain(block, x)


def network_both(network: Any, lq: Tensor, monkeypatch: pytest.MonkeyPatch) -> tuple[Tensor, Tensor]:
    with torch.inference_mode():
        fused = network(lq)
        with monkeypatch.context() as patch:
            patch.setattr(naf_block, "can_fuse", lambda *_: False)
            return fused, network(lq)


@pytest.mark.parametrize("size", [(1, 13, 17), (3, 13, 17), (7, 4, 5), (2, 41, 2), (1, 1, 90)])
@pytest.mark.parametrize("channels_last", [True, False])
def test_the_fused_block_gives_what_the_parts_give(size: tuple[int, int, int], channels_last: bool) -> None:
    x = torch.randn(size[0], 6, *size[1:])
    if channels_last:
        x = x.contiguous(memory_format=torch.channels_last)
    before = x.clone()
    fused, parts = both(randomized(NAFBlock(6)), x)
    torch.testing.assert_close(fused, parts, rtol=1e-5, atol=1e-5)
    assert torch.equal(x, before)


def test_parts_reach_over_several_images_or_into_one() -> None:
    assert len(fused_naf_block._parts(torch.empty(7, 4, 5, 6))) == 4  # two images at most
    assert len(fused_naf_block._parts(torch.empty(2, 13, 17, 6))) == 2 * 3 * 3


@pytest.mark.parametrize(("dw_expand", "ffn_expand"), [(1, 3), (4, 2)])
def test_branches_may_have_any_width(dw_expand: int, ffn_expand: int) -> None:
    channels = 6
    block = NAFBlock(channels, 2 * dw_expand, 2 * ffn_expand)
    fused, parts = both(randomized(block), torch.randn(2, channels, 13, 17))
    torch.testing.assert_close(fused, parts, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.skipif(not onednn.has_onednn(torch.bfloat16), reason="this processor has no bfloat16")
def test_bfloat16_differs_from_float32_no_more_than_the_parts_do(dtype: torch.dtype) -> None:
    block, x = randomized(NAFBlock(6)), torch.randn(2, 6, 29, 31).to(dtype)
    exact = both(block, x.float())[1]
    fused, parts = both(block, x, autocast=True)
    assert fused.dtype == parts.dtype == dtype
    assert (fused - exact).abs().mean() <= 1.1 * (parts - exact).abs().mean()


@pytest.mark.skipif(not onednn.has_onednn(torch.bfloat16), reason="this processor has no bfloat16")
def test_weights_of_bfloat16_give_what_the_parts_give() -> None:
    fused, parts = both(randomized(NAFBlock(6)).bfloat16(), torch.randn(1, 6, 13, 17).bfloat16())
    torch.testing.assert_close(fused, parts, rtol=0.05, atol=0.05)


def test_a_changed_weight_is_seen_at_once() -> None:
    block, x = randomized(NAFBlock(6)), torch.randn(1, 6, 13, 17)
    before, _ = both(block, x)
    for parameter in block.parameters():
        parameter.data.mul_(0.9)
        fused, parts = both(block, x)
        torch.testing.assert_close(fused, parts, rtol=1e-5, atol=1e-5)
        assert not torch.equal(fused, before)
        before = fused


def test_tiles_share_what_the_pooling_gave(monkeypatch: pytest.MonkeyPatch) -> None:
    network = randomized(HalfNAFNet(width=6, enc_blk_nums=[1], middle_blk_num=1, dec_blk_nums=[1], tone=4))
    statistics, calls = PooledStatistics(network), []
    monkeypatch.setattr(naf_block, "fused_block", lambda *a: calls.append(1) or fused_naf_block.fused_block(*a))
    picture, tiles = torch.rand(1, 3, 64, 64), torch.rand(3, 3, 48, 40)
    results = []
    for fused in (True, False):
        with monkeypatch.context() if not fused else nullcontext() as patch:
            if patch is not None:
                patch.setattr(naf_block, "can_fuse", lambda *_: False)
            with torch.inference_mode(), statistics.recorded():
                network(picture)
            with torch.inference_mode(), statistics.used():
                results.append(([value.clone() for value in statistics._values], network(tiles)))
    assert len(calls) == 2 * 3
    torch.testing.assert_close(*results, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("reason", ["gradients", "training", "a hook", "a pooling's hook", "a counter", "a small map"])
def test_the_parts_run_one_by_one_where_somebody_needs_them(reason: str) -> None:
    block, x = NAFBlock(6).eval(), torch.randn(1, 6, 13, 17)
    grad, counter = torch.no_grad(), nullcontext()
    if reason == "gradients":
        grad = nullcontext()
    elif reason == "training":
        block.train()
    elif reason == "a hook":
        block.sca[1].register_forward_hook(lambda *_: None)
    elif reason == "a pooling's hook":  # it may read what the pooling was given
        block.sca[0].register_forward_hook(lambda *_: None)
    elif reason == "a small map":
        x = x[..., :3]
    else:
        from torch.utils.flop_counter import FlopCounterMode

        counter = FlopCounterMode(display=False)
    with grad, counter:
        assert not fused_naf_block.can_fuse(block, x)


def test_local_pooling_needs_the_map(monkeypatch: pytest.MonkeyPatch) -> None:
    network = randomized(
        NAFNetLocal(width=6, enc_blk_nums=[1], middle_blk_num=1, dec_blk_nums=[1], train_size=(1, 3, 16, 16))
    )
    with torch.no_grad():
        assert not fused_naf_block.can_fuse(network.encoders[0][0], torch.randn(1, 6, 32, 40))
    fused, parts = network_both(network, torch.rand(1, 3, 32, 40), monkeypatch)
    assert torch.equal(fused, parts)


def test_a_network_counts_the_same_operations_and_gives_the_same_image(monkeypatch: pytest.MonkeyPatch) -> None:
    network = randomized(HalfNAFNet(width=6, enc_blk_nums=[1, 1], middle_blk_num=1, dec_blk_nums=[1, 1]))
    image = torch.rand(2, 3, 51, 70)
    fused, parts = network_both(network, image, monkeypatch)
    assert (fused - parts).abs().max() <= 1e-5 * parts.abs().max()
    count = count_macs(network, image)
    monkeypatch.setattr(naf_block, "can_fuse", lambda *_: False)
    assert count_macs(network, image) == count
