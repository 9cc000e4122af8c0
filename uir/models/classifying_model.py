"""The common part of the methods that classify degradations from a restorer's features."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn

from uir.config.roles import Need, Role
from uir.config.schema import Component, TrainOptions
from uir.core.checkpoint import read_weights
from uir.core.distributed import gathered
from uir.degradations.record import DegradationRecord, RecordBatch
from uir.layers.code_widths import evaluating
from uir.layers.padding import padded_for
from uir.layers.tapped import TappedRestorer
from uir.models.base_model import BaseModel, offers
from uir.models.label_classes import LabelClasses, classes_of

logger = logging.getLogger("uir")


CLASSIFIER = Role(averaged=True, supplied=("feature_points", "feature_dims", "downsample", "num_classes"))
"""The classifier of features, trained."""


class ClassifyingOptions(TrainOptions):
    """Keys of `train` for methods that classify."""

    labels: list[str] | None = Field(
        None,
        description="The classes, in the order of the classifier's outputs; default the classes that the weights of "
        "network_dc were trained on, else the labels of the training set in alphabetical order.",
    )
    label_parts: dict[str, list[str]] = Field(
        default_factory=dict,
        description="The classes of a composite label, `{haze_rain: [haze, rain], clean: []}`. Each class is then "
        "decided separately: classify_opt needs a loss for that, such as binary cross-entropy.",
    )
    taps: list[str] | None = Field(
        None, description="The feature points (module paths) of the classifier; default all that network_g declares."
    )
    permute_labels: bool = Field(
        False,
        description="A control that takes the meaning from the classes: for each training photograph (gt_path) they "
        "are exchanged among each other, always in the same random way, by the seed of the run. Validation has the "
        "true ones.",
    )


class PretrainingOptions(ClassifyingOptions):
    """Keys of `train` for methods that reconstruct and classify at the same time."""

    global_residual: bool = Field(
        True, description="Whether the image that the loss judges contains network_g's input; false takes it away."
    )


def check_adds_input(network: nn.Module) -> None:
    """A restorer whose output is judged without the input must add its input.

    Raises:
        ValueError: it does not say that it does.
    """
    if not getattr(network, "adds_input", False):
        raise ValueError(
            f"train.global_residual: false, but {type(network).__name__} does not say that it adds its input to "
            "its output (adds_input); remove the key"
        )


class ClassifyingStep(NamedTuple):
    """What a step's run of the restorer gives.

    Attributes:
        restored: [B, 3, H, W], to compare with `gt`; None if the method restores nothing.
        features: fine to coarse.
        seen: the images [B, 3, H, W] that the features are of.
    """

    restored: Tensor | None
    features: list[Tensor]
    seen: Tensor


class ClassifyingModel(BaseModel):
    """A restorer `network_g` and a classifier `network_dc` of its features.

    The classifier is called with the batch and the features at `network_g.feature_points()`, fine to coarse, and gives
    logits [B, K]. Its constructor gets `feature_points` (in that order), `feature_dims` (their channels), `downsample`
    (whether they are tokens) and `num_classes`, if it takes them and the file does not set them or sets `~`. The
    classes are those of `train.labels`, or those on the card of its weights, or the labels of the training set.

    Classes are names; the order of the datasets in a file has no effect. The loss `classify_opt` is called with the
    logits and class indices [B]; with `train.label_parts`, with 0 or 1 for each class [B, K].
    """

    network_roles: ClassVar[Mapping[str, Role]] = {
        "g": Role(averaged=True, needs=(Need("feature_points"),)),
        "dc": CLASSIFIER,
    }
    loss_slots: ClassVar[tuple[str, ...]] = ("pixel_opt", "classify_opt")
    open_losses: ClassVar[bool] = True
    train_options: ClassVar[type[TrainOptions]] = ClassifyingOptions
    measures: ClassVar[tuple[str, ...]] = ("top1",)

    train_opt: ClassifyingOptions
    run_seed: int
    net_dc: Any
    _classes: LabelClasses | None = None
    _ema_tapped: TappedRestorer | None = None

    # --- construction ---

    def prepare(self) -> None:
        """Set the classes: those that the file or the weights name, else those of the training set's labels."""
        super().prepare()
        self._reported: set[str] = set()
        self._classes = self._known_classes()
        if self._classes is not None:
            self._classes.check(self.labels)
        elif self.is_train:
            self._classes = self._classes_of(self.labels)
        elif self.components.pop("dc", None) is not None:
            file = getattr(self.path, "pretrain_network_dc", None)
            logger.warning(
                "network_dc is not used and top1 is not measured: %s names its classes; give it weights that uir "
                "has written (path.pretrain_network_dc)",
                f"nothing in {file}" if file else "nothing",
            )
        self.labels = self._classes.names if self._classes is not None else ()
        missing = [slot for slot in self.loss_slots if self.is_train and slot not in self.slots_of_losses()]
        if missing:
            raise ValueError(f"train: {type(self).__name__} needs the loss {missing[0]}; add it")

    def _classes_of(self, labels: tuple[str, ...]) -> LabelClasses:
        if not labels:
            raise ValueError(
                "the training set has no labels; give its datasets `label: <name>`, make them tasks of a "
                "MultiTaskDataset, or write train.labels"
            )
        parts = self.train_opt.label_parts
        return LabelClasses(classes_of(labels, parts), parts)

    def _known_classes(self) -> LabelClasses | None:
        """The classes that the file or the weights name."""
        written: list[str] | None = self.train_opt.labels if self.is_train else None
        file: Path | None = getattr(self.path, "pretrain_network_dc", None)
        card = read_weights(file)[1] if file is not None else {}
        trained = list(card.get("labels", ()))
        parts = (self.train_opt.label_parts if self.is_train else {}) or card.get("label_parts", {})
        if written and trained and written != trained and getattr(self.path, "strict_load_dc", True):
            raise ValueError(
                f"train.labels: {', '.join(written)}; the weights of network_dc ({file}) were trained on "
                f"{', '.join(trained)}; remove train.labels, or use other weights"
            )
        names = tuple(written or trained)
        return LabelClasses(names, parts) if names else None

    def _check_sizes(self, component: Component) -> None:
        """Check that the classifier's sizes in the file agree with the classes and the features."""
        classes = component.arguments.get("num_classes")
        if classes is not None and classes != len(self.labels):
            raise ValueError(
                f"network_dc.num_classes: {classes}, but there are {len(self.labels)} classes, "
                f"{', '.join(self.labels)}; remove it, or name all classes in train.labels"
            )
        dims_of_file, dims = component.arguments.get("feature_dims"), self._feature_dims()
        if dims_of_file is not None and list(dims_of_file) != dims:
            raise ValueError(
                f"network_dc.feature_dims: {dims_of_file}, but the features of network_g have "
                f"{dims} channels, fine to coarse; remove it"
            )

    def network_sizes(self, role: str) -> dict[str, Any]:
        """Sizes of the classifier."""
        if role != "dc":
            return super().network_sizes(role)
        self._check_sizes(self.components[role])
        points = self.tapped.points
        return {
            "feature_points": points,
            "feature_dims": self._feature_dims(),
            "downsample": all(point.layout == "tokens" for point in points),
            "num_classes": len(self.labels),
        }

    def _feature_dims(self) -> list[int]:
        return [point.channels for point in self.tapped.points]

    def step_module(self, role: str, network: nn.Module) -> nn.Module:
        """The restorer with its features; the classifier without change."""
        return self.make_tapped(network) if role == "g" else network

    @property
    def tapped(self) -> TappedRestorer:
        """The restorer with its features, as the step runs it."""
        tapped = self.stepped["g"]
        assert isinstance(tapped, TappedRestorer)  # `make_tapped` made it
        return tapped

    def make_tapped(self, network: nn.Module) -> TappedRestorer:
        """The restorer with its features, as the step needs it."""
        return TappedRestorer(network, self.train_opt.taps if self.is_train else None)

    # --- the parts of a step ---

    def start_training(self) -> None:
        """Start like every method; all processes know the seed of the run."""
        super().start_training()
        self.run_seed = gathered(torch.initial_seed())[0]  # each process draws from another one

    def feed_data(self, data: Mapping[str, Any]) -> None:
        """Take a batch: `lq`, `gt` [B, 3, H, W] in [0, 1], and `degradation` with the labels to learn."""
        super().feed_data(data)
        if self._classes is None:
            raise ValueError("the classes are not known; write train.labels")
        target = self._classes.target(_records_of(data))
        if self.train_opt.permute_labels:
            target = self._classes.exchanged(target, self._photographs(data), self.run_seed)
        self.target = target.to(self.device)

    def _photographs(self, data: Mapping[str, Any]) -> list[str]:
        """The file name of each image's photograph."""
        if "gt_path" not in data:
            raise ValueError("train.permute_labels: the samples have no gt_path, so their photographs are not known")
        return [Path(path).name for path in data["gt_path"]]

    def run_step(self) -> ClassifyingStep:
        """Run `net_g` on the batch: the features to classify by, and, where the method restores, the restored images.

        Raises:
            TypeError: the method does not define it.
        """
        raise TypeError(f"{type(self).__name__} must define run_step")

    @offers("step", runs=("g",))
    def _run_once(self) -> ClassifyingStep:
        return self.run_step()

    @offers("restored", runs=("g",))
    def restored_batch(self) -> Tensor:
        """The restored images of the step, float32.

        Raises:
            ValueError: their size differs from that of `gt`, or the method restores nothing.
        """
        restored = self.value("step").restored
        if restored is None:
            raise ValueError(f"{type(self).__name__} stops at the features; a loss on images needs restored images")
        return self.fits_gt(restored.float())

    @offers("logits", runs=("dc",))
    def logits_of_batch(self) -> Tensor:
        """What the classifier says of the features [B, K]; the images it gets are padded as for `network_g`."""
        step = self.value("step")
        seen = padded_for(self.bare["g"], step.seen)
        logits: Tensor = self.net_dc(seen, step.features).float()
        return logits

    def compute_losses(self) -> dict[str, Tensor]:
        """The losses on images, each by its name, and `classify_opt` of the logits."""
        on_images = [slot for slot in self.losses if slot != "classify_opt"]
        losses = self.losses_of(*on_images) if on_images else {}
        losses["l_classify"] = self.losses["classify_opt"](self.value("logits"), self.target)
        return losses

    # --- validation and files ---

    def classify(self, lq: Tensor) -> Tensor:
        """Logits [B, K] for [B, 3, H, W] of any size, by the networks of validation (the averages, if any)."""
        network, head = self.test_network("g"), self.test_network("dc")
        tapped = self.tapped
        if network is not self.bare["g"]:
            self._ema_tapped = self._ema_tapped or TappedRestorer(network, [point.name for point in tapped.points])
            tapped = self._ema_tapped
        lq = padded_for(network, lq)
        with torch.no_grad(), self.autocast(), evaluating(network, head):
            _, features = tapped.run(lq, stop=True)
            logits: Tensor = head(lq, features).float()
        return logits

    def extra_measures(self, batch: Mapping[str, Any]) -> dict[str, float]:
        """`top1`: 1 if a validation image with a label is classified right (with parts: in all classes), else 0."""
        records = _records_of(batch)
        if self._classes is None or None in records.labels:
            return {}
        try:
            target = self._classes.target(records)
        except ValueError as error:  # a validation set may have labels that the training set does not have
            if str(error) not in self._reported:
                logger.warning("top1 is not measured: %s", error)
            self._reported.add(str(error))
            return {}
        hits = self._classes.hits(self.classify(self._to_device(batch["lq"])).cpu(), target)
        return {"top1": float(hits.float().mean())}

    def card(self, role: str) -> dict[str, Any]:
        """The card next to the weights; that of the classifier also has its sizes."""
        card = super().card(role)
        if role == "dc" and self._classes is not None:
            card["feature_points"] = [asdict(point) for point in self.tapped.points]
            card["label_parts"] = {label: list(names) for label, names in self._classes.parts.items()}
        return card

    def resume_training(self, state: Mapping[str, Any], models: Path) -> None:
        """Continue from a state; the classes must be those that it was trained on."""
        trained = read_weights(models / f"net_dc_{state['iter']}.pth")[1].get("labels", list(self.labels))
        if list(trained) != list(self.labels):
            raise ValueError(
                f"the run classified {', '.join(trained)}, but the labels are now {', '.join(self.labels)}; use the "
                "earlier datasets, or start a new run from its weights"
            )
        super().resume_training(state, models)


def _records_of(batch: Mapping[str, Any]) -> RecordBatch:
    """The record of each image; unknown ones if the batch has no records."""
    records = batch.get("degradation")
    return RecordBatch(DegradationRecord(None) for _ in batch["lq"]) if records is None else records
