"""The six registries: a name in an option file becomes a class.

Look-up order: the user's plugins (registered in any registry, `basicsr.utils.registry` included), then uir, then
basicsr (plain name, then its `_basicsr` suffix). `basicsr:SRModel` or `uir:SwinIR` forces one origin. The first
look-up imports uir's own files. basicsr is imported only for a name that uir and the plugins do not have.
"""

from __future__ import annotations

import difflib
import importlib
import logging
import pkgutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from uir.registry.sources import name_source

Origin = Literal["plugin", "uir", "basicsr"]
ORIGINS: tuple[Origin, ...] = ("plugin", "uir", "basicsr")

logger = logging.getLogger("uir")


_HOW_TO_IMPORT = "one of your own needs its file in `plugins` of the option file, or --plugin FILE"


class UnknownNameError(KeyError):
    """No registry has this name; the message gives the registry, the nearest names and the imported plugins."""

    def __str__(self) -> str:
        return str(self.args[0])


@dataclass(frozen=True)
class Entry:
    """One registered name, for `uir list`."""

    name: str
    origin: Origin
    module: str
    summary: str
    shadows: tuple[str, ...] = ()


def first_line(obj: object) -> str:
    """First line of an object's own docstring, or an empty string."""
    doc = getattr(obj, "__doc__", None) or ""
    return doc.strip().splitlines()[0].strip() if doc.strip() else ""


