"""The runs of an ablation, one for each cell and seed: their option files, folders, and finished steps."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from uir.ablation.grid import OWN_KEYS, Ablation, Cell
from uir.config.options import OptionError, OptionFile, load_options, load_plugins_of, read_merged
from uir.config.problems import Problem, nearest
from uir.config.yaml_file import dump_yaml
from uir.core.files import write_text
from uir.metrics.building import build_metric
from uir.registry import MODEL_REGISTRY
from uir.registry.components import signature_of

STEPS = ("train", "test")
SMOKE_ITERATIONS = 2


@dataclass(frozen=True)
class Run:
    """One cell with one seed.

    Attributes:
        cell: name of the cell.
        seed: seed of all random numbers.
        folder: contains its option files and logs, its run below `train`, and the test of it below `test`.
        options: the whole option file of each step, as plain data; `test` only if the ablation has one.
        stages: iterations of each stage, and the images that each of these iterations learns from.
    """

    cell: str
    seed: int
    folder: Path
    options: Mapping[str, Mapping[str, Any]]
    stages: tuple[tuple[int, int], ...]

    @property
    def title(self) -> str:
        """The run's name in messages."""
        return f"{self.cell} seed {self.seed}"

    @property
    def iterations(self) -> int:
        """Number of iterations of all stages together."""
        return sum(length for length, _ in self.stages)

    def samples(self, iterations: int) -> int:
        """Images that its first so many iterations learn from, all stages counted together."""
        total = 0
        for length, images in self.stages:
            total += min(iterations, length) * images
            iterations = max(0, iterations - length)
        return total

    def fingerprint(self, step: str) -> str:
        """A hash of the option files of a step and of the steps before it; a change means another result."""
        counting = [self.options[name] for name in STEPS[: STEPS.index(step) + 1]]
        return hashlib.sha256(json.dumps(counting, sort_keys=True).encode()).hexdigest()

    def option_file(self, step: str) -> Path:
        """The path of a step's option file."""
        return self.folder / f"{step}.yml"

    def output(self, step: str) -> Path:
        """The output folder of a step."""
        return self.folder / step / str(self.options[step]["name"])

    def done(self) -> list[str]:
        """The steps that are finished with exactly these options."""
        return [step for step, noted in self._noted().items() if noted["done"]]

    def is_finished(self) -> bool:
        """Whether all steps are finished."""
        return all(step in self.done() for step in self.options)

    def has_begun(self) -> bool:
        """Whether its training was started with exactly these options."""
        return "train" in self._noted()

    def begin(self) -> None:
        """Write the option files and note that the run has started; notes about other options are removed."""
        for step, options in self.options.items():
            write_text(self.option_file(step), dump_yaml(dict(options)))
        self._write(self._noted())

    def note_done(self, step: str, about: Mapping[str, Any]) -> None:
        """Note that a step is finished; `about` is stored with the note."""
        self._write(
            {**self._noted(), step: {"fingerprint": self.fingerprint(step), "done": True, "about": dict(about)}}
        )

    def _noted(self) -> dict[str, Any]:
        """The notes of each step; those with other options are left out."""
        try:
            noted = json.loads((self.folder / "cell.json").read_text(encoding="utf-8")).get("steps", {})
        except (OSError, json.JSONDecodeError):
            return {}
        return {
            step: noted[step]
            for step in self.options
            if step in noted and noted[step]["fingerprint"] == self.fingerprint(step)
        }

    def _write(self, noted: Mapping[str, Any]) -> None:
        is_started = {step: {"fingerprint": self.fingerprint(step), "done": False} for step in self.options}
        state = {"cell": self.cell, "seed": self.seed, "steps": {**is_started, **noted}}
        write_text(self.folder / "cell.json", json.dumps(state, indent=2))


@dataclass(frozen=True)
class Plan:
    """An ablation with its runs, ready to train.

    Attributes:
        ablation: the ablation file.
        root: the folder where relative paths start.
        folder: experiments/ablation/<name> below it.
        runs: cell by cell, seed by seed.
        metrics: the reported metrics, each with its description and the better direction.
        absent: files and folders that the option files name and that do not exist, each with its place.
    """

    ablation: Ablation
    root: Path
    folder: Path
    runs: tuple[Run, ...]
    metrics: Mapping[str, Mapping[str, str]]
    absent: tuple[str, ...] = ()

    def only(self, cells: Sequence[str], seeds: Sequence[int] = ()) -> Plan:
        """The same plan with the runs of some cells and seeds; with those of all if none is named.

        Raises:
            OptionError: there is no such cell, or no such seed.
        """
        known = list(dict.fromkeys(run.cell for run in self.runs))
        unknown = [f"--cell {cell}: there is no such cell{nearest(cell, known)}" for cell in cells if cell not in known]
        there = ", ".join(map(str, self.ablation.seeds))
        unknown += [
            f"--seed {seed}: there is no such seed; there are {there}"
            for seed in seeds
            if seed not in self.ablation.seeds
        ]
        if unknown:
            raise OptionError(unknown)
        return replace(
            self,
            runs=tuple(
                run for run in self.runs if (not cells or run.cell in cells) and (not seeds or run.seed in seeds)
            ),
        )


