"""Ablation files: the cells, the seeds of each, and the reference for comparisons."""

from __future__ import annotations

import copy
import itertools
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from uir.config.options import OptionError, merge
from uir.config.problems import Problem, nearest
from uir.config.yaml_file import KeyPath, Mark, Names, YamlError, read_yaml
from uir.core.names import is_plain_name

KEYS = ("name", "base", "grid", "seeds", "exclude", "metric", "reference", "test")
OWN_KEYS = ("name", "manual_seed", "base")  # keys of an option file that the ablation sets
_NAMES = Names(
    values=(("name",), ("reference",), ("reference", "*"), ("exclude", "*", "*"), ("exclude", "*", "*", "*")),
    keys=(("grid", "*"), ("grid", "*", "*"), ("reference", "*"), ("exclude", "*", "*")),
)
_NAME = re.compile(r"[\w.+][\w.+-]*")


@dataclass(frozen=True)
class Cell:
    """One cell of the grid.

    Attributes:
        name: the names of its values, joined by `-`.
        values: its value on each axis.
        overrides: the overrides of the base file, nested.
        force: single keys that are set after the overrides, as `a:b=value`.
    """

    name: str
    values: Mapping[str, str]
    overrides: Mapping[str, Any]
    force: tuple[str, ...] = ()


@dataclass(frozen=True)
class Ablation:
    """A checked ablation file.

    Attributes:
        name: name of the ablation and of its folder, experiments/ablation/<name>.
        file: the path of the file.
        base: the option file that the cells change. In the file `base` may also name an ablation file: its keys are
            inherited, as `base` in an option file does.
        cells: the cells in the order of the grid, the first axis outermost.
        seeds: every cell is trained with each of them.
        metrics: the metrics to report; empty for all that the option file has.
        reference: axis values of the reference; empty for no comparison.
        test: an option file with test sets for every trained network; None for the validation sets.
        is_smoke_test: every stage has a few iterations only, to see that it runs.
    """

    name: str
    file: Path
    base: Path
    cells: tuple[Cell, ...]
    seeds: tuple[int, ...]
    metrics: tuple[str, ...] = ()
    reference: Mapping[str, str] | None = None
    test: Path | None = None
    is_smoke_test: bool = False

    def reference_of(self, cell: Cell) -> str | None:
        """Name of the reference of `cell`: the cell with the reference's values, and with its own on the other axes."""
        if not self.reference:
            return None
        axis_values = {**cell.values, **self.reference}
        return next((other.name for other in self.cells if other.values == axis_values and other is not cell), None)

    def group_of(self, cell: Cell) -> str:
        """What all cells of one comparison share: their reference. Without a reference all cells share one group."""
        return (self.reference_of(cell) or cell.name) if self.reference else ""


def read_ablation(file: str | Path) -> Ablation:
    """Read and check an ablation file; `uir.ablation.runs` checks the option files that it makes.

    Raises:
        OptionError: all mistakes of the file at once.
    """
    return _Reader(Path(file).expanduser()).read()


