"""Tiles by the memory at hand: automatic, halved where it is not enough, and with one statistic for all of them."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch
from small_networks import build_network
from torch import Tensor, nn

from uir.core import memory
from uir.core.images import read_rgb
from uir.core.memory import free_bytes, peak_bytes
from uir.inference import running
from uir.inference.pooled_statistics import PooledStatistics, mosaic
from uir.inference.restorer import Restorer
from uir.inference.tiling import tiled_rows

CPU = torch.device("cpu")


def image(height: int, width: int) -> Tensor:
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("tile", [16, 24, 31])
@pytest.mark.parametrize("overlap", [0, 5, 8])
def test_an_identity_comes_back_to_the_bit(tile: int, overlap: int) -> None:
    picture = image(61, 75) * 1e3
    bands = tiled_rows(lambda r, c: picture[..., r, c], lambda lq, *_: lq, (61, 75), tile=tile, overlap=overlap)
    assert torch.equal(torch.cat(list(bands), -2), picture)


class Small(nn.Module):
    """Blurs; holds at most so many pixels, else it says what torch says of a full memory."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most, self.sides, self.failed = most, [], 0
        self.blur = nn.Conv2d(3, 3, 3, padding=1, groups=3)

    def forward(self, lq: Tensor) -> Tensor:
        if lq.shape[-2] * lq.shape[-1] > self.most:
            self.failed += 1
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")
        self.sides.append(max(lq.shape[-2:]))
        restored: Tensor = self.blur(lq)
        return restored


@pytest.mark.thorough
@pytest.mark.parametrize("tile", [None, "auto", 96])
def test_a_tile_that_does_not_fit_is_repeated_in_smaller_ones(
    tile: int | None, caplog: pytest.LogCaptureFixture
) -> None:
    net = Small(48 * 48)
    lq = image(130, 150)
    with torch.no_grad():
        expected = net.blur(lq).clamp(0, 1)
    restorer = Restorer(net, tile=tile, overlap=8 if tile == 96 else None)
    with caplog.at_level(logging.WARNING, "uir"):
        torch.testing.assert_close(restorer.restore_tensor(lq), expected, atol=1e-6, rtol=0)
    assert "not enough memory on the GPU for " in caplog.text
    before = net.failed
    assert max(net.sides) <= 48
    restorer.restore_tensor(lq)
    assert net.failed == before  # the size is known now


@pytest.mark.thorough
def test_what_never_fits_and_other_errors_are_raised() -> None:
    with pytest.raises(torch.OutOfMemoryError):
        Restorer(Small(20)).restore_tensor(image(90, 90))

    class Broken(nn.Module):
        def forward(self, lq: Tensor) -> Tensor:
            raise RuntimeError("no such kernel")

    with pytest.raises(RuntimeError, match="no such kernel"):
        Restorer(Broken()).restore_tensor(image(90, 90))


def test_automatic_tiles_follow_the_free_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    sides = []
    for kilobytes in (10**6, 2000, 400):
        net = Small(10**9)
        monkeypatch.setattr(running, "free_bytes", lambda device, free=kilobytes * 2**10: free)
        restorer = Restorer(net, tile="auto")
        assert restorer.restore_tensor(image(400, 300)).shape == (1, 3, 400, 300)
        sides.append(max(net.sides))
    assert sides[0] == 400  # whole
    assert 400 > sides[1] > sides[2] >= 32
    monkeypatch.setattr(running, "free_bytes", lambda device: None)
    assert Restorer(Small(10**9), tile="auto").restore_tensor(image(30, 600)).shape == (1, 3, 30, 600)


def test_automatic_tiles_stay_small_on_a_cpu_however_much_memory_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "free_bytes", lambda device: 2**50)
    monkeypatch.setattr(running, "MOST_ON_CPU", 400 * 2**10)
    net = Small(10**9)
    assert Restorer(net, tile="auto").restore_tensor(image(400, 300)).shape == (1, 3, 400, 300)
    assert max(net.sides) < 300


