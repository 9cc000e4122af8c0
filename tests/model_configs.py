"""A small configuration of every registered training method: changes to the small option file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import adversarial_options
import blind_sr_options
import dasr_options
import dcpt_options

# A registered class without an entry fails tests/models/test_every_model.py.
MODELS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "BlindSRModel": blind_sr_options.changes,
    "DASRModel": lambda pairs: dasr_options.changes(),
    "SRModel": lambda pairs: {},
    "StrengthModel": lambda pairs: {
        "model_type": "StrengthModel",
        "network_g": {
            "type": "GainNet",
            "levels": 3,
            "backbone": {"type": "MSRResNet", "num_feat": 4, "num_block": 1, "upscale": 2},
        },
    },
    **{name: lambda _, name=name: adversarial_options.changes(name) for name in adversarial_options.METHODS},
    **{name: lambda _, name=name: adversarial_options.degrading(name) for name in adversarial_options.DEGRADING},
    **{method: lambda pairs, method=method: dcpt_options.changes(pairs, method) for method in dcpt_options.METHODS},
}
