"""The time of a pre-training step of DCPT: uir's step and the published one run alternately on this machine.

Published: two full forward passes with hooks on the decoder, and the published classifier. uir: the degraded batch
stops after the last feature. Both use the same small NAFNet, weights and batches; gradients are compared before the
timing. Ratios are medians over the rounds.

    python benchmarks/dcpt_step.py [--rounds 9] [--threads 1 2] [--batch 4] [--size 64]
"""

from __future__ import annotations

import argparse
import copy
import os
import statistics
import time
from collections.abc import Callable

import torch
from nafnet import SHALLOW, make_pair
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.nn import functional as F

from uir.encoders.dcpt_classifier_encoder import PromptIR_NoImg_DC
from uir.encoders.feature_classifier_encoder import FeatureClassifier
from uir.layers.tapped import TappedRestorer
from uir.losses.classification_loss import FocalLoss
from uir.models.dcpt_model import PretrainingStep

Forward = Callable[[Tensor, Tensor], tuple[Tensor, list[Tensor]]]
CLASSES = 5


def published(net: nn.Module) -> Forward:
    """Two full forward passes; hooks collect features in both, and those of the clean images are discarded."""
    caught: list[Tensor] = []
    for decoder in net.get_submodule("decoders").children():
        decoder.register_forward_hook(lambda _module, _args, output: caught.append(output))

    def run(gt: Tensor, lq: Tensor) -> tuple[Tensor, list[Tensor]]:
        restored = net(gt)
        caught.clear()
        net(lq)
        features = caught[::-1]
        caught.clear()
        return restored, features

    return run


def joined(net: nn.Module) -> Forward:
    """One forward pass over both batches, for comparison: the layers after the last feature run for both."""
    tapped = TappedRestorer(net)

    def run(gt: Tensor, lq: Tensor) -> tuple[Tensor, list[Tensor]]:
        restored, features = tapped(torch.cat([gt, lq]))
        return restored[: len(gt)], [feature[len(gt) :] for feature in features]

    return run


class Step:
    """One arrangement with its classifier and optimizers."""

    def __init__(self, forward: Forward, net: nn.Module, head: nn.Module) -> None:
        self.forward, self.net, self.head = forward, net, head
        self.optimizers = [torch.optim.AdamW(part.parameters(), lr=1e-5) for part in (net, head)]
        self.focal = FocalLoss()

    def backward(self, gt: Tensor, lq: Tensor, label: Tensor) -> None:
        """Gradients of the batch."""
        restored, features = self.forward(gt, lq)
        (F.l1_loss(restored, gt) + self.focal(self.head(lq, features), label)).backward()

    def __call__(self, gt: Tensor, lq: Tensor, label: Tensor) -> None:
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)
        self.backward(gt, lq, label)
        for optimizer in self.optimizers:
            optimizer.step()


def arrangements() -> dict[str, Step]:
    """All arrangements, with the same weights; the first is the published one."""
    plain, ours = make_pair(width=16, **SHALLOW)
    points = TappedRestorer(copy.deepcopy(ours)).points
    head = PromptIR_NoImg_DC([point.channels for point in points], num_classes=CLASSES)
    light = FeatureClassifier(points, CLASSES, max_params=100_000)
    steps: dict[str, Step] = {}
    for name, net, make, classifier in [
        ("published, on a plain version of NAFNet", plain, published, head),
        ("published, on uir's NAFNet", ours, published, head),
        ("joined: one forward over both batches", ours, joined, head),
        ("uir (DCPTModel)", ours, PretrainingStep, head),
        ("uir, with FeatureClassifier", ours, PretrainingStep, light),
    ]:
        copied = copy.deepcopy(net)
        steps[name] = Step(make(copied), copied, copy.deepcopy(classifier))
    return steps


def worst_difference(steps: list[Step], batch: tuple[Tensor, Tensor, Tensor]) -> float:
    """Largest difference between gradients of the restorer, divided by the largest gradient of the first step."""
    for step in steps:
        step.backward(*batch)
    first = dict(steps[0].net.named_parameters())
    largest = max(float(p.grad.abs().max()) for p in first.values() if p.grad is not None)
    return max(
        float((p.grad - other.grad).abs().max()) / largest
        for step in steps[1:]
        for (name, p) in step.net.named_parameters()
        if p.grad is not None and (other := first[name]).grad is not None
    )


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9, help="timed rounds")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--size", type=int, default=64)
    options = parser.parse_args()
    console = Console(width=120)
    torch.manual_seed(0)
    gt, lq = torch.rand(2, options.batch, 3, options.size, options.size)
    batch = (gt, lq, torch.arange(options.batch) % CLASSES)
    steps = arrangements()
    same_head = list(steps.values())[:-1]
    console.print(f"largest difference of gradients, relative: {worst_difference(same_head, batch):.0e}")
    table = Table(title=f"One pre-training step, NAFNet width 16, {options.batch}×{options.size}² (median ms)")
    table.add_column("arrangement")
    for threads in options.threads:
        table.add_column(f"{threads} threads", justify="right")
        table.add_column("of published", justify="right")
    cells: dict[str, list[str]] = {name: [] for name in steps}
    loads = []
    for threads in options.threads:
        torch.set_num_threads(threads)
        times: dict[str, list[float]] = {name: [] for name in steps}
        for turn in range(options.rounds + 1):  # the first turn warms up
            for name, step in steps.items():
                start = time.perf_counter()
                step(*batch)
                if turn:
                    times[name].append(1e3 * (time.perf_counter() - start))
        loads.append(f"{os.getloadavg()[0]:.1f}")
        base = next(iter(times.values()))
        for name, taken in times.items():
            ratios = [of_step / of_first for of_step, of_first in zip(taken, base, strict=True)]
            cells[name] += [f"{statistics.median(taken):.1f}", f"{statistics.median(ratios):.2f}"]
    for name, row in cells.items():
        table.add_row(name, *row)
    console.print(table)
    console.print(f"load {', '.join(loads)}; on a busy machine only the ratios are useful")


if __name__ == "__main__":
    main()
