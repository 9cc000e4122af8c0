"""Recipes of blind super-resolution: BSRGAN, Real-ESRGAN, DASR's three levels, and recipes that keep the size."""

from __future__ import annotations

import math
from typing import Any

from uir.degradations.preset import Preset, Spec, check_scale, maybe, one_of, sequence, shuffle, stage
from uir.registry import DEGRADATION_REGISTRY

MODES = ["area", "bilinear", "bicubic"]
GREY = 0.4
ODD_SIDES, BSRGAN_SIDES = (7, 21), (7, 25)


def random_resize(
    up: float,
    down: float,
    keep: float,
    low: float,
    high: float,
    *,
    of: str = "current",
    by: float = 1,
    legacy: bool = False,
) -> Spec:
    """Resize up, down or not at all with these weights, within [low, high], by a random method (see `Resize`)."""
    return {
        "type": "Resize",
        "up": [1 / by, high / by],
        "down": [low / by, 1 / by],
        "keep": 1 / by,
        "weights": {"up": up, "down": down, "keep": keep},
        "modes": MODES,
        "of": of,
        "legacy": legacy,
    }


def back_to(scale: int) -> Spec:
    """The input's size divided by `scale`, by a random method."""
    return {"type": "Resize", "scale": 1 / scale, "modes": MODES, "of": "input"}


def gaussian_or_poisson(sigma: list[float], poisson: list[float]) -> Spec:
    """White or photon noise, equally likely; grey with probability 0.4."""
    return one_of(
        (0.5, {"type": "GaussianNoise", "sigma": sigma, "grey_probability": GREY}),
        (0.5, {"type": "PoissonNoise", "scale": poisson, "grey_probability": GREY}),
    )


def mixed_blur(sigma: list[float], sinc: float) -> Spec:
    """Real-ESRGAN's kernels: Gaussian, generalised and plateau, or a sinc with probability `sinc` (section 3.1)."""
    widths = {"sigma_x": sigma, "sigma_y": sigma, "kernel_size": ODD_SIDES}
    generalised = [{"type": "GeneralizedGaussianBlur", "beta": beta, **widths} for beta in ([0.5, 1], [1, 4])]
    plateau = [{"type": "PlateauBlur", "beta": beta, **widths} for beta in ([0.5, 1], [1, 2])]
    blur = one_of(
        (0.45, {"type": "IsotropicGaussianBlur", "sigma": sigma, "kernel_size": ODD_SIDES}),
        (0.25, {"type": "AnisotropicGaussianBlur", **widths}),
        *((0.075, {**step, "isotropic_probability": 0.8}) for step in generalised),
        *((0.075, {**step, "isotropic_probability": 0.8}) for step in plateau),
    )
    return one_of((1 - sinc, blur), (sinc, {"type": "SincFilter", "kernel_size": ODD_SIDES}))


def jpeg_of(codec: str, quality: list[int], legacy: bool) -> Spec:
    """The codec, or its differentiable replacement, with its published tables if `legacy`."""
    if legacy:
        return {"type": "DiffJPEG", "quality": quality, "legacy": True}
    return {"type": codec, "quality": quality}


def final_low_pass(scale: int, quality: list[int], codec: str, legacy: bool, sinc: float = 0.8) -> Spec:
    """Resize back with a sinc and then JPEG, or in the other order, equally likely (Real-ESRGAN, section 3.3)."""
    low_pass = {"type": "SincFilter", "omega": [math.pi / 3, math.pi], "kernel_size": ODD_SIDES}
    resized = sequence(back_to(scale), maybe(sinc, low_pass))
    compressed = jpeg_of(codec, quality, legacy)
    return one_of((0.5, sequence(resized, compressed)), (0.5, sequence(compressed, resized)))


ROUNDED: Spec = {"type": "Quantise", "bits": 8}


def check_codec(owner: str, codec: str) -> str:
    """`JPEG` or `DiffJPEG`."""
    if codec not in ("JPEG", "DiffJPEG"):
        raise ValueError(f"{owner}.codec: expected JPEG or DiffJPEG, got {codec!r}")
    return codec


