"""Does an encoder with batch normalisation cheat in contrastive learning, where a batch has 8 images?

The query and the key of an image are made in batches of the same 8 images. The statistics of these batches are alike,
and no key of the queue has them, so an encoder may recognise "its" batch in place of the degradation (He et al., MoCo,
2020, section 3.3). MoCo shuffles the keys over its GPUs against this. In one process the same is done here by groups:
statistics are of 4 images, and the groups of the keys are drawn again in every step.

Arms: `batch` (statistics of all 8, as published for DASR), `groups` (of the same 4 in query and key: a larger leak),
`shuffled` (of 4, the keys' groups drawn again), and encoders that see the same batches but do not learn: `untrained`
(statistics of 8) and `untrained_groups` (of 4). Measured on photographs that were not trained on:

- the leak: the contrastive loss if a key's batch has other images than its query's batch, minus the loss if it has the
  same ones, in nats, with statistics of batches in both cases, of as many images as in training (of 4 for `shuffled`).
  An untrained encoder has one too; cheating is what is more than that.
- the probe: how often the five nearest neighbours name the width of the kernel (five classes), with the running
  statistics of training, as the code is used later.

    nice -n 19 python benchmarks/experiments/shuffled_bn.py --photographs DIR [--steps 1000] [--seeds 11 12 13 14 15]
    python benchmarks/experiments/shuffled_bn.py           (shows what is measured: shuffled_bn.json beside this file)
"""

from __future__ import annotations

import argparse
import copy
import time
from pathlib import Path

import numpy as np
import torch
from _records import Record, add_to_record, read_record
from rich.table import Table
from torch import Tensor, nn
from torch.nn import functional as F

from uir.ablation.statistics import interval, paired
from uir.core.images import list_images, read_image, to_float
from uir.core.progress import console
from uir.degradations.degrader import Degrader
from uir.encoders.conv_bn_encoder import ConvBN6Encoder
from uir.layers.degradation_code import DegradationCode
from uir.losses.contrastive_loss import InfoNCELoss
from uir.models.momentum_contrast import MomentumContrast

# The number of images that statistics are of, while the network learns and in the measurement of the leak.
ARMS = {"untrained": 8, "untrained_groups": 4, "batch": 8, "groups": 4, "shuffled": 4}
CONTROLS = {"batch": "untrained", "groups": "untrained_groups", "shuffled": "untrained_groups"}
BATCH, PATCH, SCALE = 8, 48, 4
WIDTHS = [0.2, 1.2, 2.0, 2.8, 4.0]  # of the kernel, in pixels of the large image: five classes of the probe
HELD_OUT = 60


def load(folder: Path) -> list[Tensor]:
    """All photographs [3, H, W] in [0, 1] that are large enough for a patch."""
    images = [torch.from_numpy(to_float(read_image(file))).permute(2, 0, 1) for file in list_images(folder)]
    return [image for image in images if min(image.shape[1:]) >= PATCH * SCALE]


def patch(image: Tensor, generator: np.random.Generator) -> Tensor:
    """A random patch of the large image."""
    top, left = (int(generator.integers(size - PATCH * SCALE + 1)) for size in image.shape[1:])
    return image[:, top : top + PATCH * SCALE, left : left + PATCH * SCALE]


def pairs(images: list[Tensor], degrader: Degrader, generator: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Two patches of each of 8 photographs; both have the kernel of this photograph: two of [8, 3, 48, 48]."""
    rows = []
    for index in generator.choice(len(images), BATCH, replace=False):
        seed = int(generator.integers(2**31))
        rows.append([degrader.image(patch(images[index], generator), seed)[0] for _ in range(2)])
    query, key = zip(*rows, strict=True)
    return torch.stack(query), torch.stack(key)


def projections(encoder: nn.Module, images: Tensor, order: Tensor, group: int) -> Tensor:
    """The projections of [B, 3, H, W], in the images' order; the statistics are of `group` neighbours in `order`."""
    made = torch.cat([encoder(part).projection for part in images[order].split(group)])
    return made[order.argsort()]


def train(images: list[Tensor], arm: str, seed: int, steps: int) -> MomentumContrast:
    """The momentum encoder and its queue after some steps, and the encoder as `.query`; some arms do not learn."""
    torch.manual_seed(seed)
    generator = np.random.default_rng(seed)
    encoder = ConvBN6Encoder(widths=[16, 32, 64])
    contrast = MomentumContrast(encoder, 64, queue_size=1024, momentum=0.99, seed=seed)
    optimizer = torch.optim.Adam(encoder.parameters(), lr=1e-3, betas=(0.9, 0.99))
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(steps, 1))
    loss_of = InfoNCELoss(temperature=0.07)
    degrader = Degrader({"type": "dasr_wang_iso", "scale": SCALE}, SCALE)
    group, plain = ARMS[arm], torch.arange(BATCH)
    for _ in range(steps):
        query, key = pairs(images, degrader, generator)
        order = torch.randperm(BATCH) if arm == "shuffled" else plain
        contrast.follow(encoder)
        with torch.no_grad():
            keys = projections(contrast.encoder_k, key, order, group)
        codes = projections(encoder, query, plain, group)
        if not arm.startswith("untrained"):
            loss = loss_of(DegradationCode(projection=codes), DegradationCode(projection=keys), contrast.queue)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        contrast.enqueue(keys)
    contrast.query = encoder
    return contrast


