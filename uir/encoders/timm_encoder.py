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
"""Arguments that let a transformer accept images of any size; Swin of older timm has only the second."""


@ARCH_REGISTRY.register()
class TimmEncoder(nn.Module):
    """A network of timm without its classifier. Input [B, 3, H, W] in [0, 1]; `vector` and `projection` [B, C].

    `code_channels` is C, the network's own number of features. Transformers are built to accept images of any size.

    Args:
        trunk: name of the network in timm (`resnet18`, `convnext_nano`, ...).
        pretrained: load timm's weights; timm downloads them if they are not stored locally.
        projection: add two linear layers for a contrastive loss.

    Raises:
        ImportError: timm is not installed.
        ValueError: timm has no such network, or it accepts only images of one size.
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
            raise ValueError(f"TimmEncoder.trunk: timm has no '{trunk}'; similar names: {', '.join(near) or 'none'}")
        built = _any_size(timm.create_model, trunk, pretrained=pretrained, num_classes=0)
        self.trunk: nn.Module = built
        self.code_channels = _width_of(built, trunk)
        self.mlp = projection_head(self.code_channels) if projection else None
        config = built.pretrained_cfg
        self._mean, self._std = config.get("mean", IMAGENET_MEAN), config.get("std", IMAGENET_STD)

    def forward(self, image: Tensor) -> DegradationCode:
        """The code of each image [B, 3, H, W] in [0, 1]; the network must accept the size."""
        mean, std = (image.new_tensor(values).view(3, 1, 1) for values in (self._mean, self._std))
        vector = self.trunk((image - mean) / std)
        return DegradationCode(vector=vector, projection=None if self.mlp is None else self.mlp(vector))


def _any_size(create: Callable[..., Any], trunk: str, **arguments: Any) -> Any:
    """Create the network, for images of any size if possible."""
    for freedom in _ANY_SIZE:
        try:
            built = create(trunk, **arguments, **freedom)
        except TypeError:  # it has no such argument
            continue
        if hasattr(getattr(built, "patch_embed", None), "dynamic_img_pad"):
            built.patch_embed.dynamic_img_pad = True  # for sides that are not a multiple of its patches
        return built
    return create(trunk, **arguments)


def _width_of(built: Any, trunk: str) -> int:
    """The number of features of the network, tested with an image of another size than it was trained on."""
    built.eval()
    try:
        with torch.no_grad():
            features: Tensor = built(torch.zeros(1, 3, 64, 64))
    except (AssertionError, RuntimeError, ValueError) as error:
        height, width = built.pretrained_cfg["input_size"][-2:]
        raise ValueError(
            f"TimmEncoder.trunk: '{trunk}' accepts images of {height}×{width} only, but a degradation encoder needs "
            f"any size ({error}); use another network, such as resnet18"
        ) from None
    built.train()
    return features.shape[1]
