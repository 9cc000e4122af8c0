"""A backbone of one's own: `--plugin examples/plugin.py`; in the option file `network_g: {type: TwoConvolutions}`."""

from torch import Tensor, nn

from uir.registry import ARCH_REGISTRY


@ARCH_REGISTRY.register()
class TwoConvolutions(nn.Module):
    """Adds a correction by two convolutions to the image. Input and output [B, 3, H, W]."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, width, 3, padding=1), nn.GELU(), nn.Conv2d(width, 3, 3, padding=1))

    def forward(self, lq: Tensor) -> Tensor:
        return lq + self.body(lq)