class Registry:
    """Maps a name to a class or function. It is used like BasicSR's registry.

    Args:
        kind: what the registry contains, in the singular ("arch"); used in messages.
        folders: `(package, suffix)` pairs; every module `package/*_suffix.py` is imported on the first look-up.
        basicsr_name: the registry of the same kind in `basicsr.utils.registry`, if there is one.
    """

    def __init__(self, kind: str, folders: Iterable[tuple[str, str]], basicsr_name: str | None = None) -> None:
        self.kind = kind
        self.basicsr_name = basicsr_name
        self._folders = tuple(folders)
        self._objects: dict[Origin, dict[str, Any]] = {"plugin": {}, "uir": {}}
        self._further_origins: dict[str, Callable[[str], Any]] = {}
        self._imported = False
        self._reported: set[str] = set()

    # --- registering ---

    def register(self, obj: Any = None, suffix: str | None = None, *, name: str | None = None) -> Any:
        """Register a class or function: decorator `@REG.register()` or call `REG.register(obj)`.

        Args:
            obj: what to register; None makes a decorator.
            suffix: put behind its name.
            name: the name to register it by; default its own.
        """
        if obj is None:
            return lambda target: self.register(target, suffix, name=name)
        name = name or (f"{obj.__name__}_{suffix}" if suffix else obj.__name__)
        origin: Origin = "uir" if obj.__module__.partition(".")[0] == "uir" else "plugin"
        registered = self._objects[origin].get(name)
        if registered is not None and registered is not obj:
            raise ValueError(
                f"{self.kind} registry: '{name}' of {obj.__module__} is already registered by {registered.__module__}; "
                "rename one of them"
            )
        self._objects[origin][name] = obj
        return obj

    def add_origin(self, prefix: str, make: Callable[[str], Any]) -> None:
        """Let another package's names be used as `prefix:name`, and only so.

        Args:
            prefix: what stands before the colon.
            make: gives the class or function for a name; it is called with every name, before the package is imported.
        """
        self._further_origins[prefix] = make

    @property
    def further_origins(self) -> list[str]:
        """The prefixes of `add_origin`."""
        self._own_objects()  # uir's files add them
        return sorted(self._further_origins)

    # --- looking up ---

    def get(self, name: str, suffix: str = "basicsr") -> Any:
        """The object registered as `name`; the name may begin with an origin (`uir:`, `basicsr:` or an added one).

        Raises:
            UnknownNameError: the name is not registered.
        """
        prefix, colon, bare = name.rpartition(":")
        if colon and prefix not in ("uir", "basicsr"):
            if prefix in self.further_origins:
                return self._further_origins[prefix](bare)
            known = " or ".join(f"'{origin}:'" for origin in ("uir", "basicsr", *self.further_origins))
            raise UnknownNameError(f"{self.kind} '{name}': an origin is {known}, not '{prefix}:'")
        for origin in (prefix,) if colon else ORIGINS:
            registered = self._lookup(origin, bare, suffix)  # type: ignore[arg-type]
            if registered is not None:
                if not colon:
                    self._report_shadowing(bare, origin)  # type: ignore[arg-type]
                return registered
        raise UnknownNameError(self._miss(name))

    def __contains__(self, name: object) -> bool:
        try:
            self.get(str(name))
        except UnknownNameError:
            return False
        return True

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        return iter([(name, self.get(name)) for name in self.keys()])

    def keys(self) -> list[str]:
        """Names of the plugins and of uir, sorted; basicsr's are in `entries()`."""
        return sorted({*self._plugin_objects(), *self._own_objects()})

    def origin_of(self, obj: Any) -> Origin:
        """The origin of a registered object."""
        top = obj.__module__.partition(".")[0]
        return top if top in ("uir", "basicsr") else "plugin"

    def entries(self) -> list[Entry]:
        """Every name that an option file can use, basicsr's names included (read from its source)."""
        plugins, own, foreign = self._plugin_objects(), self._own_objects(), self._basicsr_summaries()
        rows = []
        for name in sorted({*plugins, *own, *foreign}):
            origins = [origin for origin, names in zip(ORIGINS, (plugins, own, foreign), strict=True) if name in names]
            shadows = tuple(origins[1:])
            if origins[0] == "basicsr":
                module, summary = foreign[name]
            else:
                obj = plugins.get(name) or own[name]
                module, summary = obj.__module__, first_line(obj)
            rows.append(Entry(name, origins[0], module, summary, shadows))
        return rows

    # --- the three origins ---

    def _plugin_objects(self) -> dict[str, Any]:
        """Names registered by neither uir nor basicsr, in this registry or in basicsr's registry of the same kind."""
        load_entry_points()
        objects = dict(self._objects["plugin"])
        if self.basicsr_name:
            for name, obj in name_source().loaded_objects(self.basicsr_name).items():
                if obj.__module__.partition(".")[0] not in ("basicsr", "uir"):
                    objects.setdefault(name, obj)
        return objects

    def _own_objects(self) -> dict[str, Any]:
        if not self._imported:
            self._imported = True  # set first: a file may look a name up while it is imported
            try:
                self._import_folders()
            except BaseException:
                self._imported = False  # an incomplete registry must not count as complete later
                raise
        return self._objects["uir"]

    def _import_folders(self) -> None:
        for package, suffix in self._folders:
            folder = importlib.import_module(package)
            for module in sorted(m.name for m in pkgutil.iter_modules(folder.__path__)):
                if module.endswith(f"_{suffix}"):
                    importlib.import_module(f"{package}.{module}")

    def _lookup(self, origin: Origin, name: str, suffix: str) -> Any:
        if origin == "plugin":
            return self._plugin_objects().get(name)
        if origin == "uir":
            return self._own_objects().get(name)
        if not self.basicsr_name or name not in self._basicsr_summaries():
            return None
        objects = name_source().objects(self.basicsr_name)
        candidates = [objects[key] for key in (name, f"{name}_{suffix}") if key in objects]
        return next((obj for obj in candidates if self.origin_of(obj) == "basicsr"), None)

    def _basicsr_summaries(self) -> dict[str, tuple[str, str]]:
        if not self.basicsr_name:
            return {}
        return dict(name_source().names().get(self.basicsr_name, {}))

    # --- messages ---

    def _report_shadowing(self, name: str, origin: Origin) -> None:
        if name in self._reported:
            return
        self._reported.add(name)
        later = ORIGINS[ORIGINS.index(origin) + 1 :]
        shadowed = [o for o in later if name in (self._own_objects() if o == "uir" else self._basicsr_summaries())]
        if shadowed:
            logger.info(
                "%s '%s' comes from %s; it shadows the one of %s (%s)",
                self.kind, name, origin, " and ".join(shadowed), ", ".join(f"'{o}:{name}' forces it" for o in shadowed),
            )  # fmt: skip

    def _miss(self, name: str) -> str:
        from uir.registry.plugins import imported_plugins

        bare = name.rpartition(":")[2]
        all_names = {*self.keys(), *self._basicsr_summaries()}
        near = nearest_names(bare, all_names)
        owner = name_source().owner_of(bare)
        hint = f"; nearest: {', '.join(near)}" if near else ""
        hint = f"; it is {owner}'s: name its file in `plugins`" if owner else hint
        absent = "" if self._basicsr_summaries() or not self.basicsr_name else "; basicsr is not installed"
        plugins = ", ".join(imported_plugins()) or "none"
        every = next(
            (f"; `uir list {plural}` shows all" for plural, registry in REGISTRIES.items() if registry is self), ""
        )
        return f"no {self.kind} is called '{name}'{hint} (plugins imported: {plugins}; {_HOW_TO_IMPORT}{absent}{every})"


