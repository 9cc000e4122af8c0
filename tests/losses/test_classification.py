"""Classification losses: closed forms, torch's own, and the published focal loss."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from uir.losses.classification_loss import CrossEntropyLoss, FocalLoss, MultiLabelBCELoss


def sample(batch: int = 6, classes: int = 4):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(batch, classes, generator=generator, dtype=torch.float64).requires_grad_()
    return logits, torch.randint(classes, (batch,), generator=generator)


def test_focal_of_two_even_classes():
    logits = torch.zeros(3, 2)  # p = 1/2
    assert FocalLoss(gamma=2)(logits, torch.tensor([0, 1, 0])).item() == pytest.approx(0.25 * math.log(2))


def test_focal_is_the_papers_formula():
    logits, target = sample()
    probability = logits.softmax(1)[torch.arange(6), target]
    alpha = torch.tensor([0.1, 0.4, 0.7, 1.0], dtype=torch.float64)
    expected = -alpha[target] * (1 - probability) ** 1.5 * probability.log()
    loss = FocalLoss(gamma=1.5, alpha=alpha.tolist(), reduction="none")
    torch.testing.assert_close(loss(logits, target), expected, rtol=1e-6, atol=1e-8)  # alpha is kept in float32


def test_focal_without_focus_is_cross_entropy():
    logits, target = sample()
    torch.testing.assert_close(FocalLoss(gamma=0)(logits, target), F.cross_entropy(logits, target))


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_focal_of_a_certain_classifier_has_a_finite_gradient(gamma):
    logits = torch.tensor([[200.0, 0.0], [-200.0, 0.0]], requires_grad=True)
    value = FocalLoss(gamma=gamma)(logits, torch.tensor([0, 0]))
    value.backward()
    assert value.item() == pytest.approx(100)
    assert logits.grad.isfinite().all()


def test_focal_gives_the_published_numbers(shared):
    stored = np.load(shared / "fixtures/losses/dcpt_focal/io.npz")
    logits, labels, ignoring = (torch.from_numpy(stored[k]) for k in ("logits", "labels", "labels_with_ignore"))
    got = {f"focal_gamma{gamma}": FocalLoss(gamma)(logits, labels) for gamma in (0, 1, 2)}
    got["focal_gamma2_alpha_sum"] = FocalLoss(2, stored["alpha"].tolist(), reduction="sum")(logits, labels)
    got["focal_gamma2_ignore"] = FocalLoss(2)(logits, ignoring)
    got["focal_gamma2_none"] = FocalLoss(2, reduction="none")(logits, labels)
    assert got.keys() == {key for key in stored.files if key.startswith("focal")}
    for key, value in got.items():
        np.testing.assert_allclose(value.numpy(), stored[key], rtol=1e-5, err_msg=key)


def test_cross_entropy_is_minus_the_log_probability():
    logits, target = sample()
    expected = -logits.softmax(1)[torch.arange(6), target].log()
    torch.testing.assert_close(CrossEntropyLoss(reduction="none")(logits, target), expected)
    torch.testing.assert_close(CrossEntropyLoss(loss_weight=2.5)(logits, target), 2.5 * expected.mean())


def test_smoothed_labels_spread_over_all_classes():
    logits, target = sample()
    soft = 0.9 * F.one_hot(target, 4) + 0.1 / 4
    expected = -(soft * logits.log_softmax(1)).sum(1).mean()
    torch.testing.assert_close(CrossEntropyLoss(label_smoothing=0.1)(logits, target), expected)


def test_multi_label_is_one_coin_a_class():
    logits, _ = sample()
    target = (torch.rand(6, 4, generator=torch.Generator().manual_seed(1)) > 0.5).double()
    p, weights = logits.sigmoid(), torch.tensor([1.0, 2.0, 3.0, 4.0], dtype=torch.float64)
    expected = -(weights * target * p.log() + (1 - target) * (1 - p).log())
    loss = MultiLabelBCELoss(pos_weight=weights.tolist())
    torch.testing.assert_close(loss(logits, target), expected.mean())


def test_multi_label_leaves_out_what_is_unknown():
    logits, _ = sample()
    target, mask = torch.ones(6, 4), torch.ones(6, 1)
    mask[2:] = 0
    torch.testing.assert_close(MultiLabelBCELoss()(logits, target, mask), MultiLabelBCELoss()(logits[:2], target[:2]))
    assert MultiLabelBCELoss()(logits, target, torch.zeros(6, 4)) == 0


@pytest.mark.parametrize("loss", [FocalLoss(), CrossEntropyLoss()])
def test_ignored_samples_do_not_count(loss):
    logits, target = sample()
    ignoring = target.clone()
    ignoring[3:] = -100
    torch.testing.assert_close(loss(logits, ignoring), loss(logits[:3], target[:3]))
    assert loss(logits, torch.full_like(target, -100)) == 0


@pytest.mark.parametrize("loss", [FocalLoss(), CrossEntropyLoss(), MultiLabelBCELoss()])
def test_half_precision_logits_are_judged_in_full(loss):
    logits, target = sample()
    target = target if not isinstance(loss, MultiLabelBCELoss) else F.one_hot(target, 4)
    value = loss(logits.bfloat16(), target)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, loss(logits.bfloat16().float(), target))


@pytest.mark.parametrize("loss", [FocalLoss(), CrossEntropyLoss()])
def test_labels_that_do_not_fit_are_refused(loss):
    with pytest.raises(ValueError, match="label 4 is out of range: the classifier has 4 classes"):
        loss(torch.zeros(2, 4), torch.tensor([0, 4]))
    with pytest.raises(ValueError, match=r"expected logits \[B, K\] and integer labels \[B\]"):
        loss(torch.zeros(2, 4), torch.zeros(3, dtype=torch.long))
    with pytest.raises(ValueError, match=r"integer labels \[B\]"):
        loss(torch.zeros(2, 4), torch.zeros(2))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: FocalLoss(gamma=-1), "gamma: expected at least 0"),
        (lambda: FocalLoss(alpha=[1, 2])(torch.zeros(1, 3), torch.tensor([0])), "alpha: expected 3 weights"),
        (lambda: CrossEntropyLoss(label_smoothing=1), "label_smoothing"),
        (lambda: CrossEntropyLoss(reduction="avg"), "reduction"),
        (lambda: MultiLabelBCELoss()(torch.zeros(2, 3), torch.zeros(2, 4)), "of equal shape"),
        (lambda: MultiLabelBCELoss()(torch.zeros(2, 3), 2 * torch.ones(2, 3)), r"target: expected values in \[0, 1\]"),
        (lambda: MultiLabelBCELoss()(torch.zeros(2, 3), torch.ones(2, 3), torch.ones(2, 2)), "mask"),
        (lambda: MultiLabelBCELoss(pos_weight=[1])(torch.zeros(2, 3), torch.ones(2, 3)), "pos_weight"),
    ],
)
def test_refuses_what_does_not_fit(make, message):
    with pytest.raises(ValueError, match=message):
        make()
