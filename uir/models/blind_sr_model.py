"""Blind restoration by a degradation code: an encoder learns by comparison, and its code controls a restorer.

One method for DASR (Wang et al., CVPR 2021), CDSR (Zhou et al., ACM MM 2022), DAA (Wang et al., ACCV 2022), CRL-SR and
AirNet (Li et al., CVPR 2022): they differ in networks, losses and stages, which the option file names.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from uir.config.roles import Role
from uir.config.schema import PathOptions, Section, TrainOptions
from uir.core.checkpoint import read_file, read_weights
from uir.core.distributed import gathered
from uir.degradations.record import DegradationRecord, RecordBatch
from uir.degradations.record_vectoriser import ClassIndex
from uir.inference.code_predictor import CodePredictor, CodeUse, code_as, code_of_kernels
from uir.inference.predictor import Predictor
from uir.layers.code_widths import STEERING, code_of_blank, evaluating, filled, widths_of
from uir.layers.degradation_code import DegradationCode
from uir.layers.padding import padded_for
from uir.layers.resize import imresize
from uir.models.base_model import BaseModel, inputs_of, offers
from uir.models.encoder_step import EncoderStep, detail_of
from uir.models.momentum_contrast import MomentumContrast
from uir.registry import ARCH_REGISTRY, MODEL_REGISTRY

logger = logging.getLogger("uir")

MOMENTUM_INPUTS = ("key", "queue", "restored_detail")
CODE_INPUTS = ("code", "small_gt_code", "gt_detail", "renditions")
"""Outputs of network_e itself."""
_NO_CODE = (
    "{} takes only an image, but BlindSRModel also gives network_g a degradation code; use a network whose forward is "
    "(lq, code), such as DASR or ConditionedNet"
)


class MomentumOptions(Section):
    """The momentum encoder and its queue."""

    queue_size: int = Field(8192, ge=1, description="Keys in the queue; DASR has 8192, AirNet 1280.")
    momentum: float = Field(0.999, ge=0, lt=1, description="Part of the momentum encoder that a step does not change.")


class BlindSROptions(TrainOptions):
    """Keys of `train` for blind restoration."""

    momentum_contrast: MomentumOptions = Field(
        default_factory=MomentumOptions, description="The queue and the momentum, for losses that compare with keys."
    )
    freeze: list[str] = Field(
        default_factory=list, description="Modules that are not trained, such as [network_e.ranker_q]."
    )
    code: CodeUse = Field(
        "own",
        description="The code that network_g gets: each image's own, or as a control: `zero`; `shuffled`, that of "
        "another image; `record`, the severity of what was really done to the image; `kernel`, its true blur kernel.",
    )


@MODEL_REGISTRY.register()
class BlindSRModel(BaseModel):
    """A restorer `network_g(lq, code)` and the encoder `network_e(lq) -> DegradationCode` of its code.

    `network_e` is built first. `network_g` gets `code_channels` and `map_channels` of the code, if it takes them and
    the file does not set them or sets `~`. Every key `<name>_opt` is a loss. A loss on images is called with the
    restored image and `gt`. A loss on codes declares `needs` (fields of the code) and `inputs` (names of the values
    that it is called with; they follow `offers` below). Their sum trains the networks that have an optimizer; the
    others do not change. Without a loss on images `network_g` does not run.

    If a loss needs keys, a momentum encoder follows `network_e` once before each optimizer step. The keys of every
    batch enter the queue after it, so several times a step with `accumulate`; after a loss that is not finite, the
    keys of the rest of its step are left out. Both are written to `net_e_*.pth` as `momentum`, and continue from stage
    to stage and after an interruption.

    Restoring uses one code for the whole image.

    Attributes:
        code_use: the option `train.code`, used for restoring too; in a test, the value that network_g was trained with.
            "shuffled" is the code of the image before in the batch; for an image restored alone, that of the image
            restored before it, and zeros for the first one.
    """

    network_roles: ClassVar[Mapping[str, Role]] = {
        "e": Role(trained=None, averaged=True),  # a stage may train one of them alone
        "g": Role(trained=None, averaged=True, supplied=("code_channels", "map_channels")),
    }
    loss_slots: ClassVar[tuple[str, ...]] = ("pixel_opt", "perceptual_opt", "contrastive_opt", "ranking_opt")
    open_losses: ClassVar[bool] = True
    train_options: ClassVar[type[TrainOptions]] = BlindSROptions
    predictor_type: ClassVar[type[Predictor]] = CodePredictor

    train_opt: BlindSROptions
    net_e: Any

    @classmethod
    def problems_of(cls, raw: Mapping[str, Any]) -> Iterable[tuple[tuple[str, ...], str]]:
        """A restorer that takes no code, and `code: shuffled` with batches of one image."""
        restorer = raw.get("network_g")
        name = restorer.get("type") if isinstance(restorer, Mapping) else None
        if isinstance(name, str) and name in ARCH_REGISTRY and not _takes_code(ARCH_REGISTRY.get(name)):
            yield ("network_g", "type"), f": {_NO_CODE.format(name)}"
        train, datasets = raw.get("train"), raw.get("datasets")
        data = datasets.get("train") if isinstance(datasets, Mapping) else None
        one = isinstance(data, Mapping) and data.get("batch_size_per_gpu") == 1
        if one and isinstance(train, Mapping) and train.get("code") == "shuffled":
            yield (
                ("train", "code"),
                ": shuffled gives each image the code of another image of its batch, but "
                "datasets.train.batch_size_per_gpu is 1; it must be at least 2",
            )

    # --- construction ---

    def prepare(self) -> None:
        """The code that network_g gets: from the file, or in a test from the card of its weights."""
        super().prepare()
        self.contrast: MomentumContrast | None = None
        self.code_use: CodeUse = self.train_opt.code if self.is_train else _trained_with(self.path)
        self._keys: Tensor | None = None

    def network_sizes(self, role: str) -> dict[str, Any]:
        """Widths of the encoder's code, for the restorer."""
        return widths_of(self._blank) if role == "g" else super().network_sizes(role)

    def check_network(self, role: str, network: nn.Module) -> None:
        """Check that the encoder's code has the fields for the losses, and that the restorer fits code and scale."""
        super().check_network(role, network)
        if role == "g":
            self._try_restorer(network)
            return
        self._blank = code_of_blank(network)
        fields = filled(self._blank)
        read = self._fields_read(type(network).__name__, fields) if self.is_train else set()
        self._left_out = [name for name in fields if name not in (*STEERING, *read)]

    def frozen_modules(self, role: str, network: nn.Module) -> list[nn.Module]:
        """The frozen modules of every method, and those that `train.freeze` names."""
        return super().frozen_modules(role, network) + self._named_in_freeze(role, network)

    def step_module(self, role: str, network: nn.Module) -> nn.Module:
        """The encoder, able to take several batches in one call; the restorer without change."""
        return EncoderStep(network, self._left_out) if role == "e" else network

    def leaves_unused(self, role: str) -> bool:
        """Also if no loss reads a field: the layers that compute it get no gradient."""
        return super().leaves_unused(role) or (role == "e" and bool(self._left_out))

    def start_training(self) -> None:
        """Start like every method; then build the momentum encoder and its queue, if a loss needs them."""
        super().start_training()
        inputs = {name for loss in self.losses.values() for name in inputs_of(loss)}
        self._renditions = "renditions" in inputs
        self._small_gt, self._gt_detail = "small_gt_code" in inputs, "gt_detail" in inputs
        if inputs.isdisjoint(MOMENTUM_INPUTS):
            return
        options = self.train_opt.momentum_contrast
        projection = self._blank.require("projection", "momentum contrast")
        # It is built after DDP has sent the first process's weights to all; its seed comes from the run's seed.
        seed = gathered(torch.initial_seed())[0]
        self.contrast = MomentumContrast(
            self.bare["e"], projection.shape[1], options.queue_size, options.momentum, seed
        ).to(self.device)
        file: Path | None = getattr(self.path, "pretrain_network_e", None)
        if file is not None:
            self._load_momentum(file)

    def _try_restorer(self, network: nn.Module) -> None:
        """Restore one black image, so that a mistake is reported before training starts."""
        name = type(network).__name__
        if not _takes_code(type(network)):
            raise ValueError(f"network_g: {_NO_CODE.format(name)}")
        blank = torch.zeros(1, 3, 64, 72, device=self.device)
        blank = padded_for(network, blank)
        try:
            with torch.no_grad(), self.autocast(), evaluating(self.bare["e"], network):
                code = self.bare["e"](blank)
                if self.code_use == "kernel":
                    code = code_of_kernels(code, RecordBatch([DegradationRecord(())]))
                restored: Tensor = network(blank, code=code)
        except ValueError as error:
            raise ValueError(f"network_g: {error}") from None
        (height, width), expected = restored.shape[-2:], [side * self.scale for side in blank.shape[-2:]]
        if [height, width] != expected:
            raise ValueError(
                f"network_g: {name} gives {height}×{width} for an image of {blank.shape[-2]}×{blank.shape[-1]}, but "
                f"`scale` is {self.scale}, which means {expected[0]}×{expected[1]}; change the network or `scale`"
            )

    def _named_in_freeze(self, role: str, network: nn.Module) -> list[nn.Module]:
        """The modules of a network that `train.freeze` names."""
        modules = []
        for name in self.train_opt.freeze:
            owner, _, module = name.partition(".")
            if owner not in ("network_e", "network_g"):
                raise ValueError(f"train.freeze: expected names such as network_e.ranker_q, got '{name}'")
            if owner == f"network_{role}":
                try:
                    modules.append(network.get_submodule(module))
                except AttributeError:
                    raise ValueError(
                        f"train.freeze: there is no module '{module}' in {type(network).__name__} ({owner})"
                    ) from None
        return modules

    def _fields_read(self, encoder: str, fields: list[str]) -> set[str]:
        """The fields of the code that the losses read, after a check that every network has something to learn."""
        read = fields_read_by(self.described_losses(), encoder, fields)
        inputs = {name for loss in self.described_losses().values() for name in inputs_of(loss)}
        if not inputs:
            raise ValueError("train: no loss is given; add pixel_opt, contrastive_opt or any <name>_opt")
        trained = [role for role in self.network_roles if self.is_optimized(role)]
        if not trained:
            raise ValueError("train: optim_e and optim_g are both missing; nothing would be trained")
        if "g" in trained and not any("g" in self.offered[name].runs for name in inputs & set(self.offered)):
            raise ValueError(
                "train.optim_g: no loss uses restored images, so network_g cannot learn; add pixel_opt, or train only "
                "network_e (a stage's `train: [network_e]`)"
            )
        use = self.code_use
        if "e" in trained and not read and "codebook" not in inputs and use in ("zero", "record", "kernel"):
            raise ValueError(
                f"train.optim_e: with `code: {use}` and no loss on codes network_e cannot learn; remove it"
            )
        return read

    # --- the step ---

    def optimize_parameters(self, current_iter: int) -> None:
        """A step as in every method; before it the momentum encoder follows, after it the keys enter the queue."""
        self._keys = None
        if self.contrast is not None and self.micro_batch == 0:
            self.contrast.follow(self.bare["e"])
        super().optimize_parameters(current_iter)
        if self.contrast is not None and self._keys is not None and not self.step_is_spoilt:
            self.contrast.enqueue(self._keys)

    def compute_losses(self) -> dict[str, Tensor]:
        """The losses of the batch; network_e always runs first."""
        self.value("codes")
        return super().compute_losses()

    @offers("codes", runs=("e",))
    def _codes(self) -> dict[str, Any]:
        """All codes of network_e in a step: it runs once."""
        images = list(self.value("rendition_images").unbind(1)) if self._renditions else [self.lq]
        if self._small_gt:
            images.append(imresize(self.clean_images(), size=(self.lq.shape[-2], self.lq.shape[-1])))
        trained = any(parameter.requires_grad for parameter in self.bare["e"].parameters())
        with torch.set_grad_enabled(trained):
            codes = self.net_e(*images, detailed=self.clean_images() if self._gt_detail else None)
        gt_detail = codes.pop() if self._gt_detail else None
        small_gt_code = codes.pop() if self._small_gt else None
        return {"code": codes[0], "renditions": codes, "small_gt_code": small_gt_code, "gt_detail": gt_detail}

    @offers("code")
    def _code(self) -> DegradationCode:
        """network_e's code of the batch."""
        code: DegradationCode = self.value("codes")["code"]
        return code

    @offers("gt_detail")
    def _detail_of_gt(self) -> DegradationCode:
        """network_e's high-frequency features of the clean batch: a code of `detail` alone."""
        code: DegradationCode = self.value("codes")["gt_detail"]
        return code

    @offers("small_gt_code")
    def _code_of_small_gt(self) -> DegradationCode:
        """network_e's code of the clean batch, reduced to the size of `lq` (bicubic, as MATLAB does it)."""
        code: DegradationCode = self.value("codes")["small_gt_code"]
        return code

    @offers("renditions")
    def _codes_of_renditions(self) -> list[DegradationCode]:
        """network_e's codes of the versions (`renditions`); the first one is of `lq`."""
        codes: list[DegradationCode] = self.value("codes")["renditions"]
        return codes

    @offers("rendition_images")
    def _rendition_images(self) -> Tensor:
        """[B, R, 3, h, w]."""
        return self._of_dataset("renditions", "RankingDataset")

    @offers("orders")
    def _orders(self) -> Tensor:
        """The orders of the versions [B, R]."""
        return self._of_dataset("orders", "RankingDataset")

    @offers("restored", runs=("g",))
    def _restored(self) -> Tensor:
        """The restored batch, with the code that `train.code` chooses."""
        code = code_as(self.code_use, self.value("code"), records=self.batch.get("degradation"))
        return self.fits_gt(self.net_g(self.lq, code=code).float())

    @offers("labels")
    def _labels(self) -> Tensor:
        """Indices of the records' labels [B], -1 for an image without a label."""
        labels = self.batch["degradation"].labels if "degradation" in self.batch else ()
        names = sorted({label for label in labels if label is not None})
        if not names:
            raise ValueError(
                "a loss needs labels, but no image of the batch has one; give the dataset a `label`, or tasks"
            )
        targets = ClassIndex(names)(self.batch["degradation"])
        indices = torch.where(targets.mask, targets.values, -1)[:, 0]
        return indices.to(self.device)

    @offers("codebook", runs=("e",))
    def _codebook(self) -> Tensor:
        """The words [N, C] of network_e's nn.Embedding."""
        for module in self.bare["e"].modules():
            if isinstance(module, nn.Embedding):
                return module.weight
        raise ValueError(f"a loss needs a codebook, but network_e ({type(self.bare['e']).__name__}) has none")

    @offers("key")
    def _key(self) -> DegradationCode:
        """The momentum encoder's code of a second crop."""
        crop = self._of_dataset("lq_key", "ContrastiveDataset")
        with torch.no_grad():
            code = self._contrast()(crop)
        self._keys = code.projection
        return code

    @offers("restored_detail", runs=("g",))
    def _detail_of_restored(self) -> DegradationCode:
        """The momentum encoder's high-frequency features of the restored batch; the gradient reaches network_g."""
        return detail_of(self._contrast().encoder_k, self.value("restored"))

    @offers("queue")
    def _queue(self) -> Tensor:
        """Earlier keys [K, D]."""
        return self._contrast().queue

    def _contrast(self) -> MomentumContrast:
        if self.contrast is None:
            raise ValueError("there is no momentum encoder, because no loss of the file needs one")
        return self.contrast

    def _of_dataset(self, key: str, dataset: str) -> Tensor:
        if key not in self.batch:
            raise ValueError(f"a loss needs `{key}`, but the dataset gives none; use {dataset} (uir/data)")
        value: Tensor = self.batch[key].to(self.device, non_blocking=True)
        return value

    # --- restoring and files ---

    def predictor_settings(self) -> dict[str, Any]:
        """The choice of the restorer's code."""
        return {"code": self.code_use}

    def weights_beside(self, role: str) -> dict[str, dict[str, Tensor]]:
        """The encoder's file also contains the momentum encoder and the queue, as `momentum`."""
        return {"momentum": self.contrast.state_dict()} if role == "e" and self.contrast is not None else {}

    def resume_training(self, state: Mapping[str, Any], models: Path) -> None:
        """Continue from a state; momentum encoder and queue are in the encoder's file."""
        super().resume_training(state, models)
        if self.contrast is not None and not self._load_momentum(models / f"net_e_{state['iter']}.pth"):
            raise ValueError(f"net_e_{state['iter']}.pth has no momentum encoder; were losses added to the run?")

    def _load_momentum(self, file: Path) -> bool:
        """Load the momentum encoder and the queue of a file, if it has them."""
        state = read_file(file).get("momentum")
        if self.contrast is None or not isinstance(state, dict):
            return False
        keys, expected = len(state["queue"]), len(self.contrast.queue)
        if keys != expected:
            raise ValueError(f"train.momentum_contrast.queue_size: {expected}, but the queue in {file} has {keys} keys")
        self.contrast.load_state_dict(state)
        logger.info("The momentum encoder and its queue continue from %s", file)
        return True