def smoke_test_of(ablation: Ablation) -> Ablation:
    """The same ablation under the name <name>_smoke, with only the first seed: to see that every cell runs."""
    return replace(ablation, name=f"{ablation.name}_smoke", seeds=ablation.seeds[:1], is_smoke_test=True)


def plan_runs(ablation: Ablation, root: Path, force: Sequence[str] = ()) -> Plan:
    """Make and check the option file of every run; this writes nothing below `root`.

    Args:
        ablation: the grid. In a smoke test each stage has two iterations.
        root: the folder where relative paths start.
        force: overrides of every run's option file, `train:total_iter=100`, after those of the cells.

    Raises:
        OptionError: all mistakes of all cells, each once.
    """
    folder = root / "experiments" / "ablation" / ablation.name
    problems: dict[str, None] = {}
    absent: dict[str, None] = {}
    runs: list[Run] = []
    metrics: dict[str, dict[str, Any]] = {}
    test = _read_test(ablation)
    for text in force:
        if text.split("=")[0].split(":")[0].strip() in OWN_KEYS:
            raise OptionError([f"--force_yml {text}: is set by the ablation; change it in {ablation.file}"])
    with tempfile.TemporaryDirectory() as scratch:
        for cell in ablation.cells:
            for seed in ablation.seeds:
                place = folder / cell.name / f"seed{seed}"
                try:
                    trained = _load(ablation, cell, seed, place, root, Path(scratch), force)
                    options_by_step = {"train": _measuring_inputs(trained)}
                    measured = trained
                    if test is not None:
                        measured = _load_test(test, ablation, cell, trained, place, root, Path(scratch))
                        options_by_step["test"] = _measuring_inputs(measured)
                except OptionError as error:
                    problems |= dict.fromkeys(map(str, error.problems))
                    break  # the other seeds have the same mistakes
                absent |= dict.fromkeys(_absent(trained, measured, ablation, cell))
                runs.append(Run(cell.name, seed, place, options_by_step, _stages(trained)))
                last = measured.stages[-1].file if measured.stages else measured
                val = last.options.val
                metrics |= {name: component.spec() for name, component in (val.metrics if val else {}).items()}
                if not metrics or all(key.split("_")[0] == "train" for key in last.options.datasets):
                    problems[f"{ablation.file}: cell '{cell.name}' measures nothing; it needs `val.metrics` and a "
                             "dataset `val`, or the ablation a `test` file with them"] = None  # fmt: skip
    for name in ablation.metrics:
        if name not in metrics:
            problems[f"{ablation.file}: metric: '{name}' is not in val.metrics{nearest(name, metrics)}"] = None
    if problems:
        raise OptionError(list(problems))
    described = {}
    for name in ablation.metrics or metrics:
        metric = build_metric(metrics[name], f"val.metrics.{name}")
        described[name] = {"description": metric.describe(), "better": metric.better}
    runs.sort(key=lambda run: ablation.seeds.index(run.seed))  # unfinished work compares all cells
    return Plan(ablation, root, folder, tuple(runs), described, tuple(absent))


def _absent(trained: OptionFile, measured: OptionFile, ablation: Ablation, cell: Cell) -> list[str]:
    """What the files of a run name and what does not exist; the weights for the test are still to be trained."""
    in_test = () if measured is trained else measured.absent
    lines = []
    for problem in (*trained.absent, *(item for item in in_test if "path.pretrain_network_" not in str(item))):
        mark = problem.mark if isinstance(problem, Problem) else None
        if isinstance(problem, Problem) and mark and mark.file.resolve() in (trained.file, measured.file):
            lines.append(f"{ablation.file}: cell '{cell.name}': {problem.message}")  # its own file is a temporary one
        else:
            lines.append(str(problem))
    return lines


def _measuring_inputs(loaded: OptionFile) -> dict[str, Any]:
    """A run's options, with which the degraded images are measured too, unless its file says otherwise."""
    options: dict[str, Any] = _plain(loaded.raw)
    files = [stage.file for stage in loaded.stages] or [loaded]
    methods = [MODEL_REGISTRY.get(file.options.model_type) for file in files]
    if isinstance(options.get("val"), dict) and not any(signature_of(method).takes_opt for method in methods):
        options["val"].setdefault("measure_input", True)
    return options


