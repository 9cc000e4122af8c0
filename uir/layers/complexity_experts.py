"""Experts of growing width and window, and the router that sends each image to some of them.

The parts of MoCE-IR (Complexity Experts are Task-Discriminative Learners for Any Image Restoration, Zamfir et al.,
CVPR 2025).
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from uir.layers.padding import crop, pad_to_multiple
from uir.layers.pointwise import PointwiseConv2d
from uir.layers.transposed_attention import ChannelNorm, branches


class WindowSpectrumAttention(nn.Module):
    """Circular convolution of queries and keys within square windows gates the values. Keeps [B, C, H, W].

    Args:
        channels: C.
        window: side of the windows; maps are padded with zeros to full windows.
    """

    def __init__(self, channels: int, window: int) -> None:
        super().__init__()
        self.window = window
        self.q = PointwiseConv2d(channels, channels, bias=False)
        self.q_dwconv = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
        self.kv = PointwiseConv2d(channels, 2 * channels, bias=False)
        self.kv_dwconv = nn.Conv2d(2 * channels, 2 * channels, 7, padding=3, groups=2 * channels)
        self.norm = ChannelNorm(channels, "WithBias", 1e-5)
        self.proj_out = PointwiseConv2d(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Attend."""
        (queries,) = branches(x, self.q, self.q_dwconv, 1)
        keys, values = branches(x, self.kv, self.kv_dwconv, 2)
        mixed: Tensor = self.norm(self._convolved(queries, keys))
        gated: Tensor = self.proj_out(mixed.to(values.dtype) * values)
        return gated

    def _convolved(self, queries: Tensor, keys: Tensor) -> Tensor:
        """The product of the spectra of every window."""
        spectra = []
        for part in (queries, keys):
            padded = pad_to_multiple(part.float(), self.window, "constant")
            windows = padded.unflatten(3, (-1, self.window)).unflatten(2, (-1, self.window)).transpose(3, 4)
            spectra.append(torch.fft.rfft2(windows.contiguous()))
        mixed = torch.fft.irfft2(spectra[0] * spectra[1], (self.window, self.window))
        return crop(mixed.transpose(3, 4).flatten(4, 5).flatten(2, 3), *queries.shape[-2:])


class Expert(nn.Module):
    """One expert: attention in windows at a lower width, gated by the shared features, added to the input.

    Args:
        channels: C of the input and output [B, C, H, W].
        rank: the lower width.
        window: as in `WindowSpectrumAttention`.
    """

    def __init__(self, channels: int, rank: int, window: int) -> None:
        super().__init__()
        self.proj = nn.ModuleList(
            [
                PointwiseConv2d(channels, rank, bias=False),
                PointwiseConv2d(channels, rank, bias=False),
                PointwiseConv2d(rank, channels, bias=False),
            ]
        )
        self.body = WindowSpectrumAttention(rank, window)

    def forward(self, x: Tensor, shared: Tensor) -> Tensor:
        """Change the features `x` by the shared ones, both [B, C, H, W]."""
        down, gate, up = self.proj
        changed: Tensor = up(self.body(down(x)) * F.silu(gate(shared)))
        return x + changed


class Router(nn.Module):
    """Chooses experts for every image, and measures how evenly it does (paper Sec. 3.3).

    Args:
        channels: of the features.
        frequency_channels: of the image's frequency embedding.
        experts: number of experts.
        topk: experts for each image.
        complexity: parameters of each expert, as fractions of the largest; they weight the balance.
    """

    complexity: Tensor

    def __init__(
        self, channels: int, frequency_channels: int, experts: int, topk: int, complexity: list[float]
    ) -> None:
        super().__init__()
        self.topk = topk
        self.gate = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, experts, bias=False))
        self.freq_gate = nn.Linear(frequency_channels, experts, bias=False)
        self.register_buffer("complexity", torch.tensor(complexity))

    def forward(self, x: Tensor, embedding: Tensor, noise: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """The chosen experts and their weights, both [B, topk], and the balance, a scalar.

        Args:
            x: features [B, C, H, W].
            embedding: [B, frequency_channels].
            noise: a unit normal draw [B, experts]; None leaves it out.
        """
        logits = (self.gate(x) + self.freq_gate(embedding)).float()
        deviation = 1 / logits.shape[1]
        noisy = logits if noise is None else logits + deviation * noise
        weights, chosen = noisy.softmax(1).topk(self.topk, dim=1)
        lowest = noisy.gather(1, chosen[:, -1:])
        importance = self.complexity * logits.softmax(1).sum(0)
        load = (1 - torch.special.ndtr((lowest - logits) / deviation)).mean(0)
        return chosen, weights, (_spread(importance) + _spread(load)) / 2


def _spread(values: Tensor) -> Tensor:
    """The squared coefficient of variation."""
    return (values.std() / (values.mean() + 1e-8)).square()


class ExpertAdapter(nn.Module):
    """Experts of doubling rank and window behind a router. Keeps [B, C, H, W].

    Args:
        channels: C; the ranks are C, C/2, C/4, ... for the last expert, the one before, ...
        frequency_channels, experts, topk: as in `Router`.
        with_complexity: weight the balance by the experts' parameters, so that small ones are preferred.

    Attributes:
        counted: the expert that runs where multiply-adds are counted (on the device `meta`); at first the largest.
    """

    def __init__(self, channels: int, frequency_channels: int, experts: int, topk: int, with_complexity: bool) -> None:
        super().__init__()
        ranks = [max(1, channels // 2 ** (experts - 1 - index)) for index in range(experts)]
        self.experts = nn.ModuleList(
            nn.Sequential(Expert(channels, rank, 4 * 2**index)) for index, rank in enumerate(ranks)
        )
        sizes = [sum(parameter.numel() for parameter in expert.parameters()) for expert in self.experts]
        complexity = [size / max(sizes) if with_complexity else 1.0 for size in sizes]
        self.counted = experts - 1
        self.routing = Router(channels, frequency_channels, experts, topk, complexity)
        self.proj_out = PointwiseConv2d(channels, channels, bias=False)

    def forward(self, x: Tensor, embedding: Tensor, shared: Tensor, noise: Tensor | None) -> tuple[Tensor, Tensor]:
        """The changed features and the balance; arguments as in `Router`, `shared` as in `Expert`."""
        chosen, weights, balance = self.routing(x, embedding, noise)
        mixed = torch.zeros_like(x)
        for index, rows, shares in self._parts(chosen, weights):
            (expert,) = self.experts[index].children()
            part = expert(x[rows], shared[rows]) * shares.to(x.dtype).view(-1, 1, 1, 1)
            mixed = (
                part if len(rows) == len(x) and self.routing.topk == 1 else mixed.index_add(0, rows, part.to(x.dtype))
            )
        projected: Tensor = self.proj_out(mixed)
        return projected, balance

    def _parts(self, chosen: Tensor, weights: Tensor) -> Iterator[tuple[int, Tensor, Tensor]]:
        """For each expert that is chosen: its index, the images that it gets, and their weights."""
        if chosen.device.type == "meta":  # for counting multiply-adds; nothing is known of the choice
            yield self.counted, torch.arange(len(chosen), device="meta"), weights[:, 0]
            return
        for index in range(len(self.experts)):
            rows, place = torch.where(chosen == index)
            if len(rows):
                yield index, rows, weights[rows, place]
