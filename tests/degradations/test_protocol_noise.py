"""The noise of published tests: its field, clipping and rounding."""

import numpy as np
import pytest
import torch

from uir.degradations.base import replay
from uir.degradations.noise_rules import NOISE_RULES
from uir.degradations.protocol_noise_degradation import ProtocolNoise

IMAGE = (torch.rand(3, 20, 14, generator=torch.Generator().manual_seed(0)) * 255).round() / 255


def test_dcpt_s_noise_is_that_of_numpy_after_its_seed_in_opencv_s_order():
    bgr = IMAGE.flip(0).permute(1, 2, 0).numpy().copy()
    np.random.seed(0)
    bgr += np.random.normal(0, 25 / 255, bgr.shape)
    expected = torch.from_numpy(bgr).permute(2, 0, 1).flip(0)
    torch.testing.assert_close(ProtocolNoise("dcpt", 25)(IMAGE, 7)[0], expected, rtol=0, atol=1e-6)
    clipped = ProtocolNoise("maskdcpt", 25)(IMAGE, 8)[0]
    torch.testing.assert_close(clipped, expected.clamp(0, 1), rtol=0, atol=1e-6)


def test_promptir_s_noise_is_clipped_and_cut_to_whole_levels_as_numpy_casts():
    noisy, record = ProtocolNoise("promptir", 50)(IMAGE, 3)
    field = torch.randn(3, 20, 14, generator=_generator(record.steps[0]["seed"]))
    levels = np.clip((IMAGE * 255 + field * 50).double().numpy(), 0, 255).astype(np.uint8)
    difference = np.abs((noisy * 255).round().numpy() - levels)
    assert (difference > 0).mean() < 0.002  # where the sum is a whole level but for the last bit
    assert NOISE_RULES["promptir"].fault_of(noisy) == ""
    assert not torch.equal(noisy, ProtocolNoise("promptir", 50)(IMAGE, 4)[0])


def _generator(seed):
    from uir.core.seeds import torch_generator

    return torch_generator(seed)


@pytest.mark.parametrize("protocol", NOISE_RULES)
def test_a_record_gives_the_same_image_again(protocol):
    noisy, record = ProtocolNoise(protocol, [10, 30])(IMAGE, 5)
    assert torch.equal(replay(record, IMAGE), noisy)


@pytest.mark.parametrize(
    ("rule", "other", "fault"),
    [
        ("promptir", "dcpt", "is not clipped"),
        ("promptir", "maskdcpt", "is not rounded to 8 bits"),
        ("maskdcpt", "promptir", "is rounded to 8 bits"),
        ("dcpt", "dcpt", ""),
        ("blindsr_y", "promptir", ""),
    ],
)
def test_noise_of_another_rule_is_recognised_by_its_values(rule, other, fault):
    assert NOISE_RULES[rule].fault_of(ProtocolNoise(other, 50)(IMAGE, 1)[0]) == fault


def test_an_unknown_rule_is_an_error_with_the_nearest_name():
    with pytest.raises(ValueError, match="no rule for noise is called 'prompt_ir'; did you mean promptir"):
        ProtocolNoise("prompt_ir")