class _Reader:
    def __init__(self, file: Path) -> None:
        self.file = file
        self.raw, self.marks = _read_merged(file)
        self.problems: list[Problem] = []

    def say(self, path: KeyPath, message: str) -> None:
        self.problems.append(Problem.at(path, {(): Mark(self.file, 0), **self.marks}, message))

    def read(self) -> Ablation:
        for key in self.raw:
            if key not in KEYS:
                self.say((key,), f"is not a key of an ablation file{nearest(str(key), KEYS)}")
        name = self._get("name", _is_name, "a name of letters, digits and . + - _ without a dot at its start or end")
        base = self._get("base", lambda value: isinstance(value, str), "the path of an option file")
        seeds = self._get("seeds", _are_seeds, "a list of different whole numbers from 0, such as [1, 2, 3]")
        metrics = self.raw.get("metric") or []
        metrics = [metrics] if isinstance(metrics, str) else metrics
        if not isinstance(metrics, list) or not all(isinstance(metric, str) for metric in metrics):
            self.say(("metric",), f": expected the name of a metric of `val.metrics`, or a list, got {metrics!r}")
        axes = self._axes()
        cells = self._cells(axes)
        reference = self._reference(axes)
        if reference and not any(reference.items() <= cell.values.items() for cell in cells):
            self.say(("reference",), f": every cell with {_text(reference)} is excluded")
        files = {key: self._file(key, value) for key, value in (("base", base), ("test", self.raw.get("test")))}
        if self.problems:
            raise OptionError(self.problems)
        return Ablation(
            str(name), self.file.resolve(), files["base"] or Path(), tuple(cells), tuple(seeds or ()), tuple(metrics),
            reference, files["test"],
        )  # fmt: skip

    def _get(self, key: str, fits: Callable[[Any], bool], expected: str) -> Any:
        if self.raw.get(key) is None:
            self.say((key,), f"is missing; expected {expected}")
            return None
        if not fits(self.raw[key]):
            self.say((key,), f": expected {expected}, got {self.raw[key]!r}")
            return None
        return self.raw[key]

    def _file(self, key: str, value: Any) -> Path | None:
        if value is None:
            return None
        mark = self.marks.get((key,))
        path = ((mark.file if mark else self.file).resolve().parent / Path(str(value)).expanduser()).resolve()
        if not path.is_file():
            self.say((key,), f": there is no file {path}")
        return path

    def _axes(self) -> dict[str, dict[str, dict[str, Any]]]:
        expected = "axes with named cells, {method: {one: {...}, other: {...}}}"
        grid = self._get("grid", lambda value: isinstance(value, dict) and bool(value), expected)
        axes: dict[str, dict[str, dict[str, Any]]] = {}
        for axis, values in (grid or {}).items():
            if not isinstance(values, dict) or not values:
                self.say(("grid", axis), f": expected named cells with their overrides, got {values!r}")
                continue
            axes[str(axis)] = {}
            for name, overrides in values.items():
                where = ("grid", str(axis), str(name))
                if not _is_name(str(name)):
                    self.say(
                        where,
                        ": a cell's name is also the name of a folder; use letters, digits and . + - _ without a dot "
                        "at its start or end",
                    )
                if not isinstance(overrides or {}, dict):
                    self.say(where, f": expected overrides of the option file, got {overrides!r}")
                    continue
                axes[str(axis)][str(name)] = overrides or {}
                for key in overrides or {}:
                    if str(key).split(":")[0] in OWN_KEYS:
                        self.say((*where, key), "is set by the ablation; a cell cannot change it")
                    elif key == "path" and not isinstance(overrides[key], dict | None):
                        self.say((*where, key), f": expected a mapping, got {overrides[key]!r}")
        return axes

    def _cells(self, axes: Mapping[str, Mapping[str, dict[str, Any]]]) -> list[Cell]:
        rules = self._exclusions(axes)
        cells: dict[str, Cell] = {}
        for names in itertools.product(*axes.values()):
            values = dict(zip(axes, names, strict=True))
            if any(all(values[axis] in unwanted for axis, unwanted in rule.items()) for rule in rules):
                continue
            cell = _cell(values, [axes[axis][name] for axis, name in values.items()])
            if cell.name in cells:
                self.say(("grid",), f": two cells have the name '{cell.name}'; rename a value of an axis")
            cells[cell.name] = cell
        if axes and not cells:
            self.say(("exclude",), ": no cell is left")
        return list(cells.values())

    def _exclusions(self, axes: Mapping[str, Any]) -> list[dict[str, list[str]]]:
        rules = self.raw.get("exclude") or []
        if not isinstance(rules, list):
            self.say(("exclude",), f": expected a list such as [{{method: dct, backbone: [swinir]}}], got {rules!r}")
            return []
        rules_by_axis = []
        for index, rule in enumerate(rules):
            if not isinstance(rule, dict) or not rule:
                self.say(("exclude", index), f": expected {{axis: value or [values]}}, got {rule!r}")
                continue
            lists = {str(axis): value if isinstance(value, list) else [value] for axis, value in rule.items()}
            are_known = [self._known(("exclude", index), axes, axis, value) for axis in lists for value in lists[axis]]
            if all(are_known):
                rules_by_axis.append({axis: [str(value) for value in values] for axis, values in lists.items()})
        return rules_by_axis

    def _known(self, where: KeyPath, axes: Mapping[str, Any], axis: str, value: Any) -> bool:
        if axis not in axes:
            self.say((*where, axis), f"is not an axis of the grid{nearest(axis, axes)}")
        elif isinstance(value, list | dict):
            self.say((*where, axis), f": expected the name of a cell, got {value!r}")
        elif str(value) not in axes[axis]:
            self.say((*where, axis), f": '{value}' is not one of {', '.join(axes[axis])}")
        else:
            return True
        return False

    def _reference(self, axes: Mapping[str, Any]) -> dict[str, str] | None:
        reference = self.raw.get("reference")
        if reference is not None and not isinstance(reference, list | dict):
            reference = str(reference)  # a name may be a number
            axes_with_it = [axis for axis, values in axes.items() if reference in values]
            if len(axes_with_it) != 1:
                names = [name for values in axes.values() for name in values]
                reason = "is a value of several axes; write {axis: value}" if axes_with_it else "is no cell of an axis"
                self.say(("reference",), f": '{reference}' {reason}{'' if axes_with_it else nearest(reference, names)}")
                return None
            return {axes_with_it[0]: reference}
        if isinstance(reference, list):
            self.say(("reference",), f": expected the name of a cell or {{axis: value}}, got {reference!r}")
            return None
        pairs = {str(axis): value for axis, value in (reference or {}).items()}
        are_known = [self._known(("reference",), axes, axis, value) for axis, value in pairs.items()]
        return {axis: str(value) for axis, value in pairs.items()} if pairs and all(are_known) else None


