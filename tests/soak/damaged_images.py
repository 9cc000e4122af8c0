"""Thousands of damaged image files through restoring, data sets and lists."""

from __future__ import annotations

import contextlib
import io
import random
import resource
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from soak.children import run_child
from soak.promises import Finding, photographs

LIMIT_PIXELS = 4_000_000
LIMIT_S = 10.0
LIMIT_MB = 600  # beyond what the process had before: an image of 4 megapixels as floats, in and out, a few times
BATCH = 200


def check_damaged_images(folder: Path, count: int, seed: int = 0) -> Finding:
    """Restore, load and list `count` damaged files, in batches, each batch in a process of its own."""
    finding = Finding(
        "A damaged image ends nothing: it is named, and the others are done.",
        f"{count:,} PNG, JPEG, WebP, BMP and TIFF files with changed, cut, doubled and exchanged bytes, through "
        "`uir restore`, a data set and `uir prepare meta`",
    )
    read, slowest, most = 0, 0.0, 0.0
    for start in range(0, count, BATCH):
        files = folder / f"batch{start}"
        for number, (suffix, content) in enumerate(damaged(min(BATCH, count - start), seed + start)):
            files.mkdir(parents=True, exist_ok=True)
            (files / f"{start + number:06d}{suffix}").write_bytes(content)
        ended = run_child(use_all, files, seconds=LIMIT_S * BATCH)
        if ended.code != 0 or ended.hung:
            finding.failures.append(f"files {start} to {start + BATCH}: the process ended with code {ended.code}")
            continue
        finding.failures += ended.value["failures"]
        read += ended.value["read"]
        memory = ended.value["memory_mb"]
        slowest, most = max(slowest, ended.value["slowest"]), max(most, memory)
        if memory > LIMIT_MB:
            finding.failures.append(f"files {start} to {start + BATCH}: {memory:.0f} MB more memory")
        shutil.rmtree(files)
    finding.figure = (
        f"{count:,} files, {read:,} of them still readable; no crash; slowest {slowest:.2f} s (limit {LIMIT_S:.0f} s); "
        f"at most {most:.0f} MB more memory (limit {LIMIT_MB} MB, images of up to 4 megapixels)"
    )
    return finding


def damaged(count: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """Suffixes and contents of files, each damaged in one of several ways."""
    generator = random.Random(seed)
    originals = list(whole_files())
    for number in range(count):
        suffix, content = originals[number % len(originals)]
        yield suffix, _damage(bytearray(content), generator)


def whole_files() -> Iterator[tuple[str, bytes]]:
    """A small photograph in many kinds of file."""
    import numpy as np
    from PIL import Image

    colour = Image.open(photographs()[0]).convert("RGB").crop((40, 40, 72, 68))
    alpha = colour.copy()
    alpha.putalpha(colour.convert("L"))
    deep = Image.fromarray(np.asarray(colour.convert("L")).astype(np.uint16) * 257)
    for _mode, image in (("RGB", colour), ("L", colour.convert("L")), ("RGBA", alpha), ("P", colour.quantize(16)),
                        ("I;16", deep), ("CMYK", colour.convert("CMYK"))):  # fmt: skip
        for suffix, kind, more in (
            (".png", "PNG", {}), (".jpg", "JPEG", {}), (".jpg", "JPEG", {"progressive": True}), (".bmp", "BMP", {}),
            (".webp", "WEBP", {}), (".webp", "WEBP", {"lossless": True}), (".tif", "TIFF", {}),
            (".tif", "TIFF", {"compression": "tiff_lzw"}), (".tif", "TIFF", {"compression": "tiff_adobe_deflate"}),
        ):  # fmt: skip
            content = io.BytesIO()
            try:
                image.save(content, kind, **more)
            except (OSError, ValueError, KeyError):
                continue  # this kind has no such pixels
            yield suffix, content.getvalue()


def _damage(content: bytearray, generator: random.Random) -> bytes:
    """One kind of damage; heads are hit as often as the rest, although they are short."""
    size = len(content)
    end = min(size, 64) if generator.random() < 0.5 else size
    kind = generator.choice(["bits", "bytes", "numbers", "cut", "doubled", "removed", "zeros", "tail"])
    if kind == "bits":
        for _ in range(generator.randint(1, 8)):
            content[generator.randrange(end)] ^= 1 << generator.randrange(8)
    elif kind == "bytes":
        for _ in range(generator.randint(1, 8)):
            content[generator.randrange(end)] = generator.randrange(256)
    elif kind == "numbers":
        place = generator.randrange(max(end - 4, 1))
        value = generator.choice([0, 1, 0x7FFFFFFF, 0xFFFFFFFF, 0x80000000, 30000, 65535])
        content[place : place + 4] = value.to_bytes(4, generator.choice(["little", "big"]))
    elif kind == "cut":
        del content[generator.randrange(size) :]
    elif kind == "doubled":
        place = generator.randrange(end)
        content[place:place] = content[place : place + generator.randint(1, 200)]
    elif kind == "removed":
        place = generator.randrange(end)
        del content[place : place + generator.randint(1, 200)]
    elif kind == "zeros":
        place = generator.randrange(end)
        length = min(generator.randint(1, 64), size - place)
        content[place : place + length] = bytes(length)
    else:
        content += generator.randbytes(generator.randint(1, 2000))
    return bytes(content)


def use_all(files: Path) -> dict[str, Any]:
    """Use every file of a folder in three ways; what broke, how long the slowest took, and the memory that it took."""
    import os

    from torch import nn

    from uir.data.paired_image_dataset import PairedImageDataset
    from uir.data.preparing import write_meta_info
    from uir.inference.image_files import restore_files
    from uir.inference.restorer import Restorer

    os.environ["UIR_MAX_PIXELS"] = str(LIMIT_PIXELS)
    restorer = Restorer(nn.Identity())
    warm = files.parent / "warm.png"
    warm.write_bytes(next(whole_files())[1])
    restore_files(restorer, [warm], files.parent / "warm_out", overwrite=True)
    result: dict[str, Any] = {"failures": [], "read": 0, "slowest": 0.0}
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for path in sorted(files.iterdir()):
        began = time.monotonic()
        try:
            outcome = restore_files(restorer, [path], files.parent / "out" / files.name)
            result["read"] += len(outcome.restored)
            if len(outcome.restored) + len(outcome.failed) + len(outcome.left_out) != 1:
                result["failures"].append(f"{path.name}: restoring did not account for it")
            alone = files.parent / "alone" / path.stem
            alone.mkdir(parents=True)
            shutil.copy(path, alone)
            with contextlib.suppress(ValueError):
                PairedImageDataset(str(alone), str(alone), phase="val")[0]
        except Exception as error:  # every kind counts: only those caught above are what uir promises
            result["failures"].append(f"{path.name}: {type(error).__name__}: {error}"[:300])
        seconds = time.monotonic() - began
        result["slowest"] = max(result["slowest"], seconds)
        if seconds > LIMIT_S:
            result["failures"].append(f"{path.name}: {seconds:.1f} s")
    try:
        write_meta_info(files, files.parent / "meta" / f"{files.name}.txt", workers=1)
    except ValueError:
        pass  # it names the damaged ones
    except Exception as error:
        result["failures"].append(f"{files.name}: the list: {type(error).__name__}: {error}"[:300])
    result["memory_mb"] = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    for name in ("alone", "out", "meta"):
        shutil.rmtree(files.parent / name, ignore_errors=True)
    return result
