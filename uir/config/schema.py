"""The typed sections of an option file.

A section cannot be changed after it is read. A training method adds its own keys with a subclass of `TrainOptions`;
`uir.config.named_keys` adds the keys of its networks' roles and of its losses. `uir.config.spec` makes one tree of the
sections, which all code that reads option files uses.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from uir.core.names import PLAIN_NAME, is_plain_name
from uir.core.precision import Precision
from uir.registry import PROTOCOLS, nearest_names


def _plain(name: str) -> str:
    if not is_plain_name(name):
        raise ValueError(PLAIN_NAME)
    return name


PlainName = Annotated[str, AfterValidator(_plain)]
"""Text that names a folder or is a part of a file name."""
PlainEnding = Annotated[str, AfterValidator(lambda ending: ending and _plain(ending))]
"""The same, or nothing."""


def _protocol(name: str) -> str:
    if name not in PROTOCOLS:
        near = nearest_names(name, PROTOCOLS.keys())
        hint = f" (nearest: {', '.join(near)})" if near else ""
        raise ValueError(f"a protocol of `uir list protocols`{hint}")
    return name


ProtocolName = Annotated[str, AfterValidator(_protocol)]
"""The name of a published protocol."""
Iterations = Annotated[int, Field(ge=1, le=10**9)]
"""The length of a training or of a stage."""
LargestNorm = Annotated[float, Field(gt=0)]
"""The largest norm of gradients."""
Count = Annotated[int, Field(ge=1)]


class Section(BaseModel):
    """A mapping with known keys. Unknown keys are kept too; the checker decides whether they are mistakes."""

    model_config = ConfigDict(
        extra="allow", frozen=True, coerce_numbers_to_str=True, protected_namespaces=(), allow_inf_nan=False
    )

    place: ClassVar[str] = ""
    """The place of `uir.config.spec.PLACES` whose classes its `type` names; empty for a section without a `type`."""


class Component(Section):
    """`{type: Name, argument: value, ...}`: an object of a registry, not built yet."""

    type: str = Field(description="Name in the registry; `uir:` or `basicsr:` before it chooses the toolbox.")

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

    pad_multiple: int | None = Field(
        None, ge=1, description="Images are padded to multiples of this, if the network does not declare its own."
    )

    def spec(self) -> dict[str, Any]:
        """The mapping as it is written in the file."""
        return super().spec() | ({} if self.pad_multiple is None else {"pad_multiple": self.pad_multiple})


class LossOptions(Component):
    """A loss."""

    place: ClassVar[str] = "losses"


class MetricOptions(Component):
    """A metric."""

    place: ClassVar[str] = "metrics"

    better: Literal["higher", "lower"] | None = Field(
        None, description="Which scores are good; default as the metric declares."
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
    resume_id: str | None = Field(None, description="Id of the run to continue.")


class LoggerOptions(Section):
    """What is logged, and how often (in iterations)."""

    print_freq: int = Field(100, ge=1, description="Iterations between two log lines.")
    save_checkpoint_freq: int = Field(
        5000, ge=1, description="Iterations between two checkpoints with their training states."
    )
    keep_last: int | None = Field(None, ge=1, description="Number of recent checkpoints to keep; default all.")
    use_tb_logger: bool = Field(False, description="Also write TensorBoard events to tb_logger/<name>.")
    wandb: WandbOptions | None = None


class PathOptions(Section):
    """Files to start from, and the folders of the run. Relative paths start at the root of the project."""

    resume_state: Path | None = Field(None, description="A `.state` file to go on from.")
    experiments_root: Path | None = Field(
        None, description="The folder of all training runs; default experiments. The run goes to <name> below it."
    )
    results_root: Path | None = Field(
        None, description="The folder of all test runs; default results. The run goes to <name> below it."
    )


class RecurringOptions(Section):
    """Something that is done at some or all validations."""

    every: int | None = Field(
        None, ge=1, description="Only at validations whose iteration is a multiple of this; default at every one."
    )

    def is_due(self, iteration: int | str) -> bool:
        """Whether it is done at a validation at `iteration`; always in a test, which gives a name instead."""
        return self.every is None or isinstance(iteration, str) or iteration % self.every == 0


class PatchOptions(RecurringOptions):
    """The features of the network in training that are examined, and the patches for it, as in `uir analyze`."""

    images: Path = Field(description="Folder of clean photographs; every class is made from them.")
    recipe: str = Field(
        "dcpt_5d", description="The classes: a set of tasks, a test set, or a .yml file of {label: {type: ...}}."
    )
    max_images: int | None = Field(32, ge=2, description="Number of photographs to use, the first ones; null for all.")
    network: str = Field("g", description="Role of the network that is examined.")
    crop: int = Field(128, ge=1, description="Side of the patches, in pixels.")


class ProbeOptions(PatchOptions):
    """Measures how well features of the network in training separate the degradations, as `uir analyze` does."""

    k: int = Field(5, ge=1, description="Neighbours of the kNN probe.")
    splits: int = Field(5, ge=1, description="Number of splits of the photographs; their accuracies are averaged.")


class TsneOptions(PatchOptions):
    """Plots features of the network in training in two dimensions, as `uir analyze tsne` does."""

    levels: list[str] | None = Field(None, description="Feature levels to draw (`pixels` too); default the last.")
    perplexity: float = Field(30.0, gt=0, description="Roughly the number of neighbours that count for each point.")
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

    images: int = Field(3, ge=1, description="Number of images of each validation set, the first ones.")


class RadarOptions(RecurringOptions):
    """A chart with an axis for each validation set; it needs at least three sets."""

    metric: str = Field(description="The metric to draw, or a measure of the method such as top1.")


class ValOptions(Section):
    """Validation during training, and testing."""

    val_freq: int | None = Field(None, ge=1, description="Iterations between two validations; default only at the end.")
    save_img: bool = Field(False, description="Write the restored images to the run's visualization folder.")
    suffix: PlainEnding | None = Field(None, description="Ending of the written images' names.")
    pbar: bool = Field(True, description="Show a progress bar.")
    metrics: dict[str, MetricOptions] = Field(
        default_factory=dict, description="Metrics, each under the name that logs and tables show."
    )
    protocols: list[ProtocolName] = Field(
        default_factory=list,
        description="Published protocols by which `uir test` measures, a table for each, instead of val.metrics; "
        "`uir list protocols` shows them.",
    )
    keep_best: PlainName | None = Field(
        None,
        description="A metric, or a measure of the method such as top1. The networks with its best mean over the "
        "validation sets are kept.",
    )
    measure_input: bool = Field(
        False, description="Measure the degraded input too; a smaller one is enlarged bicubically."
    )
    controls: dict[str, Any] = Field(
        default_factory=dict, description="Values for the controls of the method's predictor, such as `{steps: 4}`."
    )
    probes: ProbesOptions | None = Field(None, description="Probes of the features, logged like metrics.")
    sheet: SheetOptions | None = Field(
        None,
        description="Write degraded, restored and clean images: sheet_<iteration>.png in the visualization folder.",
    )
    observers: dict[str, ObserverOptions] = Field(
        default_factory=dict, description="Your own validation observers, by any name: `{mine: {type: MyObserver}}`."
    )
    radar: RadarOptions | None = Field(
        None,
        description="Draw a metric over the validation sets, with its best values so far and, if val.measure_input is "
        "true, those of the input: radar_<iteration>.png in the visualization folder.",
    )


class SchedulerOptions(Component):
    """BasicSR's learning-rate schedulers or one of torch.optim.lr_scheduler, by name; counted in iterations."""

    place: ClassVar[str] = "schedulers"


