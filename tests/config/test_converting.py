"""Files of a dialect written anew: they read as the old ones do, and keep what the user wrote."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from dcpt_dialect_options import SETTINGS, final_test, fine_tuning, published, transfer

from uir.config.converting import Conversion, convert
from uir.config.dialects import translate
from uir.config.options import load_options, read_merged
from uir.config.yaml_file import parse_yaml
from uir.config.yaml_text import leaf_text, same, write_inline

Form = dict[str, Any]
Written = Callable[..., tuple[Path, Path, Conversion]]
PUBLISHED = {
    **{f"pretraining of {backbone}": published(backbone) for backbone in SETTINGS},
    "fine-tuning": fine_tuning(),
    "test": final_test(),
    **{f"transfer to {index}": transfer(index) for index in (0, 4)},
}


@pytest.fixture
def written(tmp_path: Path) -> Written:
    """Converts a file, given as text or as a mapping; the old file, the new one, and what was said."""

    def written(content: str | Form, name: str = "old.yml") -> tuple[Path, Path, Conversion]:
        folder = tmp_path / "project" / "options"
        folder.mkdir(parents=True, exist_ok=True)
        old, new = folder / name, folder / f"new_{name}"
        old.write_text(content if isinstance(content, str) else yaml.safe_dump(content, sort_keys=False))
        return old, new, convert(old, new)

    return written


def loads_the_same(old: Path, new: Path) -> None:
    """Both files give the same options, and the new one is in uir's own form."""
    is_train = "train" in read_merged(old)[0]
    one, other = (load_options(file, is_train=is_train, force=["manual_seed=1"]) for file in (old, new))
    assert one.options.model_dump() == other.options.model_dump()
    assert one.raw == other.raw
    assert one.unchecked == other.unchecked
    again = translate(*read_merged(new))
    assert (again.notes, again.moved, again.refused) == ((), {}, {})


# --- DCPT's dialect ---


@pytest.mark.thorough
@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_file_reads_as_before(written: Written, name: str) -> None:
    old, new, done = written(PUBLISHED[name])
    assert done.problems == done.refused == ()
    assert done.replaced > 0
    loads_the_same(old, new)


def test_option_files_beside_the_checkout_read_as_before(shared: Path, tmp_path: Path) -> None:
    files = [file for file in sorted(shared.rglob("*.y*ml")) if translate(*read_merged(file), quiet=True).notes]
    if not files:
        pytest.skip("the folder ../shared holds no option file of a dialect")
    for number, old in enumerate(files):
        new = tmp_path / f"{number}.yml"
        done = convert(old, new, root=tmp_path)
        if not done.problems and not done.refused:
            loads_the_same(old, new)


def test_every_replaced_key_says_what_it_was(written: Written) -> None:
    form = published()
    form["datasets"]["train_4"]["dataset_enlarge_ratio"] = 10
    _, new, _ = written(form)
    text = new.read_text()
    for line in (
        "# was: classify: true",
        "# was: hook_names: decoder",
        "      low:  # was: datasets.train_4",
        "      low: 10  # was: datasets.train_4.dataset_enlarge_ratio",
        "    batch_size_per_gpu: 8  # was: dataloader.batch_size_per_gpu",
        "    type: CenterCropDataset  # added",
        "    size: 256  # was: center_crop: true",
        "# was: dataloader, whose keys are in datasets.train",
        "  type: NAFNetLocal  # was: type: NAFNet",
        "  train_size: [1, 3, 128, 128]  # added",
        "      # was: image_range: 255",
    ):
        assert line in text.splitlines(), line


# --- what the user wrote ---

TEXT = """\
# a file of mine

name: "1e-4"   # a name that looks like a number
model_type: SRModel
scale: 1
num_gpu: 0

# the rates
rate: &rate 1e-4

grad_clip: false  # no clipping
datasets:
  # rain first
  train_1:  # Rain13K
    name: rain
    type: PairedImageDataset
    dataroot_gt: &root 'it''s here'  # clean
    dataroot_lq: *root
    # a comment of two lines,
    # the second one
    gt_size: 64
  train_2: {name: haze, type: PairedImageDataset, dataroot_gt: a, dataroot_lq: b, gt_size: 64}
dataloader:
  batch_size_per_gpu: 2  # for each
network_g: {type: NAFNet, width: 8}
train:
  total_iter: 10
  optim_g: &adam
    type: Adam
    lr: !!float 2e-4  # as published
    betas: [0.9,
            0.99]
  pixel_opt:
    type: L1Loss
# the end
"""


