"""Reads option files, with what they inherit and what overrides them, and checks them.

The grammar is BasicSR's. `base: other.yml` inherits (mappings merge, lists replace, `~` deletes), `--force_yml
a:b=value` overrides, and the result is checked as a whole before anything is built. Text in a file is never run as
code.
"""

from __future__ import annotations

import copy
import logging
import math
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from uir.config.checks import Checked, check
from uir.config.dialects import Translation, translate
from uir.config.problems import Problem
from uir.config.roles import Role
from uir.config.schema import Options
from uir.config.stages import StageError, StagePlan, plan_stages
from uir.config.yaml_file import KeyPath, Mark, YamlError, mapping_at, parse_yaml, read_yaml
from uir.core.files import home_expanded
from uir.registry import MODEL_REGISTRY
from uir.registry.components import signature_of
from uir.registry.plugins import is_file_plugin, load_plugin

logger = logging.getLogger("uir")
MAX_BASES = 50


class OptionError(ValueError):
    """All mistakes of an option file."""

    def __init__(self, problems: Sequence[Problem | str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, problems)))


@dataclass(frozen=True)
class OptionFile:
    """A checked option file.

    Attributes:
        options: the typed content.
        raw: the merged mapping as it was checked, with absolute file names; it is never changed.
        file: the file that was read.
        root: the folder that its relative paths start from.
        is_train: whether it was read for training; otherwise for testing.
        unchecked: keys left to a plugin that does not declare its keys.
        stages: the stages of `train.stages`; `options` are then those of the first one.
        files: every file that the options were read from, those it inherits from included.
        absent: files and folders that it names and that do not exist, each with its place.
    """

    options: Options
    raw: Mapping[str, Any]
    file: Path
    root: Path
    is_train: bool
    unchecked: tuple[str, ...] = ()
    stages: tuple[Stage, ...] = ()
    files: tuple[Path, ...] = ()
    absent: tuple[Problem | str, ...] = ()

    @property
    def run_dir(self) -> Path:
        """The folder of the run: <name> below experiments or results, or below what `path` gives in their place.

        A folder of `path` that has the run's name already is the run's own.
        """
        path, name = self.options.path, self.options.name
        given = path.experiments_root if self.is_train else path.results_root
        if given is None:
            return self.root / ("experiments" if self.is_train else "results") / name
        return given if given.name == name else given / name

    @property
    def seed(self) -> int:
        """The run's seed."""
        if self.options.manual_seed is None:
            raise ValueError("manual_seed is not set; load the file with load_options, which draws one")
        return self.options.manual_seed

    def with_seed(self, seed: int) -> OptionFile:
        """The same file with another seed, in all its stages."""
        return replace(
            self,
            options=self.options.model_copy(update={"manual_seed": seed}),
            raw={**self.raw, "manual_seed": seed},
            stages=tuple(replace(stage, file=stage.file.with_seed(seed)) for stage in self.stages),
        )

    def starting_from(self, weights: Mapping[str, Path]) -> OptionFile:
        """The same file, in which the networks of these roles start from these weight files."""
        update: dict[str, Any] = {}
        for role, file in weights.items():
            update |= {f"pretrain_network_{role}": file, f"param_key_{role}": "params", f"strict_load_{role}": True}
        path = self.options.path.model_copy(update=update)
        raw_path = {
            **(self.raw.get("path") or {}),
            **{k: str(v) if isinstance(v, Path) else v for k, v in update.items()},
        }
        return replace(self, options=self.options.model_copy(update={"path": path}), raw={**self.raw, "path": raw_path})


@dataclass(frozen=True)
class Stage:
    """One stage of a training.

    Attributes:
        name: its name.
        file: the option file of this stage; `train.total_iter` is the stage's own length.
        carry: optimizers that keep their moments from the stage before, such as `optim_g`.
        fresh: roles whose networks do not continue from the stage before, because the stage names their weights.
    """

    name: str
    file: OptionFile
    carry: tuple[str, ...] = ()
    fresh: tuple[str, ...] = ()


