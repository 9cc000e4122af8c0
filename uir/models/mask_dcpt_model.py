"""MaskDCPT: pre-training that restores and classifies images with one half hidden.

The successor of DCPT (arXiv 2510.13282, 2025). As in the paper, features are masked again after every block. Its
training code is not public, so uir chose that these are the encoder's blocks, and which pixels the loss uses.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from uir.config.roles import Need, Role
from uir.config.schema import TrainOptions
from uir.core.distributed import gathered, rank_and_world
from uir.core.seeds import derive_seed
from uir.layers.patch_mask import hide, patch_mask
from uir.layers.tapped import TappedRestorer
from uir.models.classifying_model import CLASSIFIER, ClassifyingModel, ClassifyingOptions, ClassifyingStep
from uir.registry import MODEL_REGISTRY


class MaskOptions(ClassifyingOptions):
    """Keys of `train` for masked pre-training."""

    mask_ratio: float = Field(0.5, ge=0, lt=1, description="Part of the patches that is hidden.")
    mask_patch: int | None = Field(
        None, ge=1, description="Side of a patch in pixels; default network_g's pad_multiple, or 16 if that is 1."
    )
    remask: list[str] | None = Field(
        None,
        description="Modules of network_g, such as [encoders]: in their outputs the hidden patches are set to zero "
        "again; a list of modules means each of them. Default every block that network_g declares as its encoder.",
    )


class _MaskedStep(TappedRestorer):
    """A restorer that sees a part of the image.

    Args:
        net, names: as in `TappedRestorer`.
        remask: modules whose output is masked again; None means the blocks that the network declares.
    """

    def __init__(self, net: nn.Module, names: Sequence[str] | None, remask: Sequence[str] | None) -> None:
        super().__init__(net, names)
        self._mask = _Mask()
        for module in _modules_of(net, remask):
            module.register_forward_hook(self._mask)

    def forward(self, lq: Tensor, mask: Tensor) -> tuple[Tensor | None, list[Tensor]]:  # type: ignore[override]
        """The restored image for `lq` times `mask` [B, 1, H, W], and its features."""
        self._mask.tensor = mask
        return self.run(lq * mask)


class _Mask:
    """Forward hook that hides patches of a module's output in training.

    It keeps the mask until the next one, because a backward pass that computes activations again needs it.
    """

    tensor: Tensor | None = None

    def __call__(self, module: nn.Module, args: Any, output: Tensor) -> Tensor:
        return hide(output, self.tensor) if module.training and self.tensor is not None else output


def _modules_of(net: nn.Module, names: Sequence[str] | None) -> list[nn.Module]:
    source = "train.remask"
    if names is None:
        source = f"{type(net).__name__}.encoder_blocks()"
        declared = getattr(net, "encoder_blocks", None)
        if not callable(declared):
            raise ValueError(f"{source}: there is no such method; name the modules to mask in train.remask")
        names = declared()
    known = dict(net.named_modules())
    modules: list[nn.Module] = []
    for name in names:
        if name not in known:
            raise ValueError(f"{source}: there is no module '{name}' in {type(net).__name__}")
        module = known[name]
        modules += list(module) if isinstance(module, nn.ModuleList) else [module]
    return modules


@MODEL_REGISTRY.register()
class MaskDCPTModel(ClassifyingModel):
    """Pre-training on degraded images with hidden patches: reconstruct the clean image, classify the degradation.

    loss = pixel_opt(network_g(masked lq), gt) + classify_opt(network_dc(features of the same forward), label). The
    pixel loss is over the whole image. Hidden patches are zeros in the input and, after every block of the encoder, in
    the features. The decoder, where the classifier's features come from, is not masked, because its convolutions must
    carry the visible parts into the hidden patches. A network names its encoder's blocks in a method
    `encoder_blocks() -> list[str]` (module paths). For a network without this method, `train.remask` must name the
    modules; an empty list masks only the input. The masks depend on the run's seed, the step and the image's place in
    the batch of all processes.
    """

    network_roles: ClassVar[Mapping[str, Role]] = {
        "g": Role(
            averaged=True,
            needs=(Need("feature_points"), Need("encoder_blocks", frozenset({"train"}), instead="remask")),
        ),
        "dc": CLASSIFIER,
    }

    train_options: ClassVar[type[TrainOptions]] = MaskOptions
    train_opt: MaskOptions

    def make_tapped(self, network: nn.Module) -> TappedRestorer:
        """The restorer, for a batch and its mask."""
        if not self.is_train:
            return TappedRestorer(network)
        return _MaskedStep(network, self.train_opt.taps, self.train_opt.remask)

    def start_training(self) -> None:
        """Start like every method, and prepare the masks."""
        super().start_training()
        self._seed: int = gathered(torch.initial_seed())[0]  # the run's seed; each process has another one
        multiple: int = getattr(self.bare["g"], "pad_multiple", 1)
        self._patch = self.train_opt.mask_patch or (multiple if multiple > 1 else 16)
        self._steps = 0  # of this stage: iterations continue from stage to stage, but the masks start again

    def optimize_parameters(self, current_iter: int) -> None:
        """Gradients of the present batch, with its own masks."""
        super().optimize_parameters(current_iter)
        if self.micro_batch == 0:
            self._steps += 1

    def run_step(self) -> ClassifyingStep:
        """Restore the masked `lq`, and read its features on the way."""
        mask = self._draw_mask().to(self.device)
        restored, features = self.net_g(self.lq, mask)
        return ClassifyingStep(restored, features, self.lq * mask)

    def _draw_mask(self) -> Tensor:
        rank, world = rank_and_world()
        count = len(self.lq)
        places = [(self.micro_batch * count + index) * world + rank for index in range(count)]
        seeds = [derive_seed(self._seed, "mask", self._steps + 1, place) for place in places]
        height, width = self.lq.shape[-2:]
        return patch_mask(seeds, height, width, self._patch, self.train_opt.mask_ratio)

    def training_state(self) -> dict[str, Any]:
        """The data that resuming needs, besides the networks' files."""
        return {**super().training_state(), "steps": self._steps}

    def resume_training(self, state: Mapping[str, Any], models: Path) -> None:
        """Continue from a state; the masks continue too."""
        super().resume_training(state, models)
        self._steps = state.get("steps", state["iter"])
