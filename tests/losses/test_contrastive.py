"""Losses on degradation codes against their formulas."""

import math

import pytest
import torch
from torch.nn import functional as F

from uir.layers.degradation_code import DegradationCode
from uir.losses.contrastive_loss import (
    CodebookLoss,
    InfoNCELoss,
    SupConLoss,
)
from uir.losses.pixel_loss import L1Loss
from uir.losses.ranking_loss import MarginRankingLoss


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def code(projection):
    return DegradationCode(projection=projection)


def unit(tensor):
    return tensor / tensor.square().sum(1, keepdim=True).sqrt()


def test_infonce_is_the_negative_log_share_of_the_right_key():
    query, key, queue = unit(draw(3, 4)), unit(draw(3, 4, seed=1)), unit(draw(5, 4, seed=2))
    expected = 0.0
    for q, k in zip(query, key, strict=True):
        right = math.exp(float(q @ k) / 0.2)
        expected -= math.log(right / (right + sum(math.exp(float(q @ n) / 0.2) for n in queue))) / 3
    loss = InfoNCELoss(0.2, loss_weight=2.0)
    assert float(loss(code(3 * query), code(7 * key), queue)) == pytest.approx(2 * expected, rel=1e-5)


def test_infonce_without_a_queue_compares_with_the_other_keys():
    query, key = unit(draw(3, 4)), unit(draw(3, 4, seed=1))
    expected = F.cross_entropy(query @ key.T / 0.07, torch.arange(3))
    torch.testing.assert_close(InfoNCELoss()(code(query), code(key)), expected)


def test_keys_have_no_gradient():
    query, key = draw(2, 4).requires_grad_(), draw(2, 4, seed=1).requires_grad_()
    InfoNCELoss()(code(query), code(key), unit(draw(5, 4, seed=2))).backward()
    assert query.grad.abs().max() > 0
    assert key.grad is None


def test_infonce_is_in_full_precision_under_autocast():
    values = code(draw(2, 16)), code(draw(2, 16, seed=1)), unit(draw(40, 16, seed=2))
    with torch.autocast("cpu", torch.bfloat16):
        found = InfoNCELoss()(*values)
    assert torch.equal(found, InfoNCELoss()(*values))


def test_a_weight_of_1_over_255_keeps_the_published_balance():
    """L1 of 0-255 plus contrast equals 255 times (L1 of [0, 1] plus contrast / 255), gradients too."""
    restored, gt = torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(0)).requires_grad_(), torch.zeros(1)
    gt = gt.expand(2, 3, 4, 4)
    query, key, queue = draw(2, 4).requires_grad_(), draw(2, 4, seed=1), unit(draw(5, 4, seed=2))
    published = F.l1_loss(255 * restored, 255 * gt) + InfoNCELoss()(code(query), code(key), queue)
    ours = L1Loss()(restored, gt) + InfoNCELoss(loss_weight=1 / 255)(code(query), code(key), queue)
    torch.testing.assert_close(255 * ours, published)
    for one, other in zip(*(torch.autograd.grad(loss, (restored, query)) for loss in (ours, published)), strict=True):
        torch.testing.assert_close(255 * one, other)


def test_supcon_is_the_paper_s_equation_2():
    z, labels = unit(draw(5, 4)), [0, 1, 0, -1, 0]
    terms = []
    for i in range(5):
        partners = [p for p in range(5) if p != i and labels[p] == labels[i] >= 0]
        total = sum(math.exp(float(z[i] @ z[a]) / 0.5) for a in range(5) if a != i)
        if partners:
            terms.append(-sum(math.log(math.exp(float(z[i] @ z[p]) / 0.5) / total) for p in partners) / len(partners))
    found = SupConLoss(0.5)(code(2 * z), torch.tensor(labels))
    assert float(found) == pytest.approx(sum(terms) / 3, rel=1e-5)


def test_supcon_without_partners_is_0_and_has_a_gradient():
    z = draw(2, 4).requires_grad_()
    value = SupConLoss()(code(z), torch.tensor([-1, 0]))
    value.backward()
    assert value == 0
    assert z.grad.isfinite().all()


def test_codebook_is_the_mean_squared_cosine_of_different_words():
    words = draw(4, 3)
    cosine = unit(words) @ unit(words).T
    expected = sum(cosine[i, j] ** 2 for i in range(4) for j in range(4) if i != j) / 12
    torch.testing.assert_close(CodebookLoss()(words), expected)
    torch.testing.assert_close(CodebookLoss()(torch.eye(3)), torch.tensor(0.0))


def test_ranking_is_its_formula():
    scores, orders = draw(3, 4), torch.tensor([[0, 0, 1, -1], [0, 0, -1, -1], [0, 0, -1, -1]])
    query, equal, changed, clean = scores.T
    hinge = lambda better, worse: max(0.0, 0.5 - float(better - worse))  # noqa: E731
    more, less = hinge(changed[0], query[0]), (hinge(query[1], changed[1]) + hinge(query[2], changed[2])) / 2
    above = sum(hinge(s[i], clean[i]) for s in (query, equal, changed) for i in range(3)) / 3
    same = 2 * float((query - equal).abs().mean())
    expected = more + less + 0.2 * above + 5 * same + 2 * float(clean.abs().mean())
    renditions = [DegradationCode(score=score) for score in scores.T]
    assert float(MarginRankingLoss(loss_weight=3)(renditions, orders)) == pytest.approx(3 * expected, rel=1e-5)


def test_a_tie_does_not_count():
    renditions = [DegradationCode(score=torch.zeros(2)) for _ in range(4)]
    loss = MarginRankingLoss(clean_weight=0)
    assert loss(renditions, torch.tensor([[0, 0, 0, -1]] * 2)) == 0
    assert loss(renditions, torch.tensor([[0, 0, 1, -1]] * 2)) == 0.5


def test_what_does_not_fit_is_told():
    with pytest.raises(ValueError, match="InfoNCELoss needs the field 'projection'"):
        InfoNCELoss()(DegradationCode(vector=draw(2, 4)), code(draw(2, 4)))
    with pytest.raises(ValueError, match="temperature: expected a number above 0"):
        InfoNCELoss(0)
    with pytest.raises(ValueError, match="orders"):
        MarginRankingLoss()([DegradationCode(score=torch.zeros(2))] * 4, torch.zeros(2, 3))
    with pytest.raises(ValueError, match="margin: expected at least 0"):
        MarginRankingLoss(-1)
    with pytest.raises(ValueError, match="expected 2 labels"):
        SupConLoss()(code(draw(2, 4)), torch.tensor([0]))
    with pytest.raises(ValueError, match="at least 2"):
        CodebookLoss()(draw(1, 4))
