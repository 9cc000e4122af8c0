"""Real-ESRGAN's training: degrading on the device, a pool of pairs, and sharpened targets (Wang et al., ICCVW 2021)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from uir.config.schema import Options
from uir.core.distributed import rank_and_world
from uir.data.pair_pool import PairPool
from uir.degradations.real_esrgan_batch import Draws, RealESRGANSettings, degrade_batch
from uir.degradations.sharpen_degradation import USMSharpen
from uir.layers.code_widths import evaluating
from uir.models.adversarial_model import AdversarialModel
from uir.models.base_model import BaseModel, offers
from uir.models.sr_model import SRModel
from uir.registry import MODEL_REGISTRY

_KERNELS = ("kernel1", "kernel2", "sinc_kernel")


class DegradingFile(Options, RealESRGANSettings):
    """BasicSR's keys at the top of a file."""

    high_order_degradation: bool = Field(
        True, description="Degrade `gt` of the batch with its kernels; false takes `lq` of a paired dataset."
    )
    queue_size: int = Field(180, ge=1, description="Samples in the pool that mixes the batches.")
    gt_size: int | None = Field(None, ge=1, description="Side of the clean patch that is cut out after degrading.")


class RealESRNetFile(DegradingFile):
    """Those of RealESRNetModel."""

    gt_usm: bool = Field(True, description="Sharpen `gt` before degrading it; it is the target then.")


class RealESRGANFile(DegradingFile):
    """Those of RealESRGANModel."""

    l1_gt_usm: bool = Field(True, description="Whether pixel_opt compares with the sharpened `gt`.")
    percep_gt_usm: bool = Field(True, description="Whether perceptual_opt compares with the sharpened `gt`.")
    gan_gt_usm: bool = Field(True, description="Whether the sharpened `gt` is real to network_d.")


