"""The protocols of published tables: everything that decides a number, by name."""

from __future__ import annotations

from uir.degradations.noise_rules import NOISE_RULES
from uir.metrics.protocols import Protocol
from uir.registry import PROTOCOLS

PUBLISHED = (
    Protocol(
        name="basicsr", crop_border=None,
        description="BasicSR's calculate_psnr, calculate_ssim: RGB of saved 8-bit images, border as the file says.",
        source="BasicSR 1.4.2",
    ),
    Protocol(
        name="basicsr_y", crop_border=None, color_space="y",
        description="Super-resolution tables (Set5 and the like): luma of saved 8-bit images, border = scale.",
        source="BasicSR 1.4.2, test_y_channel",
    ),
    Protocol(
        name="blindsr_y", crop_border=None, color_space="y", noise=NOISE_RULES["blindsr_y"],
        description="Blind super-resolution (DASR and its successors): as basicsr_y, with rounded noise.",
        source="DASR (Wang et al., CVPR 2021), published code",
    ),
    Protocol(
        name="dcpt", noise=NOISE_RULES["dcpt"],
        description="DCPT: RGB of saved 8-bit images at full size.",
        source="DCPT (Hu et al., ICLR 2025), published code",
    ),
    Protocol(
        name="maskdcpt", rounding="none", noise=NOISE_RULES["maskdcpt"],
        description="MaskDCPT, and DCPT on CDD-11: RGB, clipped, not rounded, full size.",
        source="MaskDCPT (arXiv 2510.13282), published code",
    ),
    Protocol(
        name="promptir", rounding="none", multiple_of=16, window="uniform", noise=NOISE_RULES["promptir"],
        description="PromptIR, AdaIR, MoCE-IR: RGB floats cropped to multiples of 16, scikit-image's default SSIM.",
        source="PromptIR (Potlapalli et al., NeurIPS 2023), published code",
    ),
    Protocol(
        name="restormer_y", color_space="y", round_luma=True,
        description="Restormer's MATLAB script: luma of saved 8-bit images, itself rounded, full size.",
        source="Restormer (Zamir et al., CVPR 2022), evaluate_PSNR_SSIM.m",
    ),
    Protocol(
        name="raim2024", score="raim2024",
        description="RAIM 2024, second phase: the score with normalised ranges, at most 125.",
        source="RAIM (arXiv 2405.09923); ranges as in the organisers' script of 2026",
    ),
    Protocol(
        name="raim2024_printed", score="raim2024_printed",
        description="RAIM 2024 as its formula is printed: (1 - LPIPS) / 0.4 and so on, read literally.",
        source="RAIM (arXiv 2405.09923)",
    ),
    Protocol(
        name="raim2026_hdr", score="raim2026_hdr",
        description="RAIM 2026, HDR track: PSNR, SSIM and LPIPS, at most 82.5.",
        source="RAIM-HDR, the organisers' script",
    ),
    Protocol(
        name="ntire2025_perceptual", score="ntire2025_perceptual",
        description="NTIRE 2025 super-resolution, perceptual track: six measures of similarity and quality.",
        source="NTIRE 2025 image super-resolution, the organisers' script",
    ),
)  # fmt: skip

for _protocol in PUBLISHED:
    PROTOCOLS.register(_protocol, name=_protocol.name)
PROTOCOLS.register(next(each for each in PUBLISHED if each.name == "basicsr_y"), name="sr_y")  # its older name
