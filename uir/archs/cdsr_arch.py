"""CDSR: Joint Learning Content and Degradation Aware Feature for Blind Super-Resolution (Zhou et al., ACM MM 2022)."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from uir.layers.degradation_aware_conv import DQAConv
from uir.layers.degradation_code import DegradationCode, require_code
from uir.layers.features import FeaturePoint
from uir.layers.published_parts import part_of
from uir.layers.rrdb import RRDB
from uir.registry import ARCH_REGISTRY


class DQABlock(nn.Module):
    """Two domain-query convolutions, each before a plain one, added to the input.

    Args:
        channels: C of input and output [B, C, H, W], and width of the code [B, C].
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.da_conv1 = DQAConv(channels)
        self.da_conv2 = DQAConv(channels)
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        """One block."""
        branch = F.leaky_relu(self.da_conv1(x, code), 0.1)
        branch = F.leaky_relu(self.conv1(branch), 0.1)
        branch = F.leaky_relu(self.da_conv2(branch, code), 0.1)
        return self.conv2(branch) + x


class CodeFusion(nn.Module):
    """Two linear layers give each block its own code, which controls a `DQABlock`; keys `fc`, `dab`.

    Args:
        channels: C of input and output [B, C, H, W].
        code_channels: width of the code.
    """

    def __init__(self, channels: int, code_channels: int) -> None:
        super().__init__()
        self.fc = nn.Sequential(
            nn.Linear(code_channels, code_channels), nn.PReLU(), nn.Linear(code_channels, channels), nn.Sigmoid()
        )
        self.dab = DQABlock(channels)

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        """Change the features according to the code [B, code_channels]."""
        fused: Tensor = self.dab(x, self.fc(code))
        return fused


class FusedRRDB(nn.Module):
    """`CodeFusion`, then a residual-in-residual dense block; 0.2 of the result is added to the input of the fusion.

    Args:
        channels: C of input and output [B, C, H, W].
        code_channels: width of the code.
        growth: growth of the dense blocks.
    """

    def __init__(self, channels: int, code_channels: int, growth: int) -> None:
        super().__init__()
        rrdb = RRDB(channels, growth)
        self.RDB1, self.RDB2, self.RDB3 = rrdb.RDB1, rrdb.RDB2, rrdb.RDB3
        self.SFT = CodeFusion(channels, code_channels)

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        """One block."""
        return x + 0.2 * self.RDB3(self.RDB2(self.RDB1(self.SFT(x, code))))


@ARCH_REGISTRY.register()
class CDSR(nn.Module):
    """CDSR's restorer, controlled by the `vector` of a degradation code. [B, 3, H, W] to `scale` times the size.

    Parameter names are the authors': the part `G.` of their checkpoints loads with `strict=True`.

    Args:
        scale: scale of the output, any.
        nf: channels of the features.
        nb: number of residual-in-residual blocks.
        gc: growth of their dense blocks.
        code_channels: width of the code's vector.

    Raises:
        ValueError: a number is below 1.
    """

    pad_multiple = 1

    def __init__(self, scale: int = 4, nf: int = 64, nb: int = 10, gc: int = 32, code_channels: int = 256) -> None:
        super().__init__()
        if min(scale, nf, nb, gc) < 1:
            raise ValueError(f"CDSR: scale, nf, nb and gc must be at least 1, got {scale}, {nf}, {nb} and {gc}")
        self.scale = scale
        self.nf = nf
        self.code_channels = code_channels
        layers: list[nn.Module] = []
        for _ in range(4):
            layers += [nn.Linear(code_channels, code_channels), nn.PReLU()]
        self.compress = nn.Sequential(*layers)
        self.conv_first = nn.Conv2d(3, nf, 3, padding=1)
        self.RRDB_trunk = nn.ModuleList(FusedRRDB(nf, code_channels, gc) for _ in range(nb))
        self.trunk_conv = nn.Conv2d(nf, nf, 3, padding=1)
        self.upsampler = nn.Sequential(nn.Conv2d(nf, 3 * scale**2, 3, padding=1), nn.PixelShuffle(scale))

    def feature_points(self) -> list[FeaturePoint]:
        """One point after each block."""
        return [FeaturePoint(f"RRDB_trunk.{index}", self.nf, 1) for index in range(len(self.RRDB_trunk))]

    def forward(self, lq: Tensor, code: DegradationCode | None = None) -> Tensor:
        """Restore a batch.

        Args:
            lq: [B, 3, H, W] in [0, 1]; any H, W.
            code: its `vector` [B, code_channels].

        Returns:
            [B, 3, H·scale, W·scale], not clipped.

        Raises:
            ValueError: there is no code, or it has no vector of that width.
        """
        vector = self.compress(require_code(code, "vector", "CDSR", self.code_channels))
        shallow = self.conv_first(lq)
        x = shallow
        for block in self.RRDB_trunk:
            x = block(x, vector)
        restored: Tensor = self.upsampler(self.trunk_conv(x) + shallow)
        return restored

    @staticmethod
    def convert_state_dict(state: dict[str, Tensor]) -> dict[str, Tensor]:
        """The restorer's part of a published checkpoint, which also contains the encoder; others are unchanged."""
        return part_of(state, ["G."])
