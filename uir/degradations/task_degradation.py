"""Sets of tasks: one of several kinds of degradation, named in the record, for training all-in-one restorers."""

from __future__ import annotations

from pathlib import Path

from uir.degradations.preset import Preset, Spec, sequence
from uir.registry import DEGRADATION_REGISTRY

CDD11_ORDER = ("low", "rain", "snow", "haze")
CDD11_CLASSES = (
    "low", "haze", "rain", "snow", "low_haze", "low_rain", "low_snow", "haze_rain", "haze_snow", "low_haze_rain",
    "low_haze_snow",
)  # fmt: skip
"""The classes of CDD-11: four primitives and seven composites (Guo et al., ECCV 2024)."""

FIVE_TASKS: dict[str, Spec] = {
    "rain": {"type": "RainStreaks"},
    "noise": {"type": "GaussianNoise", "sigma": {"choice": [15, 25, 50]}},
    "haze": {"type": "Haze"},
    "low_light": {"type": "LowLight"},
    "blur": {"type": "TrajectoryBlur"},
}

TEN_TASKS: dict[str, Spec] = {
    "noise": {"type": "GaussianNoise", "sigma": [1, 50]},
    "motion_blur": {"type": "TrajectoryBlur"},
    "defocus_blur": {"type": "DefocusBlur"},
    "jpeg": {"type": "JPEG", "quality": {"choice": [10, 20, 30, 40, 50]}},
    "haze": {"type": "Haze"},
    "snow": {"type": "Snow"},
    "rain": {"type": "RainStreaks"},
    "mosaic": {"type": "Mosaic", "demosaic": "edge_aware"},
    "low_light": {"type": "LowLight"},
    "inpainting": {"type": "InpaintingLines"},
}


class TaskPreset(Preset):
    """Base of the sets of tasks.

    Args:
        tasks: `{type: ..., ...}` by name.
        classes: names of the tasks to choose from; default all.
        weights: name -> weight; default equal weights.

    Raises:
        ValueError: a class does not exist.
    """

    def __init__(self, tasks: dict[str, Spec], classes: list[str] | None, weights: dict[str, float] | None) -> None:
        chosen = list(tasks) if classes is None else list(classes)
        unknown = [name for name in chosen if name not in tasks]
        if unknown or not chosen:
            raise ValueError(f"{type(self).__name__}.classes: got {classes!r}; expected some of {', '.join(tasks)}")
        self.labels = tuple(chosen)
        spec: Spec = {"type": "Task", "tasks": {name: tasks[name] for name in chosen}}
        super().__init__(spec if weights is None else {**spec, "weights": weights})


@DEGRADATION_REGISTRY.register()
class dcpt_5d(TaskPreset):  # noqa: N801
    """Rain, noise, haze, low light or motion blur: DCPT's five tasks, synthesised (Hu et al., ICLR 2025).

    The published files read pairs of benchmarks; here every task degrades clean images. Labels are names, not
    positions.

    Args:
        classes: names of the tasks to choose from; default all.
        weights: name -> weight; default equal weights.
    """

    def __init__(self, classes: list[str] | None = None, weights: dict[str, float] | None = None) -> None:
        super().__init__(FIVE_TASKS, classes, weights)


@DEGRADATION_REGISTRY.register()
class dcpt_10d(TaskPreset):  # noqa: N801
    """DCPT's ten tasks, synthesised: noise, blurs, JPEG, haze, snow, rain, mosaic, low light, inpainting (ICLR 2025).

    Args:
        classes: names of the tasks to choose from; default all.
        weights: name -> weight; default equal weights.
    """

    def __init__(self, classes: list[str] | None = None, weights: dict[str, float] | None = None) -> None:
        super().__init__(TEN_TASKS, classes, weights)


@DEGRADATION_REGISTRY.register()
class cdd11(TaskPreset):  # noqa: N801
    """Low light, rain, snow and haze in this order, alone or combined: the eleven classes of CDD-11 (ECCV 2024).

    Args:
        classes: names of the classes to choose from; default all.
        weights: name -> weight; default equal weights.
        depth: a file or folder of nearness maps for the haze (1 near); default procedural.
        light: a file or folder of illumination maps for the low light; default estimated from the image.
        rain_mask: a file or folder of rain masks; default procedural streaks.
        snow_mask: a file or folder of snow masks; default procedural flakes.
    """

    def __init__(
        self,
        classes: list[str] | None = None,
        weights: dict[str, float] | None = None,
        depth: Path | None = None,
        light: Path | None = None,
        rain_mask: Path | None = None,
        snow_mask: Path | None = None,
    ) -> None:
        primitives: dict[str, Spec] = {
            "low": {"type": "RetinexLowLight", "light": light, "clip": False},
            "rain": {"type": "RainStreaks", "mask": rain_mask, "clip": False},
            "snow": {
                "type": "Snow",
                "opacity": 1,
                "brightness": 1,
                "transmission": 1,
                "mask": snow_mask,
                "clip": False,
            },
            "haze": {"type": "Haze", "depth_form": "cdd11", "airlight": [0.6, 0.9], "beta": [1.0, 2.0], "depth": depth},
        }
        tasks = {}
        for name in CDD11_CLASSES:
            parts = [part for part in CDD11_ORDER if part in name.split("_")]
            tasks[name] = sequence(*(primitives[part] for part in parts), {"type": "Clip"})
        super().__init__(tasks, classes, weights)
