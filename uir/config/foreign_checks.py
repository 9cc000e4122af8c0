"""Checks of files whose training method is written like BasicSR's: its own step, validation and key names."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from uir.config.component_checks import ComponentChecker
from uir.config.methods import Method
from uir.config.problems import Problem, nearest
from uir.config.spec import Place
from uir.config.yaml_file import KeyPath, mapping_at
from uir.registry import MODEL_REGISTRY, TABLES
from uir.registry.sources import ModelKeys, name_source

BASICSR_SCHEDULERS = ("MultiStepLR", "MultiStepRestartLR", "CosineAnnealingRestartLR")


class ForeignChecker(ComponentChecker):
    """Says what basicsr's code, or a plugin written like it, cannot honour or does not read.

    Attributes:
        raw: the file's mapping in uir's form.
        is_train: whether it is a training file.
        method: its training method; None if there is no such method.
    """

    raw: dict[str, Any]
    is_train: bool
    method: Method | None

    def _named(self, place: Place, spec: Any, path: KeyPath) -> Any:
        """As everywhere; but what basicsr's code builds is looked up in basicsr's registries alone."""
        model: Any = self.method.target if self.method else None
        own = TABLES[place.table].basicsr_name if place.table else None
        is_basicsr = model is not None and MODEL_REGISTRY.origin_of(model) == "basicsr"
        if own is None or not _derives_from_basicsr(model) or not _is_built_by_model(path):
            return super()._named(place, spec, path)
        name = spec.get("type") if isinstance(spec, Mapping) else None
        objects = name_source().objects(own) if isinstance(name, str) else {}
        target = objects.get(str(name), objects.get(f"{name}_basicsr"))
        if target is not None or not is_basicsr or not isinstance(name, str):
            return target if target is not None else super()._named(place, spec, path)
        near = nearest(name, [key.removesuffix("_basicsr") for key in objects])
        message = f": {self.raw['model_type']} builds it, and basicsr has no {place.noun} '{name}'{near}"
        self._say((*path, "type"), f"{message}; uir:SRModel can build all")
        return None

    def _leave_to_plugin(self) -> None:
        """Make warnings of what is unknown in optimizers and schedules that a plugin's model builds itself."""
        method = self.method
        if method is None or not method.is_foreign or MODEL_REGISTRY.origin_of(method.target) != "plugin":
            return
        for path, problem in list(self.problems):
            if len(path) > 1 and path[0] == "train" and str(path[1]).startswith(("optim_", "scheduler")):
                self.problems.remove((path, problem))
                text = f"{problem.message}; it is left to {self.raw['model_type']}"
                self.warnings.append((path, Problem(problem.mark, text)))

    def _refuse_for_foreign(self, method: Method, train: Mapping[str, Any]) -> None:
        """Refuse what a model that does its whole step and its whole validation itself cannot honour."""
        name, val = self.raw["model_type"], mapping_at(self.raw, "val")
        why = f"cannot be used with {name}, which does its whole step itself; uir:SRModel supports it"
        reads_anything = method.section("train").is_open
        for path, value, neutral in (
            (("precision",), self.raw.get("precision"), "fp32"),
            (("compile",), self.raw.get("compile"), False),
            (("channels_last",), self.raw.get("channels_last"), False),
            (("grad_clip",), self.raw.get("grad_clip"), None),
            (("train", "grad_clip"), train.get("grad_clip"), None),
            (("train", "accumulate"), train.get("accumulate"), 1),
            *((("val", key), val.get(key), None) for key in ("keep_best", "probes", "sheet", "observers", "controls")),
            (("val", "measure_input"), val.get("measure_input"), False),
            *(((key, "pad_multiple"), spec.get("pad_multiple"), None) for key, spec in self._networks()),
            (("train", "max_nonfinite"), train.get("max_nonfinite"), None),
            (("train", "vectorisers"), train.get("vectorisers"), None),
        ):
            declared = path[-1] in method.extra.get(".".join(path[:-1]), ())
            if value is None or value == neutral or declared:
                continue
            if path[-1] == "grad_clip" and reads_anything:
                self._warn(path, f"is left to {name}, which does its whole step itself: uir does not clip for it")
            else:
                self._say(path, why)

        if self.is_train and val.get("save_img") and _derives_from_basicsr(method.target, "VideoBaseModel"):
            self._say(("val", "save_img"), ": basicsr's video models write no images in a training; set it to false")

    def _networks(self) -> list[tuple[str, Mapping[str, Any]]]:
        """The networks of the file, by key."""
        items = ((str(key), spec) for key, spec in self.raw.items())
        return [(key, spec) for key, spec in items if key.startswith("network_") and isinstance(spec, Mapping)]

    def _networks_for_basicsr(self, name: str) -> None:
        """Check that the networks are there that one of basicsr's own models reads without asking."""
        roles = name_source().model_keys.get(name, ModelKeys()).roles if self.is_train else ("g",)
        for role in roles:
            if self.raw.get(f"network_{role}") is None:
                self._say((f"network_{role}",), f"is missing; {self.raw['model_type']} needs it")

    def _refuse_for_basicsr(self, model: Any, train: Mapping[str, Any]) -> None:
        """Refuse what the methods of basicsr's BaseModel cannot do, for models that have not replaced them."""
        limit = ": basicsr's own models support only"
        for key, spec in train.items() if _inherits(model, "get_optimizer") else ():
            if not (str(key).startswith("optim_") and isinstance(spec, Mapping)):
                continue
            for name in [name for name in ("groups", "layer_decay", "decay_1d") if name in spec and spec[name] != []]:
                self._say(("train", key, name), ": basicsr's own models have no groups; uir:SRModel has them")
            if spec.get("type") not in (None, "Adam"):
                message = f"{limit} Adam, not {spec['type']}; uir:SRModel supports all"
                self._say(("train", key, "type"), message)
        if not _inherits(model, "setup_schedulers"):
            return
        scheduler = train.get("scheduler")
        if self.is_train and scheduler is None:
            self._say(("train",), f"lacks scheduler, which {self.raw['model_type']} needs")
        kind = scheduler.get("type") if isinstance(scheduler, Mapping) else None
        if kind is not None and kind not in BASICSR_SCHEDULERS:
            names = ", ".join(BASICSR_SCHEDULERS)
            self._say(("train", "scheduler", "type"), f"{limit} {names}, not {kind}; uir:SRModel supports all")

    def _warn_of_dead_keys(self, model: Any) -> None:
        """Say which keys one of basicsr's own models does not read."""
        row = name_source().model_keys.get(model.__name__)
        for dotted in sorted(row.dead) if row else ():
            path = tuple(dotted.split("."))
            section: Mapping[str, Any] = self.raw
            for key in path[:-1]:
                section = mapping_at(section, key)
            if section.get(path[-1]) is not None:
                self._warn(path, f"has no effect with {self.raw['model_type']}, which does not read it")


def _derives_from_basicsr(model: Any, base: str = "") -> bool:
    """Whether a model is one of basicsr's classes, or derives from one: from `base`, if it is given."""
    classes = inspect.getmro(model) if inspect.isclass(model) else ()
    return any(cls.__module__.startswith("basicsr.") and base in ("", cls.__name__) for cls in classes)


def _inherits(model: Any, method: str) -> bool:
    """Whether a model has a method from basicsr's BaseModel."""
    return getattr(getattr(model, method, None), "__module__", "") == "basicsr.models.base_model"


def _is_built_by_model(path: KeyPath) -> bool:
    """Whether a model written like BasicSR's builds this component itself; uir builds the datasets."""
    return str(path[0]).startswith("network_") or path[0] == "train" or path[:2] == ("val", "metrics")
