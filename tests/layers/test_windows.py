"""Windows of maps of any aspect ratio, their masks, and the attention within them, against the definitions."""

import pytest
import torch

from uir.layers.windows import (
    WindowLayout,
    relative_position_index,
    shifted_window_mask,
    window_attention,
)

BATCH, HEIGHT, WIDTH, WINDOW = 2, 8, 20, 4  # a grid of 2×5 windows


def layout_of(shift: int, masked: bool = True, height: int = HEIGHT, width: int = WIDTH) -> WindowLayout:
    return WindowLayout.of((BATCH, height, width), WINDOW, shift, masked, torch.zeros(()))


def coordinates(height: int = HEIGHT, width: int = WIDTH) -> torch.Tensor:
    """Tokens [B, H·W, 3] that say where they are: image, row, column."""
    axes = torch.arange(BATCH), torch.arange(height), torch.arange(width)
    return torch.cartesian_prod(*axes).view(BATCH, height * width, 3)


def test_windows_are_the_squares_of_each_image_row_after_row():
    maps = torch.randn(BATCH, HEIGHT, WIDTH, 3, generator=torch.Generator().manual_seed(0))
    windows = layout_of(shift=0).cut(maps.flatten(1, 2))
    corners = [(b, y, x) for b in range(BATCH) for y in range(0, HEIGHT, WINDOW) for x in range(0, WIDTH, WINDOW)]
    assert len(windows) == len(corners)
    for window, (b, y, x) in zip(windows, corners, strict=True):
        assert torch.equal(window, maps[b, y : y + WINDOW, x : x + WINDOW].flatten(0, 1))


@pytest.mark.parametrize("shift", [0, 1, 2])
@pytest.mark.parametrize("size", [(8, 20), (20, 8), (4, 12), (4, 4)])
def test_joining_undoes_cutting(shift, size):
    layout, tokens = layout_of(shift, True, *size), coordinates(*size)
    assert torch.equal(layout.join(layout.cut(tokens)), tokens)


@pytest.mark.parametrize("size", [(8, 20), (20, 8), (4, 12), (4, 4)])
def test_shifted_windows_hold_the_same_pixels_of_one_image_around_the_border(size):
    shift = 2
    for window in layout_of(shift, True, *size).cut(coordinates(*size)):
        image, rows, columns = window.unbind(-1)
        assert len(set(image.tolist())) == 1
        for places, side in ((rows, size[0]), (columns, size[1])):
            moved = (places - shift) % side
            assert set((moved - moved.min()).tolist()) == set(range(WINDOW))
            assert moved.min() % WINDOW == 0


@pytest.mark.parametrize("size", [(8, 20), (20, 8), (4, 12), (4, 4)])
def test_the_mask_keeps_apart_what_only_the_border_brings_together(size):
    layout = layout_of(2, True, *size)
    windows = layout.cut(coordinates(*size))
    mask = torch.zeros(len(windows), WINDOW**2, WINDOW**2)
    mask[len(windows) - len(layout.mask) :] = layout.mask
    apart = windows[:, :, None, 1:] - windows[:, None, :, 1:]
    places = torch.cartesian_prod(torch.arange(WINDOW), torch.arange(WINDOW))
    assert torch.equal(mask == 0, (apart == places[:, None] - places[None, :]).all(-1))
    assert set(mask.unique().tolist()) == {-100.0, 0.0}


def test_windows_in_place_and_unmasked_ones_have_no_mask():
    assert layout_of(shift=0).mask is None
    assert layout_of(shift=2, masked=False).mask is None


def test_the_published_mask_compares_three_regions_along_each_axis():
    regions = torch.zeros(HEIGHT, WIDTH)
    parts = slice(0, -4), slice(-4, -1), slice(-1, None)
    for number, (rows, columns) in enumerate((rows, columns) for rows in parts for columns in parts):
        regions[rows, columns] = number
    cut = torch.stack([window.flatten() for row in regions.split(4) for window in row.split(4, dim=1)])
    expected = torch.where(cut[:, :, None] == cut[:, None, :], 0.0, -100.0)
    assert torch.equal(shifted_window_mask(HEIGHT, WIDTH, 4, 1), expected)


def test_cutting_and_joining_have_the_gradient_of_a_permutation():
    layout = layout_of(shift=1)
    tokens = torch.randn(BATCH, HEIGHT * WIDTH, 2, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(BATCH * 10, WINDOW**2, 2, dtype=torch.float64, requires_grad=True)
    (layout.cut(tokens) * weight).sum().backward()
    assert torch.equal(tokens.grad, layout.join(weight.detach()))
    small = WindowLayout.of((1, 2, 4), 2, 1, True, torch.zeros(()))
    assert torch.autograd.gradgradcheck(small.cut, torch.randn(1, 8, 1, dtype=torch.float64, requires_grad=True))


def test_the_position_index_counts_offsets_row_by_row():
    index = relative_position_index(3)
    for first in range(9):
        for second in range(9):
            down, right = first // 3 - second // 3, first % 3 - second % 3
            assert index[first, second] == (down + 2) * 5 + right + 2


@pytest.mark.parametrize("size", [(6, 8), (8, 6)])
def test_refuses_maps_without_a_whole_number_of_windows(size):
    with pytest.raises(ValueError, match=f"{size[0]}×{size[1]}"):
        layout_of(0, True, *size)


@pytest.mark.parametrize("learnt", [True, False], ids=["bias with gradient", "without"])
@pytest.mark.parametrize("masked", [0, 3, 40])
@pytest.mark.parametrize("biased", [True, False])
def test_attention_is_that_of_the_paper(learnt, masked, biased):
    count, tokens, heads, channels = 40, 4, 2, 6
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    qkv = draw(count, tokens, 3 * channels).requires_grad_()
    bias = draw(heads, tokens, tokens).requires_grad_(learnt) if biased else None
    mask = -100.0 * (draw(masked, tokens, tokens) > 0.5) if masked else None

    q, k, v = (part.unflatten(2, (heads, 3)) for part in qkv.split(channels, dim=2))
    logits = torch.einsum("wihc,wjhc->whij", q, k) / 3**0.5
    logits = logits if bias is None else logits + bias
    if mask is not None:
        logits = logits + torch.cat([torch.zeros(count - masked, tokens, tokens), mask])[:, None]
    expected = torch.einsum("whij,wjhc->wihc", logits.exp() / logits.exp().sum(-1, keepdim=True), v).flatten(2)

    attended = window_attention(qkv, heads, bias=bias, mask=mask)
    torch.testing.assert_close(attended, expected)
    weight, sources = draw(*expected.shape), [qkv] + [bias] * (biased and learnt)
    gradients = [torch.autograd.grad((result * weight).sum(), sources) for result in (attended, expected)]
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("learnt", [True, False])
def test_attention_scales_its_logits_as_it_is_told_and_drops_weights(learnt):
    generator = torch.Generator().manual_seed(0)
    qkv = torch.randn(2, 4, 6, generator=generator)
    bias = torch.zeros(1, 4, 4, requires_grad=learnt)
    uniform = window_attention(qkv, 1, scale=0.0, bias=bias)
    torch.testing.assert_close(uniform, qkv[..., 4:].mean(1, keepdim=True).expand(2, 4, 2))
    assert torch.equal(window_attention(qkv, 1, bias=bias, dropout=1.0), torch.zeros(2, 4, 2))
