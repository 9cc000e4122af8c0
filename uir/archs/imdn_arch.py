"""IMDN (Hui et al., ACM MM 2019), and with the degradation-aware adapters of DAA (Wang et al., ACCV 2022)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from uir.layers.degradation_aware_conv import RegionDAConv
from uir.layers.degradation_code import DegradationCode, require_code
from uir.layers.features import FeaturePoint
from uir.layers.published_parts import part_of
from uir.registry import ARCH_REGISTRY

MODULES = 6


class ContrastAttention(nn.Module):
    """Contrast-aware channel attention (IMDN, Sec. 3.3): gates from each channel's mean plus standard deviation.

    Args:
        channels: C of input and output [B, C, H, W].
        reduction: the hidden layer is narrower by this factor.
    """

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        hidden = max(channels // reduction, 1)
        self.conv_du = nn.Sequential(
            nn.Conv2d(channels, hidden, 1), nn.ReLU(), nn.Conv2d(hidden, channels, 1), nn.Sigmoid()
        )

    def forward(self, x: Tensor) -> Tensor:
        """Gate every channel."""
        variance, mean = torch.var_mean(x.float(), (2, 3), correction=0, keepdim=True)
        # The gradient of a square root is infinite at 0, where a channel is constant.
        contrast = torch.where(variance > 0, variance, 1).sqrt() * (variance > 0)
        return x * self.conv_du((contrast + mean).to(x.dtype))


class IMDModule(nn.Module):
    """Information multi-distillation block (IMDN, Fig. 3): a quarter of the channels is kept after each convolution.

    Args:
        channels: C of input and output [B, C, H, W]; a multiple of 4.
        reduction: reduction of the attention's hidden layer.
    """

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        self.kept = channels // 4
        passed_on = channels - self.kept
        self.c1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.c2 = nn.Conv2d(passed_on, channels, 3, padding=1)
        self.c3 = nn.Conv2d(passed_on, channels, 3, padding=1)
        self.c4 = nn.Conv2d(passed_on, self.kept, 3, padding=1)
        self.c5 = nn.Conv2d(channels, channels, 1)
        self.cca = ContrastAttention(channels, reduction)

    def forward(self, x: Tensor) -> Tensor:
        """One block."""
        distilled, rest = [], x
        for conv in (self.c1, self.c2, self.c3):
            features = F.leaky_relu(conv(rest), 0.05)
            part, rest = features.split([self.kept, features.shape[1] - self.kept], 1)
            distilled.append(part)
        return self.c5(self.cca(torch.cat([*distilled, self.c4(rest)], 1))) + x


class DAAdapter(nn.Module):
    """A correction of a trained network's features that fits them to a degradation (DAA, Fig. 4).

    Args:
        channels: C of input and output [B, C, H, W].
        code_channels: width of the code.
    """

    def __init__(self, channels: int, code_channels: int) -> None:
        super().__init__()
        self.compress = nn.Sequential(
            nn.Linear(code_channels, channels, bias=False),
            nn.LeakyReLU(0.1),
            nn.Linear(channels, channels, bias=False),
            nn.LeakyReLU(0.1),
        )
        self.da_conv1 = RegionDAConv(channels)
        self.da_conv2 = RegionDAConv(channels)
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        """The correction, from the features and a code [B, code_channels]."""
        code = self.compress(code)
        branch = F.leaky_relu(self.da_conv1(x, code), 0.1)
        branch = F.leaky_relu(self.conv1(branch), 0.1)
        branch = F.leaky_relu(self.da_conv2(branch, code), 0.1)
        difference: Tensor = self.conv2(branch)
        return difference


class _IMDN(nn.Module):
    """The common part of both networks."""

    pad_multiple = 1

    def __init__(self, in_nc: int, nf: int, out_nc: int, upscale: int, reduction: int) -> None:
        super().__init__()
        name = type(self).__name__
        if nf < 4 or nf % 4:
            raise ValueError(f"{name}.nf: expected a multiple of 4, got {nf}")
        if upscale < 1:
            raise ValueError(f"{name}.upscale: expected at least 1, got {upscale}")
        self.scale = upscale
        self.nf = nf
        self.fea_conv = nn.Conv2d(in_nc, nf, 3, padding=1)
        for index in range(1, MODULES + 1):
            self.add_module(f"IMDB{index}", IMDModule(nf, reduction))
        self.c = nn.Sequential(nn.Conv2d(MODULES * nf, nf, 1), nn.LeakyReLU(0.05))
        self.LR_conv = nn.Conv2d(nf, nf, 3, padding=1)
        self.upsampler = nn.Sequential(nn.Conv2d(nf, out_nc * upscale**2, 3, padding=1), nn.PixelShuffle(upscale))

    def feature_points(self) -> list[FeaturePoint]:
        """One point after each distillation block."""
        return [FeaturePoint(f"IMDB{index}", self.nf, 1) for index in range(1, MODULES + 1)]

    def adapt(self, index: int, x: Tensor, vector: Tensor | None) -> Tensor:
        """Change the features after the first convolution (0) or a distillation block (1 to 6)."""
        return x

    def restore(self, lq: Tensor, vector: Tensor | None) -> Tensor:
        """[B, in_nc, H, W] to [B, out_nc, H·upscale, W·upscale]."""
        shallow = x = self.adapt(0, self.fea_conv(lq), vector)
        outputs = []
        for index in range(1, MODULES + 1):
            x = self.adapt(index, self.get_submodule(f"IMDB{index}")(x), vector)
            outputs.append(x)
        restored: Tensor = self.upsampler(self.LR_conv(self.c(torch.cat(outputs, 1))) + shallow)
        return restored

    @staticmethod
    def convert_state_dict(state: dict[str, Tensor]) -> dict[str, Tensor]:
        """The restorer's part of DAA's published checkpoint, which also contains the encoder; others are unchanged."""
        return part_of(state, ["G."])


@ARCH_REGISTRY.register()
class IMDN(_IMDN):
    """IMDN, six distillation blocks. [B, in_nc, H, W] in [0, 1] to `upscale` times the size; any H, W.

    Argument and parameter names are the authors', so their checkpoints load with `strict=True`.

    Args:
        in_nc, out_nc: channels of input and output image.
        nf: channels of the features, a multiple of 4.
        upscale: scale of the output.
        reduction: the hidden layer of the channel attention is narrower by this factor; the authors use 16.

    Raises:
        ValueError: `nf` is not a multiple of 4, or the scale is below 1.
    """

    def __init__(self, in_nc: int = 3, nf: int = 64, out_nc: int = 3, upscale: int = 4, reduction: int = 16) -> None:
        super().__init__(in_nc, nf, out_nc, upscale, reduction)

    def forward(self, lq: Tensor) -> Tensor:
        """Restore a batch; the result is not clipped."""
        return self.restore(lq, None)


@ARCH_REGISTRY.register()
class IMDNAdapted(_IMDN):
    """IMDN with DAA's adapters, controlled by the `vector` of a degradation code. Input and output are those of IMDN.

    An adapter follows the first convolution and each distillation block. Parameter names are the authors'; the part
    `G.` of their checkpoints loads with `strict=True`. IMDN's own weights load with `strict_load: false`.

    Args:
        in_nc, nf, out_nc, upscale, reduction: as in IMDN.
        code_channels: width of the code's vector.

    Raises:
        ValueError: as in IMDN.
    """

    def __init__(
        self,
        in_nc: int = 3,
        nf: int = 64,
        out_nc: int = 3,
        upscale: int = 4,
        reduction: int = 16,
        code_channels: int = 256,
    ) -> None:
        super().__init__(in_nc, nf, out_nc, upscale, reduction)
        self.code_channels = code_channels
        for index in range(MODULES + 1):
            self.add_module(f"adapt{index}", DAAdapter(nf, code_channels))

    def adapt(self, index: int, x: Tensor, vector: Tensor | None) -> Tensor:
        """The features plus the correction of their adapter."""
        adapted: Tensor = x + self.get_submodule(f"adapt{index}")(x, vector)
        return adapted

    def forward(self, lq: Tensor, code: DegradationCode | None = None) -> Tensor:
        """Restore a batch.

        Args:
            lq: [B, in_nc, H, W] in [0, 1]; any H, W.
            code: its `vector` [B, code_channels].

        Returns:
            [B, out_nc, H·upscale, W·upscale], not clipped.

        Raises:
            ValueError: there is no code, or it has no vector of that width.
        """
        return self.restore(lq, require_code(code, "vector", "IMDNAdapted", self.code_channels))
