"""Low-pass, defocus, camera shake and kernels from files."""

import math

import numpy as np
import pytest
import torch
from scipy import ndimage, signal

from uir.degradations.lens_blur_degradation import DefocusBlur, KernelBlur, SincFilter, TrajectoryBlur

IMAGE = torch.rand(3, 40, 52, generator=torch.Generator().manual_seed(0))


def test_defocus_is_the_mean_over_a_disk():
    y, x = np.mgrid[-5:6, -5:6]
    disk = (x**2 + y**2 <= 25) / np.sum(x**2 + y**2 <= 25)
    expected = [ndimage.correlate(plane, disk, mode="mirror") for plane in IMAGE.double().numpy()]
    result = DefocusBlur(radius=5, alias=0)(IMAGE, 0)[0]
    np.testing.assert_allclose(result.numpy(), expected, atol=1e-5)


def test_published_cutoffs_depend_on_the_side():
    def lowest(side: int) -> float:
        drawn = (SincFilter(kernel_size=side).sample(seed, (8, 8))["omega_rad"] for seed in range(400))
        return min(drawn)

    assert math.pi / 3 < lowest(11) < math.pi / 3 + 0.05
    assert math.pi / 5 < lowest(13) < math.pi / 5 + 0.05


def test_sinc_rings_beside_an_edge():
    edge = torch.full((1, 40, 40), 0.2)
    edge[..., 20:] = 0.8
    result = SincFilter(omega=1.2, kernel_size=21)(edge, 0)[0]
    assert result.max() > 0.82
    assert result.min() < 0.18


def test_trajectory_is_drawn_from_the_seed_and_not_stored():
    first, second = (TrajectoryBlur(exposure=1.0).sample(seed, (8, 8)) for seed in (1, 2))
    assert first["seed"] == 1
    assert set(first) == {
        "length_px", "exposure", "anxiety", "centripetal", "shake_probability", "shake", "seed",
    }  # fmt: skip
    assert not torch.equal(TrajectoryBlur.kernel(first), TrajectoryBlur.kernel({**first, "seed": 2}))
    assert second["exposure"] == 1.0


def test_trajectory_blurs_a_point_into_its_path():
    point = torch.zeros(1, 91, 91)
    point[0, 45, 45] = 1
    op = TrajectoryBlur(exposure=1.0)
    result, record = op(point, 4)
    kernel = TrajectoryBlur.kernel(record.steps[0])
    radius = len(kernel) // 2
    middle = result[0, 45 - radius : 46 + radius, 45 - radius : 46 + radius]
    torch.testing.assert_close(middle, kernel.flip(0, 1), rtol=0, atol=1e-5)


def test_kernel_blur_is_a_convolution(tmp_path):
    kernels = np.random.default_rng(0).random((3, 5, 7))
    np.save(tmp_path / "kernels.npy", kernels)
    result, record = KernelBlur(tmp_path / "kernels.npy", index=1)(IMAGE, 0)
    expected = [
        signal.convolve2d(np.pad(plane, ((2, 2), (3, 3)), mode="reflect"), kernels[1] / kernels[1].sum(), mode="valid")
        for plane in IMAGE.double().numpy()
    ]
    np.testing.assert_allclose(result.numpy(), expected, atol=1e-5)
    assert record.steps[0] == {
        "op": "KernelBlur", "kernel_file": str(tmp_path / "kernels.npy"), "kernel_index": 1,
    }  # fmt: skip


def test_any_of_the_kernels_is_drawn(tmp_path):
    np.save(tmp_path / "kernels.npy", np.ones((3, 3, 3)))
    op = KernelBlur(tmp_path / "kernels.npy")
    assert {op.sample(seed, (8, 8))["kernel_index"] for seed in range(40)} == {0, 1, 2}


def test_kernel_may_be_written_out():
    result, record = KernelBlur(kernel=[[1, 1, 1], [1, 1, 1], [1, 1, 1]])(IMAGE, 0)
    np.testing.assert_allclose(
        result.numpy(), ndimage.uniform_filter(IMAGE.numpy(), (0, 3, 3), mode="mirror"), atol=1e-5
    )
    assert record.steps[0]["kernel"] == [[1.0] * 3] * 3


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda folder: KernelBlur(), "needs either `file` or `kernel`"),
        (lambda folder: KernelBlur(folder / "a.npy", kernel=[[1]]), "needs either `file` or `kernel`"),
        (lambda folder: KernelBlur(folder / "a.npy"), "there is no file"),
        (lambda folder: KernelBlur(folder / "three.npy", index=3), r"KernelBlur\.index: must be between 0 and 2"),
        (lambda folder: KernelBlur(kernel=[[1, 2], [3]]), "expected a matrix of numbers"),
        (lambda folder: KernelBlur(kernel=[[1.0] * 9] * 9), "at most 7×7 numbers, got a side of 9"),
        (lambda folder: SincFilter(omega=4), r"SincFilter\.omega: must be between 0\.01 and"),
        (lambda folder: SincFilter(kernel_size=0), r"SincFilter\.kernel_size: must be at least 1"),
        (lambda folder: DefocusBlur(radius=-1), r"DefocusBlur\.radius: must be at least 0"),
        (lambda folder: TrajectoryBlur(exposure=[0, 1]), r"TrajectoryBlur\.exposure: must be between 0\.0005 and 1"),
    ],
)
def test_mistakes_are_named(tmp_path, build, message):
    np.save(tmp_path / "three.npy", np.ones((3, 3, 3)))
    with pytest.raises(ValueError, match=message):
        build(tmp_path)


def test_record_of_a_kernel_that_is_gone_is_refused(tmp_path):
    np.save(tmp_path / "one.npy", np.ones((3, 3)))
    with pytest.raises(ValueError, match=r"has 1 kernels; there is no 4"):
        KernelBlur.kernel({"kernel_file": str(tmp_path / "one.npy"), "kernel_index": 4})