def _load(
    ablation: Ablation, cell: Cell, seed: int, place: Path, root: Path, scratch: Path, force: Sequence[str]
) -> OptionFile:
    """The training file of a run: the base file, with the cell's overrides over it, and those of the command line."""
    overrides: dict[str, Any] = _plain(cell.overrides)
    load_plugins_of(overrides, {}, ablation.file)
    path = {**(overrides.get("path") or {}), "experiments_root": str(place / "train")}
    name = f"{ablation.name}_{cell.name}_seed{seed}"
    content = {**overrides, "base": str(ablation.base), "name": name, "manual_seed": seed, "path": path}
    file = scratch / "cell.yml"
    file.write_text(dump_yaml(content), encoding="utf-8")
    try:
        loaded = load_options(file, force=(*cell.force, *force), root=root)
        if ablation.is_smoke_test:
            loaded = load_options(file, force=(*cell.force, *force, *_few_iterations(loaded)), root=root)
    except OptionError as error:
        raise _at_cell(error, ablation, cell, file) from None
    return loaded


def _few_iterations(loaded: OptionFile) -> list[str]:
    """Overrides that give each stage two iterations."""
    if loaded.stages:
        return [f"train:stages:{index}:iterations={SMOKE_ITERATIONS}" for index in range(len(loaded.stages))]
    return [f"train:total_iter={SMOKE_ITERATIONS}"]


def _at_cell(error: OptionError, ablation: Ablation, cell: Cell, file: Path, what: str = "") -> OptionError:
    """The same mistakes; a mistake in the temporary file is reported as the cell's."""
    where = f"{ablation.file}: cell '{cell.name}'{what}"
    problems: list[Problem | str] = []
    for problem in error.problems:
        mark = problem.mark if isinstance(problem, Problem) else None
        if isinstance(problem, Problem) and (mark is None or mark.file == file):
            problems.append(f"{where}: {problem.message}")
        else:
            problems.append(problem if mark is not None and mark.line else f"{where}: {problem}")
    return OptionError(problems)


def _read_test(ablation: Ablation) -> dict[str, Any] | None:
    """The used part of the test file: everything except its networks and method, which come from the cells."""
    if ablation.test is None:
        return None
    raw, marks = read_merged(ablation.test)
    load_plugins_of(raw, marks, ablation.test)
    return {key: value for key, value in raw.items() if key not in ("path", "train") and "network_" not in str(key)}


def _load_test(
    test: Mapping[str, Any], ablation: Ablation, cell: Cell, trained: OptionFile, place: Path, root: Path, scratch: Path
) -> OptionFile:
    """The test file of a run: the test sets and metrics of the ablation's file, the networks of the last stage."""
    last = trained.stages[-1].file if trained.stages else trained
    model = last.options.model_type
    model_roles = getattr(MODEL_REGISTRY.get(model), "network_roles", ("g",))
    roles = [role for role in model_roles if last.raw.get(f"network_{role}") is not None]
    path: dict[str, Any] = {"results_root": str(place / "test")}
    for role in roles:
        path[f"pretrain_network_{role}"] = str(
            place / "train" / last.options.name / "models" / f"net_{role}_latest.pth"
        )
        path[f"param_key_{role}"] = "params_ema"  # without an average, `params` is used
    plugins = test.get("plugins") or []
    if isinstance(plugins, list):  # else it is a mistake, reported with the others
        plugins = [*dict.fromkeys([*plugins, *last.options.plugins])]
    content = {
        **test, **{f"network_{role}": last.raw[f"network_{role}"] for role in roles}, "model_type": model,
        "scale": last.options.scale, "name": last.options.name, "manual_seed": last.seed, "path": path,
        "plugins": plugins,
    }  # fmt: skip
    file = scratch / "test.yml"
    file.write_text(dump_yaml(_plain(content)), encoding="utf-8")
    try:
        return load_options(file, is_train=False, root=root)
    except OptionError as error:
        raise _at_cell(error, ablation, cell, file, f", tested by {ablation.test}") from None


def _stages(loaded: OptionFile) -> tuple[tuple[int, int], ...]:
    """Of each stage the iterations, and the images of an iteration: an ablation trains in one process."""
    stages = []
    for file in [stage.file for stage in loaded.stages] or [loaded]:
        data, train = file.options.datasets.get("train"), file.options.train
        if train is not None:
            images = 0 if data is None else data.batch_size_per_gpu or 0
            stages.append((train.total_iter, images * train.accumulate))
    return tuple(stages)


def _plain(value: Any) -> Any:
    """A copy that contains only JSON and YAML types."""
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value if isinstance(value, bool | int | float | str) or value is None else str(value)
