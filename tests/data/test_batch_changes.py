"""Progressive sizes and mixed images: what happens to a batch after it is loaded."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from uir.data.batch_changes import Mixup, Progression
from uir.degradations.record import DegradationRecord, RecordBatch


def batch(count: int = 4, size: int = 8, scale: int = 2) -> dict[str, Any]:
    """Images whose values are their own places, so that a cut shows where it was made."""
    lq = torch.arange(count * 3 * size * size, dtype=torch.float32).view(count, 3, size, size)
    gt = lq.repeat_interleave(scale, 2).repeat_interleave(scale, 3)
    records = RecordBatch(DegradationRecord(steps=[], label=str(index)) for index in range(count))
    return {
        "lq": lq,
        "gt": gt,
        "lq_path": [str(index) for index in range(count)],
        "degradation": records,
        "skipped": [],
    }


def progression(**changes: Any) -> Progression:
    return Progression(
        **{"iters": [2, 3], "gt_sizes": [4, 8], "mini_batch_sizes": [4, 1], "seed": 5, "scale": 2} | changes
    )


def sizes(change: Progression, number: int) -> tuple[int, int]:
    made = change(batch(), number)
    assert made["gt"].shape[-1] == 2 * made["lq"].shape[-1]
    return len(made["lq"]), made["gt"].shape[-1]


def test_sizes_change_after_each_part_and_stay_after_the_last() -> None:
    assert [sizes(progression(), number) for number in range(1, 8)] == [(4, 4)] * 2 + [(1, 8)] * 5


def test_an_iteration_of_several_batches_counts_once() -> None:
    change = progression(batches=2)
    assert [sizes(change, number) for number in (1, 4, 5)] == [(4, 4), (4, 4), (1, 8)]


def test_the_square_is_the_same_in_both_images_and_the_rest_of_a_sample_goes_with_it() -> None:
    made = progression()(batch(), 4)
    assert torch.equal(made["gt"][..., ::2, ::2], made["lq"])
    index = int(made["lq_path"][0])
    assert made["degradation"].labels == (str(index),)
    assert int(made["lq"].min()) // (3 * 8 * 8) == index


def test_places_are_drawn_again_for_each_batch_and_alike_for_the_same_number() -> None:
    corners = [float(progression()(batch(), 1 + number)["lq"].min()) for number in range(2)]
    places = {float(progression(iters=[99, 1])(batch(), number)["lq"].min()) for number in range(1, 30)}
    assert len(places) > 5
    assert corners == [float(progression()(batch(), 1 + number)["lq"].min()) for number in range(2)]


def test_sizes_beyond_those_of_the_batch_are_the_batch_s() -> None:
    assert sizes(progression(gt_sizes=[64, 64], mini_batch_sizes=[9, 9]), 1) == (4, 16)


@pytest.mark.parametrize(
    ("changes", "said"),
    [({"iters": [1]}, "have 1, 2 and 2 entries"), ({"gt_sizes": [4, 7]}, "gt_sizes: 7 is not a multiple of scale 2")],
)
def test_what_does_not_fit_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        progression(**changes)


def test_mixup_mixes_both_images_by_one_weight_and_forgets_the_records() -> None:
    plain, made = batch(), Mixup(1.2, False, 5)(batch(), 1)
    assert not torch.equal(made["lq"], plain["lq"])
    torch.testing.assert_close(made["gt"][..., ::2, ::2], made["lq"])
    torch.testing.assert_close(made["lq"].mean(), plain["lq"].mean())
    assert [record.steps for record in made["degradation"]] == [None] * 4


def test_mixup_with_identity_leaves_about_half_of_the_batches() -> None:
    same = [torch.equal(Mixup(1.2, True, 5)(batch(), number)["lq"], batch()["lq"]) for number in range(1, 101)]
    assert 35 < sum(same) < 65
