"""CRL-SR's losses on patches against their formulas, patch by patch."""

import math

import pytest
import torch
from torch.nn import functional as F

from uir.layers.degradation_code import DegradationCode
from uir.losses.patch_contrastive_loss import BidirectionalContrastiveLoss, ConditionalContrastiveLoss

T = 0.3


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def local(features):
    return DegradationCode(local=features)


def share(one, other):
    """e^(cosine / T) of two vectors."""
    return math.exp(float(F.cosine_similarity(one, other, dim=0)) / T)


def places(features):
    """The vectors of each image, row by row."""
    return [[image[:, y, x] for y in range(image.shape[1]) for x in range(image.shape[2])] for image in features]


@pytest.mark.parametrize("own", [False, True])
def test_bidirectional_finds_each_patch_among_those_of_its_image(own):
    degraded, clean = draw(2, 5, 2, 3), draw(2, 5, 2, 3, seed=1)
    terms = []
    both = places(degraded), places(clean)
    for anchors, others in (*zip(*both, strict=True), *zip(*both[::-1], strict=True)):
        for i, anchor in enumerate(anchors):
            total = sum(share(anchor, other) for other in others)
            if own:
                total += sum(share(anchor, other) for j, other in enumerate(anchors) if j != i)
            terms.append(-math.log(share(anchor, others[i]) / total))
    loss = BidirectionalContrastiveLoss(T, own_negatives=own, loss_weight=2.0)
    expected = 2 * sum(terms) / len(terms)
    assert float(loss(local(3 * degraded), local(0.5 * clean))) == pytest.approx(expected, rel=1e-5)


def test_other_images_are_no_negatives():
    degraded, clean = draw(3, 5, 2, 2), draw(3, 5, 2, 2, seed=1)
    loss = BidirectionalContrastiveLoss(T)
    alone = [loss(local(degraded[i : i + 1]), local(clean[i : i + 1])) for i in range(3)]
    torch.testing.assert_close(loss(local(degraded), local(clean)), torch.stack(alone).mean())


def test_conditional_has_the_other_clean_patches_and_its_low_frequencies_as_negatives():
    restored, clean, low = draw(2, 5, 2, 3), draw(2, 5, 2, 3, seed=1), draw(2, 5, 2, 3, seed=2)
    terms, cosines = [], []
    for anchors, right, condition in zip(places(restored), places(clean), places(low), strict=True):
        for i, anchor in enumerate(anchors):
            total = sum(share(anchor, other) for other in right) + share(anchor, condition[i])
            terms.append(-math.log(share(anchor, right[i]) / total))
            cosines.append(math.log(share(right[i], condition[i])) * T)
    codes = DegradationCode(detail=restored), DegradationCode(detail=clean), local(low)
    contrast, difference = sum(terms) / len(terms), sum(cosines) / len(cosines)
    for weight in (0.0, 0.7):
        found = ConditionalContrastiveLoss(T, difference_weight=weight, loss_weight=3.0)(*codes)
        assert float(found) == pytest.approx(3 * (contrast + weight * difference), rel=1e-5)


def test_finer_high_frequencies_are_averaged_over_each_patch():
    restored, clean, low = draw(2, 5, 8, 12), draw(2, 5, 8, 12, seed=1), draw(2, 5, 2, 3, seed=2)
    loss = ConditionalContrastiveLoss(T)
    means = [image.unflatten(2, (2, 4)).unflatten(4, (3, 4)).mean((3, 5)) for image in (restored, clean)]
    fine, coarse = (
        loss(DegradationCode(detail=one), DegradationCode(detail=other), local(low))
        for one, other in ((restored, clean), means)
    )
    torch.testing.assert_close(fine, coarse)


def test_the_condition_has_no_gradient_and_the_others_do():
    restored, clean, low = (draw(2, 5, 2, 3, seed=seed).requires_grad_() for seed in range(3))
    ConditionalContrastiveLoss()(DegradationCode(detail=restored), DegradationCode(detail=clean), local(low)).backward()
    assert restored.grad.abs().max() > 0
    assert clean.grad.abs().max() > 0
    assert low.grad is None


def test_what_does_not_fit_is_told():
    one = local(draw(2, 5, 1, 1))
    with pytest.raises(ValueError, match=r"BidirectionalContrastiveLoss: .* expected at least 2, got 1; raise gt_size"):
        BidirectionalContrastiveLoss()(one, one)
    with pytest.raises(ValueError, match=r"expected `local` \[B, D, h, w\], got \[2, 5\]"):
        BidirectionalContrastiveLoss()(local(draw(2, 5)), local(draw(2, 5)))
    with pytest.raises(ValueError, match="ConditionalContrastiveLoss needs the field 'detail'"):
        ConditionalContrastiveLoss()(local(draw(2, 5, 2, 2)), local(draw(2, 5, 2, 2)), local(draw(2, 5, 2, 2)))