def load_options(
    file: str | Path,
    *,
    is_train: bool = True,
    force: Iterable[str] = (),
    plugins: Iterable[str] = (),
    root: str | Path | None = None,
    debug: bool = False,
) -> OptionFile:
    """Read and check an option file.

    Args:
        file: the YAML file.
        is_train: check it for training or for testing.
        force: overrides in BasicSR's form, `train:optim_g:lr=1e-4`.
        plugins: plugins besides those that the file names; relative to the current folder.
        root: the folder that relative paths start from; default the nearest parent folder of the file that has a
            folder `options`, else its own folder.
        debug: BasicSR's debug mode: `debug_` before the name, frequent logs and checkpoints, no TensorBoard.

    Raises:
        OptionError: all mistakes of the file at once.
        PluginError: a plugin failed to import.
    """
    path = home_expanded(file)
    raw, marks = read_merged(path)
    for text in force:
        _force(raw, marks, text)
    for spec in plugins:
        load_plugin(spec, named_in="--plugin")
    load_plugins_of(raw, marks, path)
    base = Path(root).resolve() if root else find_root(path)
    if debug:
        _debug(raw, marks, is_train)
    if raw.get("manual_seed") is None:
        raw["manual_seed"] = random.SystemRandom().randint(1, 10000)
    translation = translate(raw, marks)
    problems = dialect_problems(translation, marks)
    try:
        loaded, warnings = _checked(translation.raw, translation.marks, path, base, is_train)
    except OptionError as error:
        raise OptionError([*problems, *_not_told(map(translation.as_written, error.problems), translation)]) from None
    if problems:
        raise OptionError(problems)
    for warning in dict.fromkeys(str(translation.as_written(warning)) for warning in warnings):
        logger.warning(warning)
    return replace(
        loaded,
        files=tuple({mark.file.resolve(): None for mark in marks.values() if mark.line}),
        absent=tuple(map(translation.as_written, loaded.absent)),
    )


def read_translated(file: Path) -> dict[str, Any]:
    """The mapping of an option file in uir's form, with what it inherits; its plugins are imported, nothing is checked.

    Raises:
        OptionError: the file cannot be read, or a key of its dialect has no valid meaning.
        PluginError: a plugin failed to import.
    """
    raw, marks = read_merged(file)
    load_plugins_of(raw, marks, file)
    translation = translate(raw, marks)
    if translation.mistakes:
        raise OptionError(mistakes_of(translation, marks))
    return translation.raw


def mistakes_of(translation: Translation, marks: Mapping[KeyPath, Mark]) -> list[Problem]:
    """The keys of a dialect that have no valid meaning."""
    return [Problem.at(path, marks, text) for path, text in translation.mistakes.items()]


def dialect_problems(translation: Translation, marks: Mapping[KeyPath, Mark]) -> list[Problem]:
    """The keys of a dialect that have no valid meaning, or no equivalent in uir, as mistakes of the file."""
    advice = "; `uir convert` writes the file without it"
    refused = [Problem.at(path, marks, f": {text}{advice}") for path, text in translation.refused.items()]
    return mistakes_of(translation, marks) + refused


def _not_told(problems: Iterable[Problem | str], translation: Translation) -> list[Problem | str]:
    """The problems without those of keys inside a section that is already a mistake as a whole."""
    told = tuple(".".join(map(str, path)) + "." for path in translation.mistakes)
    return [problem for problem in problems if isinstance(problem, str) or not problem.message.startswith(told)]


