"""DCPT: a restorer learns to tell degradations apart before it restores.

Degradation Classification Pre-Training (Hu et al., ICLR 2025). Both losses are minimised together, not alternately.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from uir.config.schema import TrainOptions
from uir.layers.tapped import TappedRestorer
from uir.models.classifying_model import ClassifyingModel, ClassifyingStep, PretrainingOptions, check_adds_input
from uir.registry import MODEL_REGISTRY


class PretrainingStep(TappedRestorer):
    """Runs the whole network on clean images, and the part up to the last feature on degraded ones. It is one call,
    so that DDP counts each parameter once."""

    def forward(self, gt: Tensor, lq: Tensor) -> tuple[Tensor | None, list[Tensor]]:  # type: ignore[override]
        """The restored `gt`, and the features of `lq`."""
        return self.net(gt), self.run(lq, stop=True)[1]


@MODEL_REGISTRY.register()
class DCPTModel(ClassifyingModel):
    """Pre-training: reconstruct the clean image from itself, and classify the degradation of the degraded one.

    loss = pixel_opt(network_g(gt), gt) + classify_opt(network_dc(features of network_g at lq), label of lq). Gradients
    of the classification reach all of network_g except its output layers. The trained network is fine-tuned with
    `SRModel`. `global_residual: false` is ours: network_g adds its input, so reconstructing a clean image asks nothing
    of its features; without the input they must carry the image.
    """

    train_options: ClassVar[type[TrainOptions]] = PretrainingOptions
    train_opt: PretrainingOptions

    def check_network(self, role: str, network: nn.Module) -> None:
        """A restorer that is judged without its input must add its input."""
        super().check_network(role, network)
        if role == "g" and self.is_train and not self.train_opt.global_residual:
            check_adds_input(network)

    def make_tapped(self, network: nn.Module) -> TappedRestorer:
        """The restorer, for a pair of batches."""
        return PretrainingStep(network, self.train_opt.taps if self.is_train else None)

    def run_step(self) -> ClassifyingStep:
        """Restore `gt`, and read the features of `lq`; `network_g` must keep the size of its input."""
        clean = self.clean_images()
        restored, features = self.net_g(clean, self.lq)
        if not self.train_opt.global_residual:
            restored = restored.float() - clean
        return ClassifyingStep(restored, features, self.lq)
