"""Low light in raw: the darkening and its noise."""

import numpy as np
import pytest
import torch
from scipy import stats

from uir.degradations.raw_low_light_degradation import RawLowLight

IMAGE = torch.rand(3, 40, 52, generator=torch.Generator().manual_seed(0)).double()
QUIET = {"shot": 1e-9, "read": 0, "digital_gain": 1, "bits": 16}


def processed(linear: np.ndarray, gamma: float) -> np.ndarray:
    encoded = linear ** (1 / gamma)
    return 3 * encoded**2 - 2 * encoded**3


def test_full_light_without_noise_is_nearly_the_identity():
    dark = RawLowLight(darkness=1, **QUIET)(IMAGE, 0)[0]
    torch.testing.assert_close(dark, IMAGE, rtol=0, atol=0.02)  # near black, 16 bits of raw are coarse on a display
    assert (dark - IMAGE).abs().mean() < 2e-4


@pytest.mark.parametrize("gamma", [2.0, 3.5])
def test_darkening_is_linear_in_raw(gamma):
    encoded = np.linspace(0.2, 0.95, 40)
    display = 3 * encoded**2 - 2 * encoded**3
    image = torch.from_numpy(display)[None, None].expand(3, 8, 40)
    dark = RawLowLight(darkness=0.2, gamma=gamma, **QUIET)(image, 0)[0]
    np.testing.assert_allclose(dark[1, 0].numpy(), processed(0.2 * encoded**gamma, gamma), atol=2e-3)


def test_noise_has_the_variance_of_shot_and_read():
    op = RawLowLight(darkness=0.5, gamma=2.2, shot=0.002, read=1e-5, digital_gain=1.2, bits=16)
    grey = torch.full((1, 200, 200), 0.5).double()
    noisy = op(grey, 3)[0].numpy()
    raw = 0.5 * 0.5**2.2 / 1.2
    signal = 1.2 * raw
    slope = (processed(signal + 1e-6, 2.2) - processed(signal - 1e-6, 2.2)) / 2e-6
    assert noisy.std() == pytest.approx(slope * 1.2 * np.sqrt(0.002 * raw + 1e-5), rel=0.03)


def test_bits_are_the_number_of_levels():
    ramp = torch.linspace(0, 1, 4000).double().expand(1, 1, 4000)
    dark = RawLowLight(darkness=1, gamma=2.2, **{**QUIET, "bits": 3})(ramp, 0)[0]
    assert len(dark.unique()) == 8


def test_darkness_is_drawn_as_published():
    drawn = [RawLowLight().sample(seed, (4, 4))["darkness"] for seed in range(400)]
    truncated = stats.truncnorm((0.01 - 0.1) / 0.08, (1 - 0.1) / 0.08, 0.1, 0.08)
    assert stats.kstest(drawn, truncated.cdf).pvalue > 0.01
    assert {RawLowLight().sample(seed, (4, 4))["bits"] for seed in range(30)} == {12, 14, 16}


def test_severity_is_the_brightness_lost_by_mid_grey():
    op = RawLowLight(darkness=0.1, gamma=3.0, **QUIET)
    grey = torch.full((3, 4, 4), 0.5).double()
    dark, record = op(grey, 0)
    assert op.severity(record.steps[0]) == pytest.approx(1 - dark.mean().item() / 0.5, abs=2e-3)
    assert op.severity(RawLowLight(darkness=1).sample(0, (4, 4))) == pytest.approx(0)


def test_mistakes_are_named():
    with pytest.raises(ValueError, match=r"RawLowLight\.darkness: must be between 0 and 1"):
        RawLowLight(darkness=2)
    with pytest.raises(ValueError, match=r"RawLowLight\.bits: must be between 1 and 16"):
        RawLowLight(bits=20)
    with pytest.raises(ValueError, match="expected 1 or 3 channels"):
        RawLowLight()(torch.zeros(4, 8, 8), 0)
