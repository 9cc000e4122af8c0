"""The test-time local converter: global pooling becomes pooling over windows of the training crop's size.

Improving Image Restoration by Revisiting Global Information Aggregation (Chu et al., ECCV 2022). A network that pools
over whole training crops gets other statistics on whole photographs; pooling over windows gives the trained ones.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class LocalAvgPool2d(nn.Module):
    """Mean over every complete window: [B, C, H, W] to [B, C, H-h+1, W-w+1] for a window of h×w.

    The window is never larger than the map. `spread_edges` extends the result to the map's size.

    Args:
        window: height and width in pixels of the feature map; if it covers the map, this is global pooling.
        fast: first reduce the map by up to 5, then repeat the result: cheaper, not exact.
    """

    def __init__(self, window: tuple[int, int], fast: bool = False) -> None:
        super().__init__()
        self.window = window
        self.fast = fast

    def forward(self, x: Tensor) -> Tensor:
        """The window means, one for each position of the window."""
        height, width = min(x.shape[-2], self.window[0]), min(x.shape[-1], self.window[1])
        if (height, width) == tuple(x.shape[-2:]):
            return F.adaptive_avg_pool2d(x, 1)
        if not self.fast:
            return _sliding_mean(_sliding_mean(x, width, -1), height, -2)
        stride_y, stride_x = _largest_stride(x.shape[-2], height), _largest_stride(x.shape[-1], width)
        coarse = F.avg_pool2d(x, (stride_y, stride_x))
        coarse = _sliding_mean(_sliding_mean(coarse, width // stride_x, -1), height // stride_y, -2)
        return coarse.repeat_interleave(stride_y, -2).repeat_interleave(stride_x, -1)

    def extra_repr(self) -> str:
        """The window, for printing."""
        return f"window={self.window}, fast={self.fast}"


def spread_edges(pooled: Tensor, height: int, width: int) -> Tensor:
    """Repeat the border of a map on all sides, to [B, C, height, width]; an extra line goes to the bottom or right."""
    rows, columns = height - pooled.shape[-2], width - pooled.shape[-1]
    if rows == columns == 0:
        return pooled
    return F.pad(pooled, (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2), mode="replicate")


def _largest_stride(size: int, window: int) -> int:
    """The factor by which a side may shrink: it must divide the size and leave the window at least four lines."""
    return next((stride for stride in (5, 4, 3, 2) if size % stride == 0 and window >= 4 * stride), 1)


def _sliding_mean(x: Tensor, window: int, dim: int) -> Tensor:
    """Mean of `window` neighbours along a dimension by running sums, which are at least float32."""
    if window == x.shape[dim]:
        return x.mean(dim, keepdim=True)
    sums = x.cumsum(dim, dtype=torch.promote_types(x.dtype, torch.float32))
    later, earlier = sums.narrow(dim, window, x.shape[dim] - window), sums.narrow(dim, 0, x.shape[dim] - window)
    means = torch.cat([sums.narrow(dim, window - 1, 1), later - earlier], dim) / window
    return means.to(x.dtype)
