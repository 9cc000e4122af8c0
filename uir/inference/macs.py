"""The number of multiply-accumulate operations for an image."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from uir.layers.padding import outer_multiple_of, pad_to_multiple


def count_macs(network: nn.Module, image: Tensor) -> int:
    """Multiply-accumulates of convolutions and matrix products for images [B, 3, H, W]: half of torch's count of FLOPs.

    A network in training mode is in training mode again afterwards.
    """
    counter = FlopCounterMode(display=False)
    was_training = network.training
    network.eval()
    with torch.no_grad(), counter:
        run_padded(network, image)
    network.train(was_training)
    return counter.get_total_flops() // 2


def run_padded(network: nn.Module, image: Tensor) -> None:
    """Run a network on images, padded to a size that it accepts."""
    multiple = outer_multiple_of(network)
    network(pad_to_multiple(image, multiple))
