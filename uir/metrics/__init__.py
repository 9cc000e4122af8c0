"""Image quality metrics with explicit settings, protocols that fix the settings, composite scores, BasicSR's names."""

from uir.metrics.building import Metric, build_metric
from uir.metrics.composite_metric import CompositeScore
from uir.metrics.niqe_metric import niqe
from uir.metrics.protocols import Protocol, protocol_named
from uir.metrics.psnr_metric import psnr
from uir.metrics.ssim_metric import ssim
from uir.registry import PROTOCOLS

__all__ = [
    "PROTOCOLS",
    "CompositeScore",
    "Metric",
    "Protocol",
    "build_metric",
    "niqe",
    "protocol_named",
    "psnr",
    "ssim",
]
