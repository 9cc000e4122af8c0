"""Stochastic depth leaves out whole samples, keeps the mean, and does nothing in eval mode."""

import torch

from uir.layers.drop_path import DropPath


def test_a_sample_is_left_out_or_enlarged_as_a_whole():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        kept = DropPath(0.2)(torch.ones(4000, 3, 2))
    assert torch.equal(kept, kept[:, :1, :1].expand_as(kept))
    torch.testing.assert_close(kept.unique(), torch.tensor([0.0, 1.25]))
    assert abs(kept.mean().item() - 1) < 0.03


def test_nothing_happens_in_eval_mode_or_at_rate_zero():
    branch = torch.ones(2, 3)
    assert DropPath(0.9).eval()(branch) is branch
    assert DropPath(0.0)(branch) is branch