def _checked(
    raw: dict[str, Any], marks: dict[KeyPath, Mark], path: Path, base: Path, is_train: bool
) -> tuple[OptionFile, list[Problem]]:
    """Check a merged mapping in uir's form as a whole; the second value is what may be a mistake."""
    try:
        plans = plan_stages(raw, marks)
    except StageError as error:
        raise OptionError([Problem.at(error.path, marks, str(error))]) from None
    if plans:
        return _staged(plans, raw, marks, path, base, is_train)
    result: Checked = check(raw, marks, base, is_train)
    if result.options is None:
        raise OptionError(result.problems)
    loaded = OptionFile(
        result.options, raw, path.resolve(), base, is_train, tuple(result.unchecked), absent=tuple(result.absent)
    )
    return loaded, result.warnings


def _staged(
    plans: list[StagePlan], raw: dict[str, Any], marks: dict[KeyPath, Mark], path: Path, base: Path, is_train: bool
) -> tuple[OptionFile, list[Problem]]:
    """Check a file with stages: each stage is checked as a file of its own."""
    problems: dict[str, Problem] = {}
    warnings: list[Problem] = []
    absent: dict[str, Problem | str] = {}
    stages: list[Stage] = []
    for plan in plans:
        result = check(plan.raw, {**marks, **plan.places}, base, is_train)
        problems |= {str(problem): problem for problem in result.problems}
        warnings += result.warnings
        absent |= {str(problem): problem for problem in result.absent}
        if result.options is not None:
            file = OptionFile(result.options, plan.raw, path.resolve(), base, is_train, tuple(result.unchecked))
            stages.append(Stage(plan.name, file, plan.carry, plan.fresh))
    for index, stage in enumerate(stages):
        for key in stage.carry:
            message = _carry_problem(stages, index, key)
            if message:
                where: KeyPath = ("train", "stages", index, "carry")
                problems[message] = Problem.at(where, marks, message)
    if problems:
        raise OptionError(list(problems.values()))
    for index in range(1, len(stages)):
        _warn_of_old_average(stages, index)
    return replace(stages[0].file, raw=raw, stages=tuple(stages), absent=tuple(absent.values())), warnings


def _warn_of_old_average(stages: Sequence[Stage], index: int) -> None:
    """Warn if a stage is so short that its moving average still contains much of the weights of the stage before."""
    stage, options = stages[index], stages[index].file.options
    if options.train is None:
        return
    length, decay = options.train.total_iter, options.train.ema_decay
    largest = max(1 - 3 / length, 0)  # with it, 5 % of them remain
    if decay <= largest:
        return
    known = getattr(MODEL_REGISTRY.get(options.model_type), "network_roles", {"g": Role(averaged=True)})
    continued = [
        role
        for role, declared in known.items()
        if declared.averaged
        and role not in stage.fresh
        and getattr(options.train, f"optim_{role}", None) is not None
        and getattr(stages[index - 1].file.options, f"network_{role}", None) is not None
    ]
    if continued:
        logger.warning(
            "train.stages.%d: at the end of '%s' %.0f%% of the moving average, which is validated, are still weights "
            "of the stage before; with %d iterations ema_decay should be at most %g, not %g",
            index, stage.name, 100 * decay**length, length, math.floor(1000 * largest) / 1000, decay,
        )  # fmt: skip


def _carry_problem(stages: Sequence[Stage], index: int, key: str) -> str:
    """The reason why an optimizer cannot be carried into a stage; empty if it can."""
    if index == 0:
        return f": {key} cannot be carried into the first stage"
    for stage in stages[index - 1 : index + 1]:
        train = stage.file.options.train
        if getattr(train, key, None) is None:
            return f": stage '{stage.name}' has no {key}"
        if signature_of(MODEL_REGISTRY.get(stage.file.options.model_type)).takes_opt:
            return f": {stage.file.options.model_type} builds its optimizers itself; {key} cannot be carried"
    return ""


def find_root(file: Path) -> Path:
    """The nearest parent folder of an option file that has a folder `options`, else the file's own folder.

    `Options`, as Restormer writes it, counts too.
    """
    folder = file.resolve().parent
    parents = (folder, *folder.parents)
    return next((root for root in parents if any((root / name).is_dir() for name in ("options", "Options"))), folder)


