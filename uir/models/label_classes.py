"""The classes of a classifier, and the target that the label of an image gives."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from uir.core.seeds import derive_seed
from uir.degradations.record import RecordBatch
from uir.degradations.record_vectoriser import ClassIndex, LabelParts


@dataclass(frozen=True)
class LabelClasses:
    """Names of the classes, in the order of the classifier's outputs.

    Attributes:
        names: the classes.
        parts: the classes of a composite label, `{"haze_rain": ("haze", "rain"), "clean": ()}`; a label that is not
            listed is its own class. If there are any, several classes may be true for one image.
    """

    names: tuple[str, ...]
    parts: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(set(self.names)) < len(self.names):
            raise ValueError(f"labels: a name occurs twice in {', '.join(self.names)}")

    def __len__(self) -> int:
        return len(self.names)

    @property
    def several(self) -> bool:
        """Whether several classes may be true for one image."""
        return bool(self.parts)

    def check(self, labels: Iterable[str]) -> None:
        """Check that all these labels are known.

        Raises:
            ValueError: a label is unknown.
        """
        for label in labels:
            missing = [name for name in self.parts.get(label, (label,)) if name not in self.names]
            if missing:
                raise ValueError(
                    f"label '{label}': there is no class '{missing[0]}'; the classes are {', '.join(self.names)} "
                    "(train.labels, else those that the weights of network_dc were trained on)"
                )

    def target(self, records: RecordBatch) -> Tensor:
        """The classifier's target: class indices, int64 [B]; with parts 0 or 1 for each class, float32 [B, K].

        Raises:
            ValueError: an image has no label, or an unknown one.
        """
        self.check(label for label in records.labels if label is not None)
        targets = (LabelParts(self.names, self.parts) if self.several else ClassIndex(self.names))(records)
        if not bool(targets.mask.all()):
            raise ValueError(
                "an image has no label to classify; give its dataset `label: <name>`, or make it a task of a "
                "MultiTaskDataset"
            )
        return targets.values if self.several else targets.values[:, 0]

    def exchanged(self, target: Tensor, images: Sequence[str], seed: int) -> Tensor:
        """The target with classes that say nothing: every image name has its own fixed permutation of the classes.

        Args:
            target: as from `target`.
            images: the name of each of the B images.
            seed: another seed gives other permutations.
        """
        orders = []
        for image in images:
            generator = torch.Generator().manual_seed(derive_seed(seed, "labels", image))
            orders.append(torch.randperm(len(self), generator=generator))
        order = torch.stack(orders).to(target.device)
        return target.gather(1, order) if self.several else order.gather(1, target[:, None])[:, 0]

    def hits(self, logits: Tensor, target: Tensor) -> Tensor:
        """Whether each image [B, K] is classified right: by the largest logit, with parts by the sign of each."""
        if self.several:
            return ((logits > 0) == (target > 0)).all(1)
        return logits.argmax(1) == target


def classes_of(labels: Iterable[str], parts: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """The classes of labels, in alphabetical order, because the order of the datasets in a file must have no effect."""
    return tuple(sorted({name for label in labels for name in parts.get(label, (label,))}))
