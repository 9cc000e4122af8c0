"""Convolutions with kernels and gates that are predicted from a degradation code, per image or per region."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from uir.layers.pointwise import PointwiseConv2d


def depthwise_per_image(x: Tensor, kernels: Tensor) -> Tensor:
    """Filter every channel of every image with its own kernel, zero-padded to the same size.

    Args:
        x: [B, C, H, W].
        kernels: [B, C, k, k], k odd.

    Returns:
        [B, C, H, W].
    """
    size, groups = kernels.shape[-1], x.shape[0] * x.shape[1]
    kernels = kernels.reshape(groups, 1, size, size).to(x.dtype)
    # A single image keeps its memory order: a reshape, even to its own shape, would copy it.
    planes = x if x.shape[0] == 1 else x.reshape(1, groups, *x.shape[-2:])
    filtered = F.conv2d(planes, kernels, padding=size // 2, groups=groups)
    return filtered if x.shape[0] == 1 else filtered.view(x.shape)


def in_fast_order(x: Tensor) -> Tensor:
    """The memory order in which `depthwise_per_image` and the layers around it are fastest on a CPU.

    For one image this is channels-last. Several images are filtered as one image of B·C channels, so their planes must
    be separate.
    """
    single = x.shape[0] == 1 and x.device.type == "cpu" and not torch.is_grad_enabled()
    return x.contiguous(memory_format=torch.channels_last) if single else x


class _ChannelGate(nn.Module):
    """Gates [B, channels, 1, 1] from a code [B, code_channels]; keys `conv_du.*`."""

    def __init__(self, code_channels: int, channels: int, hidden: int, groups: int = 1) -> None:
        super().__init__()
        self.conv_du = nn.Sequential(
            nn.Conv2d(code_channels, hidden, 1, bias=False),
            nn.LeakyReLU(0.1),
            nn.Conv2d(hidden, channels, 1, groups=groups, bias=False),
            nn.Sigmoid(),
        )

    def forward(self, code: Tensor) -> Tensor:
        gate: Tensor = self.conv_du(code[:, :, None, None])
        return gate


class DAConv(nn.Module):
    """Degradation-aware convolution (Wang et al., CVPR 2021, Fig. 3c): [B, channels, H, W] to the same shape.

    A depthwise convolution with kernels predicted from the code, LeakyReLU and a 1×1 convolution; then the input is
    added, each channel times a gate that is also predicted from the code. No activation follows the sum.

    Args:
        channels: C.
        code_channels: width of the code; default C.
        kernel_size: size of the depthwise kernels; odd.
        reduction: the gate's hidden layer is narrower than the code by this factor.
        gated: add the gated input; False leaves the kernels alone, as in Model 3 of the paper's ablation.

    Raises:
        ValueError: the kernel size is even, or the reduction leaves no hidden unit for the gate.
    """

    takes = ("vector",)

    def __init__(
        self,
        channels: int,
        code_channels: int | None = None,
        kernel_size: int = 3,
        reduction: int = 8,
        gated: bool = True,
    ) -> None:
        super().__init__()
        code_channels = code_channels or channels
        if kernel_size % 2 == 0:
            raise ValueError(f"{type(self).__name__}.kernel_size: expected an odd number, got {kernel_size}")
        if not 1 <= reduction <= code_channels:
            raise ValueError(
                f"{type(self).__name__}.reduction: expected 1 to the code's {code_channels} channels, got {reduction}"
            )
        self.kernel_size = kernel_size
        self.kernel = nn.Sequential(
            nn.Linear(code_channels, code_channels, bias=False),
            nn.LeakyReLU(0.1),
            nn.Linear(code_channels, channels * kernel_size**2, bias=False),
        )
        self.conv = PointwiseConv2d(channels, channels)
        self.ca = _ChannelGate(code_channels, channels, code_channels // reduction) if gated else None

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        """Filter.

        Args:
            x: [B, channels, H, W].
            code: [B, code_channels].
        """
        return self.filter(x, self.kernel(code), self.gate(code))

    def gate(self, code: Tensor) -> Tensor | None:
        """The gate [B, channels, 1, 1] of a code, if the layer has one."""
        return None if self.ca is None else self.ca(code)

    def filter(self, x: Tensor, kernels: Tensor, gate: Tensor | None) -> Tensor:
        """Filter by kernels [B, channels · k²], and add the input times a gate [B, channels, 1, 1], if there is one."""
        kernels = kernels.view(*x.shape[:2], self.kernel_size, self.kernel_size)
        branch: Tensor = self.conv(F.leaky_relu(depthwise_per_image(x, kernels), 0.1, inplace=True))
        return branch if gate is None else add_gated(branch, x, gate)


def add_gated(branch: Tensor, x: Tensor, gate: Tensor) -> Tensor:
    """branch + gate · x in one pass; the sum overwrites the branch if no gradient needs it."""
    if torch.is_grad_enabled() or branch.dtype != x.dtype:
        return branch + x * gate
    return branch.addcmul_(x, gate.to(x.dtype))


class DomainQueryAttention(nn.Module):
    """Combines the features of an image with its code (CDSR, Zhou et al., ACM MM 2022, Sec. 3.3).

    The channel means are the queries, the code's entries are the keys and values: [B, channels] from both. `gamma`
    starts at 0, so at first the code passes unchanged.

    Args:
        channels: C of the image's features and of the code.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.query_conv = nn.Linear(channels, channels)
        self.key_conv = nn.Linear(channels, channels)
        self.value_conv = nn.Linear(channels, channels)
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        """The code [B, channels], adapted to the image features [B, channels, H, W]."""
        query, key = self.query_conv(self.pool(x).flatten(1)), self.key_conv(code)
        attention = (query[:, :, None] @ key[:, None, :]).softmax(-1)
        answer = (attention @ self.value_conv(code)[:, :, None]).squeeze(-1)
        return self.gamma * answer + code


