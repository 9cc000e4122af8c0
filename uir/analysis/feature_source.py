"""The settings that `uir analyze` commands share: which features of which network on which degraded photographs."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from uir.analysis.features_of import PIXELS, Pool, features_of, pixel_features
from uir.analysis.networks import Initialisation, load_network
from uir.analysis.patches import DegradedPatches, Position, degraded_patches, photographs_in
from uir.core.devices import device_named


@dataclass(frozen=True)
class FeatureSource:
    """The source of features; see `load_network`, `degraded_patches` and `features_of` for the fields."""

    images: Path
    opt: Path | None = None
    model: Path | None = None
    network: str = "g"
    init: Initialisation | None = None
    param_key: str | None = None
    recipe: str = "dcpt_5d"
    max_images: int | None = None
    crop: int = 128
    position: Position = "center"
    scale: int | None = None
    pool: Pool = "mean"
    seed: int = 0
    batch_size: int = 8
    device: str | None = None

    def read(self, progress: bool = True) -> tuple[dict[str, Tensor], DegradedPatches]:
        """The features [N, D] by level, pixels first, and their patches.

        Raises:
            ValueError: the network, the photographs or the recipe are not suitable.
        """
        photographs_in(self.images, self.max_images)  # a wrong folder is reported before anything is loaded
        network = load_network(self.opt, self.model, self.network, self.init, self.param_key, self.seed)
        patches = degraded_patches(
            self.images,
            self.recipe,
            crop=self.crop,
            position=self.position,
            max_images=self.max_images,
            scale=self.scale,
            seed=self.seed,
        )
        device = device_named(self.device)
        features_by_level = features_of(
            network, patches.images, pool=self.pool, device=device, batch_size=self.batch_size, progress=progress
        )
        return {PIXELS: pixel_features(patches.images), **features_by_level}, patches

    def settings(self) -> dict[str, Any]:
        """The fields that influence the result, as plain JSON types."""
        values = {name: str(value) if isinstance(value, Path) else value for name, value in asdict(self).items()}
        del values["batch_size"], values["device"]
        return {**values, "init": self.init or ("random" if self.model is None else "trained")}
