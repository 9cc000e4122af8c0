"""The code that a degradation encoder gives to the backbone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Literal

from torch import Tensor

CodeField = Literal[
    "vector", "map", "projection", "params", "score", "logits", "kernel", "local", "detail", "experts", "content"
]


@dataclass(frozen=True)
class DegradationCode:
    """An encoder's description of how images were degraded; an encoder fills the fields that it can compute.

    Attributes:
        vector: [B, C], one code per image; most backbones use this field.
        map: [B, C, h, w], one code per position; h and w may be smaller than the image's.
        projection: [B, D], the space in which contrastive losses compare images.
        params: [B, P], parameters of the degradation, as its vectoriser scales them.
        mask: [B, P], which of `params` are valid; None for all.
        score: [B], how strongly an image is degraded; only the order has a meaning.
        logits: [B, K], one for each class of degradation.
        kernel: [B, 1, k, k], a blur kernel of sum 1.
        local: [B, D, h, w], the space in which contrastive losses compare patches of one image.
        detail: [B, D, h, w], the same for high frequencies.
        experts: [B, K], the weight of each expert of a restorer that mixes experts.
        content: [B, C], what the images show, whatever their degradation.
    """

    vector: Tensor | None = None
    map: Tensor | None = None
    projection: Tensor | None = None
    params: Tensor | None = None
    mask: Tensor | None = None
    score: Tensor | None = None
    logits: Tensor | None = None
    kernel: Tensor | None = None
    local: Tensor | None = None
    detail: Tensor | None = None
    experts: Tensor | None = None
    content: Tensor | None = None

    def apply(self, function: Callable[[Tensor], Tensor]) -> DegradationCode:
        """The same fields, each after `function`."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return DegradationCode(**{key: None if value is None else function(value) for key, value in values.items()})

    def detach(self) -> DegradationCode:
        """Without gradients."""
        return self.apply(lambda tensor: tensor.detach())

    def zeros_like(self) -> DegradationCode:
        """A code without information: the control of an ablation."""
        return self.apply(lambda tensor: tensor.new_zeros(tensor.shape))

    def index_select(self, images: Tensor) -> DegradationCode:
        """The codes of these images [N] of the batch, in this order: permuted, or one image's for all its tiles."""
        return self.apply(lambda tensor: tensor.index_select(0, images))

    def require(self, field: CodeField, user: str, channels: int | None = None) -> Tensor:
        """A field that `user` needs.

        Args:
            field: name of the field.
            user: the name of the user, for the message.
            channels: the required size of dimension 1.

        Raises:
            ValueError: the field is empty, or has another width.
        """
        value: Tensor | None = getattr(self, field)
        if value is None:
            filled_fields = [entry.name for entry in fields(self) if getattr(self, entry.name) is not None]
            raise ValueError(
                f"{user} needs the field '{field}' of a degradation code; "
                f"the encoder returned {', '.join(filled_fields) or 'none'}"
            )
        if channels is not None and value.shape[1] != channels:
            raise ValueError(
                f"{user} is built for {channels} channels of the code's field '{field}', the encoder returned "
                f"{value.shape[1]}; build it with the encoder's code_channels (or map_channels)"
            )
        return value


def require_code(code: DegradationCode | None, field: CodeField, user: str, channels: int | None = None) -> Tensor:
    """A field of a code; the code itself may be missing.

    Raises:
        ValueError: as `DegradationCode.require`, or there is no code.
    """
    if code is None:
        raise ValueError(
            f"{user} needs a degradation code: call it as net(lq, code) with an encoder's output, or with "
            "code.zeros_like() to restore without information about the degradation"
        )
    return code.require(field, user, channels)
