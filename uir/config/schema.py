"""The typed sections of an option file.

Every section is frozen once it is read. A training method adds its own keys by naming a subclass of `TrainOptions`;
the keys of its networks' roles (`ROLE_KEYS`) and its losses are added when the file's schema is composed (`compose`).
`uir.config.spec` makes one tree of the sections, which everything that reads option files walks.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, create_model

from uir.core.names import PLAIN_NAME, is_plain_name
from uir.core.precision import Precision


def _plain(name: str) -> str:
    if not is_plain_name(name):
        raise ValueError(PLAIN_NAME)
    return name


PlainName = Annotated[str, AfterValidator(_plain)]
"""Text that names a folder or is a part of a file name."""
PlainEnding = Annotated[str, AfterValidator(lambda ending: ending and _plain(ending))]
"""The same, or nothing."""


class Section(BaseModel):
    """A mapping with known keys. Others are kept aside; the checker decides about them."""

    model_config = ConfigDict(extra="allow", frozen=True, coerce_numbers_to_str=True, protected_namespaces=())

    place: ClassVar[str] = ""
    """The place of `uir.config.spec.PLACES` whose classes its `type` names; empty for a section without a `type`."""


class Component(Section):
    """`{type: Name, argument: value, ...}`: an object of a registry, not built yet."""

    type: str = Field(description="Name in the registry; `uir:` or `basicsr:` before it forces where it is taken from.")

    @property
    def arguments(self) -> dict[str, Any]:
        """Everything but `type`."""
        return dict(self.model_extra or {})

    def spec(self) -> dict[str, Any]:
        """The mapping as it is written in the file."""
        return {"type": self.type, **self.arguments}


class NetworkOptions(Component):
    """A network."""

    place: ClassVar[str] = "archs"


class LossOptions(Component):
    """A loss."""

    place: ClassVar[str] = "losses"


class MetricOptions(Component):
    """A metric."""

    place: ClassVar[str] = "metrics"

    better: Literal["higher", "lower"] | None = Field(
        None, description="Which scores are good; default what the metric says itself."
    )

    def spec(self) -> dict[str, Any]:
        """The mapping as it is written in the file."""
        return super().spec() | ({} if self.better is None else {"better": self.better})


class ObserverOptions(Component):
    """A validation observer."""

    place: ClassVar[str] = "observers"


class VectoriserOptions(Component):
    """A vectoriser."""

    place: ClassVar[str] = "vectorisers"


class WandbOptions(Section):
    """Weights & Biases."""

    project: str | None = Field(None, description="Name of the project.")
    resume_id: str | None = Field(None, description="Id of the run to go on with.")


class LoggerOptions(Section):
    """What is logged, and how often (in iterations)."""

    print_freq: int = Field(100, ge=1, description="A log line every so many iterations.")
    save_checkpoint_freq: int = Field(
        5000, ge=1, description="A checkpoint and a training state every so many iterations."
    )
    keep_last: int | None = Field(None, ge=1, description="Keep only so many numbered checkpoints; default all.")
    use_tb_logger: bool = Field(False, description="Also write TensorBoard events to tb_logger/<name>.")
    wandb: WandbOptions | None = None


class PathOptions(Section):
    """Files to start from, and where the run goes. Relative paths start at the root of the project."""

    resume_state: Path | None = Field(None, description="A `.state` file to go on from.")
    experiments_root: Path | None = Field(
        None, description="The folder of all training runs; default experiments. The run goes to <name> below it."
    )
    results_root: Path | None = Field(
        None, description="The folder of all test runs; default results. The run goes to <name> below it."
    )


class RecurringOptions(Section):
    """What is done at some or all validations."""

    every: int | None = Field(
        None, ge=1, description="Only at validations whose iteration is a multiple of this; default at every one."
    )

    def is_due(self, iteration: int | str) -> bool:
        """Whether it has its turn at a validation at `iteration`; always in a test, which has a name instead."""
        return self.every is None or isinstance(iteration, str) or iteration % self.every == 0


class PatchOptions(RecurringOptions):
    """Which features of the network in training are looked into, as `uir analyze` does it."""

    images: Path = Field(description="Folder of clean photographs that every class is made of.")
    recipe: str = Field(
        "dcpt_5d", description="The classes: a set of tasks, a test set, or a .yml file of {label: {type: ...}}."
    )
    max_images: int | None = Field(32, ge=2, description="Take only the first so many photographs.")
    network: str = Field("g", description="Role of the network that is looked into.")
    crop: int = Field(128, ge=1, description="Side of the patches, in pixels.")


class ProbeOptions(PatchOptions):
    """How well features of the network in training tell degradations apart, as `uir analyze` measures it."""

    k: int = Field(5, ge=1, description="Neighbours of the kNN probe.")
    splits: int = Field(5, ge=1, description="Splits of the photographs whose accuracies are averaged.")


class TsneOptions(PatchOptions):
    """Features of the network in training in the plane, as `uir analyze tsne` draws them."""

    levels: list[str] | None = Field(None, description="Feature levels to draw (`pixels` too); default the last.")
    perplexity: float = Field(30.0, gt=0, description="About the neighbours that count.")
    iterations: int = Field(2000, ge=250, description="Steps of the optimisation.")


class ProbesOptions(Section):
    """Probes of the features at validation."""

    knn: ProbeOptions | None = Field(None, description="Nearest neighbours.")
    linear: ProbeOptions | None = Field(None, description="Logistic regression.")
    tsne: TsneOptions | None = Field(
        None, description="Pictures by t-SNE: tsne_<level>_<iteration>.png in the run's visualization folder."
    )


class SheetOptions(RecurringOptions):
    """Images of every validation set side by side: degraded, restored, clean."""

    images: int = Field(3, ge=1, description="How many of each validation set, the first ones.")


class RadarOptions(RecurringOptions):
    """A chart with an axis for each validation set, of which there must be at least three."""

    metric: str = Field(description="Metric, or measure of the method such as top1, that is drawn.")


class ValOptions(Section):
    """Validation during training, and testing."""

    val_freq: int | None = Field(None, ge=1, description="Validate every so many iterations; default only at the end.")
    save_img: bool = Field(False, description="Write the restored images to the run's visualization folder.")
    suffix: PlainEnding | None = Field(None, description="Ending of the written images' names.")
    pbar: bool = Field(True, description="Show a progress bar.")
    metrics: dict[str, MetricOptions] = Field(
        default_factory=dict, description="Metrics by the name they are printed under."
    )
    keep_best: PlainName | None = Field(
        None,
        description="Metric, or measure of the method such as top1, whose best networks are kept; its mean over the "
        "validation sets counts.",
    )
    measure_input: bool = Field(
        False, description="Measure the degraded input too, where it has the size of the clean image."
    )
    controls: dict[str, Any] = Field(
        default_factory=dict, description="What the method's predictor lets a user set, such as `{steps: 4}`."
    )
    probes: ProbesOptions | None = Field(None, description="Probes of the features, logged like metrics.")
    sheet: SheetOptions | None = Field(
        None,
        description="Write degraded, restored and clean images: sheet_<iteration>.png in the visualization folder.",
    )
    observers: dict[str, ObserverOptions] = Field(
        default_factory=dict, description="Validation observers of your own, by any name: `{mine: {type: MyObserver}}`."
    )
    radar: RadarOptions | None = Field(
        None,
        description="Draw a metric over the validation sets, with the best so far and, where val.measure_input gives "
        "it, the input: radar_<iteration>.png in the visualization folder.",
    )


class SchedulerOptions(Component):
    """BasicSR's learning-rate schedulers or one of torch.optim.lr_scheduler, by name; counted in iterations."""

    place: ClassVar[str] = "schedulers"


