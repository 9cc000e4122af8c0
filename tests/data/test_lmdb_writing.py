"""A folder written as an LMDB store: the same batches, in BasicSR's layout, and never left half done."""

import importlib
import os
import shutil
import subprocess
import sys

import cv2
import numpy as np
import pytest
import torch

from uir.core.images import read_image, write_image
from uir.data import lmdb_writing
from uir.data.image_sources import LmdbImages, close_stores
from uir.data.lmdb_writing import write_lmdb
from uir.data.loading import build_train_loader
from uir.data.paired_image_dataset import PairedImageDataset

NAMES = ["1.png", "10.png", "a.b.png", "a.png", "a-b.png", "nested/a.png", "nested/deep/my photo.png"]


@pytest.fixture(autouse=True)
def _no_open_stores():
    yield
    close_stores()


def write_folder(folder, names=NAMES, size=(12, 10), seed=0):
    generator = np.random.default_rng(seed)
    for name in names:
        write_image(folder / name, generator.integers(0, 256, (*size, 3)).astype(np.uint8))
    return folder


def lines_of(store):
    return (store / "meta_info.txt").read_text(encoding="utf-8").splitlines()


def raw(store):
    """All keys and values."""
    lmdb = pytest.importorskip("lmdb")
    close_stores()
    with lmdb.open(str(store), readonly=True, lock=False) as environment, environment.begin() as transaction:
        return dict(transaction.cursor())


def count_encodings(monkeypatch):
    """A list that grows by the name of each image that is encoded."""
    done, encode = [], lmdb_writing.encode_png
    monkeypatch.setattr(lmdb_writing, "encode_png", lambda *given: done.append(given[2]) or encode(*given))
    return done


@pytest.mark.thorough
@pytest.mark.parametrize("workers", [0, 2])
def test_disk_and_store_give_the_same_batches(tmp_path, workers):
    write_folder(tmp_path / "gt", seed=1)
    write_folder(tmp_path / "lq", seed=2)
    batches = {}
    for backend, ending in (("disk", ""), ("lmdb", ".lmdb")):
        if ending:
            for kind in ("gt", "lq"):
                write_lmdb(tmp_path / kind, tmp_path / f"{kind}.lmdb")
        dataset = PairedImageDataset(
            f"{tmp_path}/gt{ending}", f"{tmp_path}/lq{ending}", gt_size=4, use_hflip=True, use_rot=True,
            io_backend={"type": backend},
        )  # fmt: skip
        loader, sampler = build_train_loader(dataset, batch_size=2, workers=workers, seed=3)
        sampler.set_epoch(1)
        batches[backend] = list(loader)
    assert len(batches["disk"]) == 3
    for disk, stored in zip(batches["disk"], batches["lmdb"], strict=True):
        assert torch.equal(disk["lq"], stored["lq"])
        assert torch.equal(disk["gt"], stored["gt"])
        assert [path.endswith(f"{key}.png") for path, key in zip(disk["gt_path"], stored["gt_path"], strict=True)]


def test_the_layout_is_basicsr_s(tmp_path, basicsr):
    lmdb_util = importlib.import_module("basicsr.utils.lmdb_util")
    names = ["0.png", "1.png", "2.png"]
    folder = write_folder(tmp_path / "gt", names)
    lmdb_util.make_lmdb_from_imgs(str(folder), str(tmp_path / "theirs.lmdb"), names, list("012"), map_size=1 << 20)
    assert write_lmdb(folder, tmp_path / "ours.lmdb") == 3
    assert lines_of(tmp_path / "ours.lmdb") == lines_of(tmp_path / "theirs.lmdb")
    assert {"data.mdb", "lock.mdb", "meta_info.txt"} <= {file.name for file in (tmp_path / "ours.lmdb").iterdir()}
    assert raw(tmp_path / "ours.lmdb") == raw(tmp_path / "theirs.lmdb")  # byte for byte


