"""Which features of which network on which degraded photographs: what the commands that look into networks share."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from uir.analysis.features_of import PIXELS, Pool, features_of, pixel_features
from uir.analysis.networks import Initialisation, load_network
from uir.analysis.patches import DegradedPatches, Position, degraded_patches
from uir.core.devices import pick_device


@dataclass(frozen=True)
class FeatureSource:
    """Where features come from; see `load_network`, `degraded_patches` and `features_of` for what the fields mean."""

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
        """The features [N, D] by level, the pixels first, and the patches that they are of.

        Raises:
            ValueError: the network, the photographs or the recipe do not allow it.
        """
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
        device = pick_device("auto") if self.device is None else torch.device(self.device)
        found = features_of(
            network, patches.images, pool=self.pool, device=device, batch_size=self.batch_size, progress=progress
        )
        return {PIXELS: pixel_features(patches.images), **found}, patches

    def settings(self) -> dict[str, Any]:
        """The fields that decide about the result, as plain JSON types."""
        held = {name: str(value) if isinstance(value, Path) else value for name, value in asdict(self).items()}
        del held["batch_size"], held["device"]
        return {**held, "init": self.init or ("random" if self.model is None else "trained")}
