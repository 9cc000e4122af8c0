"""Probes as a part of validation: how well the network in training tells degradations apart."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from uir.analysis.features_of import features_of
from uir.analysis.patches import DegradedPatches, degradation_classes, degraded_patches, photographs_in
from uir.analysis.probes import ProbeKind, probe_features, split_by_photograph
from uir.components import signature_of
from uir.options import OptionFile
from uir.registry import ARCH_REGISTRY, MODEL_REGISTRY
from uir.schema import ProbeOptions


@dataclass
class ValidationProbe:
    """A probe of `val.probes`. Its patches are made once, at its first turn, and are the same in every run.

    Attributes:
        kind: which probe.
        options: how it is done.
        images: the folder of photographs.
        recipe: the degradations.
    """

    kind: ProbeKind
    options: ProbeOptions
    images: Path
    recipe: str | Path
    patches: DegradedPatches | None = None

    def is_due(self, iteration: int) -> bool:
        """Whether it has its turn at a validation at `iteration`."""
        return self.options.every is None or iteration % self.options.every == 0

    def measure(self, network: nn.Module, device: torch.device | str) -> dict[str, float]:
        """Mean accuracy over the splits by feature level; the network is left as it is."""
        if self.patches is None:
            self.patches = degraded_patches(
                self.images, self.recipe, crop=self.options.crop, max_images=self.options.max_images
            )
        features = features_of(network, self.patches.images, device=device)
        found = probe_features(features, self.patches, self.kind, self.options.k, self.options.splits)
        return {level.level: level.mean for level in found}


def validation_probes(loaded: OptionFile) -> dict[str, ValidationProbe]:
    """The probes of an option file, by the name that their numbers are logged under (`probe_knn`).

    Raises:
        ValueError: the folder, the recipe, the network or the training method does not allow it.
        ImportError: scikit-learn is not installed.
    """
    options = loaded.options
    asked = options.val.probes if options.val else None
    probes: dict[str, ValidationProbe] = {}
    kinds: tuple[ProbeKind, ...] = ("knn", "linear")
    for kind in kinds:
        own: ProbeOptions | None = getattr(asked, kind, None)
        if own is None:
            continue
        where = f"val.probes.{kind}"
        if signature_of(MODEL_REGISTRY.get(options.model_type)).takes_opt:
            raise ValueError(f"{where}: cannot be honoured for {options.model_type}; uir's own methods can")
        component = getattr(options, f"network_{own.network}", None)
        if component is None:
            raise ValueError(f"{where}.network: the file has no network_{own.network}")
        if own.network == "g" and not hasattr(ARCH_REGISTRY.get(component.type), "feature_points"):
            raise ValueError(f"{where}: {component.type} declares no feature points, which a probe looks into")
        images = loaded.root / own.images.expanduser()
        recipe = loaded.root / own.recipe if own.recipe.endswith((".yml", ".yaml")) else own.recipe
        try:
            files, classes = photographs_in(images, own.max_images), degradation_classes(recipe)
            split_by_photograph(DegradedPatches(torch.empty(0), tuple(classes), tuple(map(str, files))), own.splits)
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from None
        probes[f"probe_{kind}"] = ValidationProbe(kind, own, images, recipe)
    return probes
