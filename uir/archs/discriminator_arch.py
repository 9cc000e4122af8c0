"""Discriminators of SRGAN, ESRGAN and Real-ESRGAN; names, arguments and keys are as in BasicSR."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import spectral_norm

from uir.layers.features import FeaturePoint
from uir.registry import ARCH_REGISTRY


@ARCH_REGISTRY.register()
class UNetDiscriminatorSN(nn.Module):
    """U-Net with spectral normalisation: a logit for every pixel (Wang et al., Real-ESRGAN, ICCVW 2021, Sec. 3.4).

    [B, num_in_ch, H, W] to [B, 1, H, W], for images of at least 8×8 pixels.

    Args:
        num_in_ch: channels of the image.
        num_feat: width at full resolution; 64 as published.
        skip_connection: add the encoder's features to the decoder's.
    """

    def __init__(self, num_in_ch: int = 3, num_feat: int = 64, skip_connection: bool = True) -> None:
        super().__init__()
        self.skip_connection = skip_connection
        self.num_feat = num_feat

        def normed(inputs: int, outputs: int, kernel: int, stride: int) -> nn.Module:
            return spectral_norm(nn.Conv2d(inputs * num_feat, outputs * num_feat, kernel, stride, 1, bias=False))

        self.conv0 = nn.Conv2d(num_in_ch, num_feat, 3, padding=1)
        self.conv1 = normed(1, 2, 4, 2)
        self.conv2 = normed(2, 4, 4, 2)
        self.conv3 = normed(4, 8, 4, 2)
        self.conv4 = normed(8, 4, 3, 1)
        self.conv5 = normed(4, 2, 3, 1)
        self.conv6 = normed(2, 1, 3, 1)
        self.conv7 = normed(1, 1, 3, 1)
        self.conv8 = normed(1, 1, 3, 1)
        self.conv9 = nn.Conv2d(num_feat, 1, 3, padding=1)

    def forward(self, image: Tensor) -> Tensor:
        """The logits.

        Raises:
            ValueError: the image is too small.
        """
        if min(image.shape[-2:]) < 8:
            raise ValueError(f"UNetDiscriminatorSN: expected at least 8×8 pixels, got {list(image.shape[-2:])}")
        encoded = [_active(self.conv0(image))]
        for conv in (self.conv1, self.conv2, self.conv3):
            encoded.append(_active(conv(encoded[-1])))
        features = encoded.pop()
        for conv in (self.conv4, self.conv5, self.conv6):
            skip = encoded.pop()
            features = F.interpolate(features, size=skip.shape[-2:], mode="bilinear", align_corners=False)
            features = _active(conv(features))
            if self.skip_connection:
                features = features + skip
        return self.conv9(_active(self.conv8(_active(self.conv7(features)))))

    def feature_points(self) -> list[FeaturePoint]:
        """The convolutions of the encoder and the decoder, before their activation."""
        widths, strides = (2, 4, 8, 4, 2, 1), (2, 4, 8, 4, 2, 1)
        return [
            FeaturePoint(f"conv{index}", width * self.num_feat, stride)
            for index, (width, stride) in enumerate(zip(widths, strides, strict=True), start=1)
        ]


@ARCH_REGISTRY.register()
class VGGStyleDiscriminator(nn.Module):
    """Convolutions in pairs, each pair halving the image, then two linear layers (Ledig et al., SRGAN, CVPR 2017).

    [B, num_in_ch, H, W] to [B, 1].

    Args:
        num_in_ch: channels of the image.
        num_feat: width of the first pair; 64 as published.
        input_size: side of the images: 128 (five pairs) or 256 (six). None takes images of any size of at least 32
            pixels, with five pairs, whose result is averaged over 4×4 areas; for 128 pixels this is the same network.

    Raises:
        ValueError: the size is another one.
    """

    def __init__(self, num_in_ch: int = 3, num_feat: int = 64, input_size: int | None = 128) -> None:
        super().__init__()
        if input_size not in (128, 256, None):
            raise ValueError(f"input_size: expected 128, 256 or null (any size), got {input_size}")
        self.input_size = input_size
        self.widths = [num_feat * factor for factor in (1, 2, 4, 8, 8, 8)[: 6 if input_size == 256 else 5]]
        inputs = num_in_ch
        for stage, width in enumerate(self.widths):
            self.add_module(f"conv{stage}_0", nn.Conv2d(inputs, width, 3, 1, 1, bias=stage == 0))
            if stage > 0:
                self.add_module(f"bn{stage}_0", nn.BatchNorm2d(width))
            self.add_module(f"conv{stage}_1", nn.Conv2d(width, width, 4, 2, 1, bias=False))
            self.add_module(f"bn{stage}_1", nn.BatchNorm2d(width))
            inputs = width
        self.linear1 = nn.Linear(self.widths[-1] * 16, 100)
        self.linear2 = nn.Linear(100, 1)

    def forward(self, image: Tensor) -> Tensor:
        """The logits.

        Raises:
            ValueError: the image has another size.
        """
        height, width = image.shape[-2:]
        wanted = f"{self.input_size}×{self.input_size}" if self.input_size else "at least 32×32"
        if (height, width) != (self.input_size,) * 2 and (self.input_size or min(height, width) < 32):
            raise ValueError(
                f"VGGStyleDiscriminator: expected images of {wanted} pixels, got {height}×{width}; set its input_size "
                "(null for any size), or gt_size of the training set"
            )
        features = image
        for stage in range(len(self.widths)):
            features = getattr(self, f"conv{stage}_0")(features)
            features = _active(getattr(self, f"bn{stage}_0")(features) if stage > 0 else features)
            features = _active(getattr(self, f"bn{stage}_1")(getattr(self, f"conv{stage}_1")(features)))
        if self.input_size is None:
            features = F.adaptive_avg_pool2d(features, 4)
        return self.linear2(_active(self.linear1(torch.flatten(features, 1))))

    def feature_points(self) -> list[FeaturePoint]:
        """The end of every pair, before its activation."""
        return [FeaturePoint(f"bn{stage}_1", width, 2 ** (stage + 1)) for stage, width in enumerate(self.widths)]


def _active(features: Tensor) -> Tensor:
    return F.leaky_relu(features, 0.2)
