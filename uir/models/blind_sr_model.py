"""Blind restoration by a degradation representation: an encoder that learns by comparing, and a restorer steered by it.

One method for DASR (Wang et al., CVPR 2021), CDSR (Zhou et al., ACM MM 2022), DAA (Wang et al., ACCV 2022), CRL-SR and
AirNet (Li et al., CVPR 2022): what differs between them are networks, losses and stages, which the option file names.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from uir.config.roles import Role
from uir.config.schema import Component, PathOptions, Section, TrainOptions
from uir.core.checkpoint import read_file, read_weights, write_checkpoint
from uir.core.distributed import gathered, is_main
from uir.layers.code_widths import STEERING, code_of_blank, evaluating, filled, filled_in, widths_of
from uir.layers.degradation_code import DegradationCode
from uir.layers.padding import crop, pad_to_multiple
from uir.models.base_model import BaseModel
from uir.models.code_losses import MOMENTUM_INPUTS, RESTORED_INPUTS, inputs_of, needs_of_losses
from uir.models.encoder_step import EncoderStep
from uir.models.momentum_contrast import MomentumContrast
from uir.registry import ARCH_REGISTRY, MODEL_REGISTRY

logger = logging.getLogger("uir")

CodeUse = Literal["own", "zero", "shuffled"]
_LOG_NAMES = {"pixel": "pix", "perceptual": "percep"}
_NO_CODE = (
    "{} takes an image alone, and BlindSRModel steers network_g by a degradation code; take one whose forward is "
    "(lq, code), such as DASR or ConditionedNet"
)


class MomentumOptions(Section):
    """The momentum encoder and its queue."""

    queue_size: int = Field(8192, ge=1, description="Keys in the queue; DASR has 8192, AirNet 1280.")
    momentum: float = Field(0.999, ge=0, lt=1, description="Part of the momentum encoder that stays in a step.")


class BlindSROptions(TrainOptions):
    """Keys of `train` for blind restoration."""

    momentum_contrast: MomentumOptions = Field(
        default_factory=MomentumOptions, description="Where a loss compares with keys: the queue and the momentum."
    )
    freeze: list[str] = Field(
        default_factory=list, description="Modules that stay as they are, such as [network_e.ranker_q]."
    )
    code: CodeUse = Field(
        "own",
        description="What steers network_g: each image's own code, zeros, or the code of another image (an ablation).",
    )


@MODEL_REGISTRY.register()
class BlindSRModel(BaseModel):
    """A restorer `network_g(lq, code)` and the encoder `network_e(lq) -> DegradationCode` that steers it.

    `network_e` is built first; `network_g` is given `code_channels` and `map_channels` of the code, where it takes them
    and the file does not say them or says `~`. Every key `<name>_opt` is a loss: on images, called with what was
    restored and `gt`, or on codes, which declares `needs` (fields of the code) and `inputs` (names of
    `uir.models.code_losses.INPUTS`: what it is called with). Their sum trains the networks that have an optimizer; the
    others are evaluated as they are. Without a loss on images `network_g` does not run.

    Where a loss asks for keys, a momentum encoder follows `network_e` once before each optimizer step, and the keys of
    every batch enter the queue after it, so with `accumulate` several times a step; from a loss on that is not finite,
    those of its step stay out. Both are written to `net_e_*.pth` as `momentum`, and go on from stage to stage and after
    an interruption.

    Restoring takes one code for the whole image.

    Attributes:
        code_use: as the option `train.code`, for restoring too, and in a test as network_g was trained; may be set.
            "shuffled" is the code of the image before in the batch; of an image restored alone, that of the image
            restored before, zeros for the first one.
    """

    network_roles: ClassVar[Mapping[str, Role]] = {
        "e": Role(trained=None, averaged=True),  # a stage may train one of them alone
        "g": Role(trained=None, averaged=True, supplied=("code_channels", "map_channels")),
    }
    loss_slots: ClassVar[tuple[str, ...]] = ("pixel_opt", "perceptual_opt", "contrastive_opt", "ranking_opt")
    open_losses: ClassVar[bool] = True
    train_options: ClassVar[type[TrainOptions]] = BlindSROptions

    train_opt: BlindSROptions
    net_e: Any

    def __init__(
        self, *, networks: Mapping[str, Component], train: TrainOptions | None = None, **arguments: Any
    ) -> None:
        self.contrast: MomentumContrast | None = None
        self.code_use: CodeUse = getattr(train, "code", None) or _trained_with(arguments["path"])
        self._keys: Tensor | None = None
        self._before: DegradationCode | None = None
        super().__init__(networks=networks, train=train, **arguments)

    @classmethod
    def problems_of(cls, raw: Mapping[str, Any]) -> Iterable[tuple[tuple[str, ...], str]]:
        """A restorer that takes no code, and codes that cannot be shuffled, there being one in a batch."""
        restorer = raw.get("network_g")
        name = restorer.get("type") if isinstance(restorer, Mapping) else None
        if isinstance(name, str) and name in ARCH_REGISTRY and not _takes_two(ARCH_REGISTRY.get(name)):
            yield ("network_g", "type"), f": {_NO_CODE.format(name)}"
        train, datasets = raw.get("train"), raw.get("datasets")
        data = datasets.get("train") if isinstance(datasets, Mapping) else None
        one = isinstance(data, Mapping) and data.get("batch_size_per_gpu") == 1
        if one and isinstance(train, Mapping) and train.get("code") == "shuffled":
            yield (
                ("train", "code"),
                ": shuffled gives each image the code of another one of its batch, and "
                "datasets.train.batch_size_per_gpu is 1; it must be at least 2",
            )

    # --- networks ---

    def _build_network(self, role: str, component: Component, path: PathOptions) -> None:
        component = Component.model_validate(filled_in(component.spec(), self.network_sizes(role)))
        self.components[role] = component  # the card of the weights tells the sizes too
        asked = self._find_unused
        super()._build_network(role, component, path)
        self._find_unused = asked

    def network_sizes(self, role: str) -> dict[str, Any]:
        """Widths of the encoder's code, for the restorer."""
        return widths_of(self._blank) if role == "g" else {}

    def step_module(self, role: str, network: nn.Module) -> nn.Module:
        """The encoder for several batches in one call; the restorer as it is. What `train.freeze` names is frozen."""
        if self.is_train:
            for module in self._frozen(role, network):
                module.requires_grad_(False)
        if role != "e":
            self._try_restorer(network)
            return network
        self._blank = code_of_blank(network)
        given = filled(self._blank)
        read = self._fields_read(type(network).__name__, given) if self.is_train else set()
        left_out = [name for name in given if name not in (*STEERING, *read)]
        self._find_unused = self._find_unused or bool(left_out)
        return EncoderStep(network, left_out)

    def _try_restorer(self, network: nn.Module) -> None:
        """Restore one black image, so that what does not fit is told before any training."""
        name = type(network).__name__
        if not _takes_two(type(network)):
            raise ValueError(f"network_g: {_NO_CODE.format(name)}")
        blank = torch.zeros(1, 3, 64, 64, device=self.device)
        blank = pad_to_multiple(blank, getattr(network, "pad_multiple", 1))
        code = self.encode(blank)
        try:
            with torch.no_grad(), self.autocast(), evaluating(network):
                restored: Tensor = network(blank, code)
        except ValueError as error:
            raise ValueError(f"network_g: {error}") from None
        (height, width), asked = restored.shape[-2:], [side * self.scale for side in blank.shape[-2:]]
        if [height, width] != asked:
            raise ValueError(
                f"network_g: {name} makes {height}×{width} of {blank.shape[-2]}×{blank.shape[-1]}, and `scale` is "
                f"{self.scale}, which asks for {asked[0]}×{asked[1]}; make the two agree"
            )

    def _frozen(self, role: str, network: nn.Module) -> list[nn.Module]:
        """The modules of a network that `train.freeze` names."""
        found = []
        for name in self.train_opt.freeze:
            owner, _, module = name.partition(".")
            if owner not in ("network_e", "network_g"):
                raise ValueError(f"train.freeze: expected names such as network_e.ranker_q, got '{name}'")
            if owner == f"network_{role}":
                try:
                    found.append(network.get_submodule(module))
                except AttributeError:
                    raise ValueError(
                        f"train.freeze: there is no module '{module}' in {type(network).__name__} ({owner})"
                    ) from None
        return found

    def _fields_read(self, encoder: str, given: list[str]) -> set[str]:
        """The fields of the code that the losses read, once it is sure that every network has something to learn."""
        read, asked = needs_of_losses(self.train_opt, self.loss_slots, encoder, given)
        trained = [role for role in self.network_roles if getattr(self.train_opt, f"optim_{role}", None) is not None]
        if not trained:
            raise ValueError("train: neither optim_e nor optim_g is given; nothing would be trained")
        if "g" in trained and asked.isdisjoint(RESTORED_INPUTS):
            raise ValueError(
                "train.optim_g: no loss is on restored images, so network_g cannot learn; add pixel_opt, or train "
                "network_e alone (a stage's `train: [network_e]`)"
            )
        if "e" in trained and not read and "codebook" not in asked and self.code_use == "zero":
            raise ValueError("train.optim_e: with `code: zero` and no loss on codes network_e cannot learn; remove it")
        return read

    def _init_training(self, path: PathOptions) -> None:
        super()._init_training(path)
        for role, network in self.bare.items():
            if getattr(self.train_opt, f"optim_{role}", None) is None:
                network.eval()
            for module in self._frozen(role, network):
                module.eval()
        self._wanted = {name for loss in self.losses.values() for name in inputs_of(loss)}
        if self._wanted.isdisjoint(MOMENTUM_INPUTS):
            return
        options = self.train_opt.momentum_contrast
        projection = self._blank.require("projection", "momentum contrast")
        # Made once DDP has sent the first process's weights to all; its seed follows the run's.
        seed = gathered(torch.initial_seed())[0]
        self.contrast = MomentumContrast(
            self.bare["e"], projection.shape[1], options.queue_size, options.momentum, seed
        ).to(self.device)
        file: Path | None = getattr(path, "pretrain_network_e", None)
        if file is not None:
            self._load_momentum(file)

    # --- the step ---

    def feed_data(self, data: Mapping[str, Any]) -> None:
        """As every method; a validation behind this step does not know the images of the one before."""
        super().feed_data(data)
        self._before = None

    def optimize_parameters(self, current_iter: int) -> None:
        """As every method; then the keys enter the queue."""
        self._keys = None
        super().optimize_parameters(current_iter)
        if self.contrast is not None and self._keys is not None and not self.step_is_spoilt:
            self.contrast.enqueue(self._keys)

    def compute_losses(self) -> dict[str, Tensor]:
        """The losses of the batch."""
        values = self._encoded()
        if self.contrast is not None:
            if self._micro_batch == 0:
                self.contrast.follow(self.bare["e"])
            values |= self._momentum_values()
        if not self._wanted.isdisjoint(RESTORED_INPUTS):
            values["restored"] = self._restored(values["code"])
            values["gt"] = self.gt
        if "restored_key" in self._wanted and self.contrast is not None:
            values["restored_key"] = self.contrast(values["restored"])
        found: dict[str, Tensor] = {}
        for slot, loss in self.losses.items():
            name = slot.removesuffix("_opt")
            value = loss(*(values[key] for key in inputs_of(loss)))
            content, style = value if isinstance(value, tuple) else (value, None)
            if content is not None:
                found[f"l_{_LOG_NAMES.get(name, name)}"] = content
            if style is not None:
                found["l_style"] = style
        return found

    def _encoded(self) -> dict[str, Any]:
        """What comes of the batch and of network_e, which runs once."""
        values: dict[str, Any] = {}
        images = [self.lq]
        if "renditions" in self._wanted:
            renditions = self._of_batch("renditions", "RankingDataset")
            images = list(renditions.unbind(1))  # the first is `lq`
            values["orders"] = self._of_batch("orders", "RankingDataset")
        if "gt_code" in self._wanted:
            images.append(self._clean())
        trained = any(parameter.requires_grad for parameter in self.bare["e"].parameters())
        with torch.set_grad_enabled(trained):
            codes = self.net_e(*images)
        values["code"] = codes[0]
        if "gt_code" in self._wanted:
            values["gt_code"] = codes.pop()
        values["renditions"] = codes
        if "labels" in self._wanted:
            values["labels"] = self._labels()
        if "codebook" in self._wanted:
            values["codebook"] = self._codebook()
        return values

    def _momentum_values(self) -> dict[str, Any]:
        """What comes of the momentum encoder, without gradients."""
        contrast = self.contrast
        values: dict[str, Any] = {}
        if contrast is None:
            return values
        with torch.no_grad():
            if "key" in self._wanted:
                values["key"] = contrast(self._of_batch("lq_key", "ContrastiveDataset"))
                self._keys = values["key"].projection
            if "gt_key" in self._wanted:
                values["gt_key"] = contrast(self._clean())
            if "lq_key_code" in self._wanted:
                values["lq_key_code"] = contrast(self.lq)
        values["queue"] = contrast.queue
        return values

    def _restored(self, code: DegradationCode) -> Tensor:
        gt = self._clean()
        restored: Tensor = self.net_g(self.lq, self._used(code, len(gt))).float()
        if restored.shape != gt.shape:
            raise ValueError(
                f"network_g made {tuple(restored.shape)} of {tuple(self.lq.shape)}, gt is {tuple(gt.shape)}; "
                f"does `scale` ({self.scale}) fit the network?"
            )
        return restored

    def _clean(self) -> Tensor:
        if self.gt is None:
            raise ValueError("training needs `gt`, and the dataset gives none; use a paired or a degraded dataset")
        return self.gt

    def _of_batch(self, key: str, dataset: str) -> Tensor:
        if key not in self.batch:
            raise ValueError(f"a loss needs `{key}`, and the dataset gives none; use {dataset} (uir/data)")
        value: Tensor = self.batch[key].to(self.device, non_blocking=True)
        return value

    def _labels(self) -> Tensor:
        records = self.batch.get("degradation")
        labels = (None,) * len(self.lq) if records is None else tuple(records.labels)
        names = sorted({label for label in labels if label is not None})
        if not names:
            raise ValueError(
                "a loss needs labels, and no image of the batch has one; give the dataset a `label`, or tasks"
            )
        indices = [names.index(label) if label is not None else -1 for label in labels]
        return torch.tensor(indices, device=self.device)

    def _codebook(self) -> Tensor:
        for module in self.bare["e"].modules():
            if isinstance(module, nn.Embedding):
                return module.weight
        raise ValueError(f"a loss needs a codebook, and network_e ({type(self.bare['e']).__name__}) has none")

    # --- restoring ---

    def encode(self, image: Tensor) -> DegradationCode:
        """The code of [B, 3, h, w] in [0, 1], by the encoder that validation uses (its average, where kept)."""
        encoder = self.test_network("e")
        with torch.no_grad(), self.autocast(), evaluating(encoder):
            code: DegradationCode = encoder(image)
        return code

    def restore(self, lq: Tensor, role: str = "g", code: DegradationCode | None = None) -> Tensor:
        """Restore [B, 3, h, w] of any size; [B, 3, h·scale, w·scale], not clipped.

        Args:
            lq: the images.
            role: the restorer's.
            code: what to be steered by; default as `code_use` says.
        """
        network = self.test_network(role)
        padded = pad_to_multiple(
            lq, 1 if getattr(network, "pads_itself", False) else getattr(network, "pad_multiple", 1)
        )
        if code is None:
            code = self.encode(lq)
            if code.map is not None and padded is not lq:
                code = replace(code, map=self.encode(padded).map)
            code = self._used(code, len(lq))
        with torch.no_grad(), self.autocast(), evaluating(network):
            restored: Tensor = network(padded, code).float()
        return crop(restored, lq.shape[-2] * self.scale, lq.shape[-1] * self.scale)

    def _used(self, code: DegradationCode, images: int) -> DegradationCode:
        """The code of some images as `code_use` says."""
        if self.code_use == "own":
            return code
        if self.code_use == "zero":
            return code.zeros_like()
        if images > 1:
            return code.index_select(torch.arange(images, device=self.device).roll(1))
        before, self._before = self._before, code
        return code.zeros_like() if before is None else before

    # --- files ---

    def save(self, models: Path, tag: int | str) -> None:
        """As every method; the encoder's file holds the momentum encoder and the queue too, as `momentum`."""
        if not is_main():
            return
        for role, network in self.bare.items():
            params = {"params": network.state_dict()}
            if role in self.ema:
                params["params_ema"] = self.ema[role].module.state_dict()
            if role == "e" and self.contrast is not None:
                params["momentum"] = self.contrast.state_dict()
            write_checkpoint(models / f"net_{role}_{tag}.pth", params, self.card(role))

    def card(self, role: str) -> dict[str, Any]:
        """As every method; the restorer's says by what it is steered."""
        return {**super().card(role), **({"code": self.code_use} if role == "g" else {})}

    def resume_training(self, state: Mapping[str, Any], models: Path) -> None:
        """Go on from a state; momentum encoder and queue are in the encoder's file."""
        super().resume_training(state, models)
        if self.contrast is not None and not self._load_momentum(models / f"net_e_{state['iter']}.pth"):
            raise ValueError(f"net_e_{state['iter']}.pth holds no momentum encoder; were losses added to the run?")

    def _load_momentum(self, file: Path) -> bool:
        """Take the momentum encoder and the queue of a file, if it holds any."""
        state = read_file(file).get("momentum")
        if self.contrast is None or not isinstance(state, dict):
            return False
        held, asked = len(state["queue"]), len(self.contrast.queue)
        if held != asked:
            raise ValueError(f"train.momentum_contrast.queue_size: {asked}, but the queue in {file} has {held} keys")
        self.contrast.load_state_dict(state)
        logger.info("The momentum encoder and its queue go on from %s", file)
        return True


def _takes_two(restorer: Any) -> bool:
    """Whether a restorer of a class can be called with an image and a code; so it is believed of what is no class."""
    if not isinstance(restorer, type) or not issubclass(restorer, nn.Module):
        return True
    try:
        inspect.signature(restorer.forward).bind(None, None, None)
    except TypeError:
        return False
    return True


def _trained_with(path: PathOptions) -> CodeUse:
    """What steered the restorer that a test starts from."""
    file: Path | None = getattr(path, "pretrain_network_g", None)
    use: CodeUse = "own" if file is None else read_weights(file)[1].get("code", "own")
    if use != "own":
        logger.info("network_g was trained with `code: %s`, and restores with it", use)
    return use
