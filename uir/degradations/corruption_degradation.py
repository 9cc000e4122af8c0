"""Corruptions of ImageNet-C that need a texture (fog, frost, spatter), and shadows.

Hendrycks & Dietterich, ICLR 2019. `level` is the published severity; constants were chosen for images of 224 pixels.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor

from uir.degradations.base import Degradation, Params, Size, check_image, working
from uir.degradations.channels import per_channel
from uir.degradations.fields import field_generator, plasma
from uir.degradations.textures import diamond_square, frost_crystals, splashes
from uir.degradations.values import Numbers, Values
from uir.registry import DEGRADATION_REGISTRY

LEVELS: dict[str, list[float]] = {"choice": [1, 2, 3, 4, 5]}
EXAMPLES: tuple[dict[str, Any], ...] = ({"level": 1}, {"level": 3}, {"level": 5})
ICE = (0.88, 0.95, 1.0)
WATER = (175 / 255, 238 / 255, 238 / 255)
MUD = (63 / 255, 42 / 255, 20 / 255)


@DEGRADATION_REGISTRY.register()
class Fog(Degradation):
    """Fog of ImageNet-C: I = clip((J + c·P)·m/(m + c)), P a plasma fractal, m the maximum of J (Hendrycks, ICLR 2019).

    Args:
        level: the published severity, 1 to 5; by default one of them.
    """

    family: ClassVar[str] = "haze"
    severities: ClassVar[tuple[dict[str, Any], ...]] = EXAMPLES
    constants: ClassVar[dict[int, tuple[float, float]]] = {
        1: (1.5, 2.0),
        2: (2.0, 2.0),
        3: (2.5, 1.7),
        4: (2.5, 1.5),
        5: (3.0, 1.4),
    }

    def __init__(self, level: Numbers | None = None) -> None:
        self.level = Values.of("Fog.level", LEVELS if level is None else level, 1, 5, integer=True)

    def sample(self, seed: int, size: Size) -> Params:
        """`thickness` c, `decay` (divides the fractal's amplitude at each finer step) and `seed`."""
        thickness, decay = self.constants[int(self.level.draw(seed))]
        return {"thickness": thickness, "decay": decay, "seed": seed}

    @staticmethod
    def apply(image: Tensor, params: Mapping[str, Any]) -> Tensor:
        """See `Degradation.apply`."""
        check_image(image, "Fog")
        clear = working(image)
        height, width = image.shape[-2:]
        fog = params["thickness"] * diamond_square((height, width), params["decay"], field_generator(params))
        brightest = clear.amax(dim=(-3, -2, -1), keepdim=True)
        share = brightest / (brightest + params["thickness"])
        return ((clear + fog.to(clear)) * share).clamp_(0, 1).to(image.dtype)

    @staticmethod
    def severity(params: Mapping[str, Any]) -> float:
        """Thickness divided by 3, that of level 5."""
        return float(min(1.0, params["thickness"] / 3))


@DEGRADATION_REGISTRY.register()
class Frost(Degradation):
    """Frost: I = clip(a·J + b·F), F frost on a pane (ImageNet-C, Hendrycks & Dietterich, ICLR 2019).

    The weights are those of ImageNet-C. Its F are photographs; here F is procedural: feathered crystals grow from
    random points, denser in some areas than in others.

    Args:
        level: the published severity, 1 to 5; by default one of them.
        crystal: mean distance in pixels of the points from which crystals grow, at least 4.
    """

    family: ClassVar[str] = "snow"
    severities: ClassVar[tuple[dict[str, Any], ...]] = EXAMPLES
    constants: ClassVar[dict[int, tuple[float, float]]] = {
        1: (1.0, 0.4),
        2: (0.8, 0.6),
        3: (0.7, 0.7),
        4: (0.65, 0.7),
        5: (0.6, 0.75),
    }

    def __init__(self, level: Numbers | None = None, crystal: Numbers = (30.0, 80.0)) -> None:
        self.level = Values.of("Frost.level", LEVELS if level is None else level, 1, 5, integer=True)
        self.crystal = Values.of("Frost.crystal", crystal, 4)

    def sample(self, seed: int, size: Size) -> Params:
        """`scene_share` a, `frost_share` b, `crystal_px` and `seed`."""
        scene, frost = self.constants[int(self.level.draw(seed))]
        return {"scene_share": scene, "frost_share": frost, "crystal_px": self.crystal.draw(seed), "seed": seed}

    @staticmethod
    def apply(image: Tensor, params: Mapping[str, Any]) -> Tensor:
        """See `Degradation.apply`."""
        check_image(image, "Frost")
        clear = working(image)
        channels, height, width = image.shape[-3:]
        frost = frost_crystals((height, width), params["crystal_px"], field_generator(params)).to(clear)
        colour = params["frost_share"] * per_channel(ICE, channels).to(clear)
        return (params["scene_share"] * clear).add_(frost * colour).clamp_(0, 1).to(image.dtype)

    @staticmethod
    def severity(params: Mapping[str, Any]) -> float:
        """b/(a + b), divided by 0.75/1.35, that of level 5."""
        share = params["frost_share"] / max(1e-9, params["scene_share"] + params["frost_share"])
        return float(min(1.0, share * 1.35 / 0.75))


@DEGRADATION_REGISTRY.register()
class Spatter(Degradation):
    """Spatter of ImageNet-C: water, I = clip(J + M·colour), or mud, I = J·(1 − M) + M·colour (Hendrycks, ICLR 2019).

    There is a splash where smoothed noise N(mean, deviation) exceeds a threshold. Water is lit by an embossed distance
    from the splash's outline (our own way; the published code finds the outline with Canny's detector). Levels 1 to 3
    are water, 4 and 5 mud.

    Args:
        level: the published severity, 1 to 5; by default one of them.
    """

    family: ClassVar[str] = "occlusion"
    severities: ClassVar[tuple[dict[str, Any], ...]] = EXAMPLES
    # mean, deviation, sigma of the smoothing in pixels, threshold, strength (water) or sigma of the outline (mud)
    constants: ClassVar[dict[int, tuple[float, float, float, float, float]]] = {
        1: (0.65, 0.3, 4.0, 0.69, 0.6),
        2: (0.65, 0.3, 3.0, 0.68, 0.6),
        3: (0.65, 0.3, 2.0, 0.68, 0.5),
        4: (0.65, 0.3, 1.0, 0.65, 1.5),
        5: (0.67, 0.4, 1.0, 0.65, 1.5),
    }

    def __init__(self, level: Numbers | None = None) -> None:
        self.level = Values.of("Spatter.level", LEVELS if level is None else level, 1, 5, integer=True)

    def sample(self, seed: int, size: Size) -> Params:
        """`level`, `mean`, `deviation`, `sigma_px`, `threshold`, `liquid`, `strength` or `outline_px`, and `seed`."""
        level = int(self.level.draw(seed))
        mean, deviation, sigma, threshold, last = self.constants[level]
        params = {"level": level, "mean": mean, "deviation": deviation, "sigma_px": sigma, "threshold": threshold}
        kind = {"liquid": "water", "strength": last} if level <= 3 else {"liquid": "mud", "outline_px": last}
        return {**params, **kind, "seed": seed}

    @staticmethod
    def apply(image: Tensor, params: Mapping[str, Any]) -> Tensor:
        """See `Degradation.apply`."""
        check_image(image, "Spatter")
        clear = working(image)
        channels, height, width = image.shape[-3:]
        mask = splashes((height, width), params).to(clear)
        colour = per_channel(WATER if params["liquid"] == "water" else MUD, channels).to(clear)
        share = 1.0 if params["liquid"] == "water" else 1 - mask
        return (clear * share).add_(mask * colour).clamp_(0, 1).to(image.dtype)

    @staticmethod
    def severity(params: Mapping[str, Any]) -> float:
        """The published level divided by 5."""
        return float(params["level"] / 5)


@DEGRADATION_REGISTRY.register()
class Shadow(Degradation):
    """Shadow: I = J·(1 − M·(1 − k)), M a soft mask, k the remaining fraction of light (k of Le & Samaras, ICCV 2019).

    The mask is procedural: high values of a plasma fractal. The sky lights a shadow, so blue is darkened a little less.

    Args:
        light: k of the red channel, in [0, 1].
        coverage: fraction of the image in shadow, in [0, 1].
        softness: width of the soft edge, as a fraction of the fractal's range, above 0.
        blueness: how much larger k is in blue, in [0, 1]; green gets half of it.
    """

    family: ClassVar[str] = "exposure"
    severities: ClassVar[tuple[dict[str, Any], ...]] = (
        {"light": 0.7, "coverage": 0.3},
        {"light": 0.45, "coverage": 0.4},
        {"light": 0.2, "coverage": 0.5},
    )

    def __init__(
        self,
        light: Numbers = (0.2, 0.7),
        coverage: Numbers = (0.2, 0.6),
        softness: Numbers = (0.02, 0.2),
        blueness: Numbers = (0.0, 0.1),
    ) -> None:
        self.light = Values.of("Shadow.light", light, 0, 1)
        self.coverage = Values.of("Shadow.coverage", coverage, 0, 1)
        self.softness = Values.of("Shadow.softness", softness, 1e-3)
        self.blueness = Values.of("Shadow.blueness", blueness, 0, 1)

    def sample(self, seed: int, size: Size) -> Params:
        """`light` (k of red, green and blue), `coverage`, `softness` and `seed`."""
        light, blueness = self.light.draw(seed), self.blueness.draw(seed)
        return {
            "light": [min(1.0, light + share * blueness) for share in (0.0, 0.5, 1.0)],
            "coverage": self.coverage.draw(seed),
            "softness": self.softness.draw(seed),
            "seed": seed,
        }

    @staticmethod
    def apply(image: Tensor, params: Mapping[str, Any]) -> Tensor:
        """See `Degradation.apply`."""
        check_image(image, "Shadow")
        clear = working(image)
        channels, height, width = image.shape[-3:]
        mask = shadow_mask(params, (height, width)).to(clear)
        lost = 1 - per_channel(params["light"], channels).to(clear)
        return (clear * (1 - mask * lost)).clamp_(0, 1).to(image.dtype)

    @staticmethod
    def severity(params: Mapping[str, Any]) -> float:
        """Fraction of the scene's light that is lost: coverage·(1 − the mean k)."""
        return float(params["coverage"] * (1 - sum(params["light"]) / len(params["light"])))


def shadow_mask(params: Mapping[str, Any], size: Size) -> Tensor:
    """M in [0, 1], [1, H, W] on the CPU."""
    surface = plasma(size, field_generator(params))
    sample = surface[0, :: max(1, size[0] // 64), :: max(1, size[1] // 64)].flatten().sort().values
    threshold = sample[min(len(sample) - 1, int((1 - params["coverage"]) * len(sample)))]
    share = ((surface - threshold) / params["softness"] + 0.5).clamp(0, 1)
    return share * share * (3 - 2 * share)
