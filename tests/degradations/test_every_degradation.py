"""What every registered degradation must do, whatever it is."""

import json
import random
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from uir.core.seeds import derive_seed
from uir.degradations.base import replay, step_output_size
from uir.degradations.exposure_degradation import Clip
from uir.degradations.marking_degradation import Mark
from uir.degradations.pipeline_degradation import Pipeline
from uir.degradations.record import DegradationRecord
from uir.registry import DEGRADATION_REGISTRY
from uir.registry.components import build

sys.path.insert(0, str(Path(__file__).parent))
from degradation_configs import DEGRADATIONS

OWN = [name for name in DEGRADATION_REGISTRY.keys() if DEGRADATION_REGISTRY.get(name).__module__.startswith("uir.")]  # noqa: SIM118
SIZE = (40, 33)
FAMILIES = {
    "blur", "resolution", "noise", "compression", "haze", "rain", "snow", "low_light", "exposure", "colour", "mosaic",
    "occlusion", "sharpening", "quantisation", "geometry",
}  # fmt: skip

pytestmark = [pytest.mark.thorough, pytest.mark.filterwarnings("error")]


def photograph(*leading: int, seed: int = 0) -> torch.Tensor:
    """A smooth image with values well inside [0, 1]."""
    coarse = torch.rand(*(leading or (1,)), 3, 6, 5, generator=torch.Generator().manual_seed(seed))
    fine = torch.nn.functional.interpolate(coarse, size=SIZE, mode="bilinear")
    return 0.1 + 0.8 * (fine if leading else fine[0])


def output_size(record, size):
    for step in record.steps:
        size = step_output_size(step, size)
    return size


@pytest.fixture(params=OWN)
def op(request):
    if request.param not in DEGRADATIONS:
        pytest.fail(f"{request.param} has no small configuration; add one to tests/degradations/degradation_configs.py")
    return build(DEGRADATION_REGISTRY, {"type": request.param, **DEGRADATIONS[request.param]})


def test_no_configuration_is_left_over():
    assert set(DEGRADATIONS) <= set(OWN)


def test_result_has_the_shape_and_type_and_lies_in_0_1(op):
    result, record = op(photograph(), 1)
    assert result.shape == (3, *output_size(record, SIZE))
    assert result.dtype == torch.float32
    assert torch.isfinite(result).all()
    assert result.min() >= 0
    assert result.max() <= 1


def test_same_seed_same_bits(op):
    first, second = op(photograph(), 7), op(photograph(), 7)
    assert torch.equal(first[0], second[0])
    assert first[1] == second[1]


def test_different_seeds_differ(op):
    records = [op.record(seed, SIZE) for seed in range(4)]
    if all(record.steps == records[0].steps for record in records):
        pytest.skip("it draws nothing")
    results = [op(photograph(), seed)[0] for seed in range(4)]
    assert any(not torch.equal(results[0], other) for other in results[1:])


def test_numpy_seed_is_the_same_seed(op):
    assert torch.equal(op(photograph(), np.int64(7))[0], op(photograph(), 7)[0])


def test_record_survives_json_and_replays_bit_for_bit(op):
    for seed in range(3):
        result, record = op(photograph(), seed, label="task")
        read_back = DegradationRecord.from_json(record.to_json())
        assert read_back == record
        assert read_back.seed == seed
        assert read_back.label == "task"
        assert torch.equal(replay(read_back, photograph()), result)


def test_record_holds_no_field(op):
    assert len(op(photograph(), 1)[1].to_json()) < 2000


def test_an_op_says_how_severe_it_is(op):
    if isinstance(op, Pipeline) or type(op) in (Mark, Clip):
        pytest.skip("it is no op")
    assert op.family in FAMILIES
    assert len(op.severities) == 3
    severities = []
    for arguments in op.severities:
        example = build(DEGRADATION_REGISTRY, {"type": type(op).__name__, **arguments})
        severities.append(op.severity(example.record(0, (64, 64)).steps[0]))
    assert 0 <= severities[0] < severities[1] < severities[2] <= 1


def test_record_lists_plain_ops(op):
    for name in op(photograph(), 1)[1].ops:
        assert not issubclass(DEGRADATION_REGISTRY.get(name), Pipeline)


def test_sample_and_apply_are_the_two_halves_of_a_call(op):
    params = op.sample(5, SIZE)
    assert json.loads(json.dumps(params)) == params
    assert torch.equal(type(op).apply(photograph(), params), op(photograph(), 5)[0])


