"""The parts that all training methods share: networks, values and losses by name, restoring, files.

The phases of construction are in `uir.models.network_phases`, the step is in `uir.models.training_step`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from uir.config.schema import ClipOptions, Component, Options, PathOptions, Precision, TrainOptions
from uir.core.checkpoint import fit_state, load_weights, published_state, read_weights, write_checkpoint
from uir.core.distributed import gathered, is_main
from uir.degradations.targets import Targets
from uir.inference.network_predictor import NetworkPredictor
from uir.inference.predictor import Prediction, Predictor, Running, predict
from uir.layers.code_widths import evaluating
from uir.layers.image_channels import check_channels
from uir.models.resuming import resume_optimizer, resume_scheduler
from uir.models.training_step import NonFiniteLossError, TrainingStep
from uir.models.values import Offer, Values, offers, offers_of
from uir.registry import LOSS_REGISTRY, PREDICTORS, VECTORISERS, nearest_names
from uir.registry.components import build

__all__ = ["BaseModel", "NonFiniteLossError", "inputs_of", "offers"]

_LOG_NAMES = {"pixel": "pix", "perceptual": "percep"}
"""BasicSR's names in its logs; any other loss `<name>_opt` is logged as `l_<name>`."""
_BATCH_VALUES = ("lq", "gt")


