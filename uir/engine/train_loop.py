"""The training loop."""

from __future__ import annotations

import copy
import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch.utils.data import DataLoader

from uir.compat.foreign_model import ForeignModel
from uir.config.options import OptionFile, Stage
from uir.core.devices import pick_device
from uir.core.distributed import gathered, is_main, rank_and_world
from uir.core.progress import progress_bar
from uir.data.building import evaluation_loaders, training_stream
from uir.data.stream import BatchStream
from uir.engine.checkpoints import Checkpoints
from uir.engine.describing import Clock, describe_training
from uir.engine.evaluation import Evaluation, Stopped, build_metrics, evaluate, update_best
from uir.engine.interruption import Interrupted, Interruption
from uir.engine.logs import RunLog
from uir.engine.run import log_next_step, open_run, seed_everything
from uir.engine.run_folder import check_start, events_folder, run_lock
from uir.engine.state import find_state, forget_rows_after, own_state_of, random_state, set_random_state
from uir.metrics.observers import ValidationObserver, observers_of
from uir.models.base_model import BaseModel
from uir.models.building import build_model

logger = logging.getLogger("uir")


def train(loaded: OptionFile, auto_resume: bool = False) -> Path:
    """Train by an option file, stage after stage if it has stages.

    Args:
        loaded: the checked file.
        auto_resume: continue from the run's newest state, if there is one.

    Returns:
        The run's folder.

    Raises:
        Interrupted: Ctrl-C or SIGTERM came; the state was saved.
        ValueError: the data do not fit, or another run is working in the folder.
    """
    with run_lock(loaded):
        return _train(loaded, auto_resume)


def _train(loaded: OptionFile, auto_resume: bool) -> Path:
    newest = find_state(loaded, auto_resume)
    state_file, state = newest.file, newest.content
    own = own_state_of(state_file, state)
    loaded = loaded.with_seed(gathered(own.get("seed", loaded.seed))[0])  # all use the first process's random seed
    stages = loaded.stages or (Stage("", loaded),)
    first = own.get("stage", 0)
    # This comes before any change to the folder: a mistake in the data must not archive an earlier run.
    device = pick_device(loaded.options.num_gpu)
    data = {
        index: (
            training_stream(stage.file, device),
            evaluation_loaders(stage.file),
            observers_of(stage.file),
        )
        for index, stage in enumerate(stages)
        if index >= first
    }
    folder = open_run(loaded, device, resuming=check_start(loaded, state_file))
    for problem in newest.passed_over:
        logger.warning("%s; --auto_resume goes on from %s", problem, state_file)
    lengths = [_length(stage) for stage in stages]
    tensorboard = events_folder(loaded) if loaded.options.logger.use_tb_logger else None
    log = RunLog(loaded.options, folder / "metrics.jsonl", sum(lengths), tensorboard)
    session: Training | None = None
    with Interruption() as interruption:
        for index in range(first, len(stages)):
            stage = stages[index]
            if session is not None:
                stage = _after(session, stage)
            elif index > 0 and state_file is not None and state is not None:
                stage = _resumed(stage, state["iter"], state_file.parent.parent / "models")
            stream, validation, observers = data.pop(index)
            describe_training(stage, stream, validation)
            seed_everything(loaded.seed + rank_and_world()[0])
            resume_iter = state["iter"] if state is not None and index == first else None
            model = build_model(stage.file, device, resume_iter, stream.sampler.dataset)
            offset, earlier = sum(lengths[:index]), session
            session = Training(stage, index, offset, folder, model, stream, validation, log, observers)
            session.interruption = interruption
            if earlier is not None:
                session.carry_from(earlier)
            if state is not None and state_file is not None and index == first:
                session.resume(state, own, state_file)
            session.run()
        if session is not None:
            session.finish()
            log_next_step(session.stage.file, folder, session.model)
    log.close()
    return folder


