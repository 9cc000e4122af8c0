"""AdaIR: masks of low frequencies, and attention where they are empty."""

import pytest
import torch

from uir.archs.adair_arch import AdaIR, FrequencyModule
from uir.layers.transposed_attention import CrossTransposedAttention


@pytest.fixture(autouse=True)
def _seeded():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def test_low_frequencies_are_those_in_the_rectangle_that_the_image_chose():
    module, x = FrequencyModule(4, 2, False, grid=4, reduction=2), torch.randn(1, 4, 16, 24)
    with torch.no_grad():
        module.rate_conv[2].weight.mul_(20)
        low, high = module._split(x)
        shares = torch.sigmoid(module.rate_conv(x.mean((2, 3), keepdim=True))).flatten()
    half_rows, half_columns = int(4 * shares[0]), int(6 * shares[1])
    assert half_rows > 0
    assert half_columns > 0
    mask = torch.zeros(16, 24)
    mask[8 - half_rows : 8 + half_rows, 12 - half_columns : 12 + half_columns] = 1
    spectrum = torch.fft.fftshift(torch.fft.fft2(x), dim=(-2, -1))
    for got, kept in ((low, mask), (high, 1 - mask)):
        expected = torch.fft.ifft2(torch.fft.ifftshift(spectrum * kept, dim=(-2, -1))).abs()
        torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-4)


def test_the_published_grid_leaves_the_low_frequencies_of_a_training_patch_empty():
    low, high = FrequencyModule(4, 2, False, grid=128, reduction=2)._split(x := torch.randn(1, 4, 64, 64))
    assert low is None
    torch.testing.assert_close(high, x.abs())


def test_zero_queries_attend_evenly():
    attention, source = CrossTransposedAttention(6, 2), torch.randn(2, 6, 5, 7)
    torch.testing.assert_close(attention(torch.zeros(2, 6, 5, 7), source), attention.attend_evenly(source))


def test_the_choice_of_the_mask_is_not_trained():
    frozen = [key for key, p in AdaIR(dim=8, num_blocks=[1] * 4).named_parameters() if not p.requires_grad]
    assert frozen == [f"fre{n}.rate_conv.{layer}.weight" for n in (1, 2, 3) for layer in (0, 2)]


@pytest.mark.parametrize("prefix", ["", "net."])
def test_layers_that_never_run_are_dropped_from_published_checkpoints(prefix):
    state = {
        f"{prefix}{key}": torch.ones(1) for key in ("fre1.conv.weight", "fre2.score_gen.bias", "fre1.conv1.weight")
    }
    assert list(AdaIR.convert_state_dict(state)) == ["fre1.conv1.weight"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"decoder": False}, "Restormer is the network without them"),
        ({"frequency_grid": 0}, r"AdaIR\.frequency_grid: expected at least 1, got 0"),
        ({"inp_channels": 1, "out_channels": 1}, r"AdaIR\.inp_channels"),
    ],
)
def test_refuses_what_does_not_fit(arguments, message):
    with pytest.raises(ValueError, match=message):
        AdaIR(dim=8, **arguments)
