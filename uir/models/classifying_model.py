"""What the methods share that classify degradations by a restorer's features."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from uir.config.roles import Role
from uir.config.schema import Component, PathOptions, TrainOptions
from uir.core.checkpoint import read_weights
from uir.layers.padding import pad_to_multiple
from uir.layers.tapped import TappedRestorer
from uir.models.base_model import BaseModel
from uir.models.label_classes import LabelClasses, classes_of

logger = logging.getLogger("uir")


CLASSIFIER = Role(averaged=True, supplied=("feature_points", "feature_dims", "downsample", "num_classes"))
"""The classifier of features, trained."""


class ClassifyingOptions(TrainOptions):
    """Keys of `train` for methods that classify."""

    labels: list[str] | None = Field(
        None,
        description="The classes, in the order of the classifier's outputs; default those that the weights of "
        "network_dc were trained on, else the labels of the training set in alphabetical order.",
    )
    label_parts: dict[str, list[str]] = Field(
        default_factory=dict,
        description="The classes that make up a composite label, `{haze_rain: [haze, rain], clean: []}`. Each class is "
        "then decided for itself: classify_opt needs a loss for that, such as binary cross-entropy.",
    )
    taps: list[str] | None = Field(
        None, description="The feature points (module paths) to classify by; default all that network_g declares."
    )


class ClassifyingModel(BaseModel):
    """A restorer `network_g` and a classifier `network_dc` of its features.

    The classifier is called with the batch and the features at `network_g.feature_points()`, fine to coarse, and gives
    logits [B, K]. Its constructor is given `feature_points` (those, in that order), `feature_dims` (their channels),
    `downsample` (they are tokens) and `num_classes`, where it takes them and the file does not say them or says `~`. It
    is built when its classes are known: at once where `train.labels` or the card of its weights name them, else when
    the training loop tells the labels of the training set.

    Classes are names; the order of the datasets in a file means nothing. The loss `classify_opt` is called with the
    logits and class indices [B], or 0 or 1 for each class [B, K] where there is `train.label_parts`.
    """

    network_roles: ClassVar[Mapping[str, Role]] = {"g": Role(averaged=True), "dc": CLASSIFIER}
    loss_slots: ClassVar[tuple[str, ...]] = ("pixel_opt", "classify_opt")
    train_options: ClassVar[type[TrainOptions]] = ClassifyingOptions
    measures: ClassVar[tuple[str, ...]] = ("top1",)

    train_opt: ClassifyingOptions
    net_dc: Any
    tapped: TappedRestorer
    _classes: LabelClasses | None = None
    _ema_tapped: TappedRestorer | None = None

    # --- classes, and the classifier that they size ---

    def __init__(self, **arguments: Any) -> None:
        self._said: set[str] = set()
        super().__init__(**arguments)

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the classes; empty until they are known."""
        return self._classes.names if self._classes is not None else ()

    @labels.setter
    def labels(self, labels: Iterable[str]) -> None:
        """Take the labels of the training set: make the classes of them, or check them against those there are."""
        found = tuple(labels)
        if self._classes is not None:
            self._classes.check(found)
            return
        parts = self.train_opt.label_parts
        if not found:
            raise ValueError(
                "the training set names no labels; give its datasets `label: <name>`, make them tasks of a "
                "MultiTaskDataset, or write train.labels"
            )
        self._classes = LabelClasses(classes_of(found, parts), parts)
        self._build_network("dc", self.components["dc"], self._path)
        self._init_training(self._path)

    def _build_network(self, role: str, component: Component, path: PathOptions) -> None:
        if role == "dc":
            self._path = path
            self._classes = self._classes or self._known_classes(path)
            if self._classes is None:
                if not self.is_train:
                    file = getattr(path, "pretrain_network_dc", None)
                    logger.warning(
                        "network_dc is left out and top1 not measured: %s names its classes; give it weights that uir "
                        "has written (path.pretrain_network_dc)",
                        f"nothing in {file}" if file else "nothing",
                    )
                return
            self._check_sizes(component)
            said = {key: value for key, value in component.spec().items() if value is not None}
            component = Component.model_validate(said)
        super()._build_network(role, component, path)

    def _known_classes(self, path: PathOptions) -> LabelClasses | None:
        """The classes that the file or the weights name."""
        written: list[str] | None = self.train_opt.labels if self.is_train else None
        file: Path | None = getattr(path, "pretrain_network_dc", None)
        card = read_weights(file)[1] if file is not None else {}
        trained = list(card.get("labels", ()))
        parts = (self.train_opt.label_parts if self.is_train else {}) or card.get("label_parts", {})
        if written and trained and written != trained and getattr(path, "strict_load_dc", True):
            raise ValueError(
                f"train.labels: {', '.join(written)}; the weights of network_dc ({file}) were trained on "
                f"{', '.join(trained)}; remove train.labels, or take other weights"
            )
        names = tuple(written or trained)
        return LabelClasses(names, parts) if names else None

    def _check_sizes(self, component: Component) -> None:
        """What the file says of the classifier's sizes must agree with the classes and the features."""
        classes = component.arguments.get("num_classes")
        if classes is not None and classes != len(self.labels):
            raise ValueError(
                f"network_dc.num_classes: {classes}, but there are {len(self.labels)} classes, "
                f"{', '.join(self.labels)}; remove it, or name all classes in train.labels"
            )
        given, dims = component.arguments.get("feature_dims"), self._feature_dims()
        if given is not None and list(given) != dims:
            raise ValueError(
                f"network_dc.feature_dims: {given}, but the features of network_g have "
                f"{dims} channels, fine to coarse; remove it"
            )

    def network_sizes(self, role: str) -> dict[str, Any]:
        """Sizes of the classifier."""
        if role != "dc":
            return {}
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
        """The restorer, tapped; the classifier as it is."""
        if role != "g":
            return network
        if self._compile:
            torch.compiler.reset()  # it does not tell hooks apart: the graph of an earlier stage could be taken
        self.tapped = self.make_tapped(network)
        return self.tapped

    def make_tapped(self, network: nn.Module) -> TappedRestorer:
        """The restorer with its features, as the step needs it."""
        return TappedRestorer(network, self.train_opt.taps if self.is_train else None)

    def _init_training(self, path: PathOptions) -> None:
        if "dc" not in self.bare:
            return  # its classes are not known yet
        super()._init_training(path)
        missing = [slot for slot in self.loss_slots if slot not in self.losses]
        if missing:
            raise ValueError(f"train: {type(self).__name__} lacks the loss {missing[0]}")
        for role, held in self.network_roles.items():
            if held.trained is False:
                self.bare[role].eval()

    # --- the parts of a step ---

    def feed_data(self, data: Mapping[str, Any]) -> None:
        """Take a batch: `lq`, `gt` [B, 3, H, W] in [0, 1], and `degradation`, whose labels are classified."""
        super().feed_data(data)
        if self._classes is None:
            raise ValueError("the classes are not known; write train.labels")
        self.target = self._classes.target(_labels_of(data)).to(self.device)

    def clean_images(self) -> Tensor:
        """`gt` of the batch.

        Raises:
            ValueError: it has none.
        """
        if self.gt is None:
            raise ValueError("training needs `gt`, and the dataset gives none; use a paired or a degraded dataset")
        return self.gt

    def pixel_loss(self, restored: Tensor | None, gt: Tensor) -> Tensor:
        """`pixel_opt` of restored images.

        Raises:
            ValueError: they have not the size of `gt`.
        """
        if restored is None or restored.shape != gt.shape:
            got = None if restored is None else tuple(restored.shape)
            raise ValueError(
                f"network_g made {got} of the batch, gt is {tuple(gt.shape)}; does `scale` ({self.scale}) fit?"
            )
        value: Tensor = self.losses["pixel_opt"](restored.float(), gt)
        return value

    def classification_loss(self, lq: Tensor, features: list[Tensor]) -> Tensor:
        """`classify_opt` of what the classifier says of the features of `lq`, padded as `network_g` is given it."""
        lq = pad_to_multiple(lq, getattr(self.bare["g"], "pad_multiple", 1))
        value: Tensor = self.losses["classify_opt"](self.net_dc(lq, features).float(), self.target)
        return value

    # --- validation and files ---

    def classify(self, lq: Tensor) -> Tensor:
        """Logits [B, K] for [B, 3, H, W] of any size, by the networks that validation uses (averages, where kept)."""
        network, head = self.test_network("g"), self.test_network("dc")
        tapped = self.tapped
        if network is not self.bare["g"]:
            self._ema_tapped = self._ema_tapped or TappedRestorer(network, [point.name for point in tapped.points])
            tapped = self._ema_tapped
        lq = pad_to_multiple(lq, getattr(network, "pad_multiple", 1))
        with torch.no_grad(), self.autocast(), _evaluating(network, head):
            _, features = tapped.run(lq, stop=True)
            logits: Tensor = head(lq, features).float()
        return logits

    def extra_measures(self, batch: Mapping[str, Any]) -> dict[str, float]:
        """`top1`: whether a validation image with a label is classified right (with parts, in all classes)."""
        labels = _labels_of(batch)
        if self._classes is None or None in labels:
            return {}
        try:
            target = self._classes.target(labels)
        except ValueError as error:  # a validation set may show what was not trained on
            if str(error) not in self._said:
                logger.warning("top1 is not measured: %s", error)
            self._said.add(str(error))
            return {}
        hits = self._classes.hits(self.classify(self._to_device(batch["lq"])).cpu(), target)
        return {"top1": float(hits.float().mean())}

    def card(self, role: str) -> dict[str, Any]:
        """What is written beside the weights: for the classifier its sizes too."""
        card = super().card(role)
        if role == "dc" and self._classes is not None:
            card["feature_points"] = [asdict(point) for point in self.tapped.points]
            card["label_parts"] = {label: list(names) for label, names in self._classes.parts.items()}
        return card

    def resume_training(self, state: Mapping[str, Any], models: Path) -> None:
        """Go on from a state; the classes must be those that it was trained on."""
        trained = read_weights(models / f"net_dc_{state['iter']}.pth")[1].get("labels", list(self.labels))
        if list(trained) != list(self.labels):
            raise ValueError(
                f"the run classified {', '.join(trained)}, the labels are now {', '.join(self.labels)}; restore the "
                "datasets, or start a new run from its weights"
            )
        super().resume_training(state, models)


def _labels_of(batch: Mapping[str, Any]) -> tuple[str | None, ...]:
    """The label of each image; None where its record has none, or it has no record."""
    records = batch.get("degradation")
    return (None,) * len(batch["lq"]) if records is None else tuple(records.labels)


@contextmanager
def _evaluating(*networks: nn.Module) -> Iterator[None]:
    """Networks in evaluation mode, and back in theirs afterwards."""
    modes = [network.training for network in networks]
    for network in networks:
        network.eval()
    try:
        yield
    finally:
        for network, mode in zip(networks, modes, strict=True):
            network.train(mode)
