"""DASR: a predictor of the degradation and a restorer of mixed experts learn together (Liang et al., ECCV 2022)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field
from torch import Tensor, nn

from uir.config.roles import Role
from uir.config.schema import Options, PathOptions, TrainOptions
from uir.core.checkpoint import read_weights
from uir.data.pair_pool import PairPool
from uir.degradations.dasr_liang_vectoriser import DASRLiangVector
from uir.degradations.targets import Targets
from uir.inference.expert_predictor import ExpertPredictor
from uir.inference.predictor import Predictor
from uir.layers.degradation_code import DegradationCode
from uir.models.adversarial_model import AdversarialModel, AdversarialOptions
from uir.models.base_model import offers
from uir.registry import MODEL_REGISTRY

_TARGET = "dasr_liang"


class DASRFile(Options):
    """Keys at the top of a file."""

    queue_size: int | None = Field(
        None, ge=1, description="Samples in the pool that mixes the batches, with their records; DASR has 192."
    )


class DASROptions(AdversarialOptions):
    """Keys of `train`."""

    legacy: bool = Field(
        False,
        description="As published: each level of degradation has its own ranges, numbers that a record lacks count as "
        "0, the pool leaves the records of a batch behind, and the predictor has no moving average.",
    )


@MODEL_REGISTRY.register()
class DASRModel(AdversarialModel):
    """A restorer `network_g(lq, experts)` and a predictor `network_p(lq)` of the degradation, against a discriminator.

    `network_p` estimates the 33 numbers of the vectoriser `dasr_liang`, and weighs the experts of `network_g` by them.
    `regress_opt` compares these numbers with those of the records, where they are known. It, the losses on images and
    `gan_opt` train both networks together. The records must come from the recipe `dasr_liang`; of an unknown
    degradation nothing is learned by `regress_opt`.

    The published behaviour (`train.legacy: true`) has three errors that are corrected by default: see the option. A
    level of degradation for a whole batch and the published kernels are the recipe's (`legacy: true` there).
    """

    network_roles: ClassVar[Mapping[str, Role]] = {
        "p": Role(trained=None, averaged=True),
        **AdversarialModel.network_roles,
    }
    loss_slots: ClassVar[tuple[str, ...]] = ("pixel_opt", "perceptual_opt", "regress_opt", "gan_opt")
    train_options: ClassVar[type[TrainOptions]] = DASROptions
    file_options: ClassVar[type[Options]] = DASRFile
    predictor_type: ClassVar[type[Predictor]] = ExpertPredictor
    generator_roles: ClassVar[tuple[str, ...]] = ("p", "g")

    train_opt: DASROptions
    file: DASRFile
    net_p: Any

    def prepare(self) -> None:
        """The pool, and the targets of the regression."""
        super().prepare()
        self._legacy = self.train_opt.legacy if self.is_train else _trained_as_published(self.path)
        size = self.file.queue_size if self.is_train else None
        self._pool = None if size is None else PairPool(size, self.file.manual_seed or 0)
        if _TARGET not in (self.train_opt.vectorisers if self.is_train else {}):
            self._vectorisers[_TARGET] = DASRLiangVector(self._legacy)

    def check_network(self, role: str, network: nn.Module) -> None:
        """Check that the predictor can route, and that it weighs as many experts as the restorer has."""
        super().check_network(role, network)
        name = type(network).__name__
        if role == "p" and not hasattr(network, "route"):
            raise ValueError(f"network_p: {name} cannot weigh experts; use a DegradationPredictor")
        if role == "g":
            own, weighed = getattr(network, "num_experts", None), getattr(self.bare["p"], "num_networks", None)
            if own is None:
                raise ValueError(f"network_g: {name} has no experts; use MSRResNetDynamic, or ExpertNet for a backbone")
            if weighed is not None and own != weighed:
                raise ValueError(f"network_g: {name} has {own} experts, but network_p weighs {weighed} (num_networks)")

    def start_training(self) -> None:
        """Start like every method; as published, the predictor has no moving average."""
        super().start_training()
        if self._legacy:
            self.ema.pop("p", None)

    def feed_data(self, data: Mapping[str, Any]) -> None:
        """Take a batch, mixed by the pool; as published, the records stay in their places."""
        if self._pool is not None:
            if self._legacy:
                left = {key: data[key] for key in ("degradation",) if key in data}
                pooled = self._pool.exchange({key: value for key, value in data.items() if key not in left})
                data = {**pooled, **left}
            else:
                data = self._pool.exchange(data)
        super().feed_data(data)

    @offers("code", runs=("p",))
    def code(self) -> DegradationCode:
        """The predictor's code of the batch."""
        code: DegradationCode = self.net_p(self.lq)
        return code

    @offers("experts")
    def experts(self) -> Tensor:
        """The weights of the experts [B, K]."""
        return self.value("code").require("experts", "DASRModel")

    @offers("regressed")
    def regressed(self) -> tuple[Tensor, Tensor]:
        """The estimated and the true numbers, only those that are known: both [N]; a 0 each if there are none."""
        targets: Targets = self.value(f"record.{_TARGET}")
        params: Tensor = self.value("code").require("params", "train.regress_opt", targets.values.shape[1])
        if not bool(targets.mask.any()):
            return params.sum()[None] * 0, params.new_zeros(1)
        return params[targets.mask], targets.values[targets.mask]

    def value_for(self, slot: str, name: str) -> Any:
        """The numbers of the degradation for `regress_opt`, instead of images."""
        if slot == "regress_opt" and name in ("restored", "gt"):
            return self.value("regressed")[0 if name == "restored" else 1]
        return super().value_for(slot, name)

    def predictor_settings(self) -> dict[str, Any]:
        """Whether the numbers are as published."""
        return {"legacy": self._legacy}

    def training_state(self) -> dict[str, Any]:
        """See `BaseModel.training_state`; the pool too."""
        pool = {} if self._pool is None else {"pool": self._pool.state_dict()}
        return {**super().training_state(), **pool}

    def resume_training(self, state: Mapping[str, Any], models: Path) -> None:
        """See `BaseModel.resume_training`."""
        super().resume_training(state, models)
        if self._pool is not None and "pool" in state:
            self._pool.load_state_dict(state["pool"])


def _trained_as_published(path: PathOptions) -> bool:
    """Whether the tested networks learned the published numbers."""
    file: Path | None = getattr(path, "pretrain_network_g", None)
    described = {} if file is None else read_weights(file)[1].get("predictor", {})
    return bool(described.get("legacy", False))
