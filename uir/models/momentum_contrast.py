"""Momentum contrast: an encoder that follows slowly, and a queue of its codes of earlier images.

MoCo (He et al., CVPR 2020, Algorithm 1) as DASR uses it, without shuffling for the batch normalisation
(docs/blind_sr.md measures what that costs).
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.swa_utils import get_ema_multi_avg_fn

from uir.core.distributed import rank_and_world
from uir.core.seeds import torch_generator
from uir.layers.degradation_code import DegradationCode


class MomentumContrast(nn.Module):
    """The momentum encoder and its queue; its state dict is everything that continues from step to step.

    The order of a step is the published one: `follow`, then the keys, then the loss, then `enqueue`. Parameters follow
    the encoder, buffers do not: the batch normalisation of the momentum encoder uses the statistics of its own batches.
    All processes have the same queue, because keys are gathered in the order of ranks.

    Args:
        encoder: the encoder that is copied and followed.
        channels: D of its projection.
        queue_size: K keys; new keys replace the oldest. It need not be a multiple of the batch.
        momentum: in [0, 1): encoder_k ← momentum · encoder_k + (1 − momentum) · encoder.
        seed: seed of the random directions that fill the queue at first.

    Raises:
        ValueError: the size or the momentum is out of range.
    """

    queue: Tensor
    pointer: Tensor

    def __init__(
        self, encoder: nn.Module, channels: int, queue_size: int = 8192, momentum: float = 0.999, seed: int = 0
    ) -> None:
        super().__init__()
        if queue_size < 1 or not 0 <= momentum < 1:
            raise ValueError(
                f"momentum contrast: expected a queue of at least 1 and a momentum in [0, 1), got {queue_size} and "
                f"{momentum}"
            )
        self.encoder_k = copy.deepcopy(encoder).requires_grad_(False).train()
        device = next((p.device for p in encoder.parameters()), torch.device("cpu"))
        queue = torch.randn(queue_size, channels, generator=torch_generator(seed, "momentum_contrast"))
        self.register_buffer("queue", F.normalize(queue, dim=1).to(device))
        self.register_buffer("pointer", torch.zeros((), dtype=torch.long, device=device))
        self._average = get_ema_multi_avg_fn(momentum)

    def forward(self, image: Tensor) -> DegradationCode:
        """The momentum encoder's code of [B, 3, H, W]; gradients reach the image, not the encoder."""
        code: DegradationCode = self.encoder_k(image)
        return code

    @torch.no_grad()
    def follow(self, encoder: nn.Module) -> None:
        """Take one step towards the encoder; called once before the keys of each optimizer step."""
        self._average(list(self.encoder_k.parameters()), list(encoder.parameters()), None)

    @torch.no_grad()
    def enqueue(self, projection: Tensor) -> None:
        """Add the keys of all processes, [B, D] each, to the queue as unit vectors; called after each batch's loss."""
        keys = F.normalize(projection.detach().float(), dim=1)
        keys = _of_all_processes(keys)[-len(self.queue) :]
        places = (self.pointer + torch.arange(len(keys), device=keys.device)) % len(self.queue)
        self.queue[places] = keys
        self.pointer.copy_((self.pointer + len(keys)) % len(self.queue))


def _of_all_processes(keys: Tensor) -> Tensor:
    """[B, D] of every process, in the order of ranks: [world · B, D]."""
    world = rank_and_world()[1]
    if world == 1:
        return keys
    shares = [torch.empty_like(keys) for _ in range(world)]
    torch.distributed.all_gather(shares, keys.contiguous())
    return torch.cat(shares)
