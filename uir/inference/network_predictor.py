"""The simplest predictor: the network's output is the restored image."""

from __future__ import annotations

from uir.inference.predictor import Predictor
from uir.registry import PREDICTORS


@PREDICTORS.register()
class NetworkPredictor(Predictor):
    """`network_g(lq)` is the restored image."""
