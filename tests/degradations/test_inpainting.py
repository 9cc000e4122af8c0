"""Missing regions: what is covered, with what, and how much."""

import cv2
import numpy as np
import pytest
import torch

from uir.degradations.base import replay
from uir.degradations.inpainting_degradation import (
    InpaintingBoxes,
    InpaintingLines,
    InpaintingStrokes,
    box_mask,
    line_mask,
    stroke_mask,
)

IMAGE = 0.1 + 0.8 * torch.rand(3, 90, 120, generator=torch.Generator().manual_seed(0))
OPS = [
    (InpaintingLines(fill=0.0), line_mask),
    (InpaintingStrokes(fill=0.0), stroke_mask),
    (InpaintingBoxes(fill=0.0), box_mask),
]


@pytest.mark.parametrize(("op", "mask_of"), OPS)
def test_the_mask_is_filled_and_the_rest_untouched(op, mask_of):
    for seed in range(5):
        result, record = op(IMAGE, seed)
        mask = mask_of(record.steps[0], (90, 120))
        assert 0 < mask.float().mean() < 1
        assert torch.equal(result, torch.where(mask, 0.0, IMAGE))


@pytest.mark.thorough
@pytest.mark.parametrize(("op", "mask_of"), OPS)
def test_masks_reach_every_part_of_the_image(op, mask_of):
    covered = sum(mask_of(op.sample(seed, (60, 80)), (60, 80)).float() for seed in range(300))
    assert covered.min() > 0


def test_fill_is_drawn():
    assert {InpaintingLines().sample(seed, (8, 8))["fill"] for seed in range(20)} == {0.0, 1.0}
    result, record = InpaintingBoxes(fill=0.5)(IMAGE, 0)
    assert (result[box_mask(record.steps[0], (90, 120)).expand(3, -1, -1)] == 0.5).all()


def test_a_line_is_as_wide_as_asked():
    params = {"lines": 1, "width_px": 9, "seed": 2}
    mask = line_mask(params, (400, 400))[0].numpy().astype(np.uint8)
    assert abs(2 * cv2.distanceTransform(mask, cv2.DIST_L2, 5).max() - 9) < 2


def test_no_lines_no_boxes_no_strokes_no_change():
    for op in (InpaintingLines(lines=0), InpaintingStrokes(strokes=0), InpaintingBoxes(boxes=0)):
        assert torch.equal(op(IMAGE, 0)[0], IMAGE)


@pytest.mark.parametrize("area", [0.0, 0.1, 0.5, 1.0])
def test_a_box_has_its_area(area):
    for seed in range(20):
        mask = box_mask(InpaintingBoxes(area=area).sample(seed, (300, 200)), (300, 200))
        assert mask.float().mean().item() == pytest.approx(area, abs=0.005)


def test_more_and_longer_strokes_cover_more():
    shares = [
        np.mean([stroke_mask(op.sample(seed, (256, 256)), (256, 256)).float().mean() for seed in range(20)])
        for op in (InpaintingStrokes(**arguments) for arguments in InpaintingStrokes.severities)
    ]
    assert shares[0] < shares[1] < shares[2]


def test_masks_of_ones_own(tmp_path):
    half = np.zeros((45, 60), np.uint8)
    half[:, 30:] = 255
    cv2.imwrite(str(tmp_path / "half.png"), half)
    op = InpaintingStrokes(masks=tmp_path, fill=1.0)
    result, record = op(IMAGE, 0)
    assert record.steps[0]["mask_file"] == str(tmp_path / "half.png")
    assert torch.equal(result[..., :60], IMAGE[..., :60])
    assert (result[..., 60:] == 1).all()
    assert op.severity(record.steps[0]) == 0.5
    assert torch.equal(replay(record, IMAGE), result)


def test_severity_is_the_share_that_is_covered():
    assert InpaintingBoxes.severity({"boxes": 2, "area": 0.1}) == pytest.approx(0.19)
    assert InpaintingLines.severity({"lines": 8, "width_px": 8}) == 0.25


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: InpaintingLines(lines=-1), r"InpaintingLines\.lines: must be at least 0"),
        (lambda: InpaintingLines(width=1.5), r"InpaintingLines\.width: expected a whole number"),
        (lambda: InpaintingStrokes(fill=2), r"InpaintingStrokes\.fill: must be between 0 and 1"),
        (lambda: InpaintingStrokes(masks="nowhere.png"), r"InpaintingStrokes\.masks: there is no file"),
        (lambda: InpaintingBoxes(area=[0.5, 2]), r"InpaintingBoxes\.area: must be between 0 and 1"),
    ],
)
def test_mistakes_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
