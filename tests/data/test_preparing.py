"""Sub-images and lists of images."""

import importlib
import json
import os
import time

import numpy as np
import pytest

from uir.core.images import read_image, write_image
from uir.data import preparing
from uir.data.paired_image_dataset import PairedImageDataset
from uir.data.preparing import Windows, extract_subimages, write_meta_info
from uir.data.source_files import list_sources


def random_image(folder, name, shape=(10, 13, 3), dtype=np.uint8, seed=0):
    image = np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, shape).astype(dtype)
    write_image(folder / name, image)
    return image


def files_below(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.*") if path.name != "written.jsonl")


@pytest.mark.parametrize(
    ("length", "crop", "step", "thresh", "expected"),
    [
        (100, 40, 30, 0, [0, 30, 60]),  # they end at the border
        (110, 40, 30, 0, [0, 30, 60, 70]),  # 10 remain
        (110, 40, 30, 9, [0, 30, 60, 70]),
        (110, 40, 30, 10, [0, 30, 60]),  # not more than the threshold
        (40, 40, 30, 0, [0]),
        (41, 40, 99, 0, [0, 1]),
        (2040, 480, 240, 0, [0, 240, 480, 720, 960, 1200, 1440, 1560]),  # DIV2K's width, BasicSR's settings
    ],
)
def test_windows_slide_and_the_last_one_lies_at_the_border(length, crop, step, thresh, expected):
    assert Windows(crop, step, thresh).starts(length) == expected


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_pieces_are_the_image_row_by_row(tmp_path, dtype, channels):
    image = random_image(tmp_path / "in", "n/a.b.png", (10, 13, channels), dtype)
    assert extract_subimages(tmp_path / "in", tmp_path / "out", crop_size=6, step=4) == 6
    corners = [(top, left) for top in (0, 4) for left in (0, 4, 7)]
    assert files_below(tmp_path / "out") == [f"n/a.b_s00{index}.png" for index in range(1, 7)]
    for index, (top, left) in enumerate(corners, start=1):
        piece = read_image(tmp_path / "out" / "n" / f"a.b_s00{index}.png")
        assert piece.dtype == dtype
        assert np.array_equal(piece, image[top : top + 6, left : left + 6])


def test_pieces_of_a_pair_pair_up(tmp_path):
    gt = random_image(tmp_path / "gt", "0001.png", (16, 20, 3))
    write_image(tmp_path / "lq" / "0001x2.png", gt[::2, ::2])
    extract_subimages(tmp_path / "gt", tmp_path / "gt_sub", crop_size=8, step=4)
    extract_subimages(tmp_path / "lq", tmp_path / "lq_sub", crop_size=4, step=2)
    dataset = PairedImageDataset(str(tmp_path / "gt_sub"), str(tmp_path / "lq_sub"), scale=2, phase="val")
    assert len(dataset) == 12
    for item in map(dataset.__getitem__, range(12)):
        assert (item["gt"][:, ::2, ::2] == item["lq"]).all()


def test_the_scale_in_a_name_can_be_kept(tmp_path):
    for name in ("0001x4.png", "fox2.png"):
        random_image(tmp_path / "in", name, (4, 4, 3))
    extract_subimages(tmp_path / "in", tmp_path / "dropped", crop_size=4, step=4)
    extract_subimages(tmp_path / "in", tmp_path / "kept", crop_size=4, step=4, drop_scale=False)
    assert files_below(tmp_path / "dropped") == ["0001_s001.png", "fox2_s001.png"]
    assert files_below(tmp_path / "kept") == ["0001x4_s001.png", "fox2_s001.png"]


def test_a_compression_changes_the_size_only(tmp_path):
    image = np.zeros((32, 32, 3), np.uint8)
    write_image(tmp_path / "in" / "a.png", image)
    sizes = []
    for level in (0, 9):
        folder = tmp_path / f"level{level}"
        extract_subimages(tmp_path / "in", folder, crop_size=32, step=32, compression_level=level)
        sizes.append((folder / "a_s001.png").stat().st_size)
        assert np.array_equal(read_image(folder / "a_s001.png"), image)
    assert sizes[0] > 3 * 32 * 32 > sizes[1]


def test_an_interrupted_run_goes_on(tmp_path, monkeypatch):
    for seed in range(5):
        random_image(tmp_path / "in", f"{seed}.png", seed=seed)
    encode, done = preparing.encode_png, []

    def crashing(image, level, name):
        done.append(name)
        if len(done) > 15:
            raise OSError("no space left")
        return encode(image, level, name)

    monkeypatch.setattr(preparing, "encode_png", crashing)
    with pytest.raises(OSError, match="no space"):
        extract_subimages(tmp_path / "in", tmp_path / "out", crop_size=6, step=4, workers=1)
    kept = {name: (tmp_path / "out" / name).stat().st_mtime_ns for name in files_below(tmp_path / "out")}
    assert len(kept) == 15

    monkeypatch.setattr(preparing, "encode_png", lambda *given: again.append(given[2]) or encode(*given))
    again = []
    assert extract_subimages(tmp_path / "in", tmp_path / "out", crop_size=6, step=4) == 30
    assert {name.rsplit("/")[-1] for name in again} == {"2.png", "3.png", "4.png"}  # 0 and 1 were whole
    assert extract_subimages(tmp_path / "in", tmp_path / "whole", crop_size=6, step=4) == 30
    assert files_below(tmp_path / "out") == files_below(tmp_path / "whole")
    for name in files_below(tmp_path / "whole"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_missing_and_empty_pieces_are_cut_again_and_the_others_left(tmp_path):
    random_image(tmp_path / "in", "a.png")
    random_image(tmp_path / "in", "b.png")
    extract_subimages(tmp_path / "in", tmp_path / "out", crop_size=6, step=4)
    (tmp_path / "out" / "a_s003.png").unlink()
    (tmp_path / "out" / "a_s004.png").write_bytes(b"")
    times = [(tmp_path / "out" / f"b_s00{index}.png").stat().st_mtime_ns for index in range(1, 7)]
    assert extract_subimages(tmp_path / "in", tmp_path / "out", crop_size=6, step=4) == 12
    assert read_image(tmp_path / "out" / "a_s003.png").shape == read_image(tmp_path / "out" / "a_s004.png").shape
    assert times == [(tmp_path / "out" / f"b_s00{index}.png").stat().st_mtime_ns for index in range(1, 7)]


def test_other_settings_another_source_or_a_full_folder_are_refused(tmp_path):
    random_image(tmp_path / "in", "a.png")
    random_image(tmp_path / "other", "b.png")
    extract_subimages(tmp_path / "in", tmp_path / "out", crop_size=6, step=4)
    with pytest.raises(ValueError, match=r"out was begun with .*'step': 4"):
        extract_subimages(tmp_path / "in", tmp_path / "out", crop_size=6, step=3)
    with pytest.raises(ValueError, match=r"out has 1 images .*first: a\.png"):
        extract_subimages(tmp_path / "other", tmp_path / "out", crop_size=6, step=4)
    with pytest.raises(ValueError, match="not empty"):
        extract_subimages(tmp_path / "in", tmp_path / "other", crop_size=6, step=4)
    with pytest.raises(ValueError, match="is inside the source"):
        extract_subimages(tmp_path / "in", tmp_path / "in" / "sub", crop_size=6, step=4)


def test_small_and_damaged_images_are_named_and_the_others_cut(tmp_path):
    random_image(tmp_path / "in", "a.png")
    random_image(tmp_path / "in", "small.png", (5, 20, 3))
    (tmp_path / "in" / "broken.png").write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"2 of 3 images .*broken\.png.*small\.png: is 5x20, smaller than crop_size 6"):
        extract_subimages(tmp_path / "in", tmp_path / "out", crop_size=6, step=4)
    assert len(files_below(tmp_path / "out")) == 6


def test_two_images_of_one_stem_are_an_error(tmp_path):
    random_image(tmp_path / "in", "1.png")
    random_image(tmp_path / "in", "1x2.png")
    with pytest.raises(ValueError, match=r"in/1\.png and .*in/1x2\.png would both be cut into 1_s001\.png"):
        extract_subimages(tmp_path / "in", tmp_path / "out", crop_size=6, step=4)


@pytest.mark.parametrize(
    "change", [{"crop_size": 0}, {"step": 0}, {"thresh_size": -1}, {"compression_level": 10}, {"workers": 0}]
)
def test_a_wrong_argument_is_named(tmp_path, change):
    random_image(tmp_path / "in", "a.png")
    with pytest.raises(ValueError, match=next(iter(change))):
        extract_subimages(tmp_path / "in", tmp_path / "out", **{"crop_size": 6, "step": 4, **change})


def test_a_damaged_journal_is_named(tmp_path):
    random_image(tmp_path / "in", "a.png")
    extract_subimages(tmp_path / "in", tmp_path / "out", crop_size=6, step=4)
    journal = tmp_path / "out" / "written.jsonl"
    journal.write_text(journal.read_text() + "{}\n")
    with pytest.raises(ValueError, match=r"written\.jsonl: the journal is damaged"):
        extract_subimages(tmp_path / "in", tmp_path / "out", crop_size=6, step=4)


def test_the_journal_begins_with_the_settings(tmp_path):
    random_image(tmp_path / "in", "a.png")
    extract_subimages(tmp_path / "in", tmp_path / "out", crop_size=6, step=4, thresh_size=1)
    first = (tmp_path / "out" / "written.jsonl").read_text().splitlines()[0]
    assert json.loads(first) == {
        "kind": "subimages", "crop_size": 6, "step": 4, "thresh_size": 1, "drop_scale": True
    }  # fmt: skip


def test_a_list_names_every_image_with_its_size(tmp_path):
    random_image(tmp_path / "in", "b.c.png", (4, 6, 3))
    random_image(tmp_path / "in", "a/my photo (1,2).png", (5, 7, 1))
    random_image(tmp_path / "in", "d.tif", (3, 3, 4), np.uint16)
    assert write_meta_info(tmp_path / "in", tmp_path / "new" / "meta.txt") == 3
    expected = "a/my photo (1,2).png (5,7,1)\nb.c.png (4,6,3)\nd.tif (3,3,4)\n"
    assert (tmp_path / "new" / "meta.txt").read_text() == expected


def test_a_dataset_takes_the_list(tmp_path):
    names = ["a/x.png", "b (1).png", "c.d.png"]
    for name in names:
        random_image(tmp_path / "gt", name)
        random_image(tmp_path / "lq", name)
    write_meta_info(tmp_path / "gt", tmp_path / "meta.txt")
    random_image(tmp_path / "gt", "later.png")
    roots = {"dataroot_gt": str(tmp_path / "gt"), "dataroot_lq": str(tmp_path / "lq")}
    dataset = PairedImageDataset(**roots, meta_info_file=str(tmp_path / "meta.txt"))
    assert dataset.pairs == [(name, name) for name in names]


def test_basicsr_reads_the_list(tmp_path, basicsr):
    data_util = importlib.import_module("basicsr.data.data_util")
    random_image(tmp_path / "gt", "1_s001.png")
    write_meta_info(tmp_path / "gt", tmp_path / "meta.txt")
    found = data_util.paired_paths_from_meta_info_file(["lq", "gt"], ["lq", "gt"], str(tmp_path / "meta.txt"), "{}")
    assert found == [{"lq_path": "lq/1_s001.png", "gt_path": "gt/1_s001.png"}]


def test_a_list_with_damaged_images_is_not_written(tmp_path):
    random_image(tmp_path / "in", "a.png")
    (tmp_path / "in" / "broken.png").write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"1 of 2 images .*in/broken\.png"):
        write_meta_info(tmp_path / "in", tmp_path / "meta.txt")
    assert not (tmp_path / "meta.txt").exists()
    with pytest.raises(ValueError, match="name of a text file"):
        write_meta_info(tmp_path / "in", tmp_path)


