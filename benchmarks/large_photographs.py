"""How long does `uir restore` take, how much memory does it need, and where do the seconds of a small image go?

    python benchmarks/large_photographs.py [--megapixels 1 12 48 100] [--kind jpg] [--bits 8] [--network uir-small]
                                           [--tile auto] [--model FILE] [--rounds 5]

Each photograph is restored by the command, in a process of its own; the time is that of the whole command, and the
memory is the most that the process held (its resident set). The default is one megapixel. The photograph is
datasets/demo/train/china.jpg, repeated and mirrored, as a JPEG, PNG or TIFF (by strips). Besides uir-small, nafnet32 is
NAFNet of width 32, and tiny a NAFNet that does almost nothing, for the memory of the program and the image alone; their
weights are random, because time and memory do not depend on them.

The cold start is the command on 256×256 pixels, the median of the rounds. Its split comes from a process of its own
that does the same step by step.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.table import Table

ROOT = Path(__file__).resolve().parents[1]
PHOTOGRAPH = ROOT / "datasets" / "demo" / "train" / "china.jpg"
NAFNET32 = {"type": "NAFNet", "width": 32, "enc_blk_nums": [1, 1, 1, 28], "middle_blk_num": 1}
NAFNET32 |= {"dec_blk_nums": [1, 1, 1, 1]}
TINY = {"type": "NAFNet", "width": 4, "enc_blk_nums": [1], "middle_blk_num": 1, "dec_blk_nums": [1]}
MANY = ["--max_pixels", "1000000000"]


def make_photograph(file: Path, megapixels: float, bits: int = 8) -> None:
    """A file of so many pixels, 3:2; or 256×256 pixels of the photograph for 0. A TIFF is made by strips."""
    import cv2
    import numpy as np

    image = cv2.imread(str(PHOTOGRAPH))
    if bits == 16:
        image = image.astype(np.uint16) * 257
    if megapixels == 0:
        cv2.imwrite(str(file), image[:256, :256])
        return
    width = round((megapixels * 1e6 * 1.5) ** 0.5)
    height = round(width / 1.5)
    mirrored = np.block([[[image], [image[:, ::-1]]], [[image[::-1]], [image[::-1, ::-1]]]])
    rows, columns = -(-height // mirrored.shape[0]), -(-width // mirrored.shape[1])
    if file.suffix == ".tif":
        from uir.core.image_metadata import Metadata
        from uir.core.images import write_bands

        band = np.tile(mirrored[..., ::-1], (1, columns, 1))[:, :width]
        bands = (band[: height - top] for top in range(0, height, len(band)))
        write_bands(file, bands, (height, width, 3), band.dtype, Metadata())
        return
    cv2.imwrite(str(file), np.tile(mirrored, (rows, columns, 1))[:height, :width])


def make_model(file: Path, name: str) -> None:
    """A network without a classifier, untrained, as a released model."""
    import torch

    from uir.core.checkpoint import write_release
    from uir.registry.components import build

    torch.manual_seed(0)
    arch = {"nafnet32": NAFNET32, "tiny": TINY}[name]
    card = {"arch": arch, "scale": 1, "role": "g", "predictor": {"type": "NetworkPredictor"}}
    write_release(file, {"g": (build("archs", arch).state_dict(), card)})


def restore(photograph: Path, model: Path, folder: Path, tile: str) -> tuple[float, float, float]:
    """Seconds, seconds of computation of all cores, and MB at most, of the command."""
    words = [sys.executable, "-m", "uir", "restore", str(photograph), "-o", str(folder / "restored"), "--overwrite"]
    start = time.perf_counter()
    with (folder / "log.txt").open("w") as log:
        process = subprocess.Popen(
            [*words, "--model", str(model), "--device", "cpu", "--tile", tile, *MANY], stdout=log, stderr=log
        )
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit((folder / "log.txt").read_text())
    peak = usage.ru_maxrss / (1024 if sys.platform != "darwin" else 1024**2)
    return time.perf_counter() - start, usage.ru_utime + usage.ru_stime, peak


def split(photograph: Path, model: Path, started: float) -> dict[str, tuple[float, float]]:
    """Seconds, and seconds of the cores, of each step since the start of this process."""
    seconds: dict[str, tuple[float, float]] = {}

    @contextmanager
    def step(name: str) -> Iterator[None]:
        begun, computed = time.time(), time.process_time()
        yield
        seconds[name] = time.time() - begun, time.process_time() - computed

    seconds["start of Python, and this script"] = time.time() - started, time.process_time()
    with step("the command line: uir.cli"):
        import uir.cli.main
        from uir.cli.arguments import loading, share_cores

        share_cores()
    with step("torch"), loading():
        import torch  # noqa: F401
    with step("NumPy, OpenCV, Pillow, tifffile"):
        import uir.core.images
    with step("the rest of uir"):
        import uir.inference.image_files
    with step("the networks and their weights"):
        restorer = uir.inference.image_files.Restorer.from_pretrained(model, device="cpu")
        assert restorer.diagnoser is not None
    with step("reading the photograph"):
        image = uir.core.images.read_image(photograph)
    with step("restoring it"):
        restored = restorer(image)
    with step("diagnosing it"):
        restorer.diagnoser(image)
    with step("writing the result"):
        uir.core.images.write_image(photograph.with_name("split.png"), restored)
    return seconds


def main() -> None:
    """Measure and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megapixels", nargs="*", type=float, default=[1.0])
    parser.add_argument("--kind", choices=["jpg", "png", "tif"], default="jpg", help="of the file")
    parser.add_argument("--bits", choices=[8, 16], type=int, default=8, help="of a PNG's or TIFF's values")
    parser.add_argument("--network", choices=["uir-small", "nafnet32", "tiny"], default="uir-small")
    parser.add_argument("--tile", nargs="+", default=["auto"], help="as for uir restore, several to compare them")
    parser.add_argument("--model", type=Path, help="in place of --network")
    parser.add_argument("--rounds", type=int, default=3, help="of the cold start; 0 leaves it out")
    parser.add_argument("--split", type=float, help=argparse.SUPPRESS)
    parser.add_argument("--photograph", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.bits == 16 and arguments.kind == "jpg":
        parser.error("--bits 16: a JPEG has 8 bits; add --kind png or --kind tif")
    if arguments.split is not None:
        print(json.dumps(split(arguments.photograph, arguments.model, arguments.split)))
        return
    from uir.core.progress import console

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = arguments.model or Path("uir-small")
        if arguments.model is None and arguments.network != "uir-small":
            model = folder / "model.safetensors"
            make_model(model, arguments.network)
        if arguments.megapixels:
            console.print(_large(folder, model, arguments))
        if arguments.rounds:
            console.print(_cold(folder, model, arguments.rounds))
    console.print(f"{os.cpu_count()} cores, load of the machine {os.getloadavg()[0]:.1f}")


def _large(folder: Path, model: Path, arguments: argparse.Namespace) -> Table:
    columns = ("megapixels", "tile", "seconds", "seconds of the cores", "MB at most", "load before")
    table = Table(*columns, title="uir restore, the whole command")
    for megapixels in arguments.megapixels:
        photograph = folder / f"photograph.{arguments.kind}"
        make_photograph(photograph, megapixels, arguments.bits)
        for tile in arguments.tile:
            load = os.getloadavg()[0]
            seconds, of_cores, peak = restore(photograph, model, folder, tile)
            table.add_row(f"{megapixels:g}", tile, f"{seconds:.1f}", f"{of_cores:.1f}", f"{peak:.0f}", f"{load:.1f}")
    return table


def _cold(folder: Path, model: Path, rounds: int) -> Table:
    photograph = folder / "small.jpg"
    make_photograph(photograph, 0)
    whole, of_cores, splits = [], [], []
    for _ in range(rounds):
        seconds, computing, _ = restore(photograph, model, folder, "auto")
        whole.append(seconds)
        of_cores.append(computing)
        words = ["--split", str(time.time()), "--photograph", str(photograph), "--model", str(model)]
        done = subprocess.run([sys.executable, __file__, *words], capture_output=True, text=True, check=True)
        splits.append(json.loads(done.stdout))
    table = Table("cold start on 256×256 pixels", "seconds", "seconds of the cores")
    for step in splits[0]:
        table.add_row(step, *(f"{statistics.median(one[step][kind] for one in splits):.2f}" for kind in (0, 1)))
    fastest = f"{statistics.median(whole):.2f} (fastest {min(whole):.2f})"
    table.add_row("the whole command", fastest, f"{statistics.median(of_cores):.2f}")
    return table


if __name__ == "__main__":
    main()
