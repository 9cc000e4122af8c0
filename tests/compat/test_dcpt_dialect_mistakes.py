"""Mistakes in option files as DCPT's authors write them: all are told, with the keys and lines of the file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from dcpt_dialect_options import (
    Form,
    problem_of,
)

from uir.config.options import OptionError, OptionFile, load_options, read_translated


def test_all_mistakes_are_told_together(write: Callable[[Form], Path], small: Form) -> None:
    small["train"]["grad_clip"] = True
    small["datasets"]["val_2"] = "noise"
    small["datasets"]["train_3"]["dataset_enlarge_ratio"] = "ten"
    small["datasets"]["train_1"]["hist"] = True
    small["train"]["total_itr"] = 3
    found = problem_of(write(small)).splitlines()
    said = [
        "train.grad_clip: expected", "datasets.val_2: expected a mapping", "train_3.dataset_enlarge_ratio: expected",
        "datasets.train_1.hist: uir", "train.total_itr is not an option",
    ]  # fmt: skip
    assert len(found) == len(said)
    assert all(any(text in line for line in found) for text in said)


def test_a_mistake_is_not_passed_over_where_only_the_network_is_read(
    write: Callable[[Form], Path], small: Form
) -> None:
    with pytest.raises(OptionError, match="hook_names: expected the name of a layer"):
        read_translated(write(change(small, "hook_names", 3)))


def change(form: Form, dotted: str, value: Any) -> Form:
    target: Any = form
    *parents, leaf = dotted.split(".")
    for key in parents:
        target = target[key]
    if value is None:
        del target[leaf]
    else:
        target[leaf] = value
    return form


@pytest.mark.parametrize(
    ("dotted", "value", "said"),
    [
        ("datasets.train_2.sigma_rnge", 3, "datasets.train_2.sigma_rnge is not an argument of PairedImageDenoise"),
        ("datasets.train_3.suffix", 3, "datasets.train_3.suffix: expected text, got 3"),
        ("datasets.train_4.dataset_enlarge_ratio", "ten", "datasets.train_4.dataset_enlarge_ratio: expected a number"),
        ("datasets.train_4.dataroot_lq", None, "datasets.train_4 (PairedImageDataset) lacks dataroot_lq"),
        ("datasets.train_5", "blur", "datasets.train_5: expected a mapping with `type`, got 'blur'"),
        ("datasets.val_1.dataroot", "x", "datasets.val_1.dataroot is not an argument of PairedImageDataset"),
        ("datasets.val_1.center_crop", "big", "datasets.val_1.center_crop: expected a whole number, got 'big'"),
        ("datasets.train", {"type": "PairedImageDataset"}, "datasets.train and datasets.train_1 exclude each other"),
        ("dataloader.batch_size_per_gpu", "many", "dataloader.batch_size_per_gpu: expected a whole number"),
        ("dataloader.batch_size_per_gpu", None, "dataloader.batch_size_per_gpu is missing"),
        ("dataloader.batchsize", 3, "dataloader.batchsize is not an argument"),
        ("dataloader", [3], "dataloader: expected a mapping of loader keys, got [3]"),
        ("hook_names", "encodr", "hook_names: network_g NAFNetLocal has no such feature point, got 'encodr'; "
         "it has decoder0, decoder1"),
        ("hook_names", 3, "hook_names: expected the name of a layer or a list of names, got 3"),
        ("dataset_idx", 7, "dataset_idx: expected a whole number from 0 to 4, got 7"),
        ("val.metrics.psnr.image_range", 100, "val.metrics.psnr.image_range: expected 1 (not rounded) or 255"),
        ("train.grad_clip", True, "train.grad_clip: expected the largest norm of the gradient, got true"),
        ("train.scheduler.eta_min", ["low"], "train.scheduler.eta_min: expected a number, got 'low'"),
        ("classify", False, "classify: false, but the file has network_dc, a classifier; remove `classify`, or"),
        ("classify", "no", "classify: expected true or false, got 'no'"),
        ("train.classify", False, "train.classify: False, but classify is True; keep one of them"),
        ("datasets.train_2.classify", False, "datasets.train_2.classify: false, but the file has network_dc"),
        ("datasets.train_2.name", ["noise"], "datasets.train_2.name: expected text, got ['noise']"),
    ],
)  # fmt: skip
def test_mistakes_are_told_with_the_keys_of_the_file(
    write: Callable[[Form], Path], small: Form, dotted: str, value: Any, said: str
) -> None:
    file = write(change(small, dotted, value))
    found = problem_of(file)
    assert said in found
    assert "datasets.train." not in found
    assert len(found.splitlines()) == 1


@pytest.mark.parametrize("dotted", ["network_g.type", "val.metrics.psnr.type"])
def test_a_type_that_is_no_name_is_told_as_in_any_other_file(
    write: Callable[[Form], Path], small: Form, dotted: str
) -> None:
    assert f"{dotted}: expected text, got ['NAFNet']" in problem_of(write(change(small, dotted, ["NAFNet"])))


def test_a_mistake_is_told_with_its_line(write: Callable[[Form], Path], small: Form) -> None:
    file = write(change(small, "datasets.train_2.sigma_rnge", 3))
    line = next(i for i, text in enumerate(file.read_text().splitlines(), 1) if "sigma_rnge" in text)
    assert f"run.yml:{line}: datasets.train_2.sigma_rnge" in problem_of(file)


def test_overrides_and_inheritance_work_on_the_keys_of_the_file(write: Callable[[Form], Path], small: Form) -> None:
    file = write(small)
    child = file.with_name("child.yml")
    child.write_text("base: run.yml\ndatasets: {train_2: {sigma_range: [5]}}\n")
    loaded: OptionFile = load_options(child, force=["datasets:train_2:use_rot=false"])
    task = loaded.raw["datasets"]["train"]["tasks"]["noise"]
    assert (task["sigma_range"], task["use_rot"]) == ([5], False)