class ParameterGroup(Section):
    """Parameters with their own settings; further keys are the optimizer's, such as weight_decay."""

    parameters: list[str] = Field(
        min_length=1, description="Names of parameters or modules of the network; `*` stands for any text (`*.bias`)."
    )
    lr: float | None = Field(None, gt=0, description="Learning rate, instead of the optimizer's.")


class LayerDecay(Section):
    """Learning rates that fall from the output of a network to its input."""

    factor: float = Field(gt=0, le=1, description="Factor from one group of layers to the one before it.")
    layers: list[list[str]] | None = Field(
        None,
        description="Names of modules or parameters in groups, from the input to the output, `*` standing for any "
        "text; all others come after them and have the full rate. Default the groups that the network declares.",
    )


class OptimOptions(Component):
    """An optimizer of torch.optim, by name."""

    place: ClassVar[str] = "optimizers"

    lr: float = Field(gt=0, description="Learning rate.")
    groups: list[ParameterGroup] = Field(
        default_factory=list, description="Parameters with their own settings; the first group that fits counts."
    )
    layer_decay: Annotated[float, Field(gt=0, le=1)] | LayerDecay | None = Field(
        None,
        description="Learning rates that fall towards the input, for the parameters that are in none of `groups`: each "
        "layer has this factor times the rate of the next one; the output has the full rate.",
    )
    decay_1d: bool = Field(
        True, description="Whether weight_decay applies to biases and other parameters of one dimension too."
    )


