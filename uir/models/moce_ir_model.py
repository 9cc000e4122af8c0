"""Training of restorers whose routers choose experts: MoCE-IR (Zamfir et al., CVPR 2025)."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from uir.inference.predictor import Predictor, conditions_of
from uir.inference.router_predictor import RouterPredictor
from uir.models.base_model import BaseModel, offers
from uir.registry import MODEL_REGISTRY


@MODEL_REGISTRY.register()
class MoCEIRModel(BaseModel):
    """Trains a restorer with routers by losses on images and, as `balance_opt`, on how evenly the experts are used.

    `network_g` must give its balance: `forward(lq, with_balance=True) -> (restored, balance)`, such as `MoCEIR`. In
    training its routers draw noise. Restoring leaves the noise out; the control `router_noise` draws it, as the tests
    of the paper's authors do, from the image's name and the control `seed`.
    """

    loss_slots: ClassVar[tuple[str, ...]] = ("pixel_opt", "balance_opt")
    open_losses: ClassVar[bool] = True
    predictor_type: ClassVar[type[Predictor]] = RouterPredictor

    def check_network(self, role: str, network: nn.Module) -> None:
        """Check that the restorer gives its balance."""
        super().check_network(role, network)
        if "with_balance" not in conditions_of(network)[0]:
            raise ValueError(
                f"network_g: {type(network).__name__} has no routers (its forward takes no `with_balance`); use MoCEIR "
                "or model_type: SRModel"
            )

    def leaves_unused(self, role: str) -> bool:
        """In a step some experts may get no image."""
        return True

    @offers("routed", runs=("g",))
    def _routed(self) -> tuple[Tensor, Tensor]:
        restored, balance = self.net_g(self.lq, with_balance=True)
        return restored, balance

    @offers("restored", runs=("g",))
    def restored_batch(self) -> Tensor:
        """The output of `network_g` for the batch: [B, 3, H, W], float32.

        Raises:
            ValueError: its size differs from that of `gt`.
        """
        return self.fits_gt(self.value("routed")[0].float())

    @offers("router_balance", runs=("g",))
    def router_balance(self) -> Tensor:
        """How unevenly each router used its experts for the batch [R]."""
        balance: Tensor = self.value("routed")[1]
        return balance
