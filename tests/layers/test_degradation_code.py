"""The code that passes between an encoder and a backbone."""

import pytest
import torch

from uir.layers.degradation_code import DegradationCode, require_code


def make_code() -> DegradationCode:
    return DegradationCode(vector=torch.arange(6.0).view(3, 2), score=torch.tensor([1.0, 2.0, 3.0]))


def test_selects_the_codes_of_some_images_and_leaves_empty_fields_empty():
    tiles = make_code().index_select(torch.tensor([2, 2, 0]))
    assert tiles.vector.tolist() == [[4, 5], [4, 5], [0, 1]]
    assert tiles.score.tolist() == [3, 3, 1]
    assert tiles.map is None


def test_zeros_say_nothing_in_the_same_shape():
    code = make_code()
    zeros = code.zeros_like()
    assert not zeros.vector.any()
    assert zeros.vector.shape == code.vector.shape
    assert code.vector.any()


def test_detach_cuts_the_gradient():
    code = DegradationCode(vector=torch.ones(1, 2, requires_grad=True) * 2)
    assert code.vector.requires_grad
    assert not code.detach().vector.requires_grad


@pytest.mark.parametrize(
    ("code", "field", "channels", "message"),
    [
        (None, "vector", None, r"DASR needs a degradation code: call it as net\(lq, code\)"),
        (
            make_code(),
            "map",
            None,
            r"DASR needs the field 'map' of a degradation code; the encoder returned vector, score",
        ),
        (make_code(), "vector", 256, r"DASR is built for 256 channels .* the encoder returned 2"),
    ],
)
def test_a_missing_field_is_named(code, field, channels, message):
    with pytest.raises(ValueError, match=message):
        require_code(code, field, "DASR", channels)


def test_a_field_that_fits_is_given():
    code = make_code()
    assert require_code(code, "vector", "DASR", 2) is code.vector