def read_merged(file: Path, _seen: tuple[Path, ...] = ()) -> tuple[dict[str, Any], dict[KeyPath, Mark]]:
    """Read a file and the files that it inherits from.

    Raises:
        OptionError: a file is missing, is not a YAML mapping, inherits from itself, or by too many steps.
    """
    try:
        path = file.resolve()
    except (OSError, RuntimeError, ValueError) as error:  # a circle of links, a null character
        raise OptionError([f"{str(file)!r}: {error}"]) from None
    if len(_seen) > MAX_BASES:
        raise OptionError([f"{file}: more than {MAX_BASES} files inherit one from another by `base`"])
    if path in _seen:
        chain = " -> ".join(p.name for p in (*_seen, path))
        raise OptionError([f"{file}: the files of `base` form a circle: {chain}"])
    try:
        raw, marks = read_yaml(file)
    except YamlError as error:
        raise OptionError([str(error)]) from None
    if not isinstance(raw, dict):
        raise OptionError(
            [f"{file}: an option file is a mapping of keys to values, but this one is a {type(raw).__name__}"]
        )
    base = raw.pop("base", None)
    if base is None:
        return raw, marks
    if not isinstance(base, str):
        raise OptionError([f"{marks[('base',)]}: base: expected the path of one file, got {base!r}"])
    base_file = file.parent / home_expanded(base)
    if not base_file.exists():
        raise OptionError([f"{marks[('base',)]}: base: there is no file {base_file} (paths are relative to this file)"])
    inherited, inherited_marks = read_merged(base_file, (*_seen, path))
    return merge(inherited, raw, inherited_marks, marks), inherited_marks


def merge(
    below: dict[str, Any],
    above: Mapping[str, Any],
    marks: dict[KeyPath, Mark],
    new_marks: Mapping[KeyPath, Mark],
    path: KeyPath = (),
) -> dict[str, Any]:
    """Merge `above` into `below`, and their marks too: mappings merge, lists replace, `~` deletes."""
    for key, value in above.items():
        here = (*path, key)
        if isinstance(value, Mapping) and isinstance(below.get(key), dict):
            merge(below[key], value, marks, new_marks, here)
            continue
        for stale in _paths(below.get(key), here):
            marks.pop(stale, None)
        if value is None and key in below:
            del below[key]
            continue
        below[key] = copy.deepcopy(value)
        marks.update({place: new_marks[place] for place in _paths(value, here) if place in new_marks})
    return below


def _paths(value: Any, path: KeyPath) -> Iterator[KeyPath]:
    """The key path of a value, and those of all values in it."""
    yield path
    inner: Iterable[tuple[Any, Any]] = ()
    if isinstance(value, Mapping):
        inner = value.items()
    elif isinstance(value, list):
        inner = enumerate(value)
    for key, item in inner:
        yield from _paths(item, (*path, key))


def _force(raw: dict[str, Any], marks: dict[KeyPath, Mark], text: str) -> None:
    """Apply one `a:b=value`; the value is YAML."""
    mark = Mark(Path(f"--force_yml {text}"), 0)
    dotted, equals, value_text = text.partition("=")
    keys = [key.strip() for key in dotted.split(":")]
    if not equals or not all(keys):
        raise OptionError([f"{mark}: expected key:key=value"])
    target: Any = raw
    path: KeyPath = ()
    for key in keys[:-1]:
        path = (*path, key)
        if isinstance(target, list):
            target = _item(target, key, mark)
        else:
            if target.get(key) is None:
                target[key] = {}
                marks[path] = mark
            target = target[key]
        if not isinstance(target, dict | list):
            raise OptionError([f"{mark}: {'.'.join(map(str, path))} is {target!r}, not a mapping"])
    try:
        value = parse_yaml(value_text, (*path, keys[-1]))
    except Exception as error:
        raise OptionError([f"{mark}: the value is not YAML ({getattr(error, 'problem', None) or error})"]) from None
    if isinstance(target, list):
        _item(target, keys[-1], mark)
        target[int(keys[-1])] = value
    else:
        target[keys[-1]] = value
    marks[(*path, keys[-1])] = mark