def test_basicsr_reads_the_store(tmp_path, basicsr):
    folder = write_folder(tmp_path / "gt", ["0.png", "1.png"])
    store = tmp_path / "gt.lmdb"
    write_lmdb(folder, store)
    client = basicsr.utils.FileClient("lmdb", db_paths=[str(store)], client_keys=["gt"])
    for key in ("0", "1"):
        image = basicsr.utils.imfrombytes(client.get(key, "gt"))
        assert np.array_equal(image[:, :, ::-1], read_image(folder / f"{key}.png"))
    options = {"name": "x", "type": "PairedImageDataset", "scale": 1, "phase": "val", "io_backend": {"type": "lmdb"}}
    client.client._client["gt"].close()
    theirs = basicsr.data.build_dataset({**options, "dataroot_gt": str(store), "dataroot_lq": str(store)})
    assert theirs.paths == [{"lq_path": key, "gt_path": key} for key in "01"]


def test_dots_and_folders_stay_in_the_keys(tmp_path):
    write_folder(tmp_path / "gt")
    write_lmdb(tmp_path / "gt", tmp_path / "x.lmdb")
    images = LmdbImages(tmp_path / "x.lmdb")
    assert images.names == ["1", "10", "a-b", "a.b", "a", "nested/a", "nested/deep/my photo"]  # in the folder's order
    for name in images.names:
        assert np.array_equal(images.read(name), read_image(tmp_path / "gt" / f"{name}.png"))


@pytest.mark.parametrize("level", [0, 1, 9, None])
def test_pixels_are_the_same_with_any_compression(tmp_path, level):
    folder, generator = tmp_path / "gt", np.random.default_rng(0)
    pixels = generator.integers(0, 256, (9, 8, 4)).astype(np.uint8)
    write_image(folder / "grey.png", pixels[..., :1])
    write_image(folder / "alpha.png", pixels)
    write_image(folder / "deep.tif", pixels[..., :3].astype(np.uint16) * 257)
    write_image(folder / "photo.jpg", pixels[..., :3])
    write_lmdb(folder, tmp_path / "x.lmdb", compress_level=level)
    images = LmdbImages(tmp_path / "x.lmdb")
    for file in folder.iterdir():
        stored = images.read(file.stem)
        assert stored.dtype == read_image(file).dtype
        assert np.array_equal(stored, read_image(file))
    png, other = (-1, 1) if level is None else (level, level)
    assert lines_of(tmp_path / "x.lmdb") == [
        f"alpha.png (9,8,4) {png}", f"deep.png (9,8,3) {other}", f"grey.png (9,8,1) {png}", f"photo.png (9,8,3) {other}"
    ]  # fmt: skip
    kept = raw(tmp_path / "x.lmdb")[b"alpha"] == (folder / "alpha.png").read_bytes()
    assert kept == (level is None)


