"""Pairs of files as samples."""

import importlib
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from uir.core.images import UnreadableImageError, read_rgb, to_tensor, write_image
from uir.data.lmdb_writing import write_lmdb
from uir.data.loading import build_eval_loader
from uir.data.paired_image_dataset import PairedImageDataset


def write_pairs(folder, count=4, lq_size=(10, 12), scale=1, channels=3, dtype=np.uint8):
    """Random pairs; at scale 1 both files of a pair are equal, so that their crops can be compared."""
    for number in range(count):
        generator = np.random.default_rng(number)
        lq = generator.integers(0, np.iinfo(dtype).max, (*lq_size, channels)).astype(dtype)
        gt = lq.repeat(scale, 0).repeat(scale, 1)
        write_image(folder / "lq" / f"{number}.png", lq)
        write_image(folder / "gt" / f"{number}.png", gt)
    return {"dataroot_gt": str(folder / "gt"), "dataroot_lq": str(folder / "lq")}


def test_a_sample_is_whole_in_validation(tmp_path):
    roots = write_pairs(tmp_path)
    item = PairedImageDataset(**roots, phase="val", gt_size=4, use_hflip=True)[2]
    assert torch.equal(item["lq"], to_tensor(read_rgb(tmp_path / "lq" / "2.png")))
    assert item["lq"].dtype == torch.float32
    assert (item["lq_path"], item["gt_path"]) == (str(tmp_path / "lq" / "2.png"), str(tmp_path / "gt" / "2.png"))


def test_a_validation_sample_is_basicsr_s(tmp_path, basicsr):
    data = basicsr.data
    options = {**write_pairs(tmp_path, scale=2), "scale": 2, "phase": "val", "io_backend": {"type": "disk"}}
    ours = {item["lq_path"]: item for item in map(PairedImageDataset(**options).__getitem__, range(4))}
    theirs = data.build_dataset({"name": "x", "type": "PairedImageDataset", **options})
    for index in range(4):
        item = theirs[index]
        mine = ours[item["lq_path"]]
        assert torch.equal(mine["lq"], item["lq"])
        assert torch.equal(mine["gt"], item["gt"])
        assert mine["gt_path"] == item["gt_path"]


def test_luma_and_normalization_are_basicsr_s(tmp_path, basicsr):
    data = basicsr.data
    roots = {**write_pairs(tmp_path, count=1), "scale": 1, "phase": "val", "io_backend": {"type": "disk"}}
    for extra in ({"color": "y"}, {"mean": [0.4, 0.5, 0.6], "std": [0.2, 0.3, 0.4]}):
        theirs = data.build_dataset({"name": "x", "type": "PairedImageDataset", **roots, **extra})[0]
        ours = PairedImageDataset(**roots, **extra)[0]
        torch.testing.assert_close(ours["lq"], theirs["lq"], atol=1e-6, rtol=0)


@pytest.mark.parametrize("scale", [1, 2])
def test_crop_and_flips_are_alike_for_both_images(tmp_path, scale):
    roots = write_pairs(tmp_path, scale=scale)
    dataset = PairedImageDataset(**roots, gt_size=8, scale=scale, use_hflip=True, use_rot=True)
    crops = [dataset.sample(0, seed) for seed in range(20)]
    for item in crops:
        assert item["gt"].shape == (3, 8, 8)
        assert item["lq"].is_contiguous()
        assert item["gt"].is_contiguous()
        assert torch.equal(item["gt"], item["lq"].repeat_interleave(scale, 1).repeat_interleave(scale, 2))
    assert len({item["lq"].numpy().tobytes() for item in crops}) > 10


def test_the_seed_alone_decides(tmp_path):
    dataset = PairedImageDataset(**write_pairs(tmp_path), gt_size=4, use_hflip=True, use_rot=True)
    assert torch.equal(dataset.sample(1, 5)["lq"], dataset.sample(1, 5)["lq"])
    assert not torch.equal(dataset.sample(1, 5)["lq"], dataset.sample(1, 6)["lq"])