class ParameterGroup(Section):
    """Parameters with settings of their own; further keys are the optimizer's, such as weight_decay."""

    parameters: list[str] = Field(
        min_length=1, description="Names of parameters or modules of the network; `*` stands for any text (`*.bias`)."
    )
    lr: float | None = Field(None, gt=0, description="Learning rate, in place of the optimizer's.")


class OptimOptions(Component):
    """An optimizer of torch.optim, by name."""

    place: ClassVar[str] = "optimizers"

    lr: float = Field(gt=0, description="Learning rate.")
    groups: list[ParameterGroup] = Field(
        default_factory=list, description="Parameters with settings of their own; the first group that fits counts."
    )


class ClipOptions(Section):
    """Gradient clipping."""

    max_norm: float | None = Field(None, gt=0, description="Largest norm of all gradients of a network together.")
    value: float | None = Field(None, gt=0, description="Largest absolute value of one gradient.")


class StageOptions(Section):
    """A stage of the training: its name, its length, and overrides of the file."""

    name: str = Field(description="Name of the stage.")
    iterations: int = Field(ge=1, description="Length of the stage.")
    losses: list[str] | None = Field(None, description="Keep only these losses, such as [pixel_opt].")
    carry: list[str] | None = Field(
        None, description="Optimizers whose moments go on, such as [optim_g]; the others restart."
    )
    train: list[str] | dict[str, Any] | None = Field(
        None, description="Train only these networks, such as [network_g]; or overrides of `train`."
    )