def _read_merged(file: Path, seen: tuple[Path, ...] = ()) -> tuple[dict[str, Any], dict[KeyPath, Mark]]:
    """Read an ablation file; if its `base` is an ablation file too, over that one.

    The result's `base` is the option file of the cells.
    """
    path = file.resolve()
    if path in seen:
        chain = " -> ".join(place.name for place in (*seen, path))
        raise OptionError([f"{file}: the ablation files of `base` form a circle: {chain}"])
    raw, marks = _read(file)
    if not isinstance(raw, dict):
        raise OptionError([f"{file}: an ablation file is a mapping of keys to values"])
    base = raw.get("base")
    base_file = path.parent / Path(base).expanduser() if isinstance(base, str) else None
    if base_file is None or not base_file.is_file():
        return raw, marks
    content, _ = _read(base_file)
    if not isinstance(content, dict) or "grid" not in content:
        return raw, marks
    del raw["base"]
    inherited, inherited_marks = _read_merged(base_file, (*seen, path))
    return merge(inherited, raw, inherited_marks, marks), inherited_marks


def _read(file: Path) -> tuple[Any, dict[KeyPath, Mark]]:
    try:
        return read_yaml(file, _NAMES)
    except YamlError as error:
        raise OptionError([str(error)]) from None


def _cell(values: dict[str, str], overrides: list[dict[str, Any]]) -> Cell:
    nested: dict[str, Any] = {}
    force: list[str] = []
    for mapping in overrides:
        for key, value in mapping.items():
            if ":" in str(key):
                force.append(f"{key}={json.dumps(value, default=str)}")
            else:
                _merge(nested, {key: value})
    return Cell("-".join(values.values()), values, nested, tuple(force))


def _merge(below: dict[str, Any], above: Mapping[str, Any]) -> None:
    """Merge mappings, replace everything else; `~` stays, because the base file's reader handles it."""
    for key, value in above.items():
        if isinstance(value, Mapping) and isinstance(below.get(key), dict):
            _merge(below[key], value)
        else:
            below[key] = copy.deepcopy(value)


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and _NAME.fullmatch(value) is not None and is_plain_name(value)


def _are_seeds(value: Any) -> bool:
    whole = isinstance(value, list) and all(type(seed) is int and seed >= 0 for seed in value)
    return whole and 0 < len(value) == len(set(value))


def _text(values: Mapping[str, str]) -> str:
    return ", ".join(f"{axis}: {value}" for axis, value in values.items())
