"""Small option files for adversarial training."""

from __future__ import annotations

from typing import Any

METHODS = ("SRGANModel", "ESRGANModel")
DEGRADING = ("RealESRNetModel", "RealESRGANModel")
D = {"type": "UNetDiscriminatorSN", "num_in_ch": 3, "num_feat": 4}


def changes(method: str, **more: Any) -> dict[str, Any]:
    """What makes the small option file one of adversarial training at scale 2."""
    return {
        "model_type": method,
        "network_d": D,
        "train.optim_d": {"type": "Adam", "lr": 1e-3},
        "train.gan_opt": {"type": "GANLoss", "gan_type": "vanilla", "loss_weight": 0.1},
        "train.ema_decay": 0.9,
        "val": None,
        **more,
    }


def degrading(method: str, **more: Any) -> dict[str, Any]:
    """The same for the methods that can degrade on the device; here they take pairs."""
    options = {**changes(method), "high_order_degradation": False, **more}
    if method == "RealESRNetModel":
        options = {
            key: value for key, value in options.items() if not key.endswith(("network_d", "optim_d", "gan_opt"))
        }
    return options
