"""Classical low resolution: a Gaussian kernel, down-sampling, white noise; as in DASR, IKC, SRMD and MANet."""

from __future__ import annotations

from uir.degradations.base import DrawContext, Size
from uir.degradations.preset import Preset, Spec, check_scale, sequence
from uir.degradations.record import Step
from uir.degradations.values import Numbers
from uir.registry import DEGRADATION_REGISTRY

KERNEL_SIZE = 21
DASR_WIDTHS = {2: (0.2, 2.0), 3: (0.2, 3.0), 4: (0.2, 4.0)}
MANET_WIDTHS = {2: (0.35, 5.0), 3: (0.525, 7.5), 4: (0.7, 10.0)}


def bicubic(scale: int) -> Spec:
    """MATLAB's bicubic, s times smaller than the input."""
    return {"type": "Resize", "scale": 1 / scale, "modes": ["matlab_bicubic"]}


def noise_and_rounding(noise: Numbers) -> list[Spec]:
    """White noise if it is not zero, then rounding to 8 bits."""
    silent = isinstance(noise, (int, float)) and not noise
    added: list[Spec] = [] if silent else [{"type": "GaussianNoise", "sigma": noise, "clip": False}]
    return [*added, {"type": "Quantise", "bits": 8}]


@DEGRADATION_REGISTRY.register()
class dasr_wang_iso(Preset):  # noqa: N801
    """Isotropic Gaussian blur, MATLAB's bicubic, rounding (DASR, Wang et al., CVPR 2021, section 4.1).

    Args:
        scale: 2, 3 or 4.
        sigma: width of the 21x21 kernel in pixels; default [0.2, scale], and 0 is only bicubic. The published training
                code uses [0.2, 4] at every scale.
        noise: σ of white noise on the small image, on the scale 0-255.
    """

    def __init__(self, scale: int = 4, sigma: Numbers | None = None, noise: Numbers = 0.0) -> None:
        check_scale("dasr_wang_iso", scale, *DASR_WIDTHS)
        widths = DASR_WIDTHS[scale] if sigma is None else sigma
        blur = {"type": "IsotropicGaussianBlur", "sigma": widths, "kernel_size": KERNEL_SIZE}
        super().__init__(sequence(blur, bicubic(scale), *noise_and_rounding(noise)), scale)


@DEGRADATION_REGISTRY.register()
class dasr_wang_aniso(Preset):  # noqa: N801
    """Anisotropic Gaussian blur, MATLAB's bicubic, white noise, rounding (DASR, Wang et al., CVPR 2021, section 4.1).

    Args:
        scale: 2, 3 or 4.
        sigma_x: width λ1 of the 21x21 kernel in pixels.
        sigma_y: width λ2 in pixels; default as `sigma_x`.
        angle: degrees of the first axis.
        noise: σ of white noise on the small image, on the scale 0-255.
    """

    def __init__(
        self,
        scale: int = 4,
        sigma_x: Numbers = (0.2, 4.0),
        sigma_y: Numbers | None = None,
        angle: Numbers = (0.0, 180.0),
        noise: Numbers = (0.0, 25.0),
    ) -> None:
        check_scale("dasr_wang_aniso", scale, *DASR_WIDTHS)
        blur = {
            "type": "AnisotropicGaussianBlur",
            "sigma_x": sigma_x,
            "sigma_y": sigma_x if sigma_y is None else sigma_y,
            "rotation": angle,
            "kernel_size": KERNEL_SIZE,
        }
        super().__init__(sequence(blur, bicubic(scale), *noise_and_rounding(noise)), scale)


@DEGRADATION_REGISTRY.register()
class manet(Preset):  # noqa: N801
    """Anisotropic Gaussian blur, up to 2.5 px per scale, s-fold sub-sampling, noise (MANet, Liang et al., ICCV 2021).

    The second width is between the smallest width and the first one.

    Args:
        scale: 2, 3 or 4; widths are [0.175, 2.5] times the scale.
        noise: σ of white noise on the small image, on the scale 0-255; CDSR uses 15, and none on every fifth image.
    """

    def __init__(self, scale: int = 4, noise: Numbers = 0.0) -> None:
        self.widths = MANET_WIDTHS[check_scale("manet", scale, *MANET_WIDTHS)]
        blur = {
            "type": "AnisotropicGaussianBlur",
            "sigma_x": self.widths,
            "sigma_y": self.widths,
            "rotation": (0.0, 180.0),
            "kernel_size": KERNEL_SIZE,
        }
        super().__init__(sequence(blur, {"type": "SFold", "scale": scale}, *noise_and_rounding(noise)), scale)

    def draw(self, seed: int, size: Size, context: DrawContext | None = None) -> list[Step]:
        """The steps of the recipe; the second width has the first one as its upper limit, not the largest width."""
        blur, *others = super().draw(seed, size, context)
        low, high = self.widths
        share = (blur["sigma_y_px"] - low) / (high - low)
        return [{**blur, "sigma_y_px": low + share * (blur["sigma_x_px"] - low)}, *others]