class BaseModel(TrainingStep):
    """A training method: networks by role, one step, and how it restores.

    The class attributes of a method declare the keys that an option file may have. Its losses are called with the
    values that they name (`inputs`). The method computes these values in methods marked with `offers`, and needs
    nothing else if it minimises one sum. `compute_losses` is for another form of sum, `objectives` for several sums.
    The interface is BasicSR's (`feed_data`, `optimize_parameters`, `save`, `resume_training`, ...), so that the
    training loop runs uir's models and BasicSR's models in the same way.

    Attributes set here: `net_<role>` (on the device, wrapped for DDP and compiled), `bare[role]` (the network itself),
    `ema[role]`, `losses[slot]`, `optimizers`, `schedulers`, `log_dict`.

    Args:
        networks: the networks' descriptions by role.
        path: weights to start from.
        train: training options; None for testing.
        file: the whole file, for a method with keys of its own at the top of it.
        scale: size of the restored image divided by that of the degraded one.
        precision: fp32, or the type to autocast to.
        compile: compile the networks.
        channels_last: keep images channels-last in memory.
        grad_clip: the file's clipping, used if `train` has none.
        find_unused_parameters: as in DDP.
        device: the device of the networks.
        labels: names of the training set's tasks, in order; they are written to the checkpoints.
        batch_values: names of the values in the training set's batches, besides `lq` and `gt`.

    Raises:
        ValueError: a network is missing or does not fit, or a loss needs a value that does not exist.
    """

    train_options: ClassVar[type[TrainOptions]] = TrainOptions
    """Keys of `train`; a subclass of TrainOptions adds keys."""
    file_options: ClassVar[type[Options]] = Options
    """Keys at the top of the file; a subclass of Options adds keys, which the method reads from `self.file`."""
    predictor_type: ClassVar[type[Predictor]] = NetworkPredictor
    """How it restores; a class of the table `PREDICTORS`."""
    measures: ClassVar[tuple[str, ...]] = ()
    """Names of the results of `extra_measures`; larger is better. `val.keep_best` may name them."""
    streams: ClassVar[tuple[str, ...]] = ()
    """Further training sets: `unpaired` is `datasets.train_unpaired`, and its batch is `self.batch["unpaired"]`."""

    net_g: Any
    file: Options
    lq: Tensor
    gt: Tensor | None

    def __init__(
        self,
        *,
        networks: Mapping[str, Component],
        path: PathOptions,
        train: TrainOptions | None = None,
        file: Options | None = None,
        scale: int = 1,
        precision: Precision = "fp32",
        compile: bool = False,
        channels_last: bool = False,
        grad_clip: float | ClipOptions | None = None,
        find_unused_parameters: bool = False,
        device: torch.device | str = "cpu",
        labels: Iterable[str] = (),
        batch_values: Iterable[str] = (),
    ) -> None:
        self.device = torch.device(device)
        self.is_train = train is not None
        self.path, self.scale, self.precision, self.channels_last = path, scale, precision, channels_last
        if file is not None:
            self.file = file
        self.compile, self.find_unused_parameters = compile, find_unused_parameters
        for role, described in self.network_roles.items():
            if described.is_required(self.is_train) and role not in networks:
                raise ValueError(f"network_{role} is missing; {type(self).__name__} needs it")
        self.components = {role: networks[role] for role in self.network_roles if role in networks}
        self.labels: tuple[str, ...] = tuple(labels)
        self.batch_values = tuple(batch_values)
        self.offered: dict[str, Offer] = offers_of(type(self))
        self.values = Values()
        self.bare, self.stepped, self.ema, self.losses = {}, {}, {}, {}
        self.optimizers, self.schedulers, self.optimizer_of, self.clip_of = [], [], {}, {}
        self.parameter_names = {}
        self.log_dict, self.noted = {}, {}
        self.micro_batch, self.nonfinite_in_a_row, self.current_iter, self.stage_iteration = 0, 0, 0, 0
        self._spoilt_roles, self._overflowed_roles, self._nonfinite = set(), set(), {}
        self._vectorisers: dict[str, Any] = {}
        self._predictor: Predictor | None = None
        if train is not None:
            self.train_opt = train
            self.grad_clip = train.grad_clip if train.grad_clip is not None else grad_clip
            self.check_losses()
        gathered(None)  # what the first process wrote at the end of the stage before is there for all to read
        self.prepare()
        self.build_networks()
        self.predictor.check()
        self._check_controls(file)
        if train is not None:
            self.start_training()
            self._predictor = None  # the next one uses the averages

    # --- methods that a subclass may define ---

    @classmethod
    def problems_of(cls, raw: Mapping[str, Any]) -> Iterable[tuple[tuple[str, ...], str]]:
        """Keys of a training file that contradict each other: place and message. It runs before anything is built.

        Args:
            raw: the file as it is written, before the check.
        """
        return ()

    def prepare(self) -> None:
        """The first phase of construction, before any network: it uses only the file and the labels."""

    def feed_data(self, data: Mapping[str, Any]) -> None:
        """Take a batch: `lq` and, if the dataset gives it, `gt`, both [B, 3, H, W] in [0, 1]."""
        self.values.clear()
        if self._predictor is not None:
            self._predictor.restart()  # a validation after this step must not depend on the one before
        self.batch = data
        if "g" in self.bare:
            check_channels(self.bare["g"], data["lq"])
        self.lq = self._to_device(data["lq"])
        self.gt = self._to_device(data["gt"]) if "gt" in data else None

    @offers("restored", runs=("g",))
    def restored_batch(self) -> Tensor:
        """The output of `network_g` for the batch and the conditions that its `forward` names: [B, 3, H, W], float32.

        Raises:
            ValueError: its size differs from that of `gt`.
        """
        conditions = {name: self.value(name) for name in self.predictor.supplies if name in self.predictor.taken}
        return self.fits_gt(self.net_g(self.lq, **conditions).float())

    def compute_losses(self) -> dict[str, Tensor]:
        """The losses of the present batch, by log name (`l_pix`); their sum is minimised. Default: all of them."""
        return self.losses_of(*self.losses)

    def extra_measures(self, batch: Mapping[str, Any]) -> dict[str, float]:
        """Measurements on a validation batch of one image, in addition to the file's metrics; see `measures`."""
        return {}

    # --- values and losses by name ---

    def value(self, name: str) -> Any:
        """A value by its name: one that the method offers, `record.<vectoriser>`, or an entry of the batch.

        An entry of another stream's batch is `<stream>.<entry>`. A value is computed once for each objective.

        Raises:
            ValueError: the method does not offer it, and the batch does not contain it.
        """
        offer = self.offered.get(name)
        if offer is not None:
            return self.values.get(name, getattr(self, offer.attribute), offer.runs)
        if name.startswith("record."):
            return self.values.get(name, lambda: self._vectorised(name.removeprefix("record.")), frozenset())
        return self.values.get(name, lambda: self._of_batch(name), frozenset())

    def value_for(self, slot: str, name: str) -> Any:
        """The value that the loss in a slot is called with; a method may give some losses another one by this name."""
        return self.value(name)

    def losses_of(self, *slots: str) -> dict[str, Tensor]:
        """The losses in some slots, called with the values that they name, by log name.

        A loss may give a pair (content, style), and one of them may be None; the style is logged as `l_style`.

        Raises:
            ValueError: none of the slots has a loss.
        """
        by_name: dict[str, Tensor] = {}
        for slot in slots:
            if slot not in self.losses:
                continue
            loss, name = self.losses[slot], slot.removesuffix("_opt")
            result = loss(*(self.value_for(slot, entry) for entry in inputs_of(loss)))
            content, style = result if isinstance(result, tuple) else (result, None)
            if content is not None:
                by_name[f"l_{_LOG_NAMES.get(name, name)}"] = content
            if style is not None:
                by_name["l_style"] = style
        if not by_name:
            raise ValueError("train: no loss is given; add pixel_opt, perceptual_opt or any <name>_opt")
        return by_name

    def check_losses(self) -> None:
        """Check that every value that the losses of the file need exists.

        Raises:
            ValueError: a value does not exist.
        """
        for slot, loss in self.described_losses().items():
            for name in inputs_of(loss):
                self._check_value(name, f"train.{slot}: {loss.__name__} needs '{name}'")

    def described_losses(self) -> dict[str, Any]:
        """The classes of the losses that the file names, by slot."""
        types = {slot: getattr(self.train_opt, slot) for slot in self.slots_of_losses()}
        return {
            slot: LOSS_REGISTRY.get(entry.type if isinstance(entry, Component) else entry["type"])
            for slot, entry in types.items()
        }

    def clean_images(self) -> Tensor:
        """`gt` of the batch.

        Raises:
            ValueError: the batch has no `gt`.
        """
        if self.gt is None:
            raise ValueError("training needs `gt`, but the dataset gives none; use a paired or a degraded dataset")
        return self.gt

    def fits_gt(self, restored: Tensor) -> Tensor:
        """The restored images, after a check that they have the size of `gt`."""
        gt = self.clean_images()
        if restored.shape != gt.shape:
            raise ValueError(
                f"network_g gave {tuple(restored.shape)} for an input {tuple(self.lq.shape)}, but gt is "
                f"{tuple(gt.shape)}; does `scale` ({self.scale}) fit the network?"
            )
        return restored

    def _check_value(self, name: str, need: str) -> None:
        if name.startswith("record."):
            kind = name.removeprefix("record.")
            if kind not in self.train_opt.vectorisers and kind not in VECTORISERS:
                known_names = [f"record.{key}" for key in (*self.train_opt.vectorisers, *VECTORISERS.keys())]
                raise ValueError(f"{need}; known names are {', '.join(known_names)}")
            return
        known = {*self.offered, *_BATCH_VALUES, *self.batch_values}
        if name in known or name.partition(".")[0] in self.streams:
            return
        near = nearest_names(name, known, count=1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise ValueError(
            f"{need}; {hint}{type(self).__name__} offers {', '.join(sorted(known))}; a dataset that gives it must list "
            "it in its attribute `gives`"
        )

    def _of_batch(self, name: str) -> Any:
        if name == "lq":
            return self.lq
        if name == "gt":
            return self.clean_images()
        stream, _, key = name.rpartition(".")
        batch = self.batch[stream] if stream else self.batch
        if key not in batch:
            keys = ", ".join(map(str, batch))
            raise ValueError(f"the batch has no `{name}`; it has {keys}; use another dataset")
        value = batch[key]
        if isinstance(value, Tensor):
            return self._to_device(value) if value.ndim == 4 else value.to(self.device, non_blocking=True)
        return value

    def _vectorised(self, name: str) -> Targets:
        if name not in self._vectorisers:
            entry = self.train_opt.vectorisers.get(name)
            spec = entry.spec() if entry is not None else {"type": name}
            self._vectorisers[name] = build(VECTORISERS, spec, {"labels": self.labels})
        records = self.batch.get("degradation")
        if records is None:
            raise ValueError(f"record.{name}: the batch has no records; use a dataset that degrades or has labels")
        targets: Targets = self._vectorisers[name](records)
        return Targets(targets.values.to(self.device), targets.mask.to(self.device))

    def _to_device(self, image: Tensor) -> Tensor:
        image = image.to(self.device, non_blocking=True)
        return image.contiguous(memory_format=torch.channels_last) if self.channels_last else image

    # --- restoring ---

    def test_network(self, role: str = "g") -> nn.Module:
        """The network to restore with: the moving average if there is one."""
        return self.ema[role].module if role in self.ema else self.bare[role]

    @property
    def predictor(self) -> Predictor:
        """The predictor that restores, with the networks that validation uses.

        Raises:
            ValueError: the class is not in the table of predictors, so a checkpoint could not name it.
        """
        if self._predictor is None:
            cls = self.predictor_type
            if cls.__name__ not in PREDICTORS:
                raise ValueError(f"{cls.__name__} is not registered; put @PREDICTORS.register() before it")
            networks = {role: self.test_network(role) for role in cls.roles}
            self._predictor = cls(networks, self.scale, self.labels, **self.predictor_settings())
        return self._predictor

    def _check_controls(self, file: Options | None) -> None:
        """Check `val.controls` before training, not when the first validation comes."""
        try:
            self.predictor.read(file.val.controls if file is not None and file.val is not None else {})
        except ValueError as error:
            raise ValueError(f"val.controls: {error}") from error

    def predictor_settings(self) -> dict[str, Any]:
        """Further arguments of the predictor; they are written to the card."""
        return {}

    def predict(self, batch: Mapping[str, Any], controls: Mapping[str, Any] | None = None) -> Prediction:
        """Restore a batch as validation does.

        Args:
            batch: `lq` [B, 3, h, w] of any size, and the dataset's other entries.
            controls: values that a user set.
        """
        predictor = self.predictor
        with evaluating(*predictor.networks.values()):
            return predict(predictor, batch, Running(self.device, self.precision), controls)

    def restore(self, lq: Tensor, **more: Any) -> Tensor:
        """Restore [B, 3, h, w] of any size to [B, 3, h·scale, w·scale], not clipped, on the device.

        Args:
            lq: the images.
            more: further entries of the batch.
        """
        return self.predict({"lq": lq, **more}).restored.to(self.device)

    # --- files ---

    def carry_moments(self, earlier: BaseModel, key: str) -> None:
        """Take the moments of an earlier model's optimizer (`optim_g`), but keep the own rates and settings.

        Raises:
            ValueError: one of the two models has no such optimizer.
        """
        name = f"optimizer_{key.removeprefix('optim_')}"
        optimizer, earlier_one = getattr(self, name, None), getattr(earlier, name, None)
        if optimizer is None or earlier_one is None:
            raise ValueError(f"train.stages: carry: [{key}]: one of the two stages has no {key}")
        role = key.removeprefix("optim_")
        states = earlier_one.state_dict()["state"]
        by_name = {earlier.parameter_names[role][index]: moments for index, moments in states.items()}
        names = self.parameter_names[role]  # parameter groups may have put them in another order
        carried = {index: by_name[name] for index, name in enumerate(names) if name in by_name}
        optimizer.load_state_dict({**optimizer.state_dict(), "state": carried})

    def card(self, role: str) -> dict[str, Any]:
        """The card of a network: data that is written next to its weights."""
        return {
            "arch": self.components[role].spec(),
            "scale": self.scale,
            "role": role,
            "method": type(self).__name__,
            "labels": list(self.labels),
            **({"predictor": self._described_predictor()} if role == "g" else {}),
        }

    def _described_predictor(self) -> dict[str, Any]:
        return {"type": self.predictor_type.__name__, **self.predictor.settings()}

    def save(self, models: Path, tag: int | str) -> None:
        """Write every network to `<models>/net_<role>_<tag>.pth`."""
        if not is_main():
            return
        for role, network in self.bare.items():
            params = {"params": published_state(network)}
            if role in self.ema:
                params["params_ema"] = published_state(self.ema[role].module)
            params |= self.weights_beside(role)
            write_checkpoint(models / f"net_{role}_{tag}.pth", params, self.card(role))

    def weights_beside(self, role: str) -> dict[str, dict[str, Tensor]]:
        """Further tensors in a network's file, by the name of the group; `read_file` reads them."""
        return {}

    def training_state(self) -> dict[str, Any]:
        """The data that resuming needs, besides the networks' files."""
        return {
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "schedulers": [scheduler.state_dict() for scheduler in self.schedulers],
            "scaler": self.scaler.state_dict(),
            "scheduled": self._scheduled,
            "optimizer_types": [type(optimizer).__name__ for optimizer in self.optimizers],
            "nonfinite_in_a_row": self.nonfinite_in_a_row,
            "losses": {name: loss.kept_state() for name, loss in self._losses_with_state()},
        }

    def resume_training(self, state: Mapping[str, Any], models: Path) -> None:
        """Go on from a state of `training_state` (or of basicsr) and the networks' files of the same iteration.

        The option file holds for settings, the state for progress: weights, moments, the position in the schedule. A
        setting of an optimizer or a schedule that differs from the state's is named in a warning with both values, and
        the file's is taken. Where a learning rate or a schedule differs, the rates are those that the file's schedule
        has at this iteration. Without a difference all goes on bit by bit.

        Raises:
            ValueError: another optimizer class, number of optimizers or schedules, or other parameter groups.
        """
        for role, network in self.bare.items():
            file = models / f"net_{role}_{state['iter']}.pth"
            load_weights(network, file, "params")
            if role in self.ema:
                weights, _ = read_weights(file, "params_ema")
                fit_state(self.ema[role].module, weights, str(file))
        kinds: tuple[tuple[str, list[Any]], ...] = (("optimizers", self.optimizers), ("schedulers", self.schedulers))
        for kind, items in kinds:
            if len(state[kind]) != len(items):
                raise ValueError(
                    f"the state has {len(state[kind])} {kind}, but this run has {len(items)}; was `train` changed?"
                )
        self._scheduled = self._resume_rates(state)
        self.scaler.load_state_dict(state.get("scaler", {})) if state.get("scaler") else None
        self.nonfinite_in_a_row = state.get("nonfinite_in_a_row", 0)
        for name, loss in self._losses_with_state():
            if name in state.get("losses", {}):
                loss.load_kept_state(state["losses"][name])

    def _losses_with_state(self) -> list[tuple[str, Any]]:
        """The losses that go on from what they kept: random draws, counters."""
        return [(name, loss) for name, loss in self.losses.items() if hasattr(loss, "kept_state")]

    def _resume_rates(self, state: Mapping[str, Any]) -> list[list[float]]:
        """Optimizers and schedules from a state; the learning rates without warm-up."""
        types = state.get("optimizer_types") or [None] * len(self.optimizers)
        own = {id(o): [group["lr"] for group in o.param_groups] for o in self.optimizers}
        changed = {
            id(optimizer): resume_optimizer(f"train.optim_{role}", optimizer, saved, saved_type)
            for (role, optimizer), saved, saved_type in zip(
                self.optimizer_of.items(), state["optimizers"], types, strict=True
            )
        }
        roles = {id(optimizer): role for role, optimizer in self.optimizer_of.items()}
        scheduled = {id(scheduler.optimizer) for scheduler in self.schedulers}
        for scheduler, saved in zip(self.schedulers, state["schedulers"], strict=True):
            optimizer = scheduler.optimizer
            key = f"scheduler_{roles[id(optimizer)]}"
            key = key if getattr(self.train_opt, key, None) else "scheduler"
            changed[id(optimizer)] = resume_scheduler(f"train.{key}", scheduler, saved, changed[id(optimizer)])
        rates: list[list[float]] = list(state.get("scheduled") or [])
        for index, optimizer in enumerate(self.optimizers):
            if changed[id(optimizer)] and id(optimizer) not in scheduled:
                for group, rate in zip(optimizer.param_groups, own[id(optimizer)], strict=True):
                    group["lr"] = rate
            if changed[id(optimizer)] or index >= len(rates):
                rates[index:] = [[group["lr"] for group in optimizer.param_groups], *rates[index + 1 :]]
        return rates


def inputs_of(loss: Any) -> tuple[str, ...]:
    """The names of the values that a loss is called with; by default the restored image and `gt`."""
    inputs: tuple[str, ...] = getattr(loss, "inputs", ("restored", "gt"))
    return inputs