@torch.no_grad()
def leak(contrast: MomentumContrast, images: list[Tensor], group: int, rounds: int = 40) -> tuple[float, float]:
    """The contrastive loss with the same images in both batches, and with other images around each key; nats.

    The running statistics stay those of training.
    """
    contrast = copy.deepcopy(contrast)
    generator, degrader = np.random.default_rng(0), Degrader({"type": "dasr_wang_iso", "scale": SCALE}, SCALE)
    loss_of, plain = InfoNCELoss(temperature=0.07), torch.arange(BATCH)
    together, apart = [], []
    for _ in range(rounds):
        query, key = pairs(images, degrader, generator)
        code = DegradationCode(projection=projections(contrast.query, query, plain, group))
        same = projections(contrast.encoder_k, key, plain, group)
        others = pairs(images, degrader, generator)[1][: group - 1]
        other = torch.cat([contrast.encoder_k(torch.cat([one[None], others])).projection[:1] for one in key])
        together.append(float(loss_of(code, DegradationCode(projection=same), contrast.queue)))
        apart.append(float(loss_of(code, DegradationCode(projection=other), contrast.queue)))
    return float(np.mean(together)), float(np.mean(apart))


@torch.no_grad()
def probe(encoder: nn.Module, images: list[Tensor], seed: int) -> float:
    """How often the five nearest codes of other photographs name the width of the kernel, percent."""
    generator = np.random.default_rng(seed)
    codes, labels, photographs = [], [], []
    encoder.eval()
    for number, image in enumerate(images):
        for label, width in enumerate(WIDTHS):
            degrader = Degrader({"type": "dasr_wang_iso", "scale": SCALE, "sigma": [width, width]}, SCALE)
            lq, _ = degrader.image(patch(image, generator), int(generator.integers(2**31)))
            codes.append(F.normalize(encoder(lq[None]).vector, dim=1)[0])
            labels.append(label)
            photographs.append(number)
    similar = torch.stack(codes) @ torch.stack(codes).T
    owner, classes = torch.tensor(photographs), torch.tensor(labels)
    similar[owner[:, None] == owner[None]] = -2
    named = classes[similar.topk(5).indices].mode(1).values
    return 100 * float((named == classes).float().mean())


def measure(images: list[Tensor], seeds: list[int], steps: int, record: Path) -> None:
    """Train each arm with each seed; the record has each as soon as it is measured."""
    order = np.random.default_rng(5).permutation(len(images))
    tested, learned = ([images[index] for index in part] for part in (order[:HELD_OUT], order[HELD_OUT:]))
    for seed in seeds:
        for arm, group in ARMS.items():
            start = time.process_time()
            contrast = train(learned, arm, seed, steps)
            same, other = leak(contrast, tested, group)
            values = {"same": same, "leak": other - same, "probe": probe(contrast.query, tested, seed)}
            values |= {"steps": steps, "photographs": len(learned), "seconds": time.process_time() - start}
            add_to_record(record, {arm: {seed: values}})
            console.print(f"seed {seed}, {arm}: {values}")


def table(record: Record) -> Table:
    """A row an arm."""
    shown = Table("arm", "seeds", "loss, same images, nats", "leak, nats", "minus untrained", "probe, %", "minus batch")

    def column(arm: str, name: str) -> dict[int, float]:
        return {seed: values[name] for seed, values in record.get(arm, {}).items()}

    def less(arm: str, reference: str | None, name: str, digits: int) -> str:
        difference = paired(column(arm, name), column(reference, name)) if reference else None
        return difference.text(digits) if difference else ""

    for arm in [arm for arm in ARMS if arm in record]:
        shown.add_row(
            arm,
            str(len(record[arm])),
            interval(list(column(arm, "same").values())).text(2),
            interval(list(column(arm, "leak").values())).text(2),
            less(arm, CONTROLS.get(arm), "leak", 2),
            interval(list(column(arm, "probe").values())).text(1),
            less(arm, None if arm == "batch" else "batch", "probe", 1),
        )
    return shown


def main() -> None:
    """Measure if photographs are given, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photographs", type=Path, help="folder; without it, nothing is trained")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--seeds", type=int, nargs="+", default=[11, 12, 13, 14, 15])
    parser.add_argument("--record", type=Path, default=Path(__file__).with_name("shuffled_bn.json"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.photographs:
        measure(load(arguments.photographs), arguments.seeds, arguments.steps, arguments.record)
    record = read_record(arguments.record)
    if not record:
        raise SystemExit(f"{arguments.record}: there are no runs; --photographs DIR makes them")
    console.print(table(record))
    seconds = sum(values["seconds"] for runs in record.values() for values in runs.values())
    console.print(f"{seconds / 60:.0f} minutes of CPU in all")


if __name__ == "__main__":
    main()
