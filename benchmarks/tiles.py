"""How far is an image that is restored in tiles from the same image restored whole? A table for every architecture.

    python benchmarks/tiles.py [--side 256] [--tiles 64 128] [--overlap 64]

The networks are small ones with random weights, and the image is a part of datasets/demo/test/flower.jpg. The
difference is given in levels of 8 bits (0.5 is what rounding hides), as a mean and at most over all pixels, so that it
says what a border between tiles could show. Parameters that are zero in a new network are random, too: with zeros some
branches would be left out.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from uir.core.images import read_rgb
from uir.inference.restorer import Restorer
from uir.layers.padding import multiple_of
from uir.registry.components import build

ROOT = Path(__file__).resolve().parents[1]
_UNET: dict[str, Any] = {"dim": 16, "num_blocks": [1, 1, 1, 2], "num_refinement_blocks": 1}
_NAFNET: dict[str, Any] = {"width": 16, "enc_blk_nums": [1, 1, 2], "middle_blk_num": 1, "dec_blk_nums": [1, 1, 1]}
NETWORKS: dict[str, dict[str, Any]] = {
    "NAFNet": _NAFNET,
    "NAFNetLocal": {**_NAFNET, "train_size": [1, 3, 64, 64]},
    "HalfNAFNet": _NAFNET,
    "Restormer": _UNET,
    "PromptIR": {**_UNET, "prompt_dims": [16, 32, 64], "prompt_sizes": [64, 32, 16]},
    "SwinIR": {"embed_dim": 60, "depths": [6, 6], "num_heads": [6, 6], "window_size": 8, "mlp_ratio": 2},
    "AdaIR": _UNET,
    "MoCEIR": {**_UNET, "num_dec_blocks": [1, 1, 1]},
    "TransWeather": {"embed_dims": [32, 64, 160, 256], "depths": [1, 1, 1, 1], "decoder_depth": 1},
    "MSRResNet": {"num_feat": 32, "num_block": 8, "upscale": 2},
    "IMDN": {"upscale": 2},
}


def main() -> None:
    """Compare and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=256, help="of the image in pixels")
    parser.add_argument("--tiles", type=int, nargs="+", default=[64, 128])
    parser.add_argument("--overlap", type=int, default=64, help="at most half a tile")
    options = parser.parse_args()
    image = read_rgb(ROOT / "datasets" / "demo" / "test" / "flower.jpg")[: options.side, : options.side]
    lq = torch.from_numpy(image.copy()).permute(2, 0, 1)[None]
    table = Table("network", *(f"tiles of {tile}: mean, at most" for tile in options.tiles), "range of the output")
    for name, arguments in NETWORKS.items():
        torch.manual_seed(0)
        restorer = Restorer(build("archs", {"type": name, **arguments}), arguments.get("upscale", 1))
        with torch.no_grad():
            for parameter in restorer.network.parameters():
                if not parameter.any():  # a new network leaves out branches that a trained one uses
                    parameter.normal_(0, 0.3)
        whole = restorer.restore_tensor(lq)
        cells = []
        for tile in options.tiles:
            side = -(-tile // multiple_of(restorer.network)) * multiple_of(restorer.network)
            tiled = restorer.with_tile(side, min(options.overlap, side // 2)).restore_tensor(lq)
            far = 255 * (tiled - whole).abs()
            cells.append(f"{far.mean():.3f}, {far.max():.2f}")
        table.add_row(name, *cells, f"{255 * (whole.max() - whole.min()):.0f}")
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