def test_a_photograph_that_lies_on_its_side_is_stored_upright(tmp_path):
    done, encoded = cv2.imencode(".jpg", np.random.default_rng(0).integers(0, 256, (8, 16, 3)).astype(np.uint8))
    assert done
    entry = b"\x12\x01\x03\x00\x01\x00\x00\x00\x06\x00\x00\x00"  # tag 0x0112 (orientation) is 6
    exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0" + entry + b"\0\0\0\0"
    content = encoded.tobytes()
    (tmp_path / "gt").mkdir()
    (tmp_path / "gt" / "a.jpg").write_bytes(
        content[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + content[2:]
    )
    write_lmdb(tmp_path / "gt", tmp_path / "x.lmdb")
    assert lines_of(tmp_path / "x.lmdb") == ["a.png (16,8,3) 1"]
    assert np.array_equal(LmdbImages(tmp_path / "x.lmdb").read("a"), read_image(tmp_path / "gt" / "a.jpg"))


def test_the_map_grows(tmp_path):
    names = [f"{number}.png" for number in range(20)]
    write_folder(tmp_path / "gt", names, size=(40, 40))
    assert write_lmdb(tmp_path / "gt", tmp_path / "x.lmdb", map_size=1, commit_bytes=20_000) == 20
    stored = raw(tmp_path / "x.lmdb")
    assert len(stored) == 20
    assert sum(map(len, stored.values())) > 80_000  # far more than the map that it began with
    assert np.array_equal(LmdbImages(tmp_path / "x.lmdb").read("7"), read_image(tmp_path / "gt" / "7.png"))


KILLED = """
import os, sys
from pathlib import Path
from uir.data import lmdb_writing
encode, done = lmdb_writing.encode_png, []
def encode_some(*given):
    done.append(given)
    if len(done) > int(sys.argv[3]):
        os._exit(9)
    return encode(*given)
lmdb_writing.encode_png = encode_some
lmdb_writing.write_lmdb(Path(sys.argv[1]), Path(sys.argv[2]), workers=1, commit_bytes=1)
"""


@pytest.mark.thorough
def test_a_killed_store_is_continued(tmp_path, monkeypatch):
    names = [f"{number:02d}.png" for number in range(12)]
    folder, store = write_folder(tmp_path / "gt", names), tmp_path / "x.lmdb"
    command = [sys.executable, "-c", KILLED, str(folder), str(store), "7"]
    assert subprocess.run(command, timeout=120, env={**os.environ, "OMP_NUM_THREADS": "1"}).returncode == 9
    assert not (store / "meta_info.txt").exists()
    journal = (store / "written.jsonl").read_text()
    kept = journal.count("\n") - 1
    assert kept >= 4
    (store / "written.jsonl").write_text(journal + '{"name": "08.p')  # as a crash may cut a line

    encoded = count_encodings(monkeypatch)
    assert write_lmdb(folder, store) == 12
    assert len(encoded) == 12 - kept
    whole = tmp_path / "whole.lmdb"
    write_lmdb(folder, whole)
    assert raw(store) == raw(whole)
    assert lines_of(store) == lines_of(whole)


def test_an_interruption_keeps_what_was_encoded(tmp_path, monkeypatch):
    folder, store = write_folder(tmp_path / "gt"), tmp_path / "x.lmdb"
    encode = lmdb_writing.encode_png

    def interrupted(image, level, name):
        if name.endswith("a.b.png"):
            raise KeyboardInterrupt
        return encode(image, level, name)

    monkeypatch.setattr(lmdb_writing, "encode_png", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_lmdb(folder, store, workers=1)
    assert set(raw(store)) == {b"1", b"10", b"a-b"}
    monkeypatch.setattr(lmdb_writing, "encode_png", encode)
    encoded = count_encodings(monkeypatch)
    assert write_lmdb(folder, store) == len(NAMES)
    assert len(encoded) == len(NAMES) - 3


def test_a_finished_store_is_recognised(tmp_path, monkeypatch):
    folder, store = write_folder(tmp_path / "gt"), tmp_path / "x.lmdb"
    write_lmdb(folder, store)
    before = {file.name: file.stat().st_mtime_ns for file in store.iterdir()}
    encoded = count_encodings(monkeypatch)
    assert write_lmdb(folder, store) == len(NAMES)
    shutil.copytree(folder, tmp_path / "copy", copy_function=shutil.copyfile)  # other times, the same content
    assert write_lmdb(tmp_path / "copy", store) == len(NAMES)
    assert encoded == []
    assert {file.name: file.stat().st_mtime_ns for file in store.iterdir()} == before


def test_new_images_are_added(tmp_path, monkeypatch):
    folder, store = write_folder(tmp_path / "gt"), tmp_path / "x.lmdb"
    write_lmdb(folder, store)
    images = LmdbImages(store)
    images.read("a")  # a store that is being read can be continued
    write_folder(folder, ["b.png"], seed=5)
    encoded = count_encodings(monkeypatch)
    assert write_lmdb(folder, store) == len(NAMES) + 1
    assert len(encoded) == 1
    assert np.array_equal(LmdbImages(store).read("b"), read_image(folder / "b.png"))
    assert np.array_equal(images.read("a"), read_image(folder / "a.png"))


def test_lost_data_are_written_again(tmp_path):
    folder, store = write_folder(tmp_path / "gt"), tmp_path / "x.lmdb"
    write_lmdb(folder, store)
    expected = raw(store)
    (store / "data.mdb").unlink()
    assert write_lmdb(folder, store) == len(NAMES)
    assert raw(store) == expected


@pytest.mark.parametrize("change", ["another folder", "changed", "removed", "other settings", "basicsr's"])
def test_a_store_of_something_else_is_refused_and_can_be_replaced(tmp_path, change):
    folder, store = write_folder(tmp_path / "gt"), tmp_path / "x.lmdb"
    write_lmdb(folder, store)
    level = 1
    if change == "another folder":
        folder = write_folder(tmp_path / "lq", seed=9)
    elif change == "changed":
        write_folder(folder, ["a.png"], seed=9)
    elif change == "removed":
        (folder / "a.png").unlink()
    elif change == "other settings":
        level = 5
    else:
        (store / "written.jsonl").unlink()
    with pytest.raises(ValueError, match=r"x\.lmdb .*resume=False"):
        write_lmdb(folder, store, compress_level=level)
    count = write_lmdb(folder, store, compress_level=level, resume=False)
    assert count == len(raw(store)) == len(list(folder.rglob("*.png")))
    assert np.array_equal(LmdbImages(store).read("1"), read_image(folder / "1.png"))


def test_two_images_of_one_key_are_an_error_before_writing(tmp_path):
    write_folder(tmp_path / "gt", ["n/a.png", "n/a.jpg"])
    with pytest.raises(ValueError, match=r"n/a\.png and .*n/a\.jpg would both be stored as 'n/a'"):
        write_lmdb(tmp_path / "gt", tmp_path / "x.lmdb")
    assert not (tmp_path / "x.lmdb").exists()


def test_damaged_images_are_named_and_the_others_stored(tmp_path, monkeypatch):
    folder, store = write_folder(tmp_path / "gt"), tmp_path / "x.lmdb"
    (folder / "a.png").write_bytes((folder / "a.png").read_bytes()[:60])
    (folder / "10.png").write_bytes(b"nothing")
    cv2.imwrite(str(folder / "float.tif"), np.zeros((4, 4, 3), np.float32))
    with pytest.raises(
        ValueError, match=r"3 of 8 images cannot be used: .*/10\.png.*/a\.png.*float\.tif: .*float32.* run it again"
    ):
        write_lmdb(folder, store)
    assert not (store / "meta_info.txt").exists()
    write_folder(folder, ["a.png", "10.png"])
    (folder / "float.tif").unlink()
    encoded = count_encodings(monkeypatch)
    assert write_lmdb(folder, store) == 7
    assert len(encoded) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"target": "store"}, r"must end in '\.lmdb'"),
        ({"compress_level": 10}, "compress_level: got 10"),
        ({"workers": 0}, "workers: got 0"),
        ({"map_size": 0}, "map_size 0"),
        ({"source": "empty"}, "no image"),
        ({"source": "nowhere"}, "no such folder"),
        ({"source": "long"}, "is too long: lmdb takes 511 bytes"),
    ],
)
def test_a_wrong_argument_is_named(tmp_path, arguments, message):
    write_folder(tmp_path / "gt", ["a.png"])
    write_folder(tmp_path / "long", [f"{'x' * 200}/{'y' * 200}/{'z' * 200}.png"])
    (tmp_path / "empty").mkdir()
    given = {"source": "gt", "target": "x.lmdb", **arguments}
    with pytest.raises(ValueError, match=message):
        write_lmdb(**{**given, "source": tmp_path / given["source"], "target": tmp_path / given["target"]})


