from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from uir.archs.nafnet_arch import NAFNet
from uir.inference.restorer import Restorer
from uir.inference.tiling import check_tiling, tile_starts, tile_weights, tiled_rows


@pytest.mark.parametrize("length", [5, 32, 33, 64, 65, 100, 257])
@pytest.mark.parametrize("overlap", [0, 5, 16])
@pytest.mark.parametrize("multiple", [1, 8])
def test_tiles_cover_the_image_on_the_grid_and_share_enough(length: int, overlap: int, multiple: int) -> None:
    starts = tile_starts(length, 32, overlap, multiple)
    assert starts[0] == 0
    assert all(start % multiple == 0 and start < length for start in starts)
    assert starts[-1] + 32 >= length
    steps = np.diff(starts)
    assert all(steps > 0)
    assert all(32 - steps >= overlap)
    assert steps.size == 0 or steps.max() - steps.min() <= multiple  # evenly spread


@pytest.mark.parametrize("length", [20, 33, 70, 101])
@pytest.mark.parametrize("overlap", [0, 7, 16])
def test_shares_sum_to_one(length: int, overlap: int) -> None:
    starts = tile_starts(length, 32, overlap)
    total = torch.zeros(length)
    for start, share in zip(starts, tile_weights(starts, 32, length), strict=True):
        assert share.min() >= 0
        total[start : start + len(share)] += share
    torch.testing.assert_close(total, torch.ones(length))


def test_a_tile_has_no_share_in_the_outer_quarter_of_an_overlap() -> None:
    first, second = tile_weights([0, 16], 32, 48)  # an overlap of 16 pixels
    assert torch.equal(second[:4], torch.zeros(4))
    assert torch.equal(second[12:], torch.ones(20))
    assert torch.equal(first[-4:], torch.zeros(4))
    assert torch.equal(first[:20], torch.ones(20))
    torch.testing.assert_close(second[4:12], (torch.arange(8) + 0.5) / 8)


@pytest.mark.parametrize("size", [(40, 50), (16, 90), (33, 16), (7, 5)])
@pytest.mark.parametrize("scale", [1, 2])
def test_tiled_equals_whole_where_the_overlap_is_four_times_the_reach(size: tuple[int, int], scale: int) -> None:
    net = nn.Conv2d(3, 3, 5, padding=2)  # reaches 2 pixels

    def run(lq: Tensor) -> Tensor:
        return F.interpolate(net(lq), scale_factor=scale, mode="nearest")

    image = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        bands = list(
            tiled_rows(
                lambda rows, columns: image[..., rows, columns],
                lambda lq, *place: run(lq),
                size,
                tile=16,
                overlap=8,
                scale=scale,
            )
        )
        torch.testing.assert_close(torch.cat(bands, -2), run(image), atol=1e-6, rtol=0)


def test_tiles_lie_on_the_grid_of_a_network_with_strides() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Sequential(nn.Conv2d(3, 8, 2, stride=2), nn.Conv2d(8, 12, 3, padding=1), nn.PixelShuffle(2))
    net.pad_multiple = 2  # type: ignore[assignment]
    image = torch.rand(1, 3, 37, 51, generator=torch.Generator().manual_seed(1))
    whole = Restorer(net).restore_tensor(image)
    tiled = Restorer(net, tile=24, overlap=12).restore_tensor(image)
    torch.testing.assert_close(tiled, whole, atol=1e-6, rtol=0)


def test_no_seam_shows_where_a_network_looks_farther_than_the_overlap() -> None:
    class Mean(nn.Module):
        """Each tile's own mean colour: neighbours disagree everywhere."""

        def forward(self, lq: Tensor) -> Tensor:
            return lq.mean((2, 3), keepdim=True).expand_as(lq)

    ramp = torch.linspace(0, 1, 96).expand(1, 3, 32, 96)
    restored = Restorer(Mean(), tile=32, overlap=16).restore_tensor(ramp)
    steps = restored.diff(dim=-1).abs()
    assert steps.max() < 1.2 * (restored.max() - restored.min()) / (4 * 8)  # spread over half an overlap, each time


def test_only_tiles_reach_the_network() -> None:
    seen = []

    class Spy(nn.Module):
        def forward(self, lq: Tensor) -> Tensor:
            seen.append(tuple(lq.shape[-2:]))
            return lq

    image = np.random.default_rng(0).integers(0, 256, (70, 90, 4), dtype=np.uint8)
    restored = Restorer(Spy(), tile=32, overlap=8)(image)
    assert np.array_equal(restored, image)
    assert max(max(size) for size in seen) == 32


def test_rows_come_before_the_image_is_done() -> None:
    read = []

    def reader(rows: slice, columns: slice) -> Tensor:
        read.append(rows.stop)
        return torch.zeros(1, 3, rows.stop - rows.start, columns.stop - columns.start)

    bands = tiled_rows(reader, lambda lq, rows, columns: lq, (256, 32), tile=32, overlap=8)
    assert next(bands).shape[-2] < 32
    assert max(read) == 32


def test_nafnet_tiled_is_close_to_whole() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = NAFNet(width=4, enc_blk_nums=[1], middle_blk_num=1, dec_blk_nums=[1])
    image = torch.rand(1, 3, 61, 75, generator=torch.Generator().manual_seed(0))
    whole, tiled = (Restorer(net, tile=tile).restore_tensor(image) for tile in (None, 32))
    assert tiled.shape == whole.shape == image.shape
    assert (tiled - whole).abs().mean() < 0.02


@pytest.mark.parametrize(
    ("tile", "overlap", "multiple", "message"),
    [(30, 0, 8, "multiple of 8.*got 30; try 32"), (0, 0, 1, "tile"), (16, 9, 1, "0 to 8"), (16, -1, 1, "overlap")],
)
def test_tilings_that_do_not_fit_are_refused(tile: int, overlap: int, multiple: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_tiling(tile, overlap, multiple)


def test_an_overlap_without_tiles_is_refused() -> None:
    with pytest.raises(ValueError, match="give a tile"):
        Restorer(nn.Identity(), overlap=8)