# Keys of a file that no stage may override, each with why.
KEYS_OF_NO_STAGE = {
    "base": "the file as a whole has one",
    "stages": "a stage is not divided further",
    "total_iter": "its length is `iterations`",
}


class TrainOptions(Section):
    """Keys every training method has."""

    total_iter: int = Field(ge=1, description="Iterations; one iteration is one optimizer step.")
    warmup_iter: int = Field(-1, description="Iterations of linear warm-up; -1 for none.")
    ema_decay: float = Field(0.0, ge=0, lt=1, description="Decay of the moving average of the weights; 0 for none.")
    accumulate: int = Field(1, ge=1, description="Batches whose gradients make one optimizer step.")
    grad_clip: float | ClipOptions | None = Field(None, description="A number is the largest gradient norm.")
    stages: list[dict[str, Any]] | None = Field(
        None, description="Stages in place of total_iter: each with `name`, `iterations` and overrides; see the README."
    )
    max_nonfinite: int = Field(10, ge=1, description="Stop after so many non-finite losses or gradients in a row.")
    scheduler: SchedulerOptions | None = None
    vectorisers: dict[str, VectoriserOptions] = Field(
        default_factory=dict,
        description="Arguments of the vectorisers that losses ask for by `record.<name>`: "
        "`{noise: {type: severity, families: [noise]}}` is `record.noise`.",
    )


class LoaderOptions(Section):
    """How a dataset is served; BasicSR's keys."""

    name: PlainName | None = Field(
        None, description="Name of the dataset in logs and tables; default its key in `datasets`."
    )
    batch_size_per_gpu: int | None = Field(None, ge=1, description="Batch size per process.")
    num_worker_per_gpu: int = Field(0, ge=0, description="Loader processes per training process.")
    use_shuffle: bool = Field(True, description="Shuffle again in every epoch.")
    dataset_enlarge_ratio: int = Field(1, ge=1, description="How often an epoch goes through the dataset.")
    pin_memory: bool = Field(False, description="Put batches in page-locked memory, for a faster way to the GPU.")
    persistent_workers: bool | None = Field(None, description="Keep the loader processes between epochs.")
    prefetch_mode: Literal["cpu", "cuda"] | None = Field(
        None, description="BasicSR's key: how batches are fetched ahead."
    )
    pair_pool: int | None = Field(
        None, ge=1, description="Mix each batch with a pool of so many earlier samples (the queue of Real-ESRGAN)."
    )
    num_prefetch_queue: int | None = Field(None, ge=1, description="Batches each worker prepares ahead.")


class DatasetOptions(LoaderOptions):
    """A dataset of the registry with its loader's keys."""

    place: ClassVar[str] = "datasets"

    type: str = Field(description="Name in the registry.")

    @property
    def arguments(self) -> dict[str, Any]:
        """The constructor's arguments: everything but `type` and the loader's keys."""
        return dict(self.model_extra or {})


class Options(Section):
    """A whole option file, checked.

    Attributes beside the keys of the file are set by the loader: `file`, `root`, `is_train`.
    """

    name: PlainName = Field(description="Name of the run, and of its folder.")
    model_type: str = Field(description="The training method, a name of the model registry.")
    scale: int = Field(1, ge=1, description="Size of the clean image over that of the degraded one.")
    num_gpu: int | Literal["auto"] = Field("auto", description="GPUs to use; 0 is the CPU, `auto` all there are.")
    manual_seed: int | None = Field(None, description="Seed of everything random; drawn and recorded if absent.")
    plugins: list[str] = Field(
        default_factory=list, description="Modules or files to import first; relative to this file."
    )
    precision: Precision = Field("fp32", description="Type that the networks compute in; weights stay in fp32.")
    compile: bool = Field(False, description="Compile the networks with torch.compile.")
    channels_last: bool = Field(False, description="Keep images channels-last in memory.")
    find_unused_parameters: bool = Field(
        False, description="With several processes: some parameters get no gradient in some steps."
    )
    grad_clip: float | ClipOptions | None = Field(None, description="The same as train.grad_clip.")
    dist_params: dict[str, Any] | None = Field(
        None, description="`backend` of torch.distributed, if not the usual one."
    )
    datasets: dict[str, DatasetOptions] = Field(
        default_factory=dict,
        description="What to train, validate and test on; keys start with `train`, `val` or `test`.",
    )
    path: PathOptions = PathOptions()
    train: TrainOptions | None = None
    val: ValOptions | None = None
    logger: LoggerOptions = LoggerOptions()


