"""A continuous strength for any backbone, by gain vectors (Cui et al., G-VAE, CVPR 2021)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from uir.layers.features import FeaturePoint
from uir.layers.padding import multiple_of
from uir.registry import ARCH_REGISTRY
from uir.registry.components import ArchSpec, build

_PREFIX = "backbone."


@ARCH_REGISTRY.register()
class GainNet(nn.Module):
    """A registered backbone whose features are scaled channel by channel, as a strength from 0 to 1 says.

    Each of S levels has a positive gain for every channel behind the first convolution, and an inverse gain in front of
    the last one; their product is the same at all levels. Between two levels s and s+1 the gain is
    G_s^(1-l) · G_(s+1)^l. Gains are folded into the two convolutions, so that restoring costs nothing more. At the
    start all gains are 1, and every strength is the backbone; a checkpoint of the backbone alone loads.

    Args:
        backbone: `{type: NAFNet, ...}`, a network that takes only an image, with as many channels behind its first
            convolution as in front of its last.
        levels: S, at least 2; G-VAE has 6.

    Raises:
        ValueError: there are too few levels, or the backbone does not fit.
    """

    def __init__(self, backbone: ArchSpec, levels: int = 6) -> None:
        super().__init__()
        if levels < 2:
            raise ValueError(f"GainNet.levels: expected at least 2, got {levels}")
        self.backbone: nn.Module = build(ARCH_REGISTRY, backbone)
        self.levels, self._plain = levels, dict(backbone)
        name = type(self.backbone).__name__
        convs = {key: module for key, module in self.backbone.named_modules() if isinstance(module, nn.Conv2d)}
        self._first = next(iter(convs), "")
        first = convs.get(self._first)
        ends = [key for key, conv in convs.items() if first is not None and _mirrors(conv, first)]
        if first is None or not ends:
            raise ValueError(
                f"GainNet.backbone: {name} has no last convolution with as many channels as come from its first; use "
                "another backbone, such as NAFNet, Restormer or MSRResNet"
            )
        self._last = ends[-1]
        if hasattr(self.backbone, "code_channels") or hasattr(self.backbone, "num_experts"):
            raise ValueError(f"GainNet.backbone: {name} needs more than an image; use a backbone that does not")
        self.log_gain = nn.Parameter(torch.zeros(levels, first.out_channels))
        self.log_product = nn.Parameter(torch.zeros(first.out_channels))
        self.scale = int(getattr(self.backbone, "scale", 1))
        self.pad_multiple = multiple_of(self.backbone)

    def feature_points(self) -> list[FeaturePoint]:
        """None: the images of a batch run one after another."""
        return []

    def gains(self, strength: Tensor) -> tuple[Tensor, Tensor]:
        """Gain and inverse gain [B, C] for strengths [B] from 0 to 1; their product is the same for all."""
        place = strength.clamp(0, 1) * (self.levels - 1)
        lower = place.floor().clamp(max=self.levels - 2).long()
        share = (place - lower)[:, None]
        log_gain = (1 - share) * self.log_gain[lower] + share * self.log_gain[lower + 1]
        return log_gain.exp(), (self.log_product - log_gain).exp()

    def forward(self, lq: Tensor, strength: Tensor | float = 1.0) -> Tensor:
        """Restore a batch.

        Args:
            lq: [B, C, H, W] in [0, 1].
            strength: [B] from 0 to 1, or one number for all images.

        Returns:
            The backbone's result, [B, C, H·scale, W·scale].

        Raises:
            ValueError: there is not one strength for each image.
        """
        strengths = torch.as_tensor(strength, dtype=self.log_gain.dtype, device=lq.device).reshape(-1)
        if len(strengths) not in (1, len(lq)):
            raise ValueError(f"GainNet: expected one strength for each of {len(lq)} images, got {len(strengths)}")
        images = [lq] if len(strengths) == 1 else lq.split(1)
        restored = [
            torch.func.functional_call(self.backbone, self._scaled(gain, inverse), (image,))
            for image, gain, inverse in zip(images, *self.gains(strengths), strict=True)
        ]
        return torch.cat(restored) if len(restored) > 1 else restored[0]

    def _scaled(self, gain: Tensor, inverse: Tensor) -> dict[str, Tensor]:
        """The parameters of the two convolutions for one gain [C] and inverse gain [C]."""
        own = dict(self.backbone.named_parameters())
        first, last, bias = f"{self._first}.weight", f"{self._last}.weight", f"{self._first}.bias"
        scaled = {
            first: own[first] * gain[:, None, None, None],
            last: own[last] * inverse.reshape(1, -1, 1, 1),
        }
        return scaled | ({bias: own[bias] * gain} if bias in own else {})

    @torch.no_grad()
    def collapsed(self, strength: Tensor) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """The backbone for one strength: its description, and its own weights."""
        (gain,), (inverse,) = self.gains(strength.reshape(1))
        return dict(self._plain), {**self.backbone.state_dict(), **self._scaled(gain, inverse)}

    def fitted_state(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """The state of a checkpoint for this network: the backbone's alone keeps the gains as they are."""
        if any(key.startswith(_PREFIX) for key in state):
            return state
        convert = getattr(type(self.backbone), "convert_state_dict", dict)
        gains = {"log_gain": self.log_gain.detach(), "log_product": self.log_product.detach()}
        return gains | {f"{_PREFIX}{key}": value for key, value in convert(state).items()}


def _mirrors(conv: nn.Conv2d, first: nn.Conv2d) -> bool:
    """Whether a convolution gives an image from the features that the first one makes of it."""
    return conv.in_channels == first.out_channels and conv.out_channels == first.in_channels and conv.groups == 1
