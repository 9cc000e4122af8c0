"""Fields read from files."""

import cv2
import numpy as np
import pytest
import torch

from uir.degradations.field_files import FieldFiles, read_field


def test_nothing_given_is_nothing():
    assert FieldFiles.of("Op.mask", None) is None


def test_a_folder_gives_each_of_its_files_about_equally_often(tmp_path):
    for name in ("a.npy", "b.png", "notes.txt"):
        (tmp_path / name).write_bytes(b"")
    files = FieldFiles.of("Op.mask", tmp_path)
    drawn = [files.draw(seed) for seed in range(400)]
    assert set(drawn) == {str(tmp_path / "a.npy"), str(tmp_path / "b.png")}
    assert 150 < drawn.count(str(tmp_path / "a.npy")) < 250


def test_a_file_is_read_by_its_full_scale(tmp_path):
    cv2.imwrite(str(tmp_path / "byte.png"), np.full((4, 6), 51, dtype=np.uint8))
    cv2.imwrite(str(tmp_path / "word.png"), np.full((4, 6), 13107, dtype=np.uint16))
    np.save(tmp_path / "array.npy", np.full((4, 6), 0.2))
    for name in ("byte.png", "word.png", "array.npy"):
        torch.testing.assert_close(read_field("Op.mask", str(tmp_path / name)), torch.full((1, 4, 6), 0.2))


def test_resized_by_area_or_bilinearly(tmp_path):
    plane = np.random.default_rng(0).random((8, 12)).astype(np.float32)
    np.save(tmp_path / "plane.npy", plane)
    path = str(tmp_path / "plane.npy")
    means = plane.reshape(4, 2, 6, 2).mean(axis=(1, 3))
    np.testing.assert_allclose(read_field("Op.mask", path, (4, 6))[0].numpy(), means, atol=1e-6)
    larger = torch.nn.functional.interpolate(torch.from_numpy(plane)[None, None], size=(20, 31), mode="bilinear")
    torch.testing.assert_close(read_field("Op.mask", path, (20, 31)), larger[0], rtol=0, atol=1e-5)


def test_unusable_files_are_named(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"Op\.mask: the folder '.*empty' contains no file of the types"):
        FieldFiles.of("Op.mask", tmp_path / "empty")
    with pytest.raises(ValueError, match=r"Op\.mask: there is no file"):
        FieldFiles.of("Op.mask", tmp_path / "nothing.png")
    cv2.imwrite(str(tmp_path / "colour.png"), np.arange(48, dtype=np.uint8).reshape(4, 4, 3))
    with pytest.raises(ValueError, match=r"Op\.mask: .* must be one grey plane in \[0, 1\], got shape \[4, 4, 3\]"):
        FieldFiles.of("Op.mask", tmp_path / "colour.png")