class ClipOptions(Section):
    """Gradient clipping."""

    max_norm: float | None = Field(None, gt=0, description="Largest norm of all gradients of a network together.")
    value: float | None = Field(None, gt=0, description="Largest absolute value of one gradient.")


class StageOptions(Section):
    """A stage of the training: its name, its length, and changes to the keys of the file."""

    name: str = Field(description="Name of the stage.")
    iterations: Iterations = Field(description="Length of the stage in iterations.")
    losses: list[str] | None = Field(None, description="Keep only these losses, such as [pixel_opt].")
    carry: list[str] | None = Field(
        None, description="Optimizers that keep their moments, such as [optim_g]; the others restart."
    )
    train: list[str] | dict[str, Any] | None = Field(
        None, description="Train only these networks, such as [network_g]; or changes to the keys of `train`."
    )


# Keys of a file that no stage may override, each with why.
KEYS_OF_NO_STAGE = {
    "base": "the file as a whole has one",
    "stages": "a stage is not divided further",
    "total_iter": "its length is `iterations`",
}


class TrainOptions(Section):
    """Keys that every training method has."""

    total_iter: Iterations = Field(description="Iterations; one iteration is one optimizer step.")
    warmup_iter: int = Field(-1, ge=-1, description="Iterations of linear warm-up; -1 for none.")
    ema_decay: float = Field(0.0, ge=0, lt=1, description="Decay of the moving average of the weights; 0 for none.")
    accumulate: int = Field(1, ge=1, le=10**6, description="Batches whose gradients form one optimizer step.")
    grad_clip: LargestNorm | ClipOptions | None = Field(None, description="A number is the largest gradient norm.")
    stages: list[dict[str, Any]] | None = Field(
        None, description="Stages instead of total_iter: each with `name`, `iterations` and changes; see training.md."
    )
    max_nonfinite: int = Field(10, ge=1, description="Stop after so many non-finite losses or gradients in a row.")
    scheduler: SchedulerOptions | None = None
    vectorisers: dict[str, VectoriserOptions] = Field(
        default_factory=dict,
        description="Arguments of the vectorisers that losses use as `record.<name>`: "
        "`{noise: {type: severity, families: [noise]}}` is `record.noise`.",
    )


class MixupOptions(Section):
    """Mixes each image of a training batch with another one of it."""

    beta: float = Field(1.2, gt=0, description="The weight is drawn from Beta(beta, beta).")
    use_identity: bool = Field(True, description="Leave every second batch on average as it is.")


