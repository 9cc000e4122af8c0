"""A training step: objectives one after another, their gradients, and the optimizers that step."""

from __future__ import annotations

import contextlib
import copy
import logging
import math
from abc import abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.lr_scheduler import LRScheduler

from uir.config.optimizers import optimizer_class, scheduler_class
from uir.config.schema import ClipOptions, Component, Precision
from uir.core.checkpoint import fit_state, read_weights
from uir.core.distributed import any_process, gathered, mean_over_processes
from uir.core.precision import autocast
from uir.models.average import WeightAverage
from uir.models.kept_buffers import KeptBuffers
from uir.models.network_phases import NetworkPhases
from uir.models.objectives import Objective, frozen
from uir.models.parameter_groups import LAYER_FACTOR, parameter_groups
from uir.models.values import Values
from uir.registry import LOSS_REGISTRY
from uir.registry.components import build

logger = logging.getLogger("uir")


class NonFiniteLossError(RuntimeError):
    """Losses or gradients were not finite so often in a row that going on makes no sense."""


class TrainingStep(NetworkPhases):
    """Optimizers, schedules, clipping, accumulation and mixed precision, for every method."""

    loss_slots: ClassVar[tuple[str, ...]] = ()
    """Keys of `train` that describe a loss."""
    open_losses: ClassVar[bool] = False
    """Whether any further key `<name>_opt` of `train` is a loss too."""

    precision: Precision
    grad_clip: float | ClipOptions | None
    losses: dict[str, nn.Module]
    ema: dict[str, WeightAverage]
    optimizers: list[torch.optim.Optimizer]
    schedulers: list[LRScheduler]
    optimizer_of: dict[str, torch.optim.Optimizer]
    clip_of: dict[str, ClipOptions | None]
    parameter_names: dict[str, list[str]]
    log_dict: dict[str, float]
    values: Values
    micro_batch: int
    nonfinite_in_a_row: int
    current_iter: int
    stage_iteration: int
    noted: dict[str, Tensor]
    _spoilt_roles: set[str]
    _overflowed_roles: set[str]
    _nonfinite: dict[str, float]
    _buffers: KeptBuffers

    def note(self, name: str, value: Tensor) -> None:
        """Write a number to this iteration's log that is not minimised, such as a mean of logits."""
        self.noted[name] = value.detach()

    @abstractmethod
    def compute_losses(self) -> dict[str, Tensor]:
        """The losses of the present batch, by log name."""

    def objectives(self) -> Iterator[Objective]:
        """The objectives of a step, one after another; by default the sum of `compute_losses` over all networks.

        A method with several networks, such as a restorer and a discriminator, yields one for each. It may use
        `current_iter`, or `stage_iteration`, which starts at 1 in every stage, to leave one out in some iterations.
        """
        yield Objective(self.compute_losses)

    def optimize_parameters(self, current_iter: int) -> None:
        """Compute gradients of the present batch; after `accumulate` batches, step each objective's optimizers."""
        self.current_iter = current_iter
        if self.micro_batch == 0:
            self._spoilt_roles, self._overflowed_roles, self._nonfinite = set(), set(), {}
            self._buffers.keep()
            for optimizer in self.optimizers:
                optimizer.zero_grad(set_to_none=True)
        last = self.micro_batch == self.train_opt.accumulate - 1
        log: dict[str, float] = {}
        self.noted = {}
        stepped: list[str] = []
        for objective in self.objectives():
            roles = self._trained_by(objective)
            again = [role for role in roles if role in stepped]
            if again and self.train_opt.accumulate > 1:
                raise ValueError(
                    f"train.accumulate: {type(self).__name__} steps network_{again[0]} twice an iteration, which is "
                    "not possible with accumulate; remove it"
                )
            if again:  # the next step must not use the gradients of the first one
                self._zero_grad(again)
            self.values.start_objective(roles)
            log |= self._minimise(objective, roles, sync=last)
            stepped += roles if objective.step else []
            if last and objective.step and self._spoilt_roles.isdisjoint(roles):
                self._step(roles)
        self.values.clear()
        notes = {name: float(value) for name, value in self.noted.items()}
        self.log_dict = mean_over_processes(log | notes, self.device)
        self.micro_batch = 0 if last else self.micro_batch + 1
        if last:
            self._finish_step(current_iter)

    def _trained_by(self, objective: Objective) -> list[str]:
        """The networks with an optimizer that an objective trains."""
        trained = list(self.optimizer_of)
        unknown = [role for role in objective.roles or () if role not in self.network_roles]
        if unknown:
            raise ValueError(f"{type(self).__name__}: an objective trains '{unknown[0]}', which is not its network")
        return trained if objective.roles is None else [role for role in trained if role in objective.roles]

    def _minimise(self, objective: Objective, roles: list[str], sync: bool) -> dict[str, float]:
        """Compute the gradients of one objective's sum, and give its losses as numbers."""
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
        """One step of the optimizers of some networks, their gradients clipped as the file says.

        None of them steps where a gradient is not finite. With fp16 that may be because the scale of the loss is too
        large: while there is a scale to lower, the scaler skips the step and lowers it, and nothing is wrong.
        """
        norms = self._gradient_norms(roles)
        nonfinite = {role: value for role, value in norms.items() if not math.isfinite(value)}
        if any_process(bool(nonfinite), self.device):
            if self.scaler.is_enabled() and self.scaler.get_scale() > 1:
                self._overflowed_roles |= set(nonfinite)
            else:
                self._spoilt_roles |= set(roles)
                self._nonfinite |= {f"the gradient norm of network_{role}": v for role, v in nonfinite.items()}
                if self.scaler.is_enabled():
                    self.scaler.update()
                return
        for role in roles:
            optimizer, clip = self.optimizer_of[role], self.clip_of[role]
            if clip is not None and role not in nonfinite:
                _apply_clip(_parameters_of(optimizer), clip, norms[role])
            self.scaler.step(optimizer)
        if roles:
            self.scaler.update()

    def _gradient_norms(self, roles: list[str]) -> dict[str, float]:
        """The norm of all gradients of each network together, without fp16's scale; the device is asked once."""
        norms = []
        for role in roles:
            optimizer = self.optimizer_of[role]
            self.scaler.unscale_(optimizer)
            total = nn.utils.get_total_norm([p.grad for p in _parameters_of(optimizer) if p.grad is not None])
            norms.append(total.to(self.device))
        return dict(zip(roles, torch.stack(norms).tolist(), strict=True)) if norms else {}

    @property
    def step_is_spoilt(self) -> bool:
        """Whether a loss or a gradient of this iteration was not finite, so that a step is skipped."""
        return bool(self._spoilt_roles)

    # --- before the first step, and around each ---

    def start_training(self) -> None:
        """The last phase of construction: averages, losses, optimizers and schedules."""
        for role, network in self.bare.items():
            network.train()
            for module in self.frozen_modules(role, network):
                module.eval()
            if self.train_opt.ema_decay > 0 and self.network_roles[role].averaged:
                self.ema[role] = self._average_of(role, network)
        for slot in self.slots_of_losses():
            value = getattr(self.train_opt, slot)
            spec = value.spec() if isinstance(value, Component) else value
            self.losses[slot] = build(LOSS_REGISTRY, spec).to(self.device)
        for role in self.bare:
            self._build_optimizer(role)
        for role, optimizer in self.optimizer_of.items():
            self._build_scheduler(role, optimizer)
        self._scheduled = [[group["lr"] for group in optimizer.param_groups] for optimizer in self.optimizers]
        self._buffers = KeptBuffers(self.bare.values())
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.precision == "fp16")

    def slots_of_losses(self) -> list[str]:
        """The keys of `train` that hold a loss, in their order."""
        slots = dict.fromkeys(self.loss_slots)
        if self.open_losses:
            slots |= dict.fromkeys(key for key in (self.train_opt.model_extra or {}) if key.endswith("_opt"))
        return [slot for slot in slots if getattr(self.train_opt, slot, None) is not None]

    def _average_of(self, role: str, network: nn.Module) -> WeightAverage:
        average = WeightAverage(network, self.train_opt.ema_decay)
        pretrained: Path | None = getattr(self.path, f"pretrain_network_{role}", None)
        if pretrained is not None:
            state, _ = read_weights(pretrained, "params_ema")
            fit_state(average.module, state, str(pretrained), self.loads_strictly(role))
        return average

    def _build_optimizer(self, role: str) -> None:
        options = getattr(self.train_opt, f"optim_{role}", None)
        if options is None:
            return
        if self.network_roles[role].trained is False:
            raise ValueError(f"train.optim_{role}: {type(self).__name__} does not train network_{role}; remove it")
        spec = options.spec()
        fixed = [name for name, p in self.bare[role].named_parameters() if not p.requires_grad]
        if fixed:
            logger.info("network_%s: %d parameters are frozen (%s, ...)", role, len(fixed), fixed[0])
        arguments = {key: tuple(v) if isinstance(v, list) else v for key, v in spec.items() if key != "type"}
        grouped, self.parameter_names[role] = parameter_groups(self.bare[role], options, f"train.optim_{role}")
        optimizer = optimizer_class(spec["type"])(grouped, **{**arguments, "lr": options.lr})
        setattr(self, f"optimizer_{role}", optimizer)
        self.optimizers.append(optimizer)
        self.optimizer_of[role] = optimizer
        own = getattr(self.train_opt, f"grad_clip_{role}", None)
        self.clip_of[role] = _clip(self.grad_clip if own is None else own)

    def _build_scheduler(self, role: str, optimizer: torch.optim.Optimizer) -> None:
        options = getattr(self.train_opt, f"scheduler_{role}", None) or self.train_opt.scheduler
        if options is None:
            return
        spec = options.spec()
        cls = scheduler_class(spec.pop("type"))
        self.schedulers.append(cls(optimizer, **copy.deepcopy(spec)))

    def update_learning_rate(self, current_iter: int, warmup_iter: int = -1) -> None:
        """Set the learning rates of an iteration of the stage (counted from 1).

        They are the schedule's, scaled linearly during warm-up, and by the factor of each layer, if the file has
        `layer_decay`.
        """
        self.stage_iteration = current_iter
        if current_iter > 1:
            self._restore_scheduled()
            for scheduler in self.schedulers:
                scheduler.step()
            self._scheduled = [[group["lr"] for group in optimizer.param_groups] for optimizer in self.optimizers]
        warmth = current_iter / warmup_iter if current_iter < warmup_iter else 1.0
        for optimizer, rates in zip(self.optimizers, self._scheduled, strict=True):
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * warmth * group.get(LAYER_FACTOR, 1.0)

    def _restore_scheduled(self) -> None:
        """Undo warm-up and the layers' factors, so that schedules start from the last rate without them."""
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
        """The mixed precision of the option file."""
        return autocast(self.device, self.precision)

    def _no_sync(self, roles: list[str]) -> contextlib.AbstractContextManager[Any]:
        """A block in which the gradients of some networks are not shared between processes."""
        stack = contextlib.ExitStack()
        for role in roles:
            network = getattr(self, f"net_{role}")
            network = getattr(network, "_orig_mod", network)
            if isinstance(network, DistributedDataParallel):
                stack.enter_context(network.no_sync())
        return stack

    def _finish_step(self, current_iter: int) -> None:
        if self._spoilt_roles:
            self._buffers.put_back()
        for role, average in self.ema.items():
            if role not in self._spoilt_roles | self._overflowed_roles:
                average.update()
        if self._spoilt_roles:
            self._skip_step(current_iter)
        else:
            self.nonfinite_in_a_row = 0

    def _skip_step(self, current_iter: int) -> None:
        self.nonfinite_in_a_row += 1
        losses = {name: value for share in gathered(self._nonfinite) for name, value in share.items()}
        names = ", ".join(f"{name} is {value}" for name, value in losses.items())
        limit = self.train_opt.max_nonfinite
        message = (
            f"iteration {current_iter}: {names}; step skipped ({self.nonfinite_in_a_row} in a row; {limit} end the run)"
        )
        if self.nonfinite_in_a_row >= limit:
            raise NonFiniteLossError(
                f"{message}. Lower the learning rate, clip gradients (train.grad_clip) or use fp32."
            )
        logger.warning(message)


def _clip(option: float | ClipOptions | None) -> ClipOptions | None:
    return ClipOptions(max_norm=option) if isinstance(option, float | int) else option


def _parameters_of(optimizer: torch.optim.Optimizer) -> list[nn.Parameter]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def _apply_clip(parameters: list[nn.Parameter], clip: ClipOptions, norm: float) -> None:
    """Clip gradients, whose norm together is `norm`."""
    if clip.value is not None:
        nn.utils.clip_grad_value_(parameters, clip.value)
    if clip.max_norm is not None:
        if clip.value is not None:
            nn.utils.clip_grad_norm_(parameters, clip.max_norm)
        else:
            nn.utils.clip_grads_with_norm_(parameters, clip.max_norm, torch.tensor(norm))