# The one key of a file that is gone once it is read.
BASE_TEXT = "An option file to start from: mappings merge, lists replace, null deletes."
# The keys of `datasets`: one of these words, alone or with `_<name>` behind it.
DATASET_PHASES = {"train": "What to train on.", "val": "What to validate on.", "test": "What to test on."}


def phase_of(key: object) -> str:
    """The phase that a key of `datasets` begins with, `val` for `val_2`; or a word that is none."""
    return str(key).split("_")[0]


@dataclass(frozen=True)
class RoleKey:
    """A key that a file may hold for each network of its training method: `optim_g` for the role `g`.

    Attributes:
        section: where it stands, "" for the file itself.
        prefix: what stands before the role in its name.
        annotation: what it holds.
        text: its description, with `{role}`.
        default: its value where it is left out.
        own: whether uir's methods alone know it, not models in BasicSR's manner.
    """

    section: str
    prefix: str
    annotation: Any
    text: str
    default: Any = None
    own: bool = False


ROLE_KEYS = (
    RoleKey("", "network_", NetworkOptions | None, "The network `{role}`."),
    RoleKey("path", "pretrain_network_", Path | None, "Weights to start network_{role} from."),
    RoleKey("path", "param_key_", str | None, "Key of the weights in the file (params, params_ema)."),
    RoleKey("path", "strict_load_", bool, "Every key must fit.", default=True),
    RoleKey("train", "optim_", OptimOptions | None, "Optimizer of network_{role}."),
    RoleKey(
        "train", "scheduler_", SchedulerOptions | None, "Schedule of optim_{role}, in place of `scheduler`.", own=True
    ),
    RoleKey(
        "train",
        "grad_clip_",
        float | ClipOptions | None,
        "Clipping of network_{role}, in place of `grad_clip`; a number is the largest gradient norm.",
        own=True,
    ),
)
LOSS_SUFFIX = "_opt"


def says_its_name(key: object, section: str) -> Any:
    """The annotation of what a key holds, as far as its name alone tells; None where it tells nothing.

    Args:
        key: the key, `optim_x` or `edge_opt`.
        section: where it stands, "" for the file itself.
    """
    for rule in ROLE_KEYS:
        if rule.section == section and str(key).startswith(rule.prefix):
            return rule.annotation
    return LossOptions | None if section == "train" and str(key).endswith(LOSS_SUFFIX) else None


def compose(
    roles: Iterable[str],
    train_options: type[TrainOptions] = TrainOptions,
    losses: Iterable[str] = (),
    required_roles: Iterable[str] = (),
    own: bool = False,
) -> type[Options]:
    """The schema of a file for one training method; the same one for the same arguments.

    Args:
        roles: roles of its networks, `g` for `network_g` and so on.
        train_options: its keys under `train`.
        losses: its loss slots, keys of `train` such as `pixel_opt`.
        required_roles: the roles that a file must fill.
        own: whether each role may have a scheduler and a clipping of its own; not for a model in BasicSR's manner.
    """
    return _composed(tuple(roles), train_options, tuple(losses), frozenset(required_roles), own)


@functools.cache
def _composed(
    roles: tuple[str, ...],
    train_options: type[TrainOptions],
    losses: tuple[str, ...],
    required: frozenset[str],
    own: bool,
) -> type[Options]:
    fields: dict[str, dict[str, Any]] = {"": {}, "path": {}, "train": {}}
    fields["train"] |= dict.fromkeys(losses, (LossOptions | None, None))
    for rule in ROLE_KEYS:
        for role in roles if own or not rule.own else ():
            needed = rule.prefix == "network_" and role in required
            field = Field(... if needed else rule.default, description=rule.text.format(role=role))
            fields[rule.section][rule.prefix + role] = (NetworkOptions if needed else rule.annotation, field)
    train = create_model(train_options.__name__, __base__=train_options, **fields["train"])
    path = create_model("PathOptions", __base__=PathOptions, **fields["path"])
    sections: dict[str, Any] = {"train": (train | None, None), "path": (path, path())}
    return create_model("Options", __base__=Options, **fields[""], **sections)
