"""An LMDB store whose writer is killed half-way."""

from __future__ import annotations

import random
from pathlib import Path

from soak.children import run_child
from soak.promises import Finding, photographs

IMAGES = 40


def check_killed_writer(folder: Path, count: int, seed: int = 0) -> Finding:
    """Kill the writer `count` times; an unfinished store is refused, a continued one is like one written at once."""
    finding = Finding(
        "A store whose writer was killed is refused as unfinished, and continued by the same command.",
        f"kill -9 {count} times while `uir prepare lmdb` writes",
    )
    source = folder / "images"
    write_images(source)
    whole = run_child(write_store, source, folder / "whole.lmdb")
    expected = content_of(folder / "whole.lmdb")
    generator, unfinished = random.Random(seed), 0
    for number in range(count):
        store = folder / f"killed{number}.lmdb"
        run_child(write_store, source, store, kill_after=generator.uniform(0, whole.value))
        if store.exists() and not (store / "meta_info.txt").exists():
            unfinished += 1
            answer = run_child(read_store, store)
            if answer.code != 0 or "unfinished" not in answer.value:
                finding.failures.append(f"killed{number}: an unfinished store was not refused: {answer.value}")
        again = run_child(write_store, source, store)
        if again.code != 0 or content_of(store) != expected:
            finding.failures.append(f"killed{number}: the continued store differs from one written at once")
    finding.figure = (
        f"{count - len(finding.failures)} of {count} equal to one written at once; {unfinished} were unfinished"
    )
    return finding


def write_images(source: Path) -> None:
    """Crops of the demo's photographs."""
    import cv2

    files = photographs()
    source.mkdir(parents=True)
    for index in range(IMAGES):
        image = cv2.imread(str(files[index % len(files)]))
        cv2.imwrite(str(source / f"{index:03d}.png"), image[:128, index : index + 128])


def write_store(source: Path, target: Path) -> float:
    """Write the store in small transactions; the seconds it took."""
    import time

    from uir.data.lmdb_writing import write_lmdb

    began = time.monotonic()
    write_lmdb(source, target, workers=1, commit_bytes=1 << 16, map_size=1 << 18)
    return time.monotonic() - began


def read_store(store: Path) -> str:
    """What a data set says of a store; empty if it takes it."""
    from uir.data.paired_image_dataset import PairedImageDataset

    try:
        PairedImageDataset(str(store), str(store), phase="val", io_backend={"type": "lmdb"})
    except ValueError as error:
        return str(error)
    return ""


def content_of(store: Path) -> dict[bytes, bytes]:
    """Every key and value, and the list."""
    import lmdb

    with lmdb.open(str(store), readonly=True, lock=False) as environment, environment.begin() as transaction:
        content = {bytes(key): bytes(value) for key, value in transaction.cursor()}
    return {**content, b"meta_info.txt": (store / "meta_info.txt").read_bytes()}