@DEGRADATION_REGISTRY.register()
class realesrgan(Preset):  # noqa: N801
    """Real-ESRGAN's second-order degradation: twice blur, resize, noise, JPEG, and a sinc (Wang et al., ICCVW 2021).

    Values of the published x4 file. Real-ESRGAN first sharpens the image; the sharpened image is degraded and is also
    the target. For this, use in a dataset `degradation: {type: Sequence, steps: [{type: USMSharpen}, {type:
    realesrgan}]}` and `target: {type: USMSharpen}`.

    Args:
        scale: 1, 2, 3 or 4.
        codec: `JPEG`, the real codec, or `DiffJPEG`, which runs on the device.
        legacy: as published: DiffJPEG with its tables, and a resize that shifts the image slightly.
    """

    def __init__(self, scale: int = 4, codec: str = "JPEG", legacy: bool = False) -> None:
        check_scale("realesrgan", scale, 1, 2, 3, 4)
        check_codec("realesrgan", codec)
        first = sequence(
            mixed_blur([0.2, 3], sinc=0.1),
            random_resize(0.2, 0.7, 0.1, 0.15, 1.5, legacy=legacy),
            gaussian_or_poisson([1, 30], [0.05, 3]),
            jpeg_of(codec, [30, 95], legacy),
        )
        second = sequence(
            maybe(0.8, mixed_blur([0.2, 1.5], sinc=0.1)),
            random_resize(0.3, 0.4, 0.3, 0.3, 1.2, of="input", by=scale),
            gaussian_or_poisson([1, 25], [0.05, 2.5]),
        )
        final = final_low_pass(scale, [30, 95], codec, legacy)
        super().__init__(
            sequence(stage("first", first), stage("second", second), stage("final", final), ROUNDED), scale
        )


@DEGRADATION_REGISTRY.register()
class dasr_liang(Preset):  # noqa: N801
    """DASR's three levels of degradation: weak, standard, severe (Liang et al., ECCV 2022), x4.

    Weak and standard have one stage, severe has two as in Real-ESRGAN. The record contains the level.

    Args:
        weights: weights of `weak`, `standard` and `severe`; a level that is left out never occurs.
        legacy: as published: one level for a whole batch, DiffJPEG with its tables, a resize that shifts the image,
            kernels of 9 to 21 px instead of 7 to 21.
    """

    def __init__(self, weights: dict[str, float] | None = None, legacy: bool = False) -> None:
        self.legacy = legacy
        chances = {"weak": 0.3, "standard": 0.3, "severe": 0.4} if weights is None else weights
        levels = {
            "weak": self._one_stage([0.2, 0.8], (0.1, 0.2, 0.7, 0.85, 1.2), [1, 10], [0.05, 0.5], [90, 95]),
            "standard": self._one_stage([0.2, 1.5], (0.3, 0.4, 0.3, 0.5, 1.2), [1, 20], [0.05, 1.5], [50, 95]),
            "severe": self._two_stages(),
        }
        unknown = sorted(set(chances) - set(levels)) if isinstance(chances, dict) else [chances]
        if unknown or not chances:
            raise ValueError(f"dasr_liang.weights: got {weights!r}; expected some of {', '.join(levels)}")
        chosen = {name: levels[name] for name in chances}
        level = {"type": "Level", "levels": chosen, "weights": dict(chances), "per_batch": legacy}
        super().__init__(sequence(level, ROUNDED), 4)

    def _blur(self, sigma: list[float]) -> Spec:
        side = (9, 21) if self.legacy else ODD_SIDES
        return one_of(
            (0.65, {"type": "IsotropicGaussianBlur", "sigma": sigma, "kernel_size": side}),
            (0.35, {"type": "AnisotropicGaussianBlur", "sigma_x": sigma, "sigma_y": sigma, "kernel_size": side}),
        )

    def _one_stage(
        self,
        sigma: list[float],
        resize: tuple[float, ...],
        noise: list[float],
        poisson: list[float],
        quality: list[int],
    ) -> Spec:
        first = sequence(
            self._blur(sigma),
            random_resize(*resize, legacy=self.legacy),
            gaussian_or_poisson(noise, poisson),
            jpeg_of("JPEG", quality, self.legacy),
        )
        return sequence(stage("first", first), stage("final", back_to(4)))

    def _two_stages(self) -> Spec:
        first = sequence(
            self._blur([0.2, 3]),
            random_resize(0.2, 0.7, 0.1, 0.15, 1.5, legacy=self.legacy),
            gaussian_or_poisson([1, 30], [0.05, 3]),
            jpeg_of("JPEG", [30, 95], self.legacy),
        )
        second = sequence(
            {**maybe(0.8, self._blur([0.2, 1.5])), "note_skipped": self.legacy},  # the published vector contains it
            random_resize(0.3, 0.4, 0.3, 0.3, 1.2, of="input", by=4),
            gaussian_or_poisson([1, 25], [0.05, 2.5]),
        )
        final = final_low_pass(4, [30, 95], "JPEG", self.legacy)
        return sequence(stage("first", first), stage("second", second), stage("final", final))


