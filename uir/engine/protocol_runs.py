"""What `uir test` measures: the metrics of the option file, or those of protocols, each with its own noise."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch.utils.data import DataLoader

from uir.config.options import OptionFile
from uir.engine.evaluation import Evaluation, build_metrics
from uir.metrics.building import Metric, SetMetric
from uir.metrics.protocol_metrics import metrics_of_protocol
from uir.metrics.protocols import Protocol, protocol_named

logger = logging.getLogger("uir")
NOISE_OPS = ("GaussianNoise", "ProtocolNoise")


@dataclass(frozen=True)
class Measurement:
    """One table of a test.

    Attributes:
        metrics: the metrics by the name of their column.
        protocol: the protocol; None for the metrics of the option file.
        missing: why a column has no values, by its name.
        named: protocols that metrics of the option file name; their noise is compared with that of the test sets.
    """

    metrics: Mapping[str, Metric | SetMetric]
    protocol: Protocol | None = None
    missing: Mapping[str, str] = field(default_factory=dict)
    named: Sequence[Protocol] = ()

    @property
    def name(self) -> str:
        """The protocol's name, empty without one."""
        return self.protocol.name if self.protocol else ""

    def key(self, column: str) -> str:
        """The name of a column in `Evaluation.results`, which holds those of all protocols."""
        return f"{self.name}/{column}" if self.name else column

    def by_key(self) -> dict[str, Metric | SetMetric]:
        """The metrics by their names in `Evaluation.results`."""
        return {self.key(column): metric for column, metric in self.metrics.items()}


def measurements_of(loaded: OptionFile) -> list[Measurement]:
    """One for each protocol of `val.protocols`; without protocols, the metrics of `val.metrics`."""
    val = loaded.options.val
    if val is None or not val.protocols:
        return [Measurement(build_metrics(val), named=_named_protocols(loaded))]
    shared: dict[str, Metric] = {}
    measurements: dict[str, Measurement] = {}
    for name in val.protocols:
        own = metrics_of_protocol(name, loaded.options.scale, shared)
        measurements[own.protocol.name] = Measurement(own.metrics, own.protocol, own.missing)
    return list(measurements.values())


@dataclass(frozen=True)
class NoiseGroup:
    """Protocols whose numbers come from the same degraded images of a dataset.

    Attributes:
        noise: the protocol that makes the noise; None as the option file says.
        measurements: what is measured.
    """

    noise: str | None
    measurements: list[Measurement]

    def metrics(self) -> dict[str, Metric | SetMetric]:
        """All metrics of the group."""
        return {key: metric for each in self.measurements for key, metric in each.by_key().items()}


def noise_groups(loader: DataLoader[Any], dataset: str, measurements: Sequence[Measurement]) -> list[NoiseGroup]:
    """The protocols in groups of the same noise: one group, unless the dataset makes Gaussian noise itself.

    What is known of the noise, and whether it is the protocol's, is logged.
    """
    source = _noise_source(loader.dataset)
    groups: dict[Any, NoiseGroup] = {}
    for measurement in measurements:
        protocol = measurement.protocol
        rule = protocol.noise if protocol else None
        takes_noise = rule is not None and source is not None and source.take_noise_of(measurement.name)
        if takes_noise and rule is not None:
            logger.info("%s: the noise of protocol %s: %s", dataset, measurement.name, rule.describe())
        for other in () if takes_noise else measurement.named or filter(None, [protocol]):
            _say_other_noise(loader, dataset, other)
        key = rule if takes_noise else None
        groups.setdefault(key, NoiseGroup(measurement.name if takes_noise else None, [])).measurements.append(
            measurement
        )
    set_noise(loader, None)
    return list(groups.values())


def set_noise(loader: DataLoader[Any], protocol: str | None) -> None:
    """Let the dataset make its noise as a protocol does; None makes it as the option file says."""
    source = _noise_source(loader.dataset)
    if source is not None:
        source.take_noise_of(protocol)


def merged(parts: Sequence[Evaluation]) -> Evaluation:
    """The measurements of one dataset, measured in several groups, as one."""
    whole = parts[0]
    for part in parts[1:]:
        whole.results |= part.results
        whole.inputs |= part.inputs
        whole.parts |= part.parts
        whole.nonfinite = list(dict.fromkeys([*whole.nonfinite, *part.nonfinite]))
        for row, other in zip(whole.per_image, part.per_image, strict=True):
            row["metrics"] |= other["metrics"]
            row["input"] |= other["input"]
    return whole


def _named_protocols(loaded: OptionFile) -> list[Protocol]:
    """The protocols that the metrics of `val.metrics` name."""
    val = loaded.options.val
    names = [metric.arguments.get("protocol") for metric in (val.metrics.values() if val else ())]
    return [protocol_named(name) for name in dict.fromkeys(names) if isinstance(name, str)]


def _say_other_noise(loader: DataLoader[Any], dataset: str, protocol: Protocol) -> None:
    """Warn if the dataset's first image has noise that is not made as the protocol says."""
    if protocol.noise is None:
        return
    sample = loader.dataset[0]
    steps = getattr(sample.get("degradation"), "steps", None) if isinstance(sample, Mapping) else None
    ops = [step["op"].rpartition(":")[2] for step in steps or ()]
    while ops and ops[-1] in ("Quantise", "Clip"):
        ops.pop()
    fault = protocol.noise.fault_of(sample["lq"]) if ops and ops[-1] in NOISE_OPS else ""
    if fault:
        logger.warning(
            "%s: protocol %s: the noise of this set %s, but that of the protocol is %s; the numbers are not the "
            "protocol's. Use {type: ProtocolNoise, protocol: %s, sigma: ...} as the last step",
            dataset, protocol.name, fault, protocol.noise.describe(), protocol.name,
        )  # fmt: skip


def _noise_source(dataset: Any) -> Any:
    """The dataset that can make the noise of a protocol, within its wrappers; None if there is none."""
    while dataset is not None and not hasattr(dataset, "take_noise_of"):
        dataset = getattr(dataset, "dataset", None)
    return dataset
