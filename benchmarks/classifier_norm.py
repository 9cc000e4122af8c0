"""Does a classifier of features see more with or without a norm in front? A probe of frozen features.

A small NAFNet stays as it is. Its features of photographs with each of DCPT's five degradations are computed once, and
`FeatureClassifier` learns them with `normalise: true` and `false`, from the same first weights as far as they have the
same layers, on the same batches. Two thirds of the photographs are learned, the others are tested. A seed draws the
network, the split and the batches. Differences are taken seed by seed.

    nice -n 19 python benchmarks/classifier_norm.py --photographs DIR [--model NET]     (a few minutes on one core)

Without --model the restorer is untrained, by its own rule and by He's (`kaiming`).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import torch
from rich.table import Table
from torch import Tensor, nn
from torch.nn import functional as F

from uir.ablation.statistics import interval
from uir.analysis.networks import Initialisation, load_network
from uir.analysis.patches import DegradedPatches, degraded_patches
from uir.core.files import write_text
from uir.core.progress import console
from uir.encoders.feature_classifier_encoder import FeatureClassifier
from uir.layers.tapped import TappedRestorer

OPTIONS = Path(__file__).resolve().parents[1] / "options"
BATCH = 20


@torch.no_grad()
def features_of(tapped: TappedRestorer, images: Tensor) -> list[Tensor]:
    """The features of all images, fine to coarse."""
    batches = [tapped.run(batch, stop=True)[1] for batch in images.split(BATCH)]
    return [torch.cat(parts) for parts in zip(*batches, strict=True)]


def accuracy(
    tapped: TappedRestorer, features: Sequence[Tensor], patches: DegradedPatches, normalise: bool, seed: int, steps: int
) -> float:
    """The fraction of the tested patches that a newly trained classifier names right, in percent."""
    generator = torch.Generator().manual_seed(seed)
    photographs = torch.randperm(len(patches.photographs), generator=generator)
    tested = torch.isin(torch.tensor(patches.groups), photographs[: len(photographs) // 3])
    labels, learned = torch.tensor(patches.labels), (~tested).nonzero().flatten()
    torch.manual_seed(seed)
    head = FeatureClassifier(tapped.points, len(patches.classes), 20_000, normalise=normalise)
    optimizer = torch.optim.AdamW(head.parameters(), lr=1e-3, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        chosen = learned[torch.randint(len(learned), (BATCH,), generator=generator)]
        logits = head(patches.images[chosen], [feature[chosen] for feature in features])
        optimizer.zero_grad()
        F.cross_entropy(logits, labels[chosen]).backward()
        optimizer.step()
        schedule.step()
    head.eval()
    with torch.no_grad():
        logits = head(patches.images[tested], [feature[tested] for feature in features])
    return 100 * float((logits.argmax(1) == labels[tested]).float().mean())


def network_of(init: Initialisation, seed: int, model: Path | None) -> nn.Module:
    """The restorer of the small DCPT."""
    return load_network(OPTIONS / "train" / "dcpt_nafnet_5d_proxy.yml", model, init=init, seed=seed)


def main() -> None:
    """Measure, print the table and write results.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photographs", default="datasets/demo/train", help="clean photographs")
    parser.add_argument("--count", type=int, default=60, help="number of photographs")
    parser.add_argument("--model", type=Path, help="a trained network of dcpt_nafnet_5d_proxy.yml")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--crop", type=int, default=64)
    parser.add_argument("--folder", default="experiments/classifier_norm", help="folder for the results")
    options = parser.parse_args()
    torch.set_num_threads(1)
    patches = degraded_patches(Path(options.photographs), "dcpt_5d", crop=options.crop, max_images=options.count)
    inits: tuple[Initialisation, ...] = ("random", "kaiming") if options.model is None else ("trained",)
    by_init: dict[str, dict[str, list[float]]] = {init: {"with": [], "without": []} for init in inits}
    for init in inits:
        for seed in options.seeds:
            tapped = TappedRestorer(network_of(init, seed, options.model))
            features = features_of(tapped, patches.images)
            for name, normalise in (("with", True), ("without", False)):
                found = accuracy(tapped, features, patches, normalise, seed, options.steps)
                by_init[init][name].append(found)
                console.print(f"{init}, seed {seed}, {name} norm: {found:.1f} %")
    title = f"Right, % of the tested patches of {len(patches.photographs)} photographs (chance 20); ± 95 % interval"
    table = Table("restorer", "with norm", "without", "without minus with", title=title)
    for init, found in by_init.items():
        differences = [b - a for a, b in zip(found["with"], found["without"], strict=True)]
        table.add_row(init, *(interval(values).text(1) for values in (found["with"], found["without"], differences)))
    console.print(table)
    content = {"arguments": {k: str(v) for k, v in vars(options).items()}, "accuracy": by_init}
    write_text(Path(options.folder) / "results.json", json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    main()
