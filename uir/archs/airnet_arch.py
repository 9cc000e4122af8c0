"""AirNet: All-in-One Image Restoration for Unknown Corruption (Li et al., CVPR 2022): its restorer, DGRN."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from uir.layers.code_modulator import SFT, as_map
from uir.layers.deformable import GuidedDeformConv2d
from uir.layers.degradation_code import DegradationCode, require_code
from uir.layers.features import FeaturePoint
from uir.layers.published_parts import part_of
from uir.registry import ARCH_REGISTRY


class DGModule(nn.Module):
    """Degradation-guided module (paper Fig. 3): deformable convolution and SFT from the code's map, added to the input.

    Args:
        channels: C of input and output [B, C, H, W].
        map_channels: channels of the code's map [B, M, H, W].
    """

    def __init__(self, channels: int, map_channels: int) -> None:
        super().__init__()
        self.dcn = GuidedDeformConv2d(channels, map_channels)
        self.sft = SFT(channels, map_channels)

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        """Change the features according to the map."""
        return x + self.dcn(x, code) + self.sft(x, code)


class DGBlock(nn.Module):
    """Two guided modules, each before a plain convolution, added to the input.

    Args:
        channels, map_channels: as in `DGModule`.
    """

    def __init__(self, channels: int, map_channels: int) -> None:
        super().__init__()
        self.dgm1 = DGModule(channels, map_channels)
        self.dgm2 = DGModule(channels, map_channels)
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        """One block."""
        branch = F.leaky_relu(self.dgm1(x, code), 0.1)
        branch = F.leaky_relu(self.conv1(branch), 0.1)
        branch = F.leaky_relu(self.dgm2(branch, code), 0.1)
        return self.conv2(branch) + x


class DGGroup(nn.Module):
    """Blocks and a 3×3 convolution, added to the input.

    Args:
        channels, map_channels: as in `DGModule`.
        n_blocks: number of blocks.
    """

    def __init__(self, channels: int, map_channels: int, n_blocks: int) -> None:
        super().__init__()
        blocks: list[nn.Module] = [DGBlock(channels, map_channels) for _ in range(n_blocks)]
        self.body = nn.ModuleList([*blocks, nn.Conv2d(channels, channels, 3, padding=1)])

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        """One group."""
        branch = x
        for block in self.body[:-1]:
            branch = block(branch, code)
        return self.body[-1](branch) + x


@ARCH_REGISTRY.register()
class DGRN(nn.Module):
    """AirNet's degradation-guided restorer, controlled by the `map` of a degradation code. [B, 3, H, W] is kept.

    Parameter names are the authors'; the part `R.` of their checkpoints loads with `strict=True`. The encoder: `CBDE`.

    Args:
        n_groups: number of groups of blocks.
        n_blocks: number of blocks per group.
        n_feats: channels of the features.
        map_channels: channels of the code's map.

    Raises:
        ValueError: a number is below 1.
    """

    scale = 1
    pad_multiple = 1

    def __init__(self, n_groups: int = 5, n_blocks: int = 5, n_feats: int = 64, map_channels: int = 64) -> None:
        super().__init__()
        if min(n_groups, n_blocks, n_feats, map_channels) < 1:
            raise ValueError(
                "DGRN: n_groups, n_blocks, n_feats and map_channels must be at least 1, "
                f"got {n_groups}, {n_blocks}, {n_feats} and {map_channels}"
            )
        self.n_feats = n_feats
        self.map_channels = map_channels
        self.head = nn.Sequential(nn.Conv2d(3, n_feats, 3, padding=1))
        groups: list[nn.Module] = [DGGroup(n_feats, map_channels, n_blocks) for _ in range(n_groups)]
        self.body = nn.ModuleList([*groups, nn.Conv2d(n_feats, n_feats, 3, padding=1)])
        self.tail = nn.Sequential(nn.Conv2d(n_feats, 3, 3, padding=1))

    def feature_points(self) -> list[FeaturePoint]:
        """One point after each group."""
        return [FeaturePoint(f"body.{index}", self.n_feats, 1) for index in range(len(self.body) - 1)]

    def forward(self, lq: Tensor, code: DegradationCode | None = None) -> Tensor:
        """Restore a batch.

        Args:
            lq: [B, 3, H, W] in [0, 1]; any H, W.
            code: its `map` [B, map_channels, h, w]; a smaller one is resized to H×W.

        Returns:
            [B, 3, H, W], not clipped.

        Raises:
            ValueError: there is no code, or it has no map of that width.
        """
        guide = as_map(require_code(code, "map", "DGRN", self.map_channels), lq)
        guide = guide.expand(-1, -1, *lq.shape[-2:])
        shallow = self.head(lq)
        x = shallow
        for group in self.body[:-1]:
            x = group(x, guide)
        restored: Tensor = self.tail(self.body[-1](x) + shallow)
        return restored

    @staticmethod
    def convert_state_dict(state: dict[str, Tensor]) -> dict[str, Tensor]:
        """The restorer's part of AirNet's published checkpoint, which also has the encoder; others are unchanged."""
        return part_of(state, ["R."])