class LoaderOptions(Section):
    """How a dataset is loaded; BasicSR's keys."""

    name: PlainName | None = Field(
        None, description="Name of the dataset in logs and tables; default its key in `datasets`."
    )
    batch_size_per_gpu: int | None = Field(None, ge=1, description="Batch size per process.")
    num_worker_per_gpu: int = Field(0, ge=0, description="Loader processes per training process.")
    use_shuffle: bool = Field(True, description="Shuffle again in every epoch.")
    dataset_enlarge_ratio: int = Field(
        1, ge=1, le=10**6, description="How many times an epoch goes through the dataset."
    )
    pin_memory: bool = Field(False, description="Put batches in page-locked memory; copying to the GPU is faster.")
    persistent_workers: bool | None = Field(None, description="Keep the loader processes between epochs.")
    prefetch_mode: Literal["cpu", "cuda"] | None = Field(
        None, description="BasicSR's key: how batches are loaded in advance."
    )
    pair_pool: int | None = Field(
        None,
        ge=1,
        description="Mix each batch with a pool of this many earlier samples (the queue of Real-ESRGAN).",
    )
    num_prefetch_queue: int | None = Field(None, ge=1, description="Batches that each worker prepares in advance.")
    iters: list[Count] | None = Field(
        None, description="Progressive training: length of each part in iterations. A part of each batch is taken."
    )
    gt_sizes: list[Count] | None = Field(None, description="The patch size of each part.")
    mini_batch_sizes: list[Count] | None = Field(None, description="The batch size of each part.")
    mixup: MixupOptions | None = None


class DatasetOptions(LoaderOptions):
    """A dataset of the registry with its loader's keys."""

    place: ClassVar[str] = "datasets"

    type: str = Field(description="Name in the registry.")

    @property
    def arguments(self) -> dict[str, Any]:
        """The constructor's arguments: everything but `type` and the loader's keys."""
        return dict(self.model_extra or {})


class DistOptions(Section):
    """How several processes are connected."""

    backend: str | None = Field(None, description="Backend of torch.distributed, if it is not the default.")
    port: int | None = Field(None, ge=1, le=65535, description="For slurm; torchrun has its own `--master_port`.")


class Options(Section):
    """A whole option file, checked."""

    name: PlainName = Field(description="Name of the run, and of its folder.")
    model_type: str = Field(description="The training method, a name of the model registry.")
    scale: int = Field(1, ge=1, description="Size of the clean image divided by that of the degraded one.")
    num_gpu: int | Literal["auto"] = Field(
        "auto", description="0 is the CPU, else a GPU if there is one; each process of the launcher uses one."
    )
    manual_seed: int | None = Field(
        None, ge=0, lt=2**32, description="Seed of everything random; if absent, it is drawn and recorded."
    )
    plugins: list[str] = Field(
        default_factory=list, description="Modules or files to import first; relative to this file."
    )
    precision: Precision = Field("fp32", description="Number type that the networks compute in; weights stay in fp32.")
    compile: bool = Field(False, description="Compile the networks with torch.compile.")
    channels_last: bool = Field(False, description="Keep images channels-last in memory.")
    find_unused_parameters: bool = Field(
        False, description="With several processes: allow that some parameters get no gradient in a step."
    )
    grad_clip: LargestNorm | ClipOptions | None = Field(None, description="The same as train.grad_clip.")
    dist_params: DistOptions | None = None
    datasets: dict[str, DatasetOptions] = Field(
        default_factory=dict,
        description="What to train, validate and test on; keys start with `train`, `val` or `test`.",
    )
    path: PathOptions = PathOptions()
    train: TrainOptions | None = None
    val: ValOptions | None = None
    logger: LoggerOptions = LoggerOptions()


# The only key of a file that is removed when the file is read.
BASE_TEXT = "An option file to start from: mappings merge, lists replace, null deletes."

KEYS_AT_BOTH_PLACES = tuple(key for key in Options.model_fields if key in TrainOptions.model_fields)
"""Keys that mean the same at the top of a file and in `train`."""