def test_the_peak_is_that_of_the_tensors_alive_at_once() -> None:
    def chain() -> Tensor:
        x = torch.zeros(1000)
        for _ in range(5):
            x = x + 1  # two at a time
        return x.view(10, 100)

    assert peak_bytes(chain) == 2 * 4000
    kept: list[Tensor] = []
    assert peak_bytes(lambda: kept.extend(torch.zeros(10) for _ in range(5))) == 5 * 40


def test_free_memory_is_that_of_the_container_if_it_has_less(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "max").write_text("5000\n")
    (tmp_path / "now").write_text("2000\n")
    monkeypatch.setattr(memory, "_CGROUPS", ((str(tmp_path / "max"), str(tmp_path / "now")),))
    assert free_bytes(CPU) == 3000
    (tmp_path / "max").write_text("max\n")
    assert free_bytes(CPU) != 3000


@pytest.mark.thorough
@pytest.mark.parametrize("name", ["NAFNet", "Baseline", "HalfNAFNet", "Restormer", "PromptIR"])
def test_tiles_of_a_network_with_global_statistics_agree(name: str, photographs: list[Path]) -> None:
    net = build_network(name, moved=0.05)
    pixels = read_rgb(photographs[0])[60:252, 60:316]
    lq = torch.from_numpy(pixels).permute(2, 0, 1)[None].contiguous()
    lq[..., 128:] *= 0.3  # the halves differ

    def run(part: Tensor, *_: slice) -> Tensor:
        restored: Tensor = net(part)
        return restored

    with torch.no_grad():
        bands = list(tiled_rows(lambda r, c: lq[..., r, c], run, (192, 256), tile=128, overlap=32))
    whole = Restorer(net).restore_tensor(lq)
    shared = Restorer(net, tile=128, overlap=32).restore_tensor(lq)
    alone = torch.cat(bands, -2).clamp(0, 1)
    assert (shared - whole).abs().mean() < 0.95 * (alone - whole).abs().mean()


def test_every_tile_gets_the_recorded_values() -> None:
    class Mean(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.pool = nn.AdaptiveAvgPool2d(1)

        def forward(self, lq: Tensor) -> Tensor:
            return self.pool(lq).expand_as(lq)

    lq = image(96, 128)
    restored = Restorer(Mean(), tile=32, overlap=8).restore_tensor(lq)
    value = restored[..., :1, :1]
    torch.testing.assert_close(restored, value.expand_as(restored), atol=1e-6, rtol=0)
    torch.testing.assert_close(value, lq.mean((2, 3), keepdim=True), atol=0.05, rtol=0)
    assert not PooledStatistics(build_network("SwinIR"))


def test_the_mosaic_is_of_squares_from_everywhere() -> None:
    lq = torch.arange(96.0)[:, None].expand(1, 3, 96, 128)
    picture = mosaic(lambda r, c: lq[..., r, c], (96, 128), 32, 4)
    assert picture.shape == (1, 3, 32, 32)
    assert picture[0, 0, ::8, 0].tolist() == [0, 28, 56, 88]
    assert mosaic(lambda r, c: lq[..., r, c], (96, 128), 400, 4).shape == (1, 3, 96, 100)


@pytest.mark.parametrize("tile", ["auto", "whole", "32"])
def test_the_command_takes_a_side_or_a_word(tile: str, tmp_path: Path) -> None:
    from small_release import small_release

    from uir.cli import run
    from uir.core.images import write_image

    write_image(tmp_path / "a.png", image(40, 60)[0])
    model = small_release(tmp_path / "it.safetensors")
    run(["restore", str(tmp_path / "a.png"), "-o", str(tmp_path / "b.png"), "--model", str(model), "--tile", tile])
    assert (tmp_path / "b.png").exists()