def test_comments_numbers_and_quotes_stay(written: Written) -> None:
    text = TEXT.replace("rate: &rate 1e-4\n", "")
    old, new, _ = written(text)
    loads_the_same(old, new)
    lines = new.read_text().splitlines()
    for line in (
        "# a file of mine",
        'name: "1e-4"   # a name that looks like a number',
        "# the rates",
        "# was: grad_clip: false  # no clipping",
        "      # rain first",
        "      rain:  # was: datasets.train_1  # Rain13K",
        "        dataroot_gt: 'it''s here'  # clean",
        "        # a comment of two lines,",
        "        # the second one",
        "      haze:  # was: datasets.train_2",
        "    batch_size_per_gpu: 2  # was: dataloader.batch_size_per_gpu  # for each",
        "    lr: !!float 2e-4  # as published",
        "            0.99]",
        "# the end",
    ):
        assert line in lines, line
    assert "*root" not in new.read_text()


def test_anchors_are_written_out_where_a_value_goes_to_several_places(written: Written) -> None:
    text = TEXT.replace("rate: &rate 1e-4\n", "").replace(
        "dataloader:\n",
        "  val_1: &set {type: PairedImageDataset, dataroot_gt: a, dataroot_lq: b}\n"
        "  val_2: *set\n"
        "dataloader_val: {num_worker_per_gpu: &two 2, num_prefetch_queue: *two, pin_memory: !!bool &yes 'true'}\n"
        "dataloader:\n",
    )
    old, new, _ = written(text)
    loads_the_same(old, new)
    sets = parse_yaml(new.read_text())["datasets"]
    assert sets["val_1"] == sets["val_2"]
    assert (sets["val_1"]["num_prefetch_queue"], sets["val_1"]["pin_memory"]) == (2, True)


def test_a_file_in_uir_s_form_stays_as_it_is(written: Written) -> None:
    text = TEXT.replace("rate: &rate 1e-4\n", "").replace("train_1", "train").replace("grad_clip: false", "num_gpu: 0")
    lines = [line for line in text.splitlines() if "train_2" not in line and "num_gpu: 0 " not in line]
    text = "\n".join(lines).replace("dataloader:\n", "").replace("  batch_size", "    batch_size") + "\n"
    old, new, done = written(text)
    assert (done.replaced, done.problems) == (0, ())
    assert new.read_text() == old.read_text()


def test_what_is_inherited_is_written_out(written: Written, tmp_path: Path) -> None:
    base = tmp_path / "project" / "options" / "common.yml"
    base.parent.mkdir(parents=True)
    base.write_text(TEXT.replace("rate: &rate 1e-4\n", "logger: {print_freq: 7}\nval: {val_freq: 5}\n"))
    child = "# mine\nbase: common.yml\ndatasets:\n  train_1:\n    gt_size: 32  # smaller\nval: ~\n"
    old, new, _ = written(child)
    loads_the_same(old, new)
    text = new.read_text()
    assert "# was: base: common.yml (its keys are written into this file)" in text
    assert "        gt_size: 32  # smaller" in text.splitlines()
    content = parse_yaml(text)
    assert content["logger"] == {"print_freq": 7}
    assert "val" not in content
    assert "base" not in content


def test_what_a_stage_deletes_stays_deleted(written: Written) -> None:
    stages = "  stages:\n    - {name: a, iterations: 5}\n    - name: b\n      iterations: 5\n      val: ~  # none\n"
    text = TEXT.replace("rate: &rate 1e-4\n", "val: {val_freq: 5}\n").replace("  total_iter: 10\n", stages)
    old, new, _ = written(text)
    loads_the_same(old, new)
    assert "      val: ~  # none" in new.read_text().splitlines()
    assert [stage.file.options.val is None for stage in load_options(new).stages] == [False, True]


def test_merged_mappings_read_as_before(written: Written) -> None:
    text = TEXT.replace("rate: &rate 1e-4\n", "")
    text = text.replace("  train_2: {name: haze, ", "  train_2: {<<: *first, name: haze, ").replace(
        "  train_1:  # Rain13K", "  train_1: &first"
    )
    old, new, _ = written(text)
    loads_the_same(old, new)


