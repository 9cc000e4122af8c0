"""MaskDCPT: pre-training that restores and classifies images with one half hidden.

The successor of DCPT (arXiv 2510.13282, 2025). Its training code is not public: which features are masked again, what
reconstructs the image and which pixels the loss uses are options here; docs/dcpt.md says what is known of each.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from uir.config.roles import Need, Role
from uir.config.schema import TrainOptions
from uir.core.distributed import rank_and_world
from uir.core.seeds import derive_seed
from uir.layers.padding import crop, multiple_of, padded_for
from uir.layers.patch_mask import hide, patch_mask
from uir.layers.tapped import TappedRestorer
from uir.models.base_model import offers
from uir.models.classifying_model import (
    CLASSIFIER,
    ClassifyingModel,
    ClassifyingStep,
    PretrainingOptions,
    check_adds_input,
)
from uir.registry import MODEL_REGISTRY


class MaskOptions(PretrainingOptions):
    """Keys of `train` for masked pre-training."""

    mask_ratio: float = Field(0.5, ge=0, lt=1, description="Part of the patches that is hidden.")
    mask_patch: int | None = Field(
        None, ge=1, description="Side of a patch in pixels; default network_g's pad_multiple, or 16 if that is 1."
    )
    remask: Literal["encoder", "all"] | list[str] = Field(
        "encoder",
        description="Where the hidden patches are set to zero again: in the output of every block that network_g "
        "declares as its encoder; of everything before its output layers (`all`); or of these modules, such as "
        "[encoders], where a list of modules means each of them. `all` leaves an output without places, such as the "
        "embedding of a time, as it is.",
    )
    loss_on: Literal["all", "hidden"] = Field(
        "all", description="The pixels of the losses on images; for `hidden`, a loss must be a mean of pixel errors."
    )


class _MaskedStep(TappedRestorer):
    """A restorer that sees a part of the image.

    Args:
        net, names: as in `TappedRestorer`.
        remask: `encoder`, `all`, or modules whose output is masked again.
        stop: leave out everything after the last feature.
    """

    def __init__(
        self, net: nn.Module, names: Sequence[str] | None, remask: str | Sequence[str], stop: bool = False
    ) -> None:
        super().__init__(net, names)
        self._mask, self._stop = _Mask(), stop
        for module, name in _modules_of(net, remask).items():
            # In front of the hook that reads a feature, so that features are read as they are masked.
            module.register_forward_hook(_Hider(self._mask, name, needed=remask != "all"), prepend=True)

    def forward(self, lq: Tensor, mask: Tensor) -> tuple[Tensor | None, list[Tensor]]:  # type: ignore[override]
        """The restored image for `lq` times `mask` [B, 1, H, W] (None if it stops), and its features."""
        self._mask.tensor = mask
        return self.run(lq * mask, stop=self._stop)


class _Mask:
    """The mask of the present step; it stays until the next one, as a backward pass may compute activations again."""

    tensor: Tensor | None = None


class _Hider:
    """Forward hook that hides patches of a module's output in training.

    Args:
        mask: that of the step.
        name: of the module, for errors.
        needed: whether the output must have places; of everything (`all`), what has none is left as it is.
    """

    def __init__(self, mask: _Mask, name: str, needed: bool) -> None:
        self._mask, self._name, self._needed = mask, name, needed

    def __call__(self, module: nn.Module, args: Any, output: Tensor) -> Tensor:
        mask, placeless = self._mask.tensor, output.ndim < 3 or not getattr(module, "gives_places", True)
        if not module.training or mask is None or (placeless and not self._needed):
            return output
        try:
            if placeless:
                raise ValueError("it has no places")
            return hide(output, mask)
        except ValueError as error:
            raise ValueError(f"train.remask: the output of '{self._name}' cannot be masked: {error}") from None


def _modules_of(net: nn.Module, remask: str | Sequence[str]) -> dict[nn.Module, str]:
    """The modules whose output is masked again, each once, with their names."""
    known = dict(net.named_modules())
    modules: dict[nn.Module, str] = {}
    for name, source in _named_by(net, remask):
        if name not in known:
            raise ValueError(f"{source}: there is no module '{name}' in {type(net).__name__}")
        module = known[name]
        for each in module if isinstance(module, nn.ModuleList) else [module]:
            modules.setdefault(each, name)
    return modules


def _named_by(net: nn.Module, remask: str | Sequence[str]) -> Iterator[tuple[str, str]]:
    """Names of modules, each with where it is written."""
    if not isinstance(remask, str):
        yield from ((name, "train.remask") for name in remask)
        return
    for method in ("encoder_blocks",) if remask == "encoder" else ("encoder_blocks", "decoder_blocks", "depths"):
        source = f"{type(net).__name__}.{method}()"
        declared = getattr(net, method, None)
        if not callable(declared):
            raise ValueError(f"{source}: there is no such method; name the modules to mask in train.remask")
        names = declared()
        if method == "depths":  # the last group makes an image; a parameter has no output
            parameters = dict(net.named_parameters())
            names = [name for group in names[:-1] for name in group if name not in parameters]
        yield from ((name, source) for name in names)


@MODEL_REGISTRY.register()
class MaskDCPTModel(ClassifyingModel):
    """Pre-training on degraded images with hidden patches: reconstruct the clean image, classify the degradation.

    loss = pixel_opt(network_g(masked lq), gt) + classify_opt(network_dc(features of the same forward), label). Hidden
    patches are zeros in the input and, after every block of the encoder, in the features. The decoder, where the
    classifier's features come from, is not masked by default, because its convolutions must carry the visible parts
    into the hidden patches. `remask: all` masks it too. Then the network's own output layer cannot fill a hidden patch;
    a `network_r` such as `TapDecoder` can: it makes the image from the features in place of the output layers, and is
    not used after pre-training.

    A network names its encoder's blocks in a method `encoder_blocks() -> list[str]` (module paths); for `all`, the
    others in `decoder_blocks()`, and all modules in `depths()`. For a network without these, `train.remask` must name
    the modules; an empty list masks only the input. `all` does not mask vectors [B, C], which have no places; a module
    whose output [B, N, C] are no tokens of the image says so by `gives_places = False`. The masks depend on the run's
    seed, the step and the image's place in the batch of all processes.
    """

    network_roles: ClassVar[Mapping[str, Role]] = {
        "g": Role(
            averaged=True,
            needs=(Need("feature_points"), Need("encoder_blocks", frozenset({"train"}), instead="remask")),
        ),
        "dc": CLASSIFIER,
        "r": Role(required_in=frozenset(), supplied=("feature_points",)),
    }

    train_options: ClassVar[type[TrainOptions]] = MaskOptions
    train_opt: MaskOptions
    net_r: Any

    def make_tapped(self, network: nn.Module) -> TappedRestorer:
        """The restorer, for a batch and its mask."""
        if not self.is_train:
            return TappedRestorer(network)
        return _MaskedStep(network, self.train_opt.taps, self.train_opt.remask, stop="r" in self.components)

    def prepare(self) -> None:
        """Check that the options fit each other; a test has no use for `network_r`."""
        super().prepare()
        if not self.is_train:
            self.components.pop("r", None)
        elif self.train_opt.loss_on == "hidden" and self.train_opt.mask_ratio == 0:
            raise ValueError("train.loss_on: hidden, but train.mask_ratio is 0, so that no pixel is hidden")

    def check_network(self, role: str, network: nn.Module) -> None:
        """A restorer whose output layers are judged without the input must add its input."""
        super().check_network(role, network)
        needed = role == "g" and self.is_train and "r" not in self.components and not self.train_opt.global_residual
        if needed:
            check_adds_input(network)

    def network_sizes(self, role: str) -> dict[str, Any]:
        """Sizes of the classifier and of the decoder."""
        return {"feature_points": self.tapped.points} if role == "r" else super().network_sizes(role)

    def leaves_unused(self, role: str) -> bool:
        """With `network_r`, the restorer's own output layers do not run."""
        return (role == "g" and "r" in self.components) or super().leaves_unused(role)

    def start_training(self) -> None:
        """Start like every method, and prepare the masks."""
        super().start_training()
        for slot, loss in self.losses.items() if self.train_opt.loss_on == "hidden" else ():
            if slot != "classify_opt" and not getattr(loss, "is_pixel_mean", False):
                raise ValueError(
                    f"train.{slot}: {type(loss).__name__} is no mean of the pixels' errors, which `loss_on: hidden` "
                    "needs; take L1Loss, MSELoss, SmoothL1Loss or CharbonnierLoss with reduction: mean"
                )
        multiple: int = multiple_of(self.bare["g"])
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
        self._hidden = mask == 0
        restored, features = self.net_g(self.lq, mask)
        return ClassifyingStep(restored, features, self.lq * mask)

    @offers("restored", runs=("g", "r"))
    def restored_batch(self) -> Tensor:
        """The restored images of the step, float32; where the losses do not look, they are `gt`.

        Raises:
            ValueError: their size differs from that of `gt`.
        """
        step: ClassifyingStep = self.value("step")
        if step.restored is None:
            seen = padded_for(self.bare["g"], step.seen)
            restored = crop(self.net_r(seen, step.features).float(), *step.seen.shape[-2:])
            restored = restored + step.seen if self.train_opt.global_residual else restored
        else:
            restored = step.restored.float()
            restored = restored if self.train_opt.global_residual else restored - step.seen
        restored = self.fits_gt(restored)
        return (
            torch.where(self._hidden, restored, self.clean_images()) if self.train_opt.loss_on == "hidden" else restored
        )

    def compute_losses(self) -> dict[str, Tensor]:
        """The losses; those on images are means over the pixels that `loss_on` names."""
        losses = super().compute_losses()
        if self.train_opt.loss_on == "hidden":
            share = self._hidden.float().mean()
            losses = {name: loss if name == "l_classify" else loss / share for name, loss in losses.items()}
        return losses

    def _draw_mask(self) -> Tensor:
        rank, world = rank_and_world()
        count = len(self.lq)
        places = [(self.micro_batch * count + index) * world + rank for index in range(count)]
        seeds = [derive_seed(self.run_seed, "mask", self._steps + 1, place) for place in places]
        height, width = self.lq.shape[-2:]
        return patch_mask(seeds, height, width, self._patch, self.train_opt.mask_ratio)

    def training_state(self) -> dict[str, Any]:
        """The data that resuming needs, besides the networks' files."""
        return {**super().training_state(), "steps": self._steps}

    def resume_training(self, state: Mapping[str, Any], models: Path) -> None:
        """Continue from a state; the masks continue too."""
        super().resume_training(state, models)
        self._steps = state.get("steps", state["iter"])
