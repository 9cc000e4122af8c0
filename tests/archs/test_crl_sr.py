"""CRL-SR's encoder and restorer."""

import pytest
import torch
from small_networks import build_network, made_image
from torch.nn import functional as F

from uir.encoders.crl_sr_encoder import high_frequencies
from uir.layers.degradation_code import DegradationCode


def test_local_features_are_of_their_patch():
    """Changing one patch far from another leaves the other's local feature as it was, and changes its own."""
    encoder = build_network("CRLSREncoder", moved=0.1)
    image = made_image(96, 96, 1)
    other = image.clone()
    other[..., :4, :4] = 1 - other[..., :4, :4]
    with torch.no_grad():
        before, after = encoder(image), encoder(other)
    for field in ("local", "detail"):
        one, two = getattr(before, field), getattr(after, field)
        assert one.shape == (1, 5, 24, 24)
        assert not torch.equal(one[..., 0, 0], two[..., 0, 0])
        torch.testing.assert_close(one[..., -2:, -2:], two[..., -2:, -2:])
        torch.testing.assert_close(encoder.detail_of(image), before.detail)
    torch.testing.assert_close(before.vector, before.map.mean((2, 3)))
    torch.testing.assert_close(before.projection, before.local.mean((2, 3)))


def test_high_frequencies_are_the_image_minus_its_mean_around_each_pixel():
    image = made_image(9, 11)
    padded = F.pad(image, (2, 2, 2, 2), mode="replicate")
    expected = torch.empty_like(image)
    for y in range(9):
        for x in range(11):
            expected[..., y, x] = image[..., y, x] - padded[..., y : y + 5, x : x + 5].mean((2, 3))
    torch.testing.assert_close(high_frequencies(image), expected, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(high_frequencies(torch.full((1, 3, 6, 6), 0.3)), torch.zeros(1, 3, 6, 6))


def test_the_low_frequency_features_see_no_detail_branch_and_the_restorer_no_image():
    encoder, restorer = build_network("CRLSREncoder", moved=0.1), build_network("CRLSR", moved=0.1, map_channels=6)
    image = made_image(12, 16)
    with torch.no_grad():
        code = encoder(image)
        restored = restorer(image, DegradationCode(map=code.map))
        assert torch.equal(restored, restorer(torch.zeros_like(image), code))
        assert not torch.allclose(restored, restorer(image, DegradationCode(map=code.map.flip(3))))
    assert restored.shape == (2, 3, 24, 32)


def test_a_code_of_another_image_is_refused():
    restorer = build_network("CRLSR")
    with pytest.raises(ValueError, match="expected a map of 8×8, got 1×1; the code of another image cannot be used"):
        restorer(torch.zeros(1, 3, 8, 8), DegradationCode(map=torch.zeros(1, 5, 1, 1)))
    with pytest.raises(ValueError, match="CRLSR: scale, map_channels"):
        build_network("CRLSR", num_block=0)
    with pytest.raises(ValueError, match="CRLSREncoder: num_feat"):
        build_network("CRLSREncoder", growth=0)
