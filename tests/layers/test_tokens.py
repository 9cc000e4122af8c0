"""Tokens laid out as images."""

import pytest
import torch

from uir.layers.tokens import tokens_to_map


@pytest.mark.parametrize("grid", [(6, 6), (4, 10), (12, 2), (1, 5)])
def test_lays_tokens_out_row_by_row(grid):
    rows, columns = grid
    tokens = torch.arange(2 * rows * columns * 3.0).view(2, rows * columns, 3)
    laid_out = tokens_to_map(tokens, torch.empty(2, 3, 2 * rows, 2 * columns))
    assert laid_out.shape == (2, 3, rows, columns)
    torch.testing.assert_close(laid_out.permute(0, 2, 3, 1).reshape(2, -1, 3), tokens)


def test_a_grid_may_be_padded_to_full_windows():
    assert tokens_to_map(torch.rand(1, 40 * 56, 2), torch.empty(1, 3, 37, 51)).shape == (1, 2, 40, 56)


def test_refuses_what_does_not_fit():
    with pytest.raises(ValueError, match="13 tokens do not fit an image of 8×8 pixels"):
        tokens_to_map(torch.rand(1, 13, 2), torch.empty(1, 3, 8, 8))
    with pytest.raises(ValueError, match=r"expected tokens \[B, N, C\]"):
        tokens_to_map(torch.rand(1, 2, 4, 4), torch.empty(1, 3, 8, 8))