class DQAConv(DAConv):
    """`DAConv` whose kernels come from a code that `DomainQueryAttention` has mixed with the features.

    [B, channels, H, W] to the same shape. The gate comes from the original code.

    Args:
        channels: C, of the features and of the code.
        code_channels: width of the code; if it differs from C, a linear layer maps it to C.
        kernel_size, reduction: as in `DAConv`.

    Raises:
        ValueError: as `DAConv`.
    """

    def __init__(
        self, channels: int, code_channels: int | None = None, kernel_size: int = 3, reduction: int = 2
    ) -> None:
        super().__init__(channels, channels, kernel_size, reduction)
        self.sf_attn = DomainQueryAttention(channels)
        same = code_channels in (None, channels)
        self.fit = nn.Identity() if same else nn.Linear(code_channels or channels, channels)

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        """As `DAConv`, with a code [B, code_channels]."""
        code = self.fit(code)
        return self.filter(x, self.kernel(self.sf_attn(x, code)), self.gate(code))


class _HardRegions(torch.autograd.Function):
    """The region of a pixel: one-hot of the largest of [B, R, H, W]; the backward pass uses softmax's gradient."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, logits: Tensor) -> Tensor:
        ctx.save_for_backward(logits.softmax(1))
        return torch.zeros_like(logits).scatter_(1, logits.argmax(1, keepdim=True), 1.0)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, gradient: Tensor) -> Tensor:
        (shares,) = ctx.saved_tensors  # type: ignore[attr-defined]
        return shares * (gradient - (gradient * shares).sum(1, keepdim=True))


class RegionDAConv(nn.Module):
    """Degradation-aware convolution with kernels and gates for each of a few regions (DAA, Wang et al., ACCV 2022).

    As `DAConv`, but a pixel uses the kernel and the gate of its region. A 3×3 convolution on the features chooses the
    region: the largest of its outputs, with softmax's gradient.

    Args:
        channels: C of input and output [B, C, H, W].
        code_channels: width of the code; default C.
        kernel_size: size of the depthwise kernels; odd.
        regions: number of regions.
        hidden: hidden units per region.

    Raises:
        ValueError: the kernel size is even.
    """

    takes = ("vector",)

    def __init__(
        self,
        channels: int,
        code_channels: int | None = None,
        kernel_size: int = 3,
        regions: int = 4,
        hidden: int = 4,
    ) -> None:
        super().__init__()
        if kernel_size % 2 == 0:
            raise ValueError(f"RegionDAConv.kernel_size: expected an odd number, got {kernel_size}")
        code_channels = code_channels or channels
        wide = regions * hidden
        self.kernel_size, self.regions = kernel_size, regions
        self.kernel = nn.Sequential(
            nn.Conv1d(code_channels, wide, 1, bias=False),
            nn.LeakyReLU(0.1),
            nn.Conv1d(wide, regions * channels * kernel_size**2, 1, groups=regions, bias=False),
        )
        self.conv = PointwiseConv2d(channels, channels)
        self.ca = _ChannelGate(code_channels, regions * channels, wide, groups=regions)
        self.conv_guide1 = nn.Conv2d(channels, regions, 3, padding=1)
        self.conv_guide2 = nn.Conv2d(channels, regions, 3, padding=1)

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        """Filter.

        Args:
            x: [B, channels, H, W].
            code: [B, code_channels].
        """
        size = (x.shape[0], self.regions, x.shape[1])
        kernels = self.kernel(code[:, :, None]).view(*size, self.kernel_size, self.kernel_size)
        gates = self.ca(code).view(*size, 1, 1)
        of_kernels, of_gates = _HardRegions.apply(self.conv_guide1(x)), _HardRegions.apply(self.conv_guide2(x))
        # Region by region, so that memory contains only one filtered copy of the features at a time.
        regions = range(self.regions)
        filtered = sum(depthwise_per_image(x, kernels[:, r]) * of_kernels[:, r, None] for r in regions)
        gate = sum(gates[:, r] * of_gates[:, r, None] for r in regions)
        return self.conv(F.leaky_relu(filtered, 0.1)) + x * gate