def _item(items: list[Any], key: str, mark: Mark) -> Any:
    if not key.isdigit() or int(key) >= len(items):
        raise OptionError([f"{mark}: expected the number of a list item below {len(items)}, got '{key}'"])
    return items[int(key)]


def load_plugins_of(raw: dict[str, Any], marks: Mapping[KeyPath, Mark], file: Path) -> None:
    """Import the plugins that a file names, relative to the file that names them; `raw` gets absolute paths."""
    plugins = raw.get("plugins") or []
    for index, spec in enumerate(plugins if isinstance(plugins, list) else []):
        mark = marks.get(("plugins", index)) or Mark(file, 0)
        folder = (mark.file if mark.line else file).resolve().parent
        load_plugin(str(spec), folder, str(mark))
        if is_file_plugin(str(spec)):
            plugins[index] = str(folder / home_expanded(spec))


def _debug(raw: dict[str, Any], marks: dict[KeyPath, Mark], is_train: bool) -> None:
    if raw.get("name") is not None and not str(raw["name"]).startswith("debug"):
        raw["name"] = f"debug_{raw['name']}"
    if not is_train:
        return
    mark = Mark(Path("--debug"), 0)
    if raw.get("logger") is None or isinstance(raw["logger"], Mapping):
        hurried = {"print_freq": 1, "save_checkpoint_freq": 8, "use_tb_logger": False}
        raw["logger"] = {**mapping_at(raw, "logger"), **hurried}
        marks[("logger",)] = marks.get(("logger",), mark)
    if isinstance(raw.get("val"), dict) and raw["val"]:
        raw["val"]["val_freq"] = 8


def basicsr_dictionary(loaded: OptionFile, *, num_gpu: int, rank: int = 0, world_size: int = 1) -> dict[str, Any]:
    """A new BasicSR dictionary of the whole file, with the entries that basicsr's `parse_options` adds."""
    opt: dict[str, Any] = copy.deepcopy(dict(loaded.raw))
    run = loaded.run_dir
    opt.update(
        root_path=str(loaded.root), is_train=loaded.is_train, num_gpu=num_gpu, manual_seed=loaded.seed,
        auto_resume=False, dist=world_size > 1, rank=rank, world_size=world_size, scale=loaded.options.scale,
    )  # fmt: skip
    path = opt.setdefault("path", {}) or {}
    opt["path"] = path
    path.update(log=str(run), visualization=str(run / "visualization"))
    if loaded.is_train:
        path.update(experiments_root=str(run), models=str(run / "models"), training_states=str(run / "training_states"))
    else:
        path["results_root"] = str(run)
    for name, dataset in loaded.options.datasets.items():
        opt["datasets"][name] = dataset_dictionary(loaded, name)
        opt["datasets"][name].update(name=dataset.name or name)
    logger = opt.setdefault("logger", {}) or {}
    opt["logger"] = {**loaded.options.logger.model_dump(exclude_none=True), **logger}
    if opt.get("val") is not None and loaded.options.val is not None:
        val = opt["val"]
        val.setdefault("save_img", False)
        val.setdefault("suffix", None)
        val.setdefault("pbar", False)
        val.setdefault("metrics", None)
        val.setdefault("val_freq", loaded.options.val.val_freq or 10**12)
    return opt


def dataset_dictionary(loaded: OptionFile, key: str) -> dict[str, Any]:
    """A new dictionary of one dataset section with BasicSR's additions (`phase`, `scale`, `name`, `io_backend`)."""
    section: dict[str, Any] = copy.deepcopy(dict(loaded.raw["datasets"][key]))
    section.setdefault("name", key)
    section.setdefault("io_backend", {"type": "disk"})
    section.update(phase=key.split("_")[0], scale=loaded.options.scale)
    return section
