"""Image quality metrics with explicit settings, protocols that fix the settings, and BasicSR's names."""

from uir.metrics.building import Metric, build_metric
from uir.metrics.niqe_metric import niqe
from uir.metrics.protocols import PROTOCOLS, Protocol
from uir.metrics.psnr_metric import psnr
from uir.metrics.ssim_metric import ssim

__all__ = ["PROTOCOLS", "Metric", "Protocol", "build_metric", "niqe", "psnr", "ssim"]
