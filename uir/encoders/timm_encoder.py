"""A degradation encoder from any image classifier of timm."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from uir.compat import prepare
from uir.encoders.conv_bn_encoder import projection_head
from uir.layers.degradation_code import DegradationCode
from uir.registry import ARCH_REGISTRY

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_ANY_SIZE = ({"dynamic_img_size": True}, {"strict_img_size": False})
"""What lets a transformer take images of any size; Swin of older timm has the second alone."""


@ARCH_REGISTRY.register()
class TimmEncoder(nn.Module):
    """A trunk of timm without its classifier. Input [B, 3, H, W] in [0, 1]; `vector` and `projection` [B, C].

    C, the trunk's own number of features, stands in `code_channels`. Transformers are built to take images of any size.

    Args:
        trunk: its name in timm (`resnet18`, `convnext_nano`, ...).
        pretrained: load timm's weights, which are downloaded where they are not at hand.
        projection: with two linear layers for a contrastive loss.

    Raises:
        ImportError: timm is not installed.
        ValueError: timm has no such trunk, or it takes images of one size alone.
    """

    def __init__(self, trunk: str = "resnet18", pretrained: bool = False, projection: bool = True) -> None:
        super().__init__()
        prepare()
        try:
            import timm
        except ImportError as error:
            raise ImportError("TimmEncoder needs timm: pip install 'uir[timm]'") from error
        if not timm.is_model(trunk):
            near = timm.list_models(f"*{trunk[:6]}*")[:5]
            raise ValueError(f"TimmEncoder.trunk: timm has no '{trunk}'; near it are {', '.join(near) or 'none'}")
        built = _any_size(timm.create_model, trunk, pretrained=pretrained, num_classes=0)
        self.trunk: nn.Module = built
        self.code_channels = _width_of(built, trunk)
        self.mlp = projection_head(self.code_channels) if projection else None
        config = built.pretrained_cfg
        self._mean, self._std = config.get("mean", IMAGENET_MEAN), config.get("std", IMAGENET_STD)

    def forward(self, image: Tensor) -> DegradationCode:
        """The code of each image [B, 3, H, W] in [0, 1]; sizes as the trunk takes them."""
        mean, std = (image.new_tensor(values).view(3, 1, 1) for values in (self._mean, self._std))
        vector = self.trunk((image - mean) / std)
        return DegradationCode(vector=vector, projection=None if self.mlp is None else self.mlp(vector))


def _any_size(create: Callable[..., Any], trunk: str, **arguments: Any) -> Any:
    """A trunk that takes images of any size, where it can be built so."""
    for freedom in _ANY_SIZE:
        try:
            built = create(trunk, **arguments, **freedom)
        except TypeError:  # it has no such argument
            continue
        if hasattr(getattr(built, "patch_embed", None), "dynamic_img_pad"):
            built.patch_embed.dynamic_img_pad = True  # sides that are no multiple of its patches
        return built
    return create(trunk, **arguments)


def _width_of(built: Any, trunk: str) -> int:
    """The number of features that a trunk gives, of an image of another size than it was trained on."""
    built.eval()
    try:
        with torch.no_grad():
            features: Tensor = built(torch.zeros(1, 3, 64, 64))
    except (AssertionError, RuntimeError, ValueError) as error:
        height, width = built.pretrained_cfg["input_size"][-2:]
        raise ValueError(
            f"TimmEncoder.trunk: '{trunk}' takes images of {height}×{width}, and a degradation encoder sees images of "
            f"any size ({error}); take another trunk, such as resnet18"
        ) from None
    built.train()
    return features.shape[1]
