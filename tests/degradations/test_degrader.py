"""The one way in which datasets and methods use a degradation."""

import pytest
import torch
import torch.nn.functional as F

from uir.degradations import degrader as module
from uir.degradations.base import Degradation, replay
from uir.degradations.degrader import Degrader, apply_records
from uir.degradations.record import DegradationRecord
from uir.registry import DEGRADATION_REGISTRY

NOISE = {"type": "GaussianNoise", "sigma": [5, 50]}
MIXED = {"type": "Sequence", "steps": [{"type": "Maybe", "step": {"type": "Haze"}}, NOISE]}
IMAGES = torch.rand(4, 3, 24, 20, generator=torch.Generator().manual_seed(0))
SEEDS = [11, 12, 13, 14]


@pytest.fixture
def shrink():
    """An op that changes the size by a drawn factor."""

    class Shrink(Degradation):
        changes_size = True

        def sample(self, seed, size):
            factor = 2 + seed % 3
            return {"height": size[0] // factor, "width": size[1] // factor}

        @staticmethod
        def apply(image, params):
            batched = image if image.ndim == 4 else image[None]
            result = F.interpolate(batched, size=(params["height"], params["width"]), mode="nearest")
            return result if image.ndim == 4 else result[0]

        @staticmethod
        def output_size(params, size):
            return params["height"], params["width"]

    Shrink.__module__ = "plugin"
    DEGRADATION_REGISTRY.register(Shrink)
    yield {"type": "Shrink"}
    del DEGRADATION_REGISTRY._objects["plugin"]["Shrink"]


def test_a_batch_gives_what_its_images_give_one_by_one():
    degraded, records = Degrader(MIXED).batch(IMAGES, SEEDS, ["a", None, "b", "c"])
    for image, seed, label, got, record in zip(IMAGES, SEEDS, ["a", None, "b", "c"], degraded, records, strict=True):
        alone, own = Degrader(MIXED).image(image, seed, label)
        assert own == record
        assert torch.equal(alone, got)


def test_images_of_a_batch_are_degraded_differently():
    same = IMAGES[:1].expand(4, -1, -1, -1)
    degraded, records = Degrader(NOISE).batch(same, SEEDS)
    assert len({record.steps[0]["sigma_255"] for record in records}) == 4
    assert not torch.equal(degraded[0], degraded[1])


def test_sizes_are_drawn_for_the_batch_and_alone_for_an_image(shrink):
    steps = [{"type": "Maybe", "step": shrink, "p": 0.5}, {"type": "OneOf", "steps": [shrink, NOISE]}]
    pipeline = module.child_of("test", {"type": "Sequence", "steps": steps})
    sizes = set()
    for start in range(8):
        records = [
            pipeline.record(seed, (24, 20), None, module.DrawContext((24, 20), start))
            for seed in range(start, start + 4)
        ]
        assert len({tuple(step["height"] for step in r.steps if step["op"] == "Shrink") for r in records}) == 1
        sizes.add(records[0].ops)
    assert len(sizes) > 1


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_number_of_threads_changes_no_bit_and_is_left_as_it_was(threads):
    before = torch.get_num_threads()
    expected, _ = Degrader(MIXED).batch(IMAGES, SEEDS)
    try:
        torch.set_num_threads(threads)
        degraded, _ = Degrader(MIXED).batch(IMAGES, SEEDS)
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert torch.equal(degraded, expected)


def test_records_replay_the_batch_bit_for_bit():
    pipeline = {"type": "Sequence", "steps": [MIXED, {"type": "OneOf", "steps": [NOISE]}]}
    degraded, records = Degrader(pipeline).batch(IMAGES, SEEDS)
    assert torch.equal(apply_records(IMAGES, records), degraded)
    assert torch.equal(replay(records[2], IMAGES[2]), degraded[2])


def test_grouped_by_op_as_on_a_device_gives_the_same_images():
    steps = [MIXED, {"type": "MotionBlur", "length": [3, 7]}]
    _, records = Degrader({"type": "Sequence", "steps": steps}).batch(IMAGES, SEEDS)
    together = torch.stack(module._together(IMAGES, [list(record.steps) for record in records]))
    torch.testing.assert_close(together, apply_records(IMAGES, records), rtol=0, atol=1e-5)


def test_images_that_one_op_brings_to_different_sizes_are_grouped_apart():
    ends = {"type": "Resize", "scale": 1.0, "of": "input", "modes": "area"}
    steps = [[{"op": "Resize", "height": side, "width": side, "mode": "area"}] for side in (12, 8, 12, 6)]
    together = module._together(IMAGES, steps)
    assert [tuple(result.shape) for result in together] == [(3, side, side) for side in (12, 8, 12, 6)]
    levels = {name: {"type": "Sequence", "steps": [{"type": "Resize", "scale": scale}, ends]} for name, scale in (
        ("weak", 0.9), ("strong", 0.4))}  # fmt: skip
    _, records = Degrader({"type": "Level", "levels": levels}).batch(IMAGES, SEEDS)
    assert len({record.steps[0]["level"] for record in records}) == 2
    together = torch.stack(module._together(IMAGES, [list(record.steps) for record in records]))
    torch.testing.assert_close(together, apply_records(IMAGES, records), rtol=0, atol=1e-5)


def test_fields_of_another_device_are_recorded_as_such():
    record = Degrader(MIXED).degradation.record(3, (8, 8))
    moved = module._drawn_on("cuda", record)
    for step in moved.steps:
        assert step.get("drawn_on") == ("cuda" if DEGRADATION_REGISTRY.get(step["op"]).draws_on_device else None)
    assert any("drawn_on" in step for step in moved.steps)


def test_a_result_of_the_wrong_size_is_told(shrink):
    with pytest.raises(ValueError, match="not its size divided by scale 1"):
        Degrader(shrink).image(IMAGES[0], 0)
    with pytest.raises(ValueError, match="different sizes"):
        apply_records(IMAGES[:2], [
            DegradationRecord(()), DegradationRecord(({"op": "Shrink", "height": 3, "width": 3},))
        ])  # fmt: skip


@pytest.mark.parametrize(("images", "seeds"), [(IMAGES[0], SEEDS), (IMAGES, SEEDS[:2])])
def test_counts_must_fit(images, seeds):
    with pytest.raises(ValueError, match=r"expected images \[B, C, H, W\] with B seeds"):
        Degrader(NOISE).batch(images, seeds)
