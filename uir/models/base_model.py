"""What every training method needs and should not have to write: networks, optimizers, averages, precision, files."""

from __future__ import annotations

import contextlib
import copy
import logging
import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.lr_scheduler import LRScheduler

from uir.config.optimizers import optimizer_class, scheduler_class
from uir.config.roles import Role
from uir.config.schema import ClipOptions, Component, PathOptions, Precision, TrainOptions
from uir.core.checkpoint import fit_state, load_weights, read_weights, write_checkpoint
from uir.core.distributed import any_process, gathered, is_main, mean_over_processes, rank_and_world, share_weights
from uir.core.precision import autocast
from uir.layers.padding import call_padded
from uir.models.average import WeightAverage
from uir.models.objectives import Objective, frozen
from uir.registry import ARCH_REGISTRY, LOSS_REGISTRY
from uir.registry.components import build

logger = logging.getLogger("uir")


class NonFiniteLossError(RuntimeError):
    """The loss was not finite so often in a row that going on makes no sense."""


class BaseModel:
    """A training method: networks by role, and one step.

    A method says in class attributes what an option file may hold for it, and writes `compute_losses`, or `objectives`
    where it minimises several sums in turn; everything around the step is here. The interface is BasicSR's
    (`feed_data`, `optimize_parameters`, `save`, `resume_training`, ...), so that the training loop does not care whose
    model it runs.

    Attributes set here: `net_<role>` (on the device, wrapped for DDP and compiled), `bare[role]` (the network itself),
    `ema[role]`, `losses[slot]`, `optimizers`, `schedulers`, `log_dict`.

    Args:
        networks: the networks' descriptions by role.
        path: weights to start from.
        train: training options; None for testing.
        scale: size of the restored image over that of the degraded one.
        precision: fp32, or the type to autocast to.
        device: where to.
    """

    network_roles: ClassVar[Mapping[str, Role]] = {"g": Role(averaged=True)}
    """The networks by role, and what holds for each."""
    loss_slots: ClassVar[tuple[str, ...]] = ()
    """Keys of `train` that hold a loss."""
    open_losses: ClassVar[bool] = False
    """Whether any further key `<name>_opt` of `train` is a loss too."""
    train_options: ClassVar[type[TrainOptions]] = TrainOptions
    """Keys of `train`; subclass TrainOptions to add some."""
    measures: ClassVar[tuple[str, ...]] = ()
    """Names of what `extra_measures` gives, of which more is better; `val.keep_best` may name them."""

    labels: tuple[str, ...] = ()
    """Names of the training set's tasks, in order; set by the training loop and kept in the checkpoints."""
    net_g: Any
    lq: Tensor
    gt: Tensor | None

    def __init__(
        self,
        *,
        networks: Mapping[str, Component],
        path: PathOptions,
        train: TrainOptions | None = None,
        scale: int = 1,
        precision: Precision = "fp32",
        compile: bool = False,
        channels_last: bool = False,
        grad_clip: float | ClipOptions | None = None,
        find_unused_parameters: bool = False,
        device: torch.device | str = "cpu",
    ) -> None:
        self.device = torch.device(device)
        self.is_train = train is not None
        self.scale, self.precision, self.channels_last = scale, precision, channels_last
        for role, held in self.network_roles.items():
            if held.is_required(self.is_train) and role not in networks:
                raise ValueError(f"network_{role} is missing; {type(self).__name__} needs it")
        self.components = {role: networks[role] for role in self.network_roles if role in networks}
        self.log_dict: dict[str, float] = {}
        self.optimizers: list[torch.optim.Optimizer] = []
        self.schedulers: list[LRScheduler] = []
        self.bare: dict[str, nn.Module] = {}
        self.ema: dict[str, WeightAverage] = {}
        self.losses: dict[str, nn.Module] = {}
        self._micro_batch, self.nonfinite_in_a_row, self.current_iter = 0, 0, 0
        self._spoilt_roles: set[str] = set()
        self.optimizer_of: dict[str, torch.optim.Optimizer] = {}
        self.clip_of: dict[str, ClipOptions | None] = {}
        self._compile, self._find_unused = compile, find_unused_parameters
        if train is not None:
            self.train_opt = train
        gathered(None)  # what the first process wrote at the end of the stage before is there for all to read
        for role, component in self.components.items():
            self._build_network(role, component, path)
        if train is not None:
            self.grad_clip = _clip(train.grad_clip if train.grad_clip is not None else grad_clip)
            self._init_training(path)

    # --- the step: what a method writes ---

    @classmethod
    def problems_of(cls, raw: Mapping[str, Any]) -> Iterable[tuple[tuple[str, ...], str]]:
        """Keys of a training file that do not go together: where, and what is wrong; found before anything is built.

        Args:
            raw: the file as it is written, not checked yet.
        """
        return ()

    def compute_losses(self) -> dict[str, Tensor]:
        """The losses of the batch that was fed, by log name (`l_pix`); their sum is minimised.

        Raises:
            TypeError: the method writes neither this nor `objectives`.
        """
        raise TypeError(f"{type(self).__name__} has neither compute_losses nor objectives; a method writes one of them")

    def objectives(self) -> Iterator[Objective]:
        """What a step minimises, one objective after another; by default the sum of `compute_losses` over all networks.

        A method with several, such as a restorer and a discriminator, yields one for each. It may look at
        `current_iter`, to leave one out in some iterations.
        """
        yield Objective(self.compute_losses)

    def feed_data(self, data: Mapping[str, Any]) -> None:
        """Take a batch: `lq` and, where there is one, `gt`, both [B, 3, H, W] in [0, 1]."""
        self.batch = data
        self.lq = self._to_device(data["lq"])
        self.gt = self._to_device(data["gt"]) if "gt" in data else None

    def optimize_parameters(self, current_iter: int) -> None:
        """Gradients of the batch that was fed; after `accumulate` of them, a step of each objective's optimizers."""
        self.current_iter = current_iter
        if self._micro_batch == 0:
            self._spoilt_roles = set()
            self._nonfinite: dict[str, float] = {}
            for optimizer in self.optimizers:
                optimizer.zero_grad(set_to_none=True)
        last = self._micro_batch == self.train_opt.accumulate - 1
        log: dict[str, float] = {}
        stepped: list[str] = []
        for objective in self.objectives():
            roles = self._trained_by(objective)
            again = [role for role in roles if role in stepped]
            if again and self.train_opt.accumulate > 1:
                raise ValueError(
                    f"train.accumulate: {type(self).__name__} steps network_{again[0]} twice an iteration, which does "
                    "not go with accumulate; leave it out"
                )
            if again:  # the gradients of its first step are not those of the next
                self._zero_grad(again)
            log |= self._minimise(objective, roles, sync=last)
            stepped += roles if objective.step else []
            if last and objective.step and self._spoilt_roles.isdisjoint(roles):
                self._step(roles)
        self.log_dict = mean_over_processes(log, self.device)
        self._micro_batch = 0 if last else self._micro_batch + 1
        if last:
            self._finish_step(current_iter)

    def _trained_by(self, objective: Objective) -> list[str]:
        """The networks with an optimizer that an objective trains."""
        trained = list(self.optimizer_of)
        unknown = [role for role in objective.roles or () if role not in self.network_roles]
        if unknown:
            raise ValueError(f"{type(self).__name__}: an objective trains '{unknown[0]}', which is no network of it")
        return trained if objective.roles is None else [role for role in trained if role in objective.roles]

    def _minimise(self, objective: Objective, roles: list[str], sync: bool) -> dict[str, float]:
        """Gradients of one objective's sum; its losses as numbers."""
        others = [role for role in self.optimizer_of if role not in roles]
        with contextlib.ExitStack() as stack:
            stack.enter_context(frozen(self.bare[role] for role in others))
            stack.enter_context(self._no_sync(others if sync else list(self.bare)))
            with self.autocast():
                losses = objective.losses()
            total = torch.stack([value.reshape(()) for value in losses.values()]).sum() / self.train_opt.accumulate
            log = {name: float(value.detach()) for name, value in losses.items()}
            if not any_process(not all(math.isfinite(value) for value in log.values()), self.device):
                self.scaler.scale(total).backward()
            else:
                self._spoilt_roles |= set(roles)
                self._nonfinite |= {k: v for k, v in log.items() if not math.isfinite(v)}
        return log

    def _zero_grad(self, roles: list[str]) -> None:
        for role in roles:
            self.optimizer_of[role].zero_grad(set_to_none=True)

    def _step(self, roles: list[str]) -> None:
        """One step of the optimizers of some networks, their gradients clipped as the file says."""
        for role in roles:
            optimizer, clip = self.optimizer_of[role], self.clip_of[role]
            if clip is not None:
                self.scaler.unscale_(optimizer)
                _apply_clip([p for g in optimizer.param_groups for p in g["params"]], clip)
            self.scaler.step(optimizer)
        if roles:
            self.scaler.update()

    @property
    def step_is_spoilt(self) -> bool:
        """Whether a loss of this iteration was not finite, so that a step is skipped."""
        return bool(self._spoilt_roles)

    # --- networks ---

    def _build_network(self, role: str, component: Component, path: PathOptions) -> None:
        network = build(ARCH_REGISTRY, component.spec(), self.network_sizes(role))
        pretrained = getattr(path, f"pretrain_network_{role}", None)
        if pretrained is not None:
            key = getattr(path, f"param_key_{role}") or "params"
            load_weights(network, pretrained, key, getattr(path, f"strict_load_{role}"))
            logger.info("network_%s starts from %s [%s]", role, pretrained, key)
        network.to(self.device)
        if self.channels_last:
            network.to(memory_format=torch.channels_last)
        self.bare[role] = network
        count = sum(p.numel() for p in network.parameters())
        logger.info("Network: %s, with parameters: %s", type(network).__name__, f"{count:,d}")
        if self.is_train and getattr(self.train_opt, f"optim_{role}", None) is None:
            network.requires_grad_(False)  # before DDP, which waits for the gradient of all that it wraps
        wrapped: Any = self.step_module(role, network)
        if rank_and_world()[1] > 1 and any(p.requires_grad for p in network.parameters()) and self.is_train:
            ids = [self.device.index] if self.device.type == "cuda" else None
            wrapped = DistributedDataParallel(wrapped, device_ids=ids, find_unused_parameters=self._find_unused)
        else:
            share_weights(network)  # one that stays as it was drawn is the same network everywhere, too
        if self._compile:
            wrapped = torch.compile(wrapped)
        setattr(self, f"net_{role}", wrapped)

    def network_sizes(self, role: str) -> dict[str, Any]:
        """Arguments that a network's constructor is given where it takes them and the file does not say them."""
        return {}

    def step_module(self, role: str, network: nn.Module) -> nn.Module:
        """What DDP and `torch.compile` wrap, and `net_<role>` runs, of a network that was just built."""
        return network

    def test_network(self, role: str = "g") -> nn.Module:
        """The network to restore with: the moving average where there is one."""
        return self.ema[role].module if role in self.ema else self.bare[role]

    def restore(self, lq: Tensor, role: str = "g") -> Tensor:
        """Restore [B, 3, h, w] of any size; [B, 3, h·scale, w·scale], not clipped."""
        network = self.test_network(role)
        was_training = network.training
        network.eval()
        with torch.no_grad(), self.autocast():
            restored = call_padded(network, lq, self.scale).float()
        network.train(was_training)
        return restored

    def extra_measures(self, batch: Mapping[str, Any]) -> dict[str, float]:
        """What a method measures beside the metrics of the file, on a validation batch of one image; see `measures`."""
        return {}

    # --- training ---

    def _init_training(self, path: PathOptions) -> None:
        for role, network in self.bare.items():
            network.train()
            if self.train_opt.ema_decay > 0 and self.network_roles[role].averaged:
                self.ema[role] = self._average_of(role, network, path)
        slots = dict.fromkeys(self.loss_slots)
        if self.open_losses:
            slots |= dict.fromkeys(k for k in (self.train_opt.model_extra or {}) if k.endswith("_opt"))
        for slot in slots:
            value = getattr(self.train_opt, slot, None)
            if value is not None:
                spec = value.spec() if isinstance(value, Component) else value
                self.losses[slot] = build(LOSS_REGISTRY, spec).to(self.device)
        for role in self.bare:
            self._build_optimizer(role)
        for role, optimizer in self.optimizer_of.items():
            self._build_scheduler(role, optimizer)
        self._scheduled = [[group["lr"] for group in optimizer.param_groups] for optimizer in self.optimizers]
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.precision == "fp16")

    def _average_of(self, role: str, network: nn.Module, path: PathOptions) -> WeightAverage:
        average = WeightAverage(network, self.train_opt.ema_decay)
        pretrained: Path | None = getattr(path, f"pretrain_network_{role}", None)
        if pretrained is not None:
            state, _ = read_weights(pretrained, "params_ema")
            fit_state(average.module, state, str(pretrained), getattr(path, f"strict_load_{role}"))
        return average

    def _build_optimizer(self, role: str) -> None:
        options = getattr(self.train_opt, f"optim_{role}", None)
        if options is None:
            return
        if self.network_roles[role].trained is False:
            raise ValueError(f"train.optim_{role}: {type(self).__name__} does not train network_{role}; remove it")
        spec = options.spec()
        frozen = [name for name, p in self.bare[role].named_parameters() if not p.requires_grad]
        if frozen:
            logger.info("network_%s: %d parameters are frozen (%s, ...)", role, len(frozen), frozen[0])
        parameters = [p for p in self.bare[role].parameters() if p.requires_grad]
        arguments = {key: tuple(v) if isinstance(v, list) else v for key, v in spec.items() if key != "type"}
        optimizer = optimizer_class(spec["type"])(parameters, **{**arguments, "lr": options.lr})
        setattr(self, f"optimizer_{role}", optimizer)
        self.optimizers.append(optimizer)
        self.optimizer_of[role] = optimizer
        own = getattr(self.train_opt, f"grad_clip_{role}", None)
        self.clip_of[role] = self.grad_clip if own is None else _clip(own)

    def _build_scheduler(self, role: str, optimizer: torch.optim.Optimizer) -> None:
        options = getattr(self.train_opt, f"scheduler_{role}", None) or self.train_opt.scheduler
        if options is None:
            return
        spec = options.spec()
        cls = scheduler_class(spec.pop("type"))
        self.schedulers.append(cls(optimizer, **copy.deepcopy(spec)))

    def update_learning_rate(self, current_iter: int, warmup_iter: int = -1) -> None:
        """Set the learning rates of an iteration (counted from 1): the schedule's, scaled linearly during warm-up."""
        if current_iter > 1:
            self._restore_scheduled()
            for scheduler in self.schedulers:
                scheduler.step()
            self._scheduled = [[group["lr"] for group in optimizer.param_groups] for optimizer in self.optimizers]
        if current_iter < warmup_iter:
            for optimizer, rates in zip(self.optimizers, self._scheduled, strict=True):
                for group, rate in zip(optimizer.param_groups, rates, strict=True):
                    group["lr"] = rate * current_iter / warmup_iter

    def _restore_scheduled(self) -> None:
        """Undo warm-up, so that schedules that build on the last rate are not bent by it."""
        for optimizer, rates in zip(self.optimizers, self._scheduled, strict=True):
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate

    def get_current_learning_rate(self) -> list[float]:
        """Learning rates of the first optimizer's groups."""
        return [group["lr"] for group in self.optimizers[0].param_groups]

    def get_current_log(self) -> dict[str, float]:
        """The losses of the last batch."""
        return self.log_dict

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        """Mixed precision as the option file asks for it."""
        return autocast(self.device, self.precision)

    def _no_sync(self, roles: list[str]) -> contextlib.AbstractContextManager[Any]:
        """A block in which the gradients of some networks stay in their process."""
        stack = contextlib.ExitStack()
        for role in roles:
            network = getattr(self, f"net_{role}")
            network = getattr(network, "_orig_mod", network)
            if isinstance(network, DistributedDataParallel):
                stack.enter_context(network.no_sync())
        return stack

    def _finish_step(self, current_iter: int) -> None:
        if self._spoilt_roles:
            self._skip_step(current_iter)
        else:
            self.nonfinite_in_a_row = 0
        trained = set(self.optimizer_of)
        if self._spoilt_roles >= trained:
            return
        for role, average in self.ema.items():
            if role not in self._spoilt_roles:
                average.update()

    def _skip_step(self, current_iter: int) -> None:
        self.nonfinite_in_a_row += 1
        found = {name: value for share in gathered(self._nonfinite) for name, value in share.items()}
        names = ", ".join(f"{name} is {value}" for name, value in found.items())
        limit = self.train_opt.max_nonfinite
        message = (
            f"iteration {current_iter}: {names}; step skipped ({self.nonfinite_in_a_row} in a row, {limit} end the run)"
        )
        if self.nonfinite_in_a_row >= limit:
            raise NonFiniteLossError(
                f"{message}. Lower the learning rate, clip gradients (train.grad_clip) or use fp32."
            )
        logger.warning(message)

    def _to_device(self, image: Tensor) -> Tensor:
        image = image.to(self.device, non_blocking=True)
        return image.contiguous(memory_format=torch.channels_last) if self.channels_last else image

    # --- files ---

    def roles(self) -> list[str]:
        """Roles of the networks it has."""
        return list(self.bare)

    def carry_moments(self, earlier: BaseModel, key: str) -> None:
        """Go on with the moments of an earlier model's optimizer (`optim_g`); rates and settings stay this one's.

        Raises:
            ValueError: one of the two has no such optimizer.
        """
        name = f"optimizer_{key.removeprefix('optim_')}"
        held, theirs = getattr(self, name, None), getattr(earlier, name, None)
        if held is None or theirs is None:
            raise ValueError(f"train.stages: carry: [{key}]: not both stages have {key}")
        held.load_state_dict({**held.state_dict(), "state": theirs.state_dict()["state"]})

    def card(self, role: str) -> dict[str, Any]:
        """What is written beside the weights of a network."""
        return {
            "arch": self.components[role].spec(),
            "scale": self.scale,
            "role": role,
            "method": type(self).__name__,
            "labels": list(self.labels),
        }

    def save(self, models: Path, tag: int | str) -> None:
        """Write every network to `<models>/net_<role>_<tag>.pth`."""
        if not is_main():
            return
        for role, network in self.bare.items():
            params = {"params": network.state_dict()}
            if role in self.ema:
                params["params_ema"] = self.ema[role].module.state_dict()
            write_checkpoint(models / f"net_{role}_{tag}.pth", params, self.card(role))

    def training_state(self) -> dict[str, Any]:
        """What resuming needs beside the networks' files."""
        return {
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "schedulers": [scheduler.state_dict() for scheduler in self.schedulers],
            "scaler": self.scaler.state_dict(),
            "scheduled": self._scheduled,
            "nonfinite_in_a_row": self.nonfinite_in_a_row,
        }

    def resume_training(self, state: Mapping[str, Any], models: Path) -> None:
        """Go on from a state of `training_state` (or of basicsr) and the networks' files of the same iteration."""
        for role, network in self.bare.items():
            file = models / f"net_{role}_{state['iter']}.pth"
            load_weights(network, file, "params")
            if role in self.ema:
                weights, _ = read_weights(file, "params_ema")
                fit_state(self.ema[role].module, weights, str(file))
        kinds: tuple[tuple[str, list[Any]], ...] = (("optimizers", self.optimizers), ("schedulers", self.schedulers))
        for kind, held in kinds:
            if len(state[kind]) != len(held):
                raise ValueError(
                    f"the state holds {len(state[kind])} {kind}, this run has {len(held)}; was `train` changed?"
                )
            for item, saved in zip(held, state[kind], strict=True):
                item.load_state_dict(saved)
        self.scaler.load_state_dict(state.get("scaler", {})) if state.get("scaler") else None
        rates = [[group["lr"] for group in optimizer.param_groups] for optimizer in self.optimizers]
        self._scheduled = state.get("scheduled", rates)
        self.nonfinite_in_a_row = state.get("nonfinite_in_a_row", 0)


def _clip(option: float | ClipOptions | None) -> ClipOptions | None:
    return ClipOptions(max_norm=option) if isinstance(option, float | int) else option


def _apply_clip(parameters: list[nn.Parameter], clip: ClipOptions) -> None:
    if clip.value is not None:
        nn.utils.clip_grad_value_(parameters, clip.value)
    if clip.max_norm is not None:
        nn.utils.clip_grad_norm_(parameters, clip.max_norm)
