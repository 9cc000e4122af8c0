"""MaskDCPT: pre-training that restores and classifies images of which half is hidden.

The successor of DCPT (arXiv 2510.13282, 2025). Its training code is not public: where the features are masked, and over
which pixels the loss goes, is decided here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from uir.distributed import gathered, rank_and_world
from uir.layers.patch_mask import hide, patch_mask
from uir.layers.tapped import TappedRestorer
from uir.models.classifying_model import ClassifyingModel, ClassifyingOptions
from uir.registry import MODEL_REGISTRY
from uir.schema import PathOptions, TrainOptions
from uir.seeds import derive_seed


class MaskOptions(ClassifyingOptions):
    """Keys of `train` for masked pre-training."""

    mask_ratio: float = Field(0.5, ge=0, lt=1, description="Part of the patches that is hidden.")
    mask_patch: int | None = Field(
        None, ge=1, description="Side of a patch in pixels; default network_g's pad_multiple, or 16 where that is 1."
    )
    remask: list[str] = Field(
        default_factory=list,
        description="Modules of network_g, such as [encoders], behind which the hidden patches are set to zero again; "
        "a list of modules stands for each of them.",
    )


class _MaskedStep(TappedRestorer):
    """A restorer that sees a part of the image.

    Args:
        net, names: as in `TappedRestorer`.
        remask: modules whose output is masked again.
    """

    def __init__(self, net: nn.Module, names: Sequence[str] | None, remask: Sequence[str]) -> None:
        super().__init__(net, names)
        self._mask = _Mask()
        for module in _modules_of(net, remask):
            module.register_forward_hook(self._mask)

    def forward(self, lq: Tensor, mask: Tensor) -> tuple[Tensor | None, list[Tensor]]:  # type: ignore[override]
        """What is restored of `lq` times `mask` [B, 1, H, W], and its features."""
        self._mask.tensor = mask
        try:
            return self.run(lq * mask)
        finally:
            self._mask.tensor = None


class _Mask:
    """Forward hook that hides patches of a module's output while there is a mask."""

    tensor: Tensor | None = None

    def __call__(self, module: nn.Module, args: Any, output: Tensor) -> Tensor:
        return output if self.tensor is None else hide(output, self.tensor)


def _modules_of(net: nn.Module, names: Sequence[str]) -> list[nn.Module]:
    known = dict(net.named_modules())
    found: list[nn.Module] = []
    for name in names:
        if name not in known:
            raise ValueError(f"train.remask: there is no module '{name}' in {type(net).__name__}")
        module = known[name]
        found += list(module) if isinstance(module, nn.ModuleList) else [module]
    return found


@MODEL_REGISTRY.register()
class MaskDCPTModel(ClassifyingModel):
    """Pre-training on degraded images with hidden patches: reconstruct the clean image, classify the degradation.

    loss = pixel_opt(network_g(masked lq), gt) + classify_opt(network_dc(features of the same forward), label). The
    pixel loss is over the whole image. Hidden patches are zeros in the input and, behind the modules that
    `train.remask` names, in the features; elsewhere convolutions carry what is shown into them, as they must where
    they are to be filled: of an encoder-decoder the encoder may be masked again, not the decoder, on whose side the
    networks are tapped. The masks depend on the run's seed, the iteration and the image's place in the batch of all
    processes.
    """

    train_options: ClassVar[type[TrainOptions]] = MaskOptions
    train_opt: MaskOptions

    def make_tapped(self, network: nn.Module) -> TappedRestorer:
        """The restorer, for a batch and its mask."""
        if not self.is_train:
            return _MaskedStep(network, None, ())
        return _MaskedStep(network, self.train_opt.taps, self.train_opt.remask)

    def _init_training(self, path: PathOptions) -> None:
        super()._init_training(path)
        self._seed: int = gathered(torch.initial_seed())[0]  # the run's; other processes have others
        multiple: int = getattr(self.bare["g"], "pad_multiple", 1)
        self._patch = self.train_opt.mask_patch or (multiple if multiple > 1 else 16)

    def optimize_parameters(self, current_iter: int) -> None:
        """One step."""
        self._iteration = current_iter
        super().optimize_parameters(current_iter)

    def compute_losses(self) -> dict[str, Tensor]:
        """The losses of the batch."""
        gt = self.clean_images()
        mask = self._draw_mask().to(self.device)
        restored, features = self.net_g(self.lq, mask)
        return {
            "l_pix": self.pixel_loss(restored, gt),
            "l_classify": self.classification_loss(self.lq * mask, features),
        }

    def _draw_mask(self) -> Tensor:
        rank, world = rank_and_world()
        count = len(self.lq)
        places = [(self._micro_batch * count + index) * world + rank for index in range(count)]
        seeds = [derive_seed(self._seed, "mask", self._iteration, place) for place in places]
        height, width = self.lq.shape[-2:]
        return patch_mask(seeds, height, width, self._patch, self.train_opt.mask_ratio)