def test_memory_does_not_grow_with_the_folder(tmp_path, monkeypatch):
    """At most a few images are ahead of the one that is being stored."""
    write_folder(tmp_path / "gt", [f"{number}.png" for number in range(40)])
    encoded, ahead = count_encodings(monkeypatch), []
    put = lmdb_writing._GrowingStore.put

    def measured(self, items):
        stored.extend(items)
        ahead.append(len(encoded) - len(stored))
        put(self, items)

    stored = []
    monkeypatch.setattr(lmdb_writing._GrowingStore, "put", measured)
    write_lmdb(tmp_path / "gt", tmp_path / "x.lmdb", workers=2, commit_bytes=1)
    assert len(stored) == 40
    assert max(ahead) <= 4


def test_a_basicsr_store_with_dots_is_read(tmp_path, basicsr):
    lmdb_util = importlib.import_module("basicsr.utils.lmdb_util")
    folder = write_folder(tmp_path / "gt", ["a.b.png"])
    lmdb_util.make_lmdb_from_imgs(str(folder), str(tmp_path / "x.lmdb"), ["a.b.png"], ["a.b"], map_size=1 << 20)
    images = LmdbImages(tmp_path / "x.lmdb")
    assert images.names == ["a.b"]
    assert np.array_equal(images.read("a.b"), read_image(folder / "a.b.png"))