def _bsrgan_blur(scale: int) -> Spec:
    widths = {"sigma_x": [0, math.sqrt(4 + scale)], "kernel_size": BSRGAN_SIDES}
    return one_of(
        # the published l1 and l2, up to 4 + scale, are eigenvalues of the covariance
        (0.5, {"type": "AnisotropicGaussianBlur", **widths, "even_in": "variance"}),
        (0.5, {"type": "IsotropicGaussianBlur", "sigma": [0, 2 + 0.2 * scale], "kernel_size": BSRGAN_SIDES}),
    )


def _bsrgan_noise(lowest: float, highest: float) -> Spec:
    """White noise: coloured, grey or correlated between channels."""
    return {
        "type": "GaussianNoise",
        "sigma": [lowest, highest],
        "grey_probability": 0.4,
        "correlated_probability": 0.2,
    }


@DEGRADATION_REGISTRY.register()
class bsrgan(Preset):  # noqa: N801
    """BSRGAN: blurs, down-samplings, noise, JPEG and camera noise in random order (Zhang et al., ICCV 2021).

    Seven steps are shuffled, but the second down-sampling stays after the first; JPEG comes last. At scale 4, a quarter
    of the images are first halved and then continue at scale 2. The published down-sampling that shifts its Gaussian
    onto the small grid is replaced by a Gaussian and a bilinear resize, which samples at the same positions.

    Args:
        scale: 2, 3 or 4.
    """

    def __init__(self, scale: int = 4) -> None:
        check_scale("bsrgan", scale, 2, 3, 4)
        steps = self._shuffled(scale, scale)
        if scale == 4:
            modes = {"area": 1, "bilinear": 1, "bicubic": 1, "matlab_bicubic": 3}
            halved = sequence({"type": "Resize", "scale": 0.5, "modes": modes}, self._shuffled(2, scale))
            steps = one_of((0.25, halved), (0.75, steps))
        super().__init__(sequence(steps, {"type": "JPEG", "quality": [30, 95]}), scale)

    def _shuffled(self, scale: int, whole: int) -> Spec:
        """The seven steps that make an image `scale` times smaller, and the pipeline's input `whole` times smaller."""
        shifted: Any = {"type": "IsotropicGaussianBlur", "sigma": [0.1, 0.6 * scale], "kernel_size": 25}
        down = one_of(
            (0.75, {"type": "Resize", "scale": [1 / (2 * scale), 1], "modes": MODES, "even_in": "factor"}),
            (0.25, sequence(shifted, {"type": "Resize", "scale": 1 / scale, "modes": ["bilinear"]})),
        )
        return shuffle(
            _bsrgan_blur(scale),
            _bsrgan_blur(scale),
            down,
            back_to(whole),
            _bsrgan_noise(2, 25),
            maybe(0.9, {"type": "JPEG", "quality": [30, 95]}),
            maybe(0.25, {"type": "CameraISP"}),
            keep_order=[2, 3],
        )


