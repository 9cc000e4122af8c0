"""Kernel PCA against numpy and scikit-learn."""

import numpy as np
import pytest
import torch

from uir.degradations.blur_degradation import AnisotropicGaussianBlur, IsotropicGaussianBlur
from uir.degradations.kernel_pca import decode_kernels, draw_kernels, encode_kernels, pca_matrix
from uir.degradations.noise_degradation import GaussianNoise

pytestmark = pytest.mark.thorough

ISOTROPIC = draw_kernels(IsotropicGaussianBlur(sigma=[0.2, 4.0], kernel_size=15), 200, 0)
TURNED = draw_kernels(AnisotropicGaussianBlur(sigma_x=[0.7, 5.0], kernel_size=11), 400, 0)


def test_rows_are_the_leading_eigenvectors_of_the_second_moment():
    matrix = pca_matrix(TURNED, 8).double().numpy()
    flat = TURNED.flatten(1).double().numpy()
    values, vectors = np.linalg.eigh(flat.T @ flat)
    # as subspaces: directions of nearly equal strength may turn into each other
    leading = vectors[:, np.argsort(values)[::-1][:8]]
    np.testing.assert_allclose(matrix.T @ matrix, leading @ leading.T, atol=1e-5)
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(8), atol=1e-6)


def test_centred_rows_are_scikit_learns_components():
    decomposition = pytest.importorskip("sklearn.decomposition")
    expected = decomposition.PCA(4, svd_solver="full").fit(ISOTROPIC.flatten(1).double().numpy()).components_
    got = pca_matrix(ISOTROPIC, 4, centred=True).numpy()
    signs = np.sign((got * expected).sum(1, keepdims=True))
    np.testing.assert_allclose(got, expected * signs, atol=1e-5)


def test_signs_are_fixed():
    for matrix in (pca_matrix(ISOTROPIC, 6), pca_matrix(ISOTROPIC.flip(0), 6)):
        largest = (matrix.abs() > 0.999 * matrix.abs().amax(1, keepdim=True)).int().argmax(1)
        assert (matrix.gather(1, largest[:, None]) > 0).all()
    torch.testing.assert_close(pca_matrix(ISOTROPIC, 6), pca_matrix(ISOTROPIC.flip(0), 6), rtol=0, atol=1e-4)


def test_few_numbers_hold_a_kernel():
    matrix = pca_matrix(TURNED, 15)
    fresh = draw_kernels(AnisotropicGaussianBlur(sigma_x=[0.7, 5.0], kernel_size=11), 20, 1)
    codes = encode_kernels(fresh, matrix)
    assert codes.shape == (20, 15)
    decoded = decode_kernels(codes, matrix)
    assert decoded.shape == fresh.shape
    assert ((decoded - fresh).norm() / fresh.norm()) < 0.1


def test_more_components_come_nearer():
    errors = [
        (decode_kernels(encode_kernels(TURNED, matrix), matrix) - TURNED).norm()
        for matrix in (pca_matrix(TURNED, components) for components in (2, 6, 15))
    ]
    assert errors[0] > errors[1] > errors[2]


def test_a_single_kernel_is_encoded_too():
    matrix = pca_matrix(TURNED, 5)
    torch.testing.assert_close(encode_kernels(TURNED[3], matrix), encode_kernels(TURNED, matrix)[3])


def test_kernels_come_from_the_seed():
    blur = IsotropicGaussianBlur(kernel_size=7)
    assert torch.equal(draw_kernels(blur, 3, 5), draw_kernels(blur, 4, 5)[:3])
    assert not torch.equal(draw_kernels(blur, 3, 5), draw_kernels(blur, 3, 6))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: pca_matrix(torch.rand(5, 9), 2), r"expected kernels \[N, K, K\], got shape \[5, 9\]"),
        (lambda: pca_matrix(torch.rand(5, 3, 3), 6), "expected 1 to 5 components, got 6"),
        (lambda: draw_kernels(IsotropicGaussianBlur(kernel_size=[7, 21]), 20, 0), "fix the blur's `kernel_size`"),
        (lambda: draw_kernels(GaussianNoise(), 2, 0), "GaussianNoise does not filter with one kernel"),
    ],
)
def test_mistakes_are_named(build, message):
    with pytest.raises(ValueError, match=message):
        build()
