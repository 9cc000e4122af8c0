"""Reading parity fixtures: meta data, arrays, stored weights and weights drawn by the seeded recipe."""

from __future__ import annotations

import json
import math
import os
import zlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

DEFAULT_FOLDER = (Path(__file__).resolve().parents[2] / "../shared/fixtures").resolve()
FOLDER = Path(os.environ.get("UIR_FIXTURES", DEFAULT_FOLDER)).resolve()


@dataclass(frozen=True)
class Fixture:
    """One folder of numbers that a published implementation gave."""

    name: str
    path: Path

    @cached_property
    def meta(self) -> dict[str, Any]:
        """`meta.json`; `folder` is added, the path of the fixture."""
        return {**json.loads((self.path / "meta.json").read_text()), "folder": str(self.path)}

    @cached_property
    def arrays(self) -> dict[str, np.ndarray]:
        """`io.npz`."""
        with np.load(self.path / "io.npz") as stored:
            return {key: stored[key] for key in stored.files}

    def weights(self) -> dict[str, Tensor]:
        """The state dict under the published keys, float32."""
        if self.meta["weights"] == "recipe":
            return draw_weights(self.meta)
        stored = load_file(self.path / "weights.safetensors")
        return {key: value.float() if value.is_floating_point() else value for key, value in stored.items()}


def find_fixtures(folder: Path = FOLDER) -> list[Fixture]:
    """Every fixture of a folder, named by its path."""
    return [Fixture(str(meta.parent.relative_to(folder)), meta.parent) for meta in sorted(folder.rglob("meta.json"))]


def find_key_maps(folder: Path = FOLDER) -> list[tuple[str, dict[str, Any]]]:
    """Every `keys/*.json` of a folder, named by its path."""
    return [
        (str(path.relative_to(folder).with_suffix("")), json.loads(path.read_text()))
        for path in sorted((folder / "keys").glob("*.json"))
    ]


def draw_weights(meta: dict[str, Any]) -> dict[str, Tensor]:
    """Weights by the recipe of the fixtures' README, checked against the stored sums.

    Raises:
        ValueError: a kind is unknown, or the sums differ.
    """
    arrays = {
        key: _draw(key, kind, tuple(meta["state_dict_shapes"][key]), meta["seed"], meta["gain"])
        for key, kind in meta["recipe_keys"].items()
    }
    checksum = meta["recipe_checksum"]
    sums = {
        "sum": math.fsum(float(a.sum(dtype=np.float64)) for a in arrays.values()),
        "sumsq": math.fsum(float(np.square(a, dtype=np.float64).sum()) for a in arrays.values()),
    }
    for name, value in sums.items():
        if not math.isclose(value, checksum[name], rel_tol=1e-6, abs_tol=1e-3):
            raise ValueError(f"{meta['fixture']}: the recipe's {name} is {value}, the fixture has {checksum[name]}")
    return {key: torch.from_numpy(array) for key, array in arrays.items()}


def _draw(key: str, kind: str, shape: tuple[int, ...], seed: int, gain: float) -> np.ndarray:
    draws = np.random.RandomState((zlib.crc32(key.encode()) + 7919 * seed) % 2**32)
    size = shape or (1,)
    name, *numbers = kind.split(":")
    if name == "rv":
        values = draws.random_sample(size) + 0.5
    elif name == "unif":
        low, high = map(float, numbers)
        values = low + (high - low) * draws.random_sample(size)
    else:
        values = draws.standard_normal(size)
        if name == "w":
            values = values * gain / math.sqrt(math.prod(shape[1:]))
        elif name == "norm":
            values = 1 + 0.2 * values
        elif name in ("bias", "rm"):
            values = 0.1 * values
        elif name == "std":
            values = float(numbers[0]) * values
        elif name == "shift":
            values = float(numbers[0]) + float(numbers[1]) * values
        else:
            raise ValueError(f"recipe of '{key}': unknown kind '{kind}'")
    return values.astype(np.float32).reshape(shape)
