"""A degradation encoder from any image classifier of timm."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from uir.compat import prepare
from uir.encoders.conv_bn_encoder import projection_head
from uir.layers.degradation_code import DegradationCode
from uir.registry import ARCH_REGISTRY

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@ARCH_REGISTRY.register()
class TimmEncoder(nn.Module):
    """A trunk of timm without its classifier. Input [B, 3, H, W] in [0, 1]; `vector` and `projection` [B, C].

    C, the trunk's own number of features, stands in `code_channels`.

    Args:
        trunk: its name in timm (`resnet18`, `convnext_nano`, ...).
        pretrained: load timm's weights, which are downloaded where they are not at hand.
        projection: with two linear layers for a contrastive loss.

    Raises:
        ImportError: timm is not installed.
        ValueError: timm has no such trunk.
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
        built: Any = timm.create_model(trunk, pretrained=pretrained, num_classes=0)
        self.trunk: nn.Module = built
        # Some trunks have a layer between their last feature and their classifier.
        self.code_channels: int = getattr(built, "head_hidden_size", None) or built.num_features
        self.mlp = projection_head(self.code_channels) if projection else None
        config = built.pretrained_cfg
        self._mean, self._std = config.get("mean", IMAGENET_MEAN), config.get("std", IMAGENET_STD)

    def forward(self, image: Tensor) -> DegradationCode:
        """The code of each image [B, 3, H, W] in [0, 1]; sizes as the trunk takes them."""
        mean, std = (image.new_tensor(values).view(3, 1, 1) for values in (self._mean, self._std))
        vector = self.trunk((image - mean) / std)
        return DegradationCode(vector=vector, projection=None if self.mlp is None else self.mlp(vector))