def fields_read_by(losses: Mapping[str, Any], encoder: str, fields: Sequence[str]) -> set[str]:
    """The fields of network_e's own codes that losses read.

    Args:
        losses: their classes by slot.
        encoder: the encoder's class, for messages.
        fields: the fields that it fills.

    Raises:
        ValueError: a loss needs a field that the encoder does not fill.
    """
    read: set[str] = set()
    for slot, loss in losses.items():
        needs = getattr(loss, "needs", ())
        if not set(CODE_INPUTS).isdisjoint(inputs_of(loss)):
            read |= set(needs)
        missing = [field for field in needs if field not in fields]
        if missing:
            raise ValueError(
                f"train.{slot}: {loss.__name__} needs the field '{missing[0]}' of a degradation code, but network_e "
                f"({encoder}) gives {', '.join(fields)}; use another encoder or loss"
            )
    return read


def _takes_code(restorer: Any) -> bool:
    """Whether a restorer of a class can be called with an image and a `code`; True for anything that is not a class."""
    if not isinstance(restorer, type) or not issubclass(restorer, nn.Module):
        return True
    try:
        inspect.signature(restorer.forward).bind(None, None, code=None)
    except TypeError:
        return False
    return True


def _trained_with(path: PathOptions) -> CodeUse:
    """The choice of the code that the tested restorer was trained with."""
    file: Path | None = getattr(path, "pretrain_network_g", None)
    use: CodeUse = "own" if file is None else _use_on(read_weights(file)[1])
    if use != "own":
        logger.info("network_g was trained with `code: %s`, and restores with the same", use)
    return use


def _use_on(card: Mapping[str, Any]) -> CodeUse:
    use: CodeUse = card.get("predictor", card).get("code", "own")
    return use