def test_legacy_adds_mask_dcpt_s_rows_before_the_crop(tmp_path):
    roots = write_pairs(tmp_path, count=1, lq_size=(10, 12))
    whole = PairedImageDataset(**roots, phase="val")[0]["gt"]
    assert whole.shape == (3, 10, 12)
    padded = torch.cat([whole, whole.flip(1)[:, :5]], 1)  # 8 - 3 rows
    crops = [PairedImageDataset(**roots, gt_size=8, legacy=True).sample(0, seed) for seed in range(40)]
    windows = padded.unfold(1, 8, 1).unfold(2, 8, 1).permute(1, 2, 0, 3, 4)  # every place of a crop
    tops = set()
    for item in crops:
        assert torch.equal(item["lq"], item["gt"])
        places = [place for place in np.ndindex(8, 5) if torch.equal(windows[place], item["gt"])]
        assert len(places) == 1
        tops.add(places[0][0])
    assert max(tops) > 10 - 8


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_any_depth_and_channel_count_gives_three_channels(tmp_path, channels, dtype):
    dataset = PairedImageDataset(**write_pairs(tmp_path, 1, channels=channels, dtype=dtype), gt_size=4)
    item = dataset[0]
    assert item["lq"].shape == (3, 4, 4)
    assert 0 <= item["lq"].min() < item["lq"].max() <= 1


def test_the_record_is_unknown_and_labelled(tmp_path):
    record = PairedImageDataset(**write_pairs(tmp_path, 1), label="blur")[0]["degradation"]
    assert (record.steps, record.label) == (None, "blur")


def test_surplus_rows_of_gt_are_cut_in_validation_only(tmp_path):
    write_image(tmp_path / "lq" / "a.png", np.zeros((5, 5, 3)))
    write_image(tmp_path / "gt" / "a.png", np.zeros((11, 10, 3)))
    roots = {"dataroot_gt": str(tmp_path / "gt"), "dataroot_lq": str(tmp_path / "lq"), "scale": 2}
    assert PairedImageDataset(**roots, phase="test")[0]["gt"].shape == (3, 10, 10)
    with pytest.raises(
        ValueError, match=r"scale 2: lq is 5x5 .* gt should be 10x10 but is 11x10.*lq/a\.png.*gt/a\.png"
    ):
        PairedImageDataset(**roots, phase="train")


def test_a_pair_of_other_sizes_is_an_error_at_construction(tmp_path):
    roots = write_pairs(tmp_path, scale=2)
    with pytest.raises(ValueError, match="does not match scale 4"):
        PairedImageDataset(**roots, scale=4, phase="val")


def test_an_unreadable_first_pair_is_an_error_at_construction(tmp_path):
    roots = write_pairs(tmp_path)
    (tmp_path / "lq" / "0.png").write_bytes(b"nothing")
    with pytest.raises(UnreadableImageError, match=r"lq/0\.png"):
        PairedImageDataset(**roots)


def test_a_patch_larger_than_the_image_is_an_error(tmp_path):
    roots = write_pairs(tmp_path, scale=2)
    with pytest.raises(ValueError, match=r"lq/0\.png: the image is 10x12 .*gt_size 24"):
        PairedImageDataset(**roots, scale=2, gt_size=24)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dataroot_gt": "nowhere"}, "dataroot_gt: there is no folder nowhere"),
        ({"dataroot_lq": "nowhere"}, "dataroot_lq: there is no folder nowhere"),
        ({"gt_size": 5, "scale": 2}, "gt_size: got 5"),
        ({"scale": 0}, "scale: got 0"),
        ({"phase": "training"}, "phase: got 'training'"),
        ({"legacy": True, "scale": 2}, "legacy: MaskDCPT's rows are known only for scale 1"),
        ({"color": "bgr"}, "color: got 'bgr'"),
        ({"std": [0.0, 1.0, 1.0]}, "std"),
        ({"io_backend": {"type": "memcached"}}, "io_backend"),
    ],
)
def test_a_wrong_argument_is_named(tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        PairedImageDataset(**{**write_pairs(tmp_path, 1), **change})


def test_an_empty_folder_is_an_error(tmp_path):
    roots = write_pairs(tmp_path, 1)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"dataroot_lq: there is no image in .*empty"):
        PairedImageDataset(**{**roots, "dataroot_lq": str(tmp_path / "empty")})


