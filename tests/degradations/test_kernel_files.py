"""Kernels from files."""

import cv2
import numpy as np
import pytest
import torch
from scipy.io import savemat

from uir.degradations.kernel_files import read_kernels, squared

ARRAY = np.random.default_rng(0).random((5, 7)).astype(np.float32)


def test_kernels_become_odd_squares_that_sum_to_one():
    for shape in ((5, 7), (4, 4), (1, 6), (3, 2)):
        kernel = squared(np.ones(shape), "here")
        assert kernel.shape[0] == kernel.shape[1]
        assert kernel.shape[0] % 2 == 1
        assert abs(kernel.sum() - 1) < 1e-6
    assert torch.equal(squared(ARRAY, "here")[1:-1] > 0, torch.ones(5, 7, dtype=torch.bool))


def test_arrays_and_stacks_of_arrays(tmp_path):
    np.save(tmp_path / "one.npy", ARRAY)
    np.save(tmp_path / "three.npy", np.stack([ARRAY] * 3))
    assert len(read_kernels(str(tmp_path / "one.npy"))) == 1
    assert len(read_kernels(str(tmp_path / "three.npy"))) == 3
    np.testing.assert_allclose(read_kernels(str(tmp_path / "one.npy"))[0][1:-1], ARRAY / ARRAY.sum(), atol=1e-7)


def test_grey_image(tmp_path):
    image = (ARRAY * 65535).astype(np.uint16)
    cv2.imwrite(str(tmp_path / "kernel.png"), image)
    np.testing.assert_allclose(read_kernels(str(tmp_path / "kernel.png"))[0][1:-1], image / image.sum(), atol=1e-7)


def test_matlab_matrices_cells_and_stacks(tmp_path):
    cells = np.empty((1, 2), object)
    cells[0, 0], cells[0, 1] = ARRAY, np.ones((3, 3))
    savemat(tmp_path / "cells.mat", {"kernels": cells})
    savemat(tmp_path / "stack.mat", {"kernels": np.stack([ARRAY, ARRAY * 2], 2)})
    first, second = read_kernels(str(tmp_path / "cells.mat"))
    assert torch.equal(first, squared(ARRAY, "here"))
    assert second.shape == (3, 3)
    assert len(read_kernels(str(tmp_path / "stack.mat"))) == 2


def test_matlab_7_3(tmp_path):
    h5py = pytest.importorskip("h5py", reason="h5py reads MATLAB 7.3")
    path = tmp_path / "new.mat"
    with h5py.File(path, "w", userblock_size=512) as file:
        cell = file.create_dataset("#refs#/a", data=ARRAY.T)
        file.create_dataset("kernels", data=np.array([[cell.ref]], dtype=h5py.ref_dtype))
    with open(path, "r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file".ljust(128))
    (kernel,) = read_kernels(str(path))
    assert torch.equal(kernel, squared(ARRAY, "here"))


def test_published_kernels(shared):
    kernels = read_kernels(str(shared / "data/aux/kernels/kernels_12.mat"))
    assert [tuple(kernel.shape) for kernel in kernels] == [(25, 25)] * 12


def test_levins_kernels(shared):
    pytest.importorskip("h5py", reason="h5py reads MATLAB 7.3")
    kernels = read_kernels(str(shared / "data/aux/kernels/Levin09.mat"))
    assert sorted(len(kernel) for kernel in kernels) == [13, 15, 17, 19, 21, 23, 23, 27]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing.npy", "there is no file"),
        ("text.npy", "cannot be read as an array"),
        ("head.npy", "cannot be read as an array"),
        ("text.mat", "cannot be read as a file of MATLAB"),
        ("text.png", r"expected \.npy, \.mat or an image; .* cannot be decoded"),
        ("colour.png", "is a colour image; a kernel is grey"),
        ("zero.npy", r"positive sum, got shape \[3, 3\] with sum 0"),
        ("volume.npy", r"got shape \[2, 2, 2, 2\]"),
        ("empty.mat", "contains no matrix"),
    ],
)
def test_mistakes_are_named(tmp_path, name, message):
    for text in ("text.npy", "text.png", "text.mat"):
        (tmp_path / text).write_text("no kernel")
    cv2.imwrite(str(tmp_path / "colour.png"), np.arange(27, dtype=np.uint8).reshape(3, 3, 3))
    np.save(tmp_path / "zero.npy", np.zeros((3, 3)))
    cut_off = (tmp_path / "zero.npy").read_bytes().replace(b"(3, 3)", b"(3, 3(")  # numpy reads the head as Python
    (tmp_path / "head.npy").write_bytes(cut_off)
    np.save(tmp_path / "volume.npy", np.ones((2, 2, 2, 2)))
    savemat(tmp_path / "empty.mat", {})
    with pytest.raises(ValueError, match=message):
        read_kernels(str(tmp_path / name))