def nearest_names(name: str, known: Iterable[str], count: int = 3) -> list[str]:
    """Known names that look like `name`, best first; upper and lower case count as equal."""
    by_lower = {candidate.lower(): candidate for candidate in known}
    return [by_lower[hit] for hit in difflib.get_close_matches(name.lower(), by_lower, n=count, cutoff=0.6)]


def load_entry_points() -> None:
    """Import the installed packages that declare the entry-point group `uir.plugins` (once)."""
    from uir.registry.plugins import load_installed_plugins

    load_installed_plugins()


ARCH_REGISTRY = Registry("arch", [("uir.archs", "arch"), ("uir.encoders", "encoder")], "ARCH_REGISTRY")
DATASET_REGISTRY = Registry("dataset", [("uir.data", "dataset")], "DATASET_REGISTRY")
DEGRADATION_REGISTRY = Registry("degradation", [("uir.degradations", "degradation")])
LOSS_REGISTRY = Registry("loss", [("uir.losses", "loss")], "LOSS_REGISTRY")
METRIC_REGISTRY = Registry("metric", [("uir.metrics", "metric")], "METRIC_REGISTRY")
MODEL_REGISTRY = Registry("model", [("uir.models", "model")], "MODEL_REGISTRY")

REGISTRIES: dict[str, Registry] = {
    "archs": ARCH_REGISTRY,
    "models": MODEL_REGISTRY,
    "losses": LOSS_REGISTRY,
    "metrics": METRIC_REGISTRY,
    "datasets": DATASET_REGISTRY,
    "degradations": DEGRADATION_REGISTRY,
}

OBSERVERS = Registry("observer", [("uir.analysis", "observer")])
"""Observers watch a validation; uir's own are the files `uir/analysis/*_observer.py` (see `uir.metrics.observers`)."""

PREDICTORS = Registry("predictor", [("uir.inference", "predictor")])
"""How a method restores (see `uir.inference.predictor`)."""
STRATEGIES = Registry("strategy", [("uir.inference", "strategy")])
"""Ways to restore that need no weights, for every predictor (see `uir.inference.strategies`)."""
VECTORISERS = Registry("vectoriser", [("uir.degradations", "vectoriser")])
"""From records of degradations to numbers to learn from (see `uir.degradations.record_vectoriser`)."""
MODULATORS = Registry("modulator", [("uir.layers", "modulator")])
"""Layers by which a degradation code steers a backbone (see `uir.layers.code_modulator`)."""
PROTOCOLS = Registry("protocol", [("uir.metrics", "protocols")])
"""Settings of published measurements; not classes, but values (see `uir.metrics.published_protocols`)."""

TABLES: dict[str, Registry] = {
    **REGISTRIES,
    "observers": OBSERVERS,
    "predictors": PREDICTORS,
    "strategies": STRATEGIES,
    "vectorisers": VECTORISERS,
    "modulators": MODULATORS,
}
"""Everything that `{type: Name, ...}` can name: the six registries, and the small tables beside them."""
