"""Probes during validation: how well the network in training separates degradations, in numbers and pictures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from uir.analysis.extras import matplotlib_part, sklearn_part
from uir.analysis.features_of import PIXELS, features_of, pixel_features
from uir.analysis.patches import DegradedPatches, degradation_classes, degraded_patches, photographs_in
from uir.analysis.probes import probe_features, split_by_photograph
from uir.analysis.tsne import write_embeddings
from uir.config.options import OptionFile
from uir.config.schema import PatchOptions, ProbeOptions, TsneOptions
from uir.core.distributed import gathered, is_main
from uir.layers.code_widths import sized_by_encoder
from uir.models.base_model import BaseModel
from uir.registry import ARCH_REGISTRY
from uir.registry.components import build


@dataclass(frozen=True)
class PatchSource:
    """The source of the patches of probes; probes with equal sources share the patches.

    Attributes:
        images: the folder of photographs.
        recipe: the degradations.
        crop: side of the patches in pixels.
        max_images: number of photographs; None for all.
    """

    images: Path
    recipe: str | Path
    crop: int
    max_images: int | None

    @cached_property
    def patches(self) -> DegradedPatches:
        """The patches: created once, at first use, and the same in every run."""
        return degraded_patches(self.images, self.recipe, crop=self.crop, max_images=self.max_images)


class ValidationProbes:
    """The probes of `val.probes`.

    Args:
        loaded: the checked file.

    Raises:
        ValueError: the folder, the recipe, the network or its levels are not suitable.
        ImportError: scikit-learn or matplotlib is not installed.
    """

    def __init__(self, loaded: OptionFile) -> None:
        probes = loaded.options.val.probes if loaded.options.val else None
        self.probes: dict[str, PatchOptions] = {
            kind: probe for kind in ("knn", "linear", "tsne") if (probe := getattr(probes, kind, None)) is not None
        }
        self.sources: dict[str, PatchSource] = {}
        sources: dict[PatchSource, PatchSource] = {}
        for kind, probe in self.probes.items():
            _check_network(loaded, probe, f"val.probes.{kind}")
            try:
                source = _source_of(loaded, probe)
            except ValueError as error:
                raise ValueError(f"val.probes.{kind}: {error}") from None
            except ImportError as error:
                raise ImportError(f"val.probes.{kind}: {error}") from None
            self.sources[kind] = sources.setdefault(source, source)

    def run(self, model: BaseModel, iteration: int, folder: Path) -> dict[str, dict[str, float]]:
        """Run the probes that are due; the main process does it for all. The networks are unchanged.

        Args:
            model: the method in training.
            iteration: the current iteration.
            folder: folder for pictures: `tsne_<level>_<iteration>.png`, with `tsne_<iteration>.json`.

        Returns:
            Mean accuracy over the splits by feature level, by its name in the log (`probe_knn`).
        """
        due = {kind: probe for kind, probe in self.probes.items() if probe.is_due(iteration)}
        if not due:
            return {}
        return gathered(self._run(due, model, iteration, folder) if is_main() else {})[0]

    def _run(
        self, due: Mapping[str, PatchOptions], model: BaseModel, iteration: int, folder: Path
    ) -> dict[str, dict[str, float]]:
        read: dict[tuple[PatchSource, str], dict[str, Tensor]] = {}
        results = {}
        for kind, probe in due.items():
            source = self.sources[kind]
            key = (source, probe.network)
            if key not in read:
                read[key] = features_of(model.test_network(probe.network), source.patches.images, device=model.device)
            if isinstance(probe, TsneOptions):
                _draw(read[key], source.patches, probe, iteration, folder)
            elif isinstance(probe, ProbeOptions):
                levels = probe_features(
                    read[key], source.patches, "knn" if kind == "knn" else "linear", probe.k, probe.splits
                )
                results[f"probe_{kind}"] = {level.level: level.mean for level in levels}
        return results


def _draw(
    features: Mapping[str, Tensor], patches: DegradedPatches, options: TsneOptions, iteration: int, folder: Path
) -> None:
    levels = options.levels or [list(features)[-1]]
    if PIXELS in levels:
        features = {PIXELS: pixel_features(patches.images), **features}
    stored_fields = {"images", "recipe", "max_images", "network", "crop"}
    settings = {"iteration": iteration, **options.model_dump(mode="json", include=stored_fields)}
    write_embeddings(
        folder, features, patches, levels, settings, f"_{iteration}", perplexity=options.perplexity,
        iterations=options.iterations, seed=0,
    )  # fmt: skip


def _source_of(loaded: OptionFile, options: PatchOptions) -> PatchSource:
    """The photographs and the recipe of a probe; both must exist."""
    recipe = loaded.root / options.recipe if options.recipe.endswith((".yml", ".yaml")) else options.recipe
    source = PatchSource(loaded.root / options.images.expanduser(), recipe, options.crop, options.max_images)
    files, classes = photographs_in(source.images, source.max_images), degradation_classes(recipe)
    if isinstance(options, ProbeOptions):
        split_by_photograph(DegradedPatches(torch.empty(0), tuple(classes), tuple(map(str, files))), options.splits)
    else:
        sklearn_part("manifold")
        matplotlib_part("figure")
    return source


def _check_network(loaded: OptionFile, options: PatchOptions, where: str) -> None:
    """Raise ValueError if the network has no features to probe, or lacks the levels to draw."""
    role = options.network
    component = getattr(loaded.options, f"network_{role}", None)
    if component is None:
        raise ValueError(f"{where}.network: the file has no network_{role}")
    if role == "g" and not hasattr(ARCH_REGISTRY.get(component.type), "feature_points"):
        raise ValueError(f"{where}: {component.type} declares no feature points, which a probe needs")
    chosen_levels = set(options.levels or ()) - {PIXELS} if isinstance(options, TsneOptions) else set()
    if not chosen_levels:
        return
    encoder = getattr(loaded.options, "network_e", None)
    spec = sized_by_encoder(component.spec(), encoder.spec() if encoder else None) if role == "g" else component.spec()
    with torch.random.fork_rng(devices=[]):
        network = build(ARCH_REGISTRY, spec)
    levels = features_of(network, torch.zeros(1, 3, options.crop, options.crop))
    if chosen_levels - set(levels):
        missing = ", ".join(sorted(chosen_levels - set(levels)))
        raise ValueError(f"{where}.levels: there is no {missing}; the levels are {', '.join([PIXELS, *levels])}")