def test_a_meta_info_file_picks_the_pairs(tmp_path):
    roots = write_pairs(tmp_path)
    (tmp_path / "meta.txt").write_text("3.png (10,12,3)\n1.png (10,12,3)\n")
    dataset = PairedImageDataset(**roots, meta_info_file=str(tmp_path / "meta.txt"))
    assert [gt for gt, _ in dataset.pairs] == ["3.png", "1.png"]


def test_an_lmdb_store_that_basicsr_wrote(tmp_path, basicsr):
    lmdb_util = importlib.import_module("basicsr.utils.lmdb_util")
    roots = write_pairs(tmp_path)
    for kind in ("gt", "lq"):
        files = [f"{number}.png" for number in range(4)]
        lmdb_util.make_lmdb_from_imgs(
            str(tmp_path / kind), str(tmp_path / f"{kind}.lmdb"), files, list("0123"), map_size=1 << 20
        )
    stores = {"dataroot_gt": str(tmp_path / "gt.lmdb"), "dataroot_lq": str(tmp_path / "lq.lmdb")}
    stored = PairedImageDataset(**stores, phase="val", io_backend={"type": "lmdb"})
    plain = PairedImageDataset(**roots, phase="val")
    for index in range(4):
        assert torch.equal(stored[index]["lq"], plain[index]["lq"])
    assert stored[3]["lq_path"] == "3"
    assert torch.equal(pickle.loads(pickle.dumps(stored))[1]["gt"], plain[1]["gt"])
    for index, batch in enumerate(build_eval_loader(stored, workers=2)):  # a store that is open travels to workers
        assert torch.equal(batch["gt"][0], plain[index]["gt"])


def stores_of(roots, template="{}"):
    """Two LMDB stores of the folders; the keys of the degraded images are made by the template."""
    stores = {}
    for key, root in roots.items():
        folder = Path(root)
        for file in list(folder.iterdir()) if key == "dataroot_lq" else ():
            file.rename(file.with_stem(template.format(file.stem)))
        stores[key] = str(folder.with_suffix(".lmdb"))
        write_lmdb(folder, Path(stores[key]))
    return stores


@pytest.mark.parametrize("template", ["{}", "{}x4"])
def test_a_template_works_with_lmdb_stores_too(tmp_path, template, caplog):
    stores = stores_of(write_pairs(tmp_path), template)
    for given in ("{}x4", template):
        dataset = PairedImageDataset(**stores, filename_tmpl=given, io_backend={"type": "lmdb"})
        assert dataset.pairs == [(str(number), template.format(number)) for number in range(4)]
    assert ("filename_tmpl {}x4 is not used" in caplog.text) == (template == "{}")


def test_a_store_needs_no_io_backend(tmp_path):
    stores = stores_of(write_pairs(tmp_path, 2))
    assert PairedImageDataset(**stores)[1]["gt_path"] == "1"
    with pytest.raises(ValueError, match=r"gt\.lmdb is an LMDB store; write `io_backend: \{type: lmdb\}`"):
        PairedImageDataset(**stores, io_backend={"type": "disk"})


def test_a_folder_that_is_no_lmdb_store_is_an_error(tmp_path):
    with pytest.raises(ValueError, match=r"must end in '\.lmdb'"):
        PairedImageDataset(**write_pairs(tmp_path, 1), io_backend={"type": "lmdb"})
    (tmp_path / "x.lmdb").mkdir()
    with pytest.raises(ValueError, match=r"meta_info\.txt is missing"):
        PairedImageDataset(str(tmp_path / "x.lmdb"), str(tmp_path / "x.lmdb"), io_backend={"type": "lmdb"})
