"""The degradation classifier of DCPT (Hu et al., ICLR 2025): a residual network on a restorer's features."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from uir.layers.norm import LayerNorm2d
from uir.layers.tokens import tokens_to_map
from uir.registry import ARCH_REGISTRY


class NormedConv2d(nn.Conv2d):
    """A convolution without bias, then layer normalisation over channels; "same" size. Keys `weight`, `norm.*`."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int) -> None:
        super().__init__(in_channels, out_channels, kernel_size, padding=kernel_size // 2, bias=False)
        self.norm = LayerNorm2d(out_channels)
        nn.init.kaiming_normal_(self.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """[B, in, H, W] to [B, out, H, W]."""
        normed: Tensor = self.norm(super().forward(x))
        return normed


class BottleneckBlock(nn.Module):
    """1×1, 3×3 and 1×1 convolutions at twice the width, added to the input. [B, channels, H, W] to the same shape."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = NormedConv2d(channels, 2 * channels, 1)
        self.conv2 = NormedConv2d(2 * channels, 2 * channels, 3)
        self.conv3 = NormedConv2d(2 * channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """One block."""
        branch = F.relu(self.conv2(F.relu(self.conv1(x))))
        return F.relu(x + self.conv3(branch))


class _Classifier(nn.Module):
    """The common part of both published classifiers: join features from fine to coarse, then classify the last map."""

    def __init__(self, feature_dims: Sequence[int], num_res_blocks: int, num_classes: int, downsample: bool) -> None:
        super().__init__()
        name = type(self).__name__
        if not feature_dims or min(feature_dims) < 1:
            raise ValueError(f"{name}.feature_dims: expected the channels of each feature, got {list(feature_dims)}")
        if num_classes < 1:
            raise ValueError(f"{name}.num_classes: expected at least 1, got {num_classes}")
        self.downsample = downsample
        self.mixing_weights = nn.Parameter(torch.ones(len(feature_dims)))

        def stage(channels: int) -> nn.Sequential:
            return nn.Sequential(*(BottleneckBlock(channels) for _ in range(num_res_blocks)))

        self.bottleneck_layers, self.downsample_layers = nn.ModuleList(), nn.ModuleList()
        for channels, following in zip(feature_dims, [*feature_dims[1:], feature_dims[-1]], strict=True):
            down = nn.Conv2d(channels, following, 1, bias=False)
            self.bottleneck_layers.append(stage(channels))
            self.downsample_layers.append(nn.Sequential(down, nn.MaxPool2d(2), nn.ReLU()))
        self.last_stage = stage(feature_dims[-1])
        self.fc = nn.Linear(feature_dims[-1], num_classes)

    def classify(self, x: Tensor | None, lq: Tensor, features: Sequence[Tensor]) -> Tensor:
        """Logits [B, num_classes], from the input of the first feature's level (if there is one) and the features.

        Raises:
            ValueError: the numbers of features and widths differ, or the features' sizes do not follow each other.
        """
        if len(features) != len(self.bottleneck_layers):
            raise ValueError(
                f"{type(self).__name__} has {len(self.bottleneck_layers)} feature_dims, got {len(features)} features"
            )
        shares = self.mixing_weights.softmax(0)
        for level, (blocks, down) in enumerate(zip(self.bottleneck_layers, self.downsample_layers, strict=True)):
            feature = features[level]
            if self.downsample:
                feature = tokens_to_map(feature, lq)
                if level:
                    feature = F.interpolate(feature, scale_factor=0.5**level, mode="nearest")
            weighted = shares[level] * feature.contiguous(memory_format=torch.channels_last)
            if x is not None and x.shape != weighted.shape:
                raise ValueError(
                    f"{type(self).__name__}: feature {level} is {list(weighted.shape)}, but the level above gives "
                    f"{list(x.shape)}; features go from fine to coarse, each half the size of the one before"
                )
            x = down(blocks(weighted if x is None else x + weighted))
        assert x is not None
        logits: Tensor = self.fc(self.last_stage(x).mean((2, 3)))
        return logits


@ARCH_REGISTRY.register()
class PromptIR_NoImg_DC(_Classifier):  # noqa: N801
    """DCPT's degradation classifier, for any backbone: from features only to logits [B, num_classes].

    Keys are the authors'. Level i adds the i-th feature times its weight (a softmax over `mixing_weights`) to the
    output of the level above. Then follow 2 residual blocks, a 1×1 convolution, 2×2 max pooling and ReLU. After the
    last level follow as many blocks again, the mean over all pixels, and a linear layer.

    Args:
        feature_dims: channels of the features, fine to coarse; each half the size of the one before.
        num_res_blocks: residual blocks per level.
        num_classes: number of degradation classes.
        downsample: features are tokens [B, N, C], all of the same size; the i-th is reduced by 2^i here. Their grid may
            have any aspect ratio; it is taken from the image.

    Raises:
        ValueError: there are no features, or no classes.
    """

    def __init__(
        self, feature_dims: Sequence[int], num_res_blocks: int = 2, num_classes: int = 5, downsample: bool = False
    ) -> None:
        super().__init__(feature_dims, num_res_blocks, num_classes, downsample)

    def forward(self, lq: Tensor, features: Sequence[Tensor]) -> Tensor:
        """Classify.

        Args:
            lq: [B, 3, H, W]; only its shape is used, and only for tokens.
            features: from fine to coarse, the reverse order of `FeatureTap`.

        Raises:
            ValueError: the features do not fit.
        """
        return self.classify(None, lq, features)


@ARCH_REGISTRY.register()
class PromptIR_DC(_Classifier):  # noqa: N801
    """DCPT's classifier with a stem on the image: a 7×7 convolution of stride 2 comes before the first feature.

    The first feature has half the image's size. Everything else is as in `PromptIR_NoImg_DC`.

    Args:
        feature_dims, num_res_blocks, num_classes, downsample: as in `PromptIR_NoImg_DC`.

    Raises:
        ValueError: there are no features, or no classes.
    """

    def __init__(
        self, feature_dims: Sequence[int], num_res_blocks: int = 2, num_classes: int = 5, downsample: bool = False
    ) -> None:
        super().__init__(feature_dims, num_res_blocks, num_classes, downsample)
        self.conv_embed = nn.Sequential(
            nn.Conv2d(3, feature_dims[0], 7, stride=2, padding=3), LayerNorm2d(feature_dims[0])
        )

    def forward(self, lq: Tensor, features: Sequence[Tensor]) -> Tensor:
        """Classify.

        Args:
            lq: [B, 3, H, W] in [0, 1].
            features: from fine to coarse, the reverse order of `FeatureTap`; the first has half the image's size.

        Raises:
            ValueError: the features do not fit.
        """
        return self.classify(self.conv_embed(lq.contiguous(memory_format=torch.channels_last)), lq, features)
