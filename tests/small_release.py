"""A small released model: a restorer and a classifier of its features in one file, like uir-small."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from uir.core.checkpoint import write_release
from uir.layers.tapped import TappedRestorer
from uir.registry.components import build

LABELS = ["haze", "noise", "rain"]
RESTORER = {"type": "HalfNAFNet", "width": 4, "middle_blk_num": 1, "enc_blk_nums": [1], "dec_blk_nums": [1]}


def small_release(file: Path, **of_classifier: Any) -> Path:
    """Write the model.

    Args:
        file: the file.
        of_classifier: further entries of the classifier's card.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = build("archs", RESTORER)
        points = TappedRestorer(network).points
        head = {"type": "FeatureClassifier", "num_classes": len(LABELS), "max_params": 3000}
        classifier = build("archs", head, {"feature_points": points})
        for parameter in [*network.parameters(), *classifier.parameters()]:
            parameter.data += 0.1 * torch.randn_like(parameter)
    card = {"arch": RESTORER, "scale": 1, "role": "g", "predictor": {"type": "NetworkPredictor"}}
    of_head = {"arch": head, "labels": LABELS, "feature_points": [asdict(point) for point in points], **of_classifier}
    write_release(file, {"g": (network.state_dict(), card), "dc": (classifier.state_dict(), of_head)})
    return file