@DEGRADATION_REGISTRY.register()
class bsrgan_plus(Preset):  # noqa: N801
    """BSRGAN+: thirteen steps, shuffled half of the time, with photon, speckle and camera noise, sharpened (KAIR).

    Args:
        scale: 1, 2, 3 or 4.
    """

    def __init__(self, scale: int = 4) -> None:
        check_scale("bsrgan_plus", scale, 1, 2, 3, 4)
        poisson = {"type": "PoissonNoise", "scale": 1, "log10_photons": [2, 4], "grey_probability": 0.5}
        noises = [
            _bsrgan_noise(2, 25),
            maybe(0.1, poisson),
            maybe(0.1, {"type": "SpeckleNoise", "sigma": [2, 25]}),
            maybe(0.1, {"type": "CameraISP"}),
        ]
        resize = {"type": "Resize", "up": [1, 2], "down": [0.5 / scale, 1], "modes": MODES,
                  "weights": {"up": 0.2, "down": 0.7, "keep": 0.1}}  # fmt: skip
        once = [_bsrgan_blur(scale), resize, *noises]
        jpeg = {"type": "JPEG", "quality": [30, 95]}
        in_order = sequence(once[0], once[1], shuffle(*once[2:]), jpeg, once[0], once[1], shuffle(*once[2:]))
        shuffled = shuffle(*once, jpeg, *once)
        steps = one_of((0.5, in_order), (0.5, shuffled))
        super().__init__(sequence({"type": "USMSharpen"}, steps, back_to(scale), jpeg), scale)


@DEGRADATION_REGISTRY.register()
class random_order(Preset):  # noqa: N801
    """Three rounds of blur, resize, noise and JPEG in random order, at the image's own size (wild DA-CLIP, 2024).

    The published recipe reads camera PSFs from files; here a Gaussian of their size replaces them.

    """

    def __init__(self) -> None:
        widths = [0.2, 2.2]
        side = (5, 19)
        first_blur = one_of(
            (0.35, {"type": "IsotropicGaussianBlur", "sigma": widths, "kernel_size": side}),
            (0.35, {"type": "AnisotropicGaussianBlur", "sigma_x": widths, "sigma_y": widths, "kernel_size": side}),
            (0.1, {"type": "DefocusBlur", "radius": [1, 5]}),
            (0.06, {"type": "MotionBlur", "length": [3, 9]}),
            (0.1, {"type": "SincFilter", "omega": [math.pi / 3, math.pi], "kernel_size": ODD_SIDES}),
            (0.04, {"type": "Ringing", "noise_ratio": 0.006}),
        )
        noise = one_of(
            (0.6, {"type": "GaussianNoise", "sigma": [1, 5]}), (0.4, {"type": "PoissonNoise", "scale": [0.01, 0.5]})
        )
        first = shuffle(
            maybe(0.8, first_blur),
            maybe(0.8, {"type": "Resize", "scale": [0.5, 1.4], "modes": MODES}),
            maybe(0.4, noise),
            maybe(0.4, {"type": "JPEG", "quality": [60, 95]}),
        )
        second = shuffle(
            maybe(0.4, {"type": "IsotropicGaussianBlur", "sigma": [0.2, 1.5], "kernel_size": ODD_SIDES}),
            maybe(0.2, noise),
        )
        low_pass = {"type": "SincFilter", "omega": [math.pi / 3, math.pi], "kernel_size": ODD_SIDES}
        weak = {"type": "IsotropicGaussianBlur", "sigma": [0.2, 1.0], "kernel_size": ODD_SIDES}
        third = shuffle(
            maybe(0.8, one_of((0.8, low_pass), (0.2, weak))), back_to(1), {"type": "JPEG", "quality": [80, 100]}
        )
        super().__init__(sequence(stage("first", first), stage("second", second), stage("third", third)))


@DEGRADATION_REGISTRY.register()
class raim_defocus(Preset):  # noqa: N801
    """Mostly defocus, some shake, uneven, then noise and JPEG: as in RAIM's photographs (CVPRW 2024).

    The challenge publishes photographs but no generator: the kinds follow its description, the values are uir's own.

    Args:
        radius: radius of the defocus disk in pixels.
    """

    def __init__(self, radius: list[float] | None = None) -> None:
        blur = one_of(
            (0.5, {"type": "SpatiallyVaryingBlur"}),
            (0.35, {"type": "DefocusBlur", "radius": [1.0, 6.0] if radius is None else radius}),
            (0.15, {"type": "TrajectoryBlur"}),
        )
        noise = maybe(0.7, {"type": "RawNoise", "shot": [1e-4, 2e-3]})
        super().__init__(sequence(blur, noise, maybe(0.7, {"type": "JPEG", "quality": [70, 97]}), ROUNDED))
