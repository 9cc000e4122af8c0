"""The commands `uir analyze knn|probe|tsne|radar|complexity`. Large packages are imported only when they are needed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Optional

import typer

from uir.cli.arguments import SETTINGS, JsonArgument, PluginArgument

if TYPE_CHECKING:
    from uir.analysis.feature_source import FeatureSource

analyze_app = typer.Typer(
    name="analyze",
    help="Examine networks: what their features show, what they cost.",
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings=SETTINGS,
)

OptArgument = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option("-opt", "--opt", help="Option file that describes the network; not needed if --model has a card."),
]
ModelArgument = Annotated[Optional[Path], typer.Option("--model", help="Checkpoint (.pth or .safetensors).")]  # noqa: UP045
ParamKeyArgument = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--param_key", help="Weights to use; default params_ema, else params."),
]
NetworkArgument = Annotated[
    str, typer.Option("--network", help="Role of the network in the file: g, or e, an encoder.")
]
InitArgument = Annotated[
    Optional[Literal["trained", "random", "kaiming"]],  # noqa: UP045
    typer.Option(
        "--init", help="Weights: trained (default with --model), random, or kaiming (random by He et al.'s rule)."
    ),
]
ImagesArgument = Annotated[
    Path,
    typer.Option(
        "--clean_images",
        "--images",
        help="Folder of clean photographs, which are degraded here by --recipe. Do not give degraded ones.",
    ),
]
RecipeArgument = Annotated[
    str,
    typer.Option("--recipe", help="The classes: a set of tasks, a test set, or a .yml file of {label: {type: ...}}."),
]
MaxImagesArgument = Annotated[
    Optional[int],  # noqa: UP045
    typer.Option("--max_images", min=2, help="Use only this many photographs."),
]
CropArgument = Annotated[int, typer.Option("--crop", min=1, help="Side of the patches, in pixels.")]
PositionArgument = Annotated[Literal["center", "random"], typer.Option("--position", help="Position of the patches.")]
ScaleArgument = Annotated[
    Optional[int],  # noqa: UP045
    typer.Option("--scale", help="Scale of a recipe that makes images smaller."),
]
PoolArgument = Annotated[
    Literal["mean", "flatten"], typer.Option("--pool", help="Features: their mean over space, or all values.")
]
SplitsArgument = Annotated[int, typer.Option("--splits", min=1, help="Number of random splits of the photographs.")]
SeedArgument = Annotated[int, typer.Option("--seed", help="Seed of degradations, positions and random weights.")]
BatchArgument = Annotated[int, typer.Option("--batch_size", min=1, help="Images in one batch.")]
DeviceArgument = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--device", help="cpu, cuda, mps; default the best available."),
]
OutputFolderArgument = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option("-o", "--output", help="Folder for the numbers, the tables and the confusion pictures."),
]


@analyze_app.command("knn")
def knn(
    images: ImagesArgument,
    opt: OptArgument = None,
    model: ModelArgument = None,
    network: NetworkArgument = "g",
    init: InitArgument = None,
    param_key: ParamKeyArgument = None,
    recipe: RecipeArgument = "dcpt_5d",
    k: Annotated[int, typer.Option("--k", min=1, help="Neighbours.")] = 5,
    splits: SplitsArgument = 5,
    max_images: MaxImagesArgument = None,
    crop: CropArgument = 128,
    position: PositionArgument = "center",
    scale: ScaleArgument = None,
    pool: PoolArgument = "mean",
    seed: SeedArgument = 0,
    batch_size: BatchArgument = 8,
    device: DeviceArgument = None,
    output: OutputFolderArgument = None,
    plugin: PluginArgument = None,
    as_json: JsonArgument = False,
) -> int:
    """Name degradations by the nearest neighbours of features.

    Clean photographs are degraded in several ways (the classes of --recipe). A network shows the degradation in its
    features if those of another photograph with the same degradation are near. The accuracy is given for each level
    (layer whose features are read), and for raw pixels as a comparison. All classes contain the same photographs, and
    no photograph is in both parts of a split.

    \b
    Example: uir analyze knn -opt options/train/uir_small_demo.yml --clean_images datasets/demo/train -o probes
    """
    _load_plugins(plugin)
    from uir.analysis.feature_source import FeatureSource

    source = FeatureSource(
        images, opt, model, network, init, param_key, recipe, max_images, crop, position, scale, pool, seed, batch_size,
        device,
    )  # fmt: skip
    return _probe(source, "knn", k, splits, output, as_json)


@analyze_app.command("probe")
def probe(
    images: ImagesArgument,
    opt: OptArgument = None,
    model: ModelArgument = None,
    network: NetworkArgument = "g",
    init: InitArgument = None,
    param_key: ParamKeyArgument = None,
    recipe: RecipeArgument = "dcpt_5d",
    splits: SplitsArgument = 5,
    max_images: MaxImagesArgument = None,
    crop: CropArgument = 128,
    position: PositionArgument = "center",
    scale: ScaleArgument = None,
    pool: PoolArgument = "mean",
    seed: SeedArgument = 0,
    batch_size: BatchArgument = 8,
    device: DeviceArgument = None,
    output: OutputFolderArgument = None,
    plugin: PluginArgument = None,
    as_json: JsonArgument = False,
) -> int:
    """Name degradations by a linear classifier of features.

    Clean photographs are degraded in several ways (the classes of --recipe). The accuracy of a linear classifier, which
    learns from the features of some photographs and is tested on others, is given for each level (layer whose features
    are read), and for raw pixels as a comparison.

    \b
    Example: uir analyze probe -opt options/train/uir_small_demo.yml --clean_images datasets/demo/train --splits 3
    """
    _load_plugins(plugin)
    from uir.analysis.feature_source import FeatureSource

    source = FeatureSource(
        images, opt, model, network, init, param_key, recipe, max_images, crop, position, scale, pool, seed, batch_size,
        device,
    )  # fmt: skip
    return _probe(source, "linear", None, splits, output, as_json)


@analyze_app.command("tsne")
def tsne(
    images: ImagesArgument,
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for the pictures and tsne.json.")],
    opt: OptArgument = None,
    model: ModelArgument = None,
    network: NetworkArgument = "g",
    init: InitArgument = None,
    param_key: ParamKeyArgument = None,
    recipe: RecipeArgument = "dcpt_5d",
    level: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option("--level", help="Feature level to draw (`pixels` too); may be repeated. Default the last."),
    ] = None,
    perplexity: Annotated[float, typer.Option("--perplexity", help="Rough number of neighbours that count.")] = 30.0,
    iterations: Annotated[int, typer.Option("--iterations", min=250, help="Steps of the optimisation.")] = 2000,
    max_images: MaxImagesArgument = None,
    crop: CropArgument = 128,
    position: PositionArgument = "center",
    scale: ScaleArgument = None,
    pool: PoolArgument = "mean",
    seed: SeedArgument = 0,
    batch_size: BatchArgument = 8,
    device: DeviceArgument = None,
    plugin: PluginArgument = None,
    as_json: JsonArgument = False,
) -> int:
    """Draw a network's features in two dimensions by t-SNE.

    Clean photographs are degraded in several ways (the classes of --recipe); each degradation has its colour. The
    coordinates are written too.

    \b
    Example: uir analyze tsne -opt options/train/uir_small_demo.yml --clean_images datasets/demo/train -o tsne
    """
    _load_plugins(plugin)
    from uir.analysis.feature_source import FeatureSource

    source = FeatureSource(
        images, opt, model, network, init, param_key, recipe, max_images, crop, position, scale, pool, seed, batch_size,
        device,
    )  # fmt: skip
    from uir.analysis.tsne import write_embeddings

    features, patches = source.read(progress=not as_json)
    levels = level or [list(features)[-1]]
    options: dict[str, Any] = {"perplexity": perplexity, "iterations": iterations, "seed": seed}
    return _said(write_embeddings(output, features, patches, levels, source.settings(), **options), as_json)


@analyze_app.command("radar")
def radar(
    results: Annotated[
        list[Path], typer.Argument(help="metrics.json of tests, or the output of `uir test --json`; one file per run.")
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="Picture to write.")],
    metric: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--metric", help="Metric; default the first that all runs have."),
    ] = None,
    name: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option("--name", help="Name of a run, in the order of the files; default the file names."),
    ] = None,
    as_json: JsonArgument = False,
) -> int:
    """Compare runs over their test sets in a radar chart.

    \b
    Example: uir analyze radar results/uir_small_demo/metrics.json -o radar.png
    """
    from uir.analysis.charts import radar_picture
    from uir.analysis.results_files import names_of, read_results, shared_values

    names = name or names_of(results)
    if len(names) != len(results) or len(set(names)) != len(names):
        raise typer.BadParameter(f"--name: expected {len(results)} different names, one for each file, got {names}")
    runs = {own: read_results(path) for own, path in zip(names, results, strict=True)}
    chosen, datasets, values = shared_values(runs, metric)
    radar_picture(output, values, datasets, chosen)
    if as_json:
        print(json.dumps({"metric": chosen, "datasets": datasets, "runs": values, "output": str(output)}, indent=2))
        return 0
    _print_table(["run", *datasets], [[own, *(f"{value:.4g}" for value in row)] for own, row in values.items()])
    return _said([output], False)


@analyze_app.command("complexity")
def complexity(
    opt: OptArgument = None,
    model: ModelArgument = None,
    network: NetworkArgument = "g",
    size: Annotated[tuple[int, int], typer.Option("--size", metavar="H W", help="Size of the input.")] = (256, 256),
    runs: Annotated[int, typer.Option("--runs", min=1, help="Timed passes; the median is reported.")] = 3,
    device: DeviceArgument = None,
    plugin: PluginArgument = None,
    as_json: JsonArgument = False,
) -> int:
    """Count parameters and operations, measure time and memory.

    The numbers are those of one image. An encoder of the network's degradation code is included.

    \b
    Example: uir analyze complexity -opt options/train/uir_small_demo.yml --size 256 256
    """
    from dataclasses import asdict

    _load_plugins(plugin)
    from uir.analysis.complexity import measure_complexity
    from uir.analysis.networks import load_network, with_encoder
    from uir.core.devices import device_named

    whole_network = with_encoder(load_network(opt, model, network, "random"), opt)
    cost = measure_complexity(whole_network, size, device=device_named(device), runs=runs)
    if as_json:
        print(json.dumps(asdict(cost), indent=2))
        return 0
    rows = [
        ["parameters", f"{cost.parameters:,d}"],
        ["multiply-accumulates", f"{cost.macs / 1e9:.3f} G"],
        ["time", f"{1000 * cost.seconds:.1f} ms ({cost.device}, {cost.threads} threads, median of {cost.runs})"],
        ["peak memory", f"{cost.peak_memory_mib:.1f} MiB (weights and tensors)"],
    ]
    _print_table([cost.network, f"one image of {size[0]}x{size[1]}"], rows)
    return 0


def _load_plugins(specs: list[str] | None) -> None:
    from uir.registry.plugins import load_plugin

    for spec in specs or []:
        load_plugin(spec, named_in="--plugin")


def _probe(
    source: FeatureSource,
    kind: Literal["knn", "linear"],
    k: int | None,
    splits: int,
    output: Path | None,
    as_json: bool,
) -> int:
    """Probe, write the report if `output` is set, and print; return the exit code 0."""
    from uir.analysis.probe_report import ProbeReport
    from uir.analysis.probes import probe_features

    features, patches = source.read(progress=not as_json)
    levels = probe_features(features, patches, kind, k or 1, splits)
    report = ProbeReport(kind, patches, levels, source.settings() | ({} if k is None else {"k": k}))
    files = report.write(output) if output is not None else []
    if as_json:
        print(json.dumps(report.to_dict(), indent=2))
        return 0
    _print_table(report.header(), report.rows())
    best = max(report.levels, key=lambda level: level.mean)
    _print_table([f"{best.level}, %", *patches.classes], report.confusion_rows(best))
    return _said(files, False) if files else 0


def _print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.table import Table

    from uir.core.progress import console

    table = Table(box=None, pad_edge=False)
    for index, title in enumerate(header):
        table.add_column(title, justify="right" if index else "left")
    for row in rows:
        table.add_row(*row)
    console.print(table)


def _said(files: Sequence[Path], as_json: bool) -> int:
    """Print which files were written; return the exit code 0."""
    if as_json:
        print(json.dumps([str(path) for path in files]))
    else:
        print(f"written: {', '.join(map(str, files))}")
    return 0