def test_input_is_left_alone(op):
    image = photograph()
    result, _ = op(image, 1)
    assert torch.equal(image, photograph())
    assert result.data_ptr() != image.data_ptr()


def test_non_contiguous_input_gives_the_same_bits(op):
    image = photograph()
    sliced = torch.zeros(3, SIZE[0] * 2, SIZE[1] * 2)[:, ::2, ::2].copy_(image)
    for view in (image.permute(1, 2, 0).contiguous().permute(2, 0, 1), sliced):
        assert not view.is_contiguous()
        assert torch.equal(op(view, 1)[0], op(image, 1)[0])


def test_number_of_threads_does_not_change_a_bit(op):
    image = torch.rand(3, 150, 151, generator=torch.Generator().manual_seed(0))
    before, results = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            results.append(op(image, 1)[0])
    finally:
        torch.set_num_threads(before)
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2])


def test_batch_equals_its_images_one_by_one(op):
    batch = photograph(3)
    degraded, record = op(batch, 1)
    for image, expected in zip(batch, degraded, strict=True):
        single, single_record = op(image, 1)
        assert single_record == record
        assert torch.equal(single, expected)


@pytest.mark.parametrize("size", [(1, 1), (2, 7), (5, 64)])
def test_small_and_odd_sizes(op, size):
    result, record = op(torch.full((3, *size), 0.5), 1)
    assert result.shape == (3, *output_size(record, size))
    assert torch.isfinite(result).all()


def test_grey_image(op):
    result, record = op(photograph()[:1], 1)
    assert result.shape == (1, *output_size(record, SIZE))


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float64, 1e-5), (torch.bfloat16, 0.05), (torch.float16, 0.005)]
)
def test_other_floating_types_are_kept_and_agree(op, dtype, tolerance):
    result, _ = op(photograph().to(dtype), 1)
    assert result.dtype == dtype
    # the rounded image in float32: an op that rounds makes much of a last bit
    torch.testing.assert_close(result.float(), op(photograph().to(dtype).float(), 1)[0], rtol=0, atol=tolerance)


def test_fields_move_to_the_images_device(op):
    result, record = op(photograph().to("meta"), 1)  # a device that refuses to be mixed with the CPU
    assert result.device.type == "meta"
    assert record == op(photograph(), 1)[1]


@pytest.mark.parametrize("call", ["call", "apply"])
def test_wrong_inputs_are_refused_with_what_came(op, call):
    def run(image):
        return op(image, 1) if call == "call" else type(op).apply(image, op.sample(1, SIZE))

    with pytest.raises(ValueError, match=r"torch\.uint8; divide 8-bit values by 255"):
        run(torch.zeros(3, 8, 8, dtype=torch.uint8))
    with pytest.raises(ValueError, match=r"got shape \[8, 8\]"):
        run(torch.zeros(8, 8))
    with pytest.raises(ValueError, match=r"got shape \[3, 0, 8\]"):
        run(torch.zeros(3, 0, 8))
    with pytest.raises(ValueError, match="got ndarray"):
        run(np.zeros((8, 8, 3), dtype=np.float32))


def test_global_random_states_are_untouched(op):
    before = (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state())
    op(photograph(), 1)
    assert random.getstate() == before[0]
    assert np.random.get_state()[1].tolist() == before[1]
    assert torch.equal(torch.get_rng_state(), before[2])


class Degraded(Dataset):
    def __init__(self, op) -> None:
        self.op = op

    def __len__(self) -> int:
        return 5

    def __getitem__(self, index: int) -> torch.Tensor:
        return self.op(photograph(seed=index), derive_seed(0, index))[0]


def test_any_number_of_workers_gives_the_same_images():
    ops = [build(DEGRADATION_REGISTRY, {"type": name, **DEGRADATIONS[name]}) for name in sorted(DEGRADATIONS)]
    dataset = torch.utils.data.ConcatDataset([Degraded(op) for op in ops])
    alone = [image for batch in DataLoader(dataset, batch_size=3, collate_fn=list) for image in batch]
    loader = DataLoader(dataset, batch_size=3, num_workers=2, collate_fn=list)
    shared = [image for batch in loader for image in batch]
    assert all(torch.equal(one, other) for one, other in zip(alone, shared, strict=True))