def test_plugins_are_named_from_the_new_place(written: Written, tmp_path: Path) -> None:
    old, _, _ = written({**fine_tuning(), "plugins": None})
    (old.parent / "mine.py").write_text("")
    old.write_text("plugins: [./mine.py]\n" + old.read_text().replace("plugins: null\n", ""))
    new = tmp_path / "elsewhere" / "new.yml"
    done = convert(old, new)
    assert parse_yaml(new.read_text())["plugins"] == ["../project/options/mine.py"]
    assert "its relative paths start at" in done.notes[0]
    assert done.problems == ()


@pytest.mark.parametrize(
    "value", ["1e-4", "yes", "~", "a: b", "# no", "", "a\nb\n", "0x1F", 1e-4, 1, True, None, [1.0, "1"], {}]
)
def test_values_are_read_as_they_were(value: Any) -> None:
    for text in (write_inline(value), leaf_text(None, value)):
        assert same(parse_yaml(text), value)
        assert "\n" not in text


def test_kinds_of_numbers_differ() -> None:
    assert not same({"a": 1}, {"a": True})
    assert not same([1], [1.0])


def test_the_bases_of_a_base_are_not_written_over(written: Written, tmp_path: Path) -> None:
    old, _, _ = written(fine_tuning())
    middle, top = old.with_name("middle.yml"), old.with_name("top.yml")
    middle.write_text("base: old.yml\nname: m\n")
    top.write_text("base: middle.yml\nname: t\n")
    for file in (old, middle, top):
        before = file.read_text()
        with pytest.raises(ValueError, match="is read for the conversion"):
            convert(top, file)
        assert file.read_text() == before


def test_keys_that_are_numbers_or_quoted_stay(written: Written) -> None:
    loss = "  perceptual_opt:\n    type: PerceptualLoss\n    layer_weights:\n      'conv5_4': 1  # before relu\n"
    text = TEXT.replace("rate: &rate 1e-4\n", "") + loss + "dist_params: {1: a, backend: gloo}\n"
    _, new, _ = written(text)
    assert "      'conv5_4': 1  # before relu" in new.read_text().splitlines()
    assert parse_yaml(new.read_text())["dist_params"] == {1: "a", "backend": "gloo"}


def test_what_is_inherited_is_written_out_where_no_key_changes(written: Written, tmp_path: Path) -> None:
    base = tmp_path / "project" / "options" / "common.yml"
    base.parent.mkdir(parents=True)
    base.write_text(
        "model_type: SRModel\nscale: 1\nnum_gpu: 0\n"
        "datasets: {train: {type: PairedImageDataset, dataroot_gt: a, dataroot_lq: b, gt_size: 64,"
        " batch_size_per_gpu: 2}}\n"
        "network_g: {type: NAFNet, width: 8}\n"
        "train: {total_iter: 10, optim_g: {type: Adam, lr: 1e-4}, pixel_opt: {type: L1Loss}}\n"
    )
    old, new, done = written("base: common.yml\nname: child\n")
    assert done.replaced == 0
    loads_the_same(old, new)
    assert "base" not in parse_yaml(new.read_text())


REMOVING = """\
name: x
model_type: SRModel
scale: 1
num_gpu: 0
datasets:
  train:
    name: rain
    # nothing is saved
    save_img: true
    # the type
    type: PairedImageDataset
    dataroot_gt: a
    dataroot_lq: b
    gt_size: 64
    batch_size_per_gpu: 2
network_g: {type: NAFNet, width: 8}
train:
  total_iter: 10
  # never needed
  net_d_iters: 1
  optim_g: {type: Adam, lr: 1.0e-4}
  pixel_opt: {type: L1Loss}
"""


def test_a_removed_key_is_told_before_the_key_that_followed_it(written: Written) -> None:
    _, new, _ = written(REMOVING)
    lines = [line.strip() for line in new.read_text().splitlines()]
    place = lines.index("# was: save_img: true (val.save_img is read)")
    assert [lines[place - 1], lines[place + 1]] == ["# nothing is saved", "# the type"]
    place = lines.index("# was: net_d_iters: 1 (there is no network_d)")
    assert [lines[place - 1], lines[place + 1]] == ["# never needed", "optim_g: {type: Adam, lr: 1.0e-4}"]