def test_a_list_is_replaced_only_when_asked(tmp_path):
    write_image(tmp_path / "in" / "a.png", np.zeros((5, 6, 3), np.uint8))
    (tmp_path / "meta.txt").write_text("mine")
    with pytest.raises(ValueError, match="exists already; --overwrite"):
        write_meta_info(tmp_path / "in", tmp_path / "meta.txt")
    assert (tmp_path / "meta.txt").read_text() == "mine"
    assert write_meta_info(tmp_path / "in", tmp_path / "meta.txt", overwrite=True) == 1


@pytest.mark.parametrize("name", [b"caf\xe9.png", b"two\nlines.png"])
def test_a_name_that_no_list_can_contain_is_refused(tmp_path, name):
    write_image(tmp_path / "a.png", np.zeros((5, 6, 3), np.uint8))
    (tmp_path / "in").mkdir()
    (tmp_path / "a.png").rename(tmp_path / "in" / os.fsdecode(name))
    for prepare in (
        lambda: write_meta_info(tmp_path / "in", tmp_path / "meta.txt"),
        lambda: extract_subimages(tmp_path / "in", tmp_path / "out", crop_size=4, step=4),
    ):
        with pytest.raises(ValueError, match=r"rename '.*a name must be UTF-8, without line breaks"):
            prepare()


def test_long_names_and_pipes_stop_no_other(tmp_path):
    for name in ("a", "n" * 246, "n" * 250, "z"):
        write_image(tmp_path / "in" / f"{name}.png", np.zeros((5, 5, 3), np.uint8))
    os.mkfifo(tmp_path / "in" / "pipe.png")
    with pytest.raises(ValueError, match=r"2 of 5 images cannot be used.*File name too long.*is no regular file"):
        extract_subimages(tmp_path / "in", tmp_path / "out", crop_size=5, step=5)
    assert sorted(len(path.name) for path in (tmp_path / "out").glob("*.png")) == [10, 10, 255]
    with pytest.raises(ValueError, match="1 of 5 images cannot be used"):
        write_meta_info(tmp_path / "in", tmp_path / "meta.txt")


def test_fifty_thousand_files_are_listed_within_a_second(tmp_path, monkeypatch):
    names = [f"{index // 100}/{index}.png" for index in range(50_000)]
    monkeypatch.setattr("uir.data.source_files.list_image_names", lambda folder: names)
    began = time.process_time()
    assert len(list_sources(tmp_path)) == 50_000
    assert time.process_time() - began < 1
