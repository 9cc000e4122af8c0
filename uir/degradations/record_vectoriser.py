"""Vectorisers turn records into targets for learning: class, multi-hot, severity, kernel; each with a mask.

A vectoriser is a class in the table `VECTORISERS`, chosen by name; called with a `RecordBatch` it returns `Targets`.
A loss asks for one by `record.<name>` in its `inputs`; `train.vectorisers` of an option file gives its arguments.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor

from uir.degradations.blur_degradation import kernel_of
from uir.degradations.kernel_pca import encode_kernels
from uir.degradations.record import DegradationRecord, RecordBatch
from uir.degradations.targets import Targets
from uir.registry import DEGRADATION_REGISTRY, VECTORISERS


@VECTORISERS.register(name="class")
class ClassIndex:
    """The index of the record's label; unknown if there is none. Values int64 [B, 1].

    Args:
        labels: the names in order.
    """

    def __init__(self, labels: Sequence[str]) -> None:
        self.index = {name: position for position, name in enumerate(labels)}

    def __call__(self, records: RecordBatch) -> Targets:
        """See the class.

        Raises:
            ValueError: a label is not in the list.
        """
        unknown = sorted({label for label in records.labels if label is not None and label not in self.index})
        if unknown:
            raise ValueError(f"ClassIndex: the label {unknown[0]!r} is none of {', '.join(self.index)}")
        values = [[self.index.get(label, 0) if label is not None else 0] for label in records.labels]
        mask = [[label is not None] for label in records.labels]
        return Targets(torch.tensor(values), torch.tensor(mask))


@VECTORISERS.register(name="label_parts")
class LabelParts:
    """0 or 1 for each class that a record's label is made of; unknown where there is none. Values float32 [B, K].

    Args:
        labels: the classes in order.
        parts: the classes that make up a composite label, `{haze_rain: [haze, rain]}`; others stand for themselves.
    """

    def __init__(self, labels: Sequence[str], parts: Mapping[str, Sequence[str]]) -> None:
        self.labels, self.parts = tuple(labels), parts

    def __call__(self, records: RecordBatch) -> Targets:
        """See the class.

        Raises:
            ValueError: a label, or a part of one, is not in the list.
        """
        rows = [self._row(label) if label is not None else [0.0] * len(self.labels) for label in records.labels]
        mask = [[label is not None] * len(self.labels) for label in records.labels]
        return Targets(torch.tensor(rows), torch.tensor(mask))

    def _row(self, label: str) -> list[float]:
        parts = self.parts.get(label, (label,))
        unknown = [part for part in parts if part not in self.labels]
        if unknown:
            raise ValueError(f"LabelParts: the label {unknown[0]!r} is none of {', '.join(self.labels)}")
        return [float(name in parts) for name in self.labels]


@VECTORISERS.register(name="multi_hot")
class MultiHot:
    """1 for each family of ops in the record; unknown if the history is unknown. Values [B, F].

    Args:
        families: names of families ("haze", "rain", ...) in order.
    """

    def __init__(self, families: Sequence[str]) -> None:
        self.families = tuple(families)

    def __call__(self, records: RecordBatch) -> Targets:
        """See the class."""
        rows = [[float(family in _families_of(record)) for family in self.families] for record in records]
        return Targets(torch.tensor(rows), _known(records, len(self.families)))


@VECTORISERS.register(name="severity")
class Severity:
    """Severity of each family, from 0 (absent) to 1 (the strongest in the literature); the worst step counts. [B, F].

    Args:
        families: names of families in order.
    """

    def __init__(self, families: Sequence[str]) -> None:
        self.families = tuple(families)

    def __call__(self, records: RecordBatch) -> Targets:
        """See the class."""
        rows = []
        for record in records:
            worst = dict.fromkeys(self.families, 0.0)
            for step in record.applied:
                op = DEGRADATION_REGISTRY.get(step["op"])
                if op.family in worst:
                    worst[op.family] = max(worst[op.family], op.severity(step))
            rows.append(list(worst.values()))
        return Targets(torch.tensor(rows), _known(records, len(self.families)))


@VECTORISERS.register(name="kernel_pca")
class KernelCode:
    """The first blur's kernel, projected on its principal components (10 in IKC, 15 in SRMD and MANet). Values [B, P].

    A record without a blur has the code of the identity kernel; a record with unknown history is unknown.

    Args:
        matrix: [P, K²], from `pca_matrix`; kernels are centred in K × K.
    """

    def __init__(self, matrix: Tensor) -> None:
        self.matrix = matrix
        self.side = round(matrix.shape[1] ** 0.5)

    def __call__(self, records: RecordBatch) -> Targets:
        """See the class.

        Raises:
            ValueError: a kernel is larger than the matrix allows.
        """
        kernels = torch.stack([centred_kernel(record, self.side) for record in records])
        return Targets(encode_kernels(kernels, self.matrix), _known(records, len(self.matrix)))


def centred_kernel(record: DegradationRecord, side: int) -> Tensor:
    """The kernel of a record's first blur in the middle of [side, side], side odd; without a blur the identity kernel.

    Raises:
        ValueError: the kernel is larger, or the blur does not filter with one kernel.
    """
    centred = torch.zeros(side, side)
    blurs = [step for step in record.applied if DEGRADATION_REGISTRY.get(step["op"]).family == "blur"]
    if not blurs:
        centred[side // 2, side // 2] = 1
        return centred
    kernel = kernel_of(blurs[0])
    margin = (side - kernel.shape[-1]) // 2
    if margin < 0:
        raise ValueError(f"the kernel of {blurs[0]['op']} is {kernel.shape[-1]} px wide; expected at most {side} px")
    centred[margin : margin + kernel.shape[-1], margin : margin + kernel.shape[-1]] = kernel
    return centred


def _families_of(record: DegradationRecord) -> set[str]:
    return {DEGRADATION_REGISTRY.get(step["op"]).family for step in record.applied}


def _known(records: Iterable[DegradationRecord], width: int) -> Tensor:
    return torch.tensor([[record.is_known] * width for record in records])