class DegradingModel(BaseModel):
    """Degrades the clean images of a batch on the device, and mixes the batches by a pool.

    The draws depend on the file's seed, the process and the number of the batch; a resumed run goes on exactly.
    """

    file_options: ClassVar[type[Options]] = DegradingFile
    file: DegradingFile

    def prepare(self) -> None:
        """An empty pool."""
        super().prepare()
        seed = self.file.manual_seed or 0
        self._pool = PairPool(self.file.queue_size, seed)
        self._key = (seed, "real esrgan", rank_and_world()[0])
        self._batches = 0

    def sharpened(self, images: Tensor) -> Tensor:
        """The images after USM sharpening, which is Real-ESRGAN's target."""
        return USMSharpen.apply(images, USMSharpen().sample(0, (images.shape[-2], images.shape[-1])))

    def source_of(self, gt: Tensor) -> tuple[Tensor, Tensor]:
        """The target, and the image that is degraded."""
        return gt, gt

    def feed_data(self, data: Mapping[str, Any]) -> None:
        """Take a batch: `gt` and the kernels `kernel1`, `kernel2` and `sinc_kernel`, each [B, K, K]; or `lq` and `gt`.

        Raises:
            ValueError: the batch has no kernels, or an image is smaller than `gt_size`.
        """
        if not (self.is_train and self.file.high_order_degradation):
            super().feed_data(data)
            return
        missing = [key for key in ("gt", *_KERNELS) if key not in data]
        if missing:
            raise ValueError(
                f"the batch has no `{missing[0]}`; use a dataset that gives it (RealESRGANDataset), or set "
                "high_order_degradation: false for a paired dataset"
            )
        self._batches += 1
        draws = Draws.of(self.device, *self._key, self._batches)
        with torch.no_grad():
            gt, source = self.source_of(data["gt"].to(self.device))
            lq = degrade_batch(source, [data[key] for key in _KERNELS], self.scale, self.file, draws)
            gt, lq = self._cut(gt, lq, draws)
            pair = self._pool.exchange({"gt": gt, "lq": lq})
        others = {key: value for key, value in data.items() if key not in _KERNELS}
        super().feed_data({**others, "lq": pair["lq"].contiguous(), "gt": pair["gt"]})

    def _cut(self, gt: Tensor, lq: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
        """A random square of both."""
        side = (self.file.gt_size or min(gt.shape[-2:])) // self.scale
        if min(lq.shape[-2:]) < side:
            raise ValueError(f"gt_size: {self.file.gt_size} is larger than the images, {list(gt.shape[-2:])}")
        top, left = (draws.plain.randint(0, length - side) for length in lq.shape[-2:])
        rows, columns = slice(top, top + side), slice(left, left + side)
        large = [slice(part.start * self.scale, part.stop * self.scale) for part in (rows, columns)]
        return gt[..., large[0], large[1]], lq[..., rows, columns]

    def training_state(self) -> dict[str, Any]:
        """See `BaseModel.training_state`; the pool and the number of batches too."""
        return {**super().training_state(), "pool": self._pool.state_dict(), "batches": self._batches}

    def resume_training(self, state: Mapping[str, Any], models: Path) -> None:
        """See `BaseModel.resume_training`; a state of basicsr has no pool."""
        super().resume_training(state, models)
        if "pool" in state:
            self._pool.load_state_dict(state["pool"])
            self._batches = state["batches"]


@MODEL_REGISTRY.register()
class RealESRNetModel(DegradingModel, SRModel):
    """Regression on images that are degraded on the device: the first part of Real-ESRGAN's training.

    Names, keys and the order of the draws are those of basicsr's class of this name, which needs CUDA; the pool chooses
    by another rule with the same distribution.
    """

    file_options: ClassVar[type[Options]] = RealESRNetFile
    file: RealESRNetFile

    def source_of(self, gt: Tensor) -> tuple[Tensor, Tensor]:
        """`gt`, sharpened if the file says so, for both."""
        gt = self.sharpened(gt) if self.file.gt_usm else gt
        return gt, gt


@MODEL_REGISTRY.register()
class RealESRGANModel(DegradingModel, AdversarialModel):
    """Adversarial training on images that are degraded on the device: the second part of Real-ESRGAN's training.

    Names, keys and the order of the draws are those of basicsr's class of this name, which needs CUDA; the pool chooses
    by another rule with the same distribution. What is degraded is the sharpened `gt`. `ldl_opt` compares `gt` and the
    restored images, both times a map of artefacts (Liang et al., LDL, CVPR 2022, Eqs. 2-5); it needs `ema_decay`.
    """

    file_options: ClassVar[type[Options]] = RealESRGANFile
    loss_slots: ClassVar[tuple[str, ...]] = ("pixel_opt", "ldl_opt", "perceptual_opt", "gan_opt")
    file: RealESRGANFile

    def source_of(self, gt: Tensor) -> tuple[Tensor, Tensor]:
        """`gt`, and its sharpened image."""
        return gt, self.sharpened(gt)

    def check_losses(self) -> None:
        """Check that there is a moving average where `ldl_opt` needs it."""
        super().check_losses()
        if "ldl_opt" in self.slots_of_losses() and not self.train_opt.ema_decay:
            raise ValueError("train.ldl_opt: it compares with the moving average; set train.ema_decay, such as 0.999")

    @offers("gt_usm")
    def gt_usm(self) -> Tensor:
        """`gt` after USM sharpening."""
        return self.sharpened(self.clean_images())

    @offers("real_images")
    def real_images(self) -> Tensor:
        """What network_d should take for real: `gt`, sharpened if the file says so."""
        real: Tensor = self.value("gt_usm") if self.file.gan_gt_usm else self.clean_images()
        return real

    @offers("artefacts", runs=("g",))
    def artefacts(self) -> Tensor:
        """The map of artefacts [B, 1, H, W] in the restored images."""
        with torch.no_grad(), evaluating(self.ema["g"].module):
            average = self.ema["g"].module(self.lq)
        return artefact_map(self.clean_images(), self.value("restored"), average)

    def value_for(self, slot: str, name: str) -> Any:
        """The sharpened `gt` for the losses of which the file says so, and weighted images for `ldl_opt`."""
        sharp = {"pixel_opt": self.file.l1_gt_usm, "perceptual_opt": self.file.percep_gt_usm}
        if name == "gt" and sharp.get(slot, False):
            return self.value("gt_usm")
        if slot == "ldl_opt" and name in ("gt", "restored"):
            return self.value("artefacts") * self.value(name)
        return super().value_for(slot, name)


def artefact_map(clean: Tensor, restored: Tensor, average: Tensor, side: int = 7) -> Tensor:
    """LDL's weights [B, 1, H, W]: local variance of the error, times the fifth root of the image's; 0 where the moving
    average's error is larger.

    Args:
        clean, restored, average: images [B, C, H, W]; `average` is what the moving average restored.
        side: of the local window.
    """
    error = (clean - restored).abs().sum(1, keepdim=True)
    average_error = (clean - average).abs().sum(1, keepdim=True)
    whole = error.var((-1, -2, -3), keepdim=True) ** 0.2
    windows = F.pad(error, [(side - 1) // 2] * 4, mode="reflect").unfold(2, side, 1).unfold(3, side, 1)
    weights = whole * windows.var((-1, -2))
    return weights.masked_fill(error < average_error, 0)
