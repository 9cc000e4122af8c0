"""Degraded patches: every class of the same photographs, alike in every run."""

import numpy as np
import pytest
import torch

from uir.analysis.patches import DegradedPatches, degradation_classes, degraded_patches
from uir.core.images import read_rgb, to_tensor, write_image
from uir.core.seeds import derive_seed
from uir.degradations.record import DegradationRecord


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("photos")
    generator = torch.Generator().manual_seed(3)
    for name in ("a", "b", "c"):
        write_image(made / f"{name}.png", torch.rand(3, 40, 48, generator=generator))
    return made


def test_each_photograph_is_in_every_class_at_the_centre(folder):
    patches = degraded_patches(folder, "denoising", crop=32)
    assert patches.images.shape == (9, 3, 32, 32)
    assert patches.classes == ("sigma_15", "sigma_25", "sigma_50")
    assert patches.photographs == ("a.png", "b.png", "c.png")
    assert patches.labels == [0, 1, 2] * 3
    assert patches.groups == [0] * 3 + [1] * 3 + [2] * 3
    clean = to_tensor(read_rgb(folder / "b.png"))[:, 4:36, 8:40]
    classes = degradation_classes("denoising")
    seed = derive_seed(0, "probe", "b.png", "sigma_25")
    expected, record = classes["sigma_25"](clean, seed, "sigma_25")
    assert isinstance(record, DegradationRecord)
    assert torch.equal(patches.images[4], expected)


def test_the_same_seed_gives_the_same_bits_and_another_seed_other_ones(folder):
    make = lambda seed: degraded_patches(folder, crop=24, position="random", seed=seed).images  # noqa: E731
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    assert torch.equal(make(1), make(1))
    assert not torch.equal(make(1), make(2))
    assert torch.equal(before[0], torch.get_rng_state())
    assert (before[1] == np.random.get_state()[1]).all()


def test_a_file_of_labels_a_set_of_tasks_and_a_test_set_give_classes(folder, tmp_path):
    labelled = tmp_path / "classes.yml"
    labelled.write_text("clean: {type: Mark, label: clean}\nnoise: {type: GaussianNoise, sigma: 50}\n")
    assert list(degradation_classes(labelled)) == ["clean", "noise"]
    patches = degraded_patches(folder, labelled, crop=16, max_images=2)
    assert torch.equal(patches.images[0], to_tensor(read_rgb(folder / "a.png"))[:, 12:28, 16:32])
    assert len(patches.images) == 4
    assert list(degradation_classes("dcpt_5d")) == ["rain", "noise", "haze", "low_light", "blur"]
    tasks = tmp_path / "tasks.yml"
    tasks.write_text("type: dcpt_10d\nclasses: [noise, jpeg]\n")
    assert list(degradation_classes(tasks)) == ["noise", "jpeg"]
    assert degraded_patches(folder, "gaussian8", crop=32).images.shape == (24, 3, 8, 8)
    assert degraded_patches(folder, "gaussian8", crop=32, scale=2).images.shape == (24, 3, 16, 16)


def test_mistakes_are_told(folder, tmp_path):
    with pytest.raises(ValueError, match="needs several classes"):
        degradation_classes("Haze")
    with pytest.raises(ValueError, match="neither a degradation nor a test set"):
        degradation_classes("dcpt_6d")
    with pytest.raises(ValueError, match=r"a\.png: 40x48 .* smaller than the crop of 64"):
        degraded_patches(folder, crop=64)
    with pytest.raises(ValueError, match="at least 2 photographs"):
        degraded_patches(folder, crop=8, max_images=1)
    sizes = tmp_path / "sizes.yml"
    sizes.write_text("half: {type: Resize, scale: 0.5}\nnoise: {type: GaussianNoise, sigma: 5}\n")
    with pytest.raises(ValueError, match="patches differ in size"):
        degraded_patches(folder, sizes, crop=16)


def test_labels_and_groups_of_hand_made_patches():
    made = DegradedPatches(torch.zeros(4, 3, 1, 1), ("x", "y"), ("p", "q"))
    assert (made.labels, made.groups) == ([0, 1, 0, 1], [0, 0, 1, 1])