class Training:
    """One stage of a training run; a run without stages is one.

    Args:
        stage: its options.
        index: the number of the stage, from 0.
        offset: iterations of the stages before it.
        folder: the run's folder.
        model: the method to train.
        stream: the training batches.
        validation: loaders of the validation sets, by name.
        log: writes the run's numbers.
        observers: they are called during the validations.
    """

    def __init__(
        self,
        stage: Stage,
        index: int,
        offset: int,
        folder: Path,
        model: BaseModel | ForeignModel,
        stream: BatchStream,
        validation: Mapping[str, DataLoader[Any]],
        log: RunLog,
        observers: Sequence[ValidationObserver],
    ) -> None:
        self.stage, self.index, self.offset, self.folder, self.log = stage, index, offset, folder, log
        self.model, self.stream, self.validation = model, stream, validation
        self.observers = observers
        self.options = stage.file.options
        if self.options.train is None:
            raise ValueError(f"{stage.file.file}: train is missing; a training file needs it")
        self.train_options = self.options.train
        self.metrics = build_metrics(self.options.val)
        keep_best = self.options.val.keep_best if self.options.val else None
        self.checkpoints = Checkpoints(folder, self.options.logger.keep_last, keep_best)
        self.best: dict[str, Any] = {}
        self.iteration = offset
        self.saved = -1
        self.save_is_due = False
        self.must_validate = False  # this iteration's validation is still to be done; a resumed run begins with it
        self.interruption = Interruption()

    def carry_from(self, earlier: Training) -> None:
        """Take over the data that continues from stage to stage: best values, and moments of carried optimizers."""
        self.best = earlier.best
        for key in self.stage.carry:
            if isinstance(self.model, BaseModel) and isinstance(earlier.model, BaseModel):
                self.model.carry_moments(earlier.model, key)

    def resume(self, state: Mapping[str, Any], own: Mapping[str, Any], file: Path) -> None:
        """Continue the run from a state."""
        self.model.resume_training(state, file.parent.parent / "models")
        self.iteration = state["iter"]
        per_epoch = len(self.stream.sampler)
        used = (self.iteration - self.offset) * self.train_options.accumulate
        self.stream.load_state_dict(own.get("stream") or {"epoch": used // per_epoch, "batch": used % per_epoch})
        self.best = own.get("best", {})
        self.must_validate = own.get("must_validate", False)
        if "random" in own:
            set_random_state(own["random"])
        if is_main():
            forget_rows_after(self.log.file, self.iteration, not self.must_validate)
            self.checkpoints.forget_after(self.iteration)
        logger.info("Resuming from %s: epoch %d, iteration %d", file, self.stream.epoch, self.iteration)

    def run(self) -> None:
        """Train to the stage's last iteration, and save there."""
        last = self.offset + self.train_options.total_iter
        accumulate, warmup = self.train_options.accumulate, self.train_options.warmup_iter
        per_step = self.stream.sampler.batch_size * accumulate * rank_and_world()[1]
        clock = Clock()
        logger.info("Start training from epoch: %d, iter: %d", self.stream.epoch, self.iteration)
        with progress_bar(per_step, visible=is_main()) as progress:
            task = progress.add_task(self.stage.name or "Training", total=last, completed=self.iteration, note="")
            if self.must_validate:
                self.validate()
                self.save()
            while self.iteration < last:
                self.iteration += 1
                self.model.update_learning_rate(self.iteration - self.offset, warmup_iter=warmup)
                for _ in range(accumulate):
                    batch = clock.timed_fetch(self.stream.next)
                    self.model.feed_data(batch)
                    self.model.optimize_parameters(self.iteration)
                clock.count()
                if self.iteration % self.options.logger.print_freq == 0 or self.iteration == last:
                    self._log_losses(*clock.means())
                progress.update(task, completed=self.iteration, note=_note(self.model))
                self.must_validate = self._validates_at(self.iteration)
                ends_stage = self.iteration == last and bool(self.stage.name)
                self.save_is_due |= ends_stage or self.iteration % self.options.logger.save_checkpoint_freq == 0
                if self.save_is_due and not self.model.nonfinite_in_a_row:
                    self.save()  # before validating: if that fails, the training is not lost
                    clock.restart()
                if self.must_validate:
                    if self.iteration == last and self.saved != last:
                        self.checkpoints.save_latest(self.model)
                    self.validate()
                    self._save_what_was_measured()
                    clock.restart()
                if self.interruption.requested(self.model.device):
                    self._stop()
        self.stream.report_skipped()
        if self.stage.name or self.save_is_due:
            self.save()

    def _stop(self) -> None:
        """Save and leave, on a signal; in a row of skipped steps the last checkpoint is where the run goes on."""
        self.stream.report_skipped()
        if not self.model.nonfinite_in_a_row:
            self.save()
        typed = sys.argv[2:] if sys.argv[1:2] == ["train"] else ["-opt", str(self.stage.file.file)]
        again = " ".join(["uir", "train", *typed, *([] if "--auto_resume" in typed else ["--auto_resume"])])
        saved = "is saved" if self.saved == self.iteration else "is not saved, because its step was skipped"
        logger.info("Stopped at iteration %d, which %s. Continue with: %s", self.iteration, saved, again)
        self.log.close()
        raise Interrupted(128 + (self.interruption.signal or 15))

    def finish(self) -> None:
        """Save the last networks with their final names, and validate them."""
        logger.info("End of training. Save the latest model.")
        self.checkpoints.save_latest(self.model)
        if not self._validates_at(self.iteration):
            self.validate()

    def _validates_at(self, iteration: int) -> bool:
        frequency = self.options.val.val_freq if self.options.val else None
        return frequency is not None and iteration % frequency == 0

    def _log_losses(self, seconds: float, data_seconds: float) -> None:
        losses = self.model.get_current_log()
        rates = self.model.get_current_learning_rate()
        self.log.training(self.stream.epoch, self.iteration, rates, losses, seconds, data_seconds)

    def save(self) -> None:
        """Write the networks and the training state of this iteration, once."""
        self.save_is_due = False
        if self.saved == self.iteration:
            return
        self.saved = self.iteration
        logger.info("Saving models and training states.")
        self.checkpoints.save(self.model, self.iteration, self.stream.epoch, self._own_state())

    def _save_what_was_measured(self) -> None:
        """Write the state of this iteration again, if it has one: it then knows what was measured at its iteration."""
        if self.saved == self.iteration:
            self.checkpoints.save_state(self.model, self.iteration, self.stream.epoch, self._own_state())

    def _own_state(self) -> dict[str, Any]:
        """What a state has besides the model's own data."""
        return {
            "stream": self.stream.state_dict(),
            "stage": self.index,
            "best": self.best,
            "seed": self.stage.file.seed,
            "random": random_state(),
            "must_validate": self.must_validate,
        }

    def validate(self) -> None:
        """Evaluate on every validation set. On a signal, save and leave at once: a resumed run repeats the validation.

        Raises:
            Interrupted: a signal came.
        """
        best, random_before = copy.deepcopy(self.best), random_state()
        try:
            self._validate()
        except Stopped:
            self.best, self.must_validate = best, self._validates_at(self.iteration)
            set_random_state(random_before)
            self._stop()
        self.must_validate = False

    def _validate(self) -> None:
        val = self.options.val
        if val is None:
            return
        evaluations = []
        for name, loader in self.validation.items():
            result = evaluate(
                self.model,
                loader,
                name,
                self.metrics,
                iteration=self.iteration,
                tb_logger=self.log.tb,
                image_file=self._picture_files(name) if val.save_img else None,
                measure_input=val.measure_input,
                controls=val.controls,
                observe=[observer.watch(name, self.iteration) for observer in self.observers],
                progress=val.pbar,
                stop=lambda: self.interruption.signal is not None,
            )
            evaluations.append(result)
            update_best(self.best, result, self.metrics, self.iteration)
            if not isinstance(self.model, ForeignModel):  # BasicSR's models log their own validation
                self.log.validation(name, self.iteration, result.results, self.best.get(name, {}), result.inputs)
            else:
                self.log.write({"iter": self.iteration, "dataset": name, "metrics": result.results})
        folder = self.folder / "visualization"
        self._measure(folder)
        for observer in self.observers:
            observer.finish(folder, self.iteration, evaluations, self.best)
        if val.keep_best is not None:
            better = self.metrics[val.keep_best].better if val.keep_best in self.metrics else "higher"
            self.checkpoints.save_best(self.model, evaluations, self.best, better, self.iteration)

    def _measure(self, folder: Path) -> None:
        """Log the observers' measurements of the method, like metrics."""
        if not isinstance(self.model, BaseModel):
            return
        for observer in self.observers:
            if self.interruption.requested(self.model.device):
                raise Stopped
            for name, results in observer.measure(self.model, self.iteration, folder).items():
                update_best(self.best, Evaluation(name, results=results), {}, self.iteration)
                self.log.validation(name, self.iteration, results, self.best[name])

    def _picture_files(self, dataset: str) -> Callable[[str], Path]:
        """Gives a restored image's file by the input's name: as in BasicSR, but each of several sets has a folder."""
        folder = self.folder / "visualization"
        place = folder / dataset if len(self.validation) > 1 else folder
        return lambda stem: place / stem / f"{stem}_{self.iteration}.png"


def _after(session: Training, stage: Stage) -> Stage:
    """A stage whose networks start from the networks that the stage before it saved, role by role."""
    roles = [r for r in session.model.roles() if r not in stage.fresh and hasattr(stage.file.options, f"network_{r}")]
    weights = {role: session.checkpoints.models / f"net_{role}_{session.iteration}.pth" for role in roles}
    return Stage(stage.name, stage.file.starting_from(weights), stage.carry, stage.fresh)


def _resumed(stage: Stage, iteration: int, models: Path) -> Stage:
    """A stage resumed in its middle: its own weights also give the data of the stage before, such as the classes."""
    roles = [key.removeprefix("network_") for key in stage.file.raw if str(key).startswith("network_")]
    weights = {role: models / f"net_{role}_{iteration}.pth" for role in roles if role not in stage.fresh}
    saved = {role: file for role, file in weights.items() if file.is_file()}
    return Stage(stage.name, stage.file.starting_from(saved), stage.carry, stage.fresh)


def _length(stage: Stage) -> int:
    return stage.file.options.train.total_iter if stage.file.options.train else 0


def _note(model: BaseModel | ForeignModel) -> str:
    return " ".join(f"{name} {value:.4f}" for name, value in model.get_current_log().items())
