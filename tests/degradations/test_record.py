"""Records and their batches."""

import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader
from torch.utils.data._utils.pin_memory import pin_memory

from uir.degradations.record import DegradationRecord, RecordBatch

NOISE = {"op": "GaussianNoise", "sigma_255": 11.2, "grey": False, "seed": 2**62 + 1}


def batch(count: int = 4) -> RecordBatch:
    return RecordBatch(DegradationRecord(({"op": "Haze", "beta": 0.1 * i},), i, f"task{i}") for i in range(count))


def test_json_round_trip_is_exact():
    record = DegradationRecord(({"op": "A", "x": 0.1 + 0.2, "list": [1, None, "ü"]}, NOISE), 2**63 - 1, "mixed")
    assert DegradationRecord.from_json(record.to_json()) == record


def test_unknown_and_clean_are_different_things():
    unknown, clean = DegradationRecord(None), DegradationRecord(())
    assert unknown != clean
    assert not unknown.is_known
    assert not unknown.is_clean
    assert clean.is_known
    assert clean.is_clean
    assert DegradationRecord.from_json(unknown.to_json()).steps is None
    assert DegradationRecord.from_json(clean.to_json()).steps == ()


def test_list_and_tuple_of_steps_are_the_same_record():
    assert DegradationRecord([NOISE]) == DegradationRecord((NOISE,))


def test_record_does_not_share_its_steps_with_the_caller():
    step = dict(NOISE)
    record = DegradationRecord((step,))
    step["sigma_255"] = 0.0
    record.to_dict()["steps"][0]["sigma_255"] = 0.0
    assert record.steps[0]["sigma_255"] == 11.2


def test_with_label_changes_the_label_alone():
    record = DegradationRecord((NOISE,), 3, "noise")
    assert record.with_label("other") == DegradationRecord((NOISE,), 3, "other")
    assert record.ops == ("GaussianNoise",)


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ({"sigma": 1}, r"steps\[0\] must be a mapping that names its op"),
        ({"op": "A", "x": float("nan")}, r"steps\[0\]\.x is nan"),
        ({"op": "A", "x": np.float64(1)}, r"steps\[0\]\.x .*float64.*\.item"),
        ({"op": "A", "x": [torch.zeros(2)]}, r"steps\[0\]\.x\[0\] .*Tensor"),
        ({"op": "A", 3: 1}, "keys must be strings"),
    ],
)
def test_what_json_cannot_hold_is_refused(step, message):
    with pytest.raises(ValueError, match=message):
        DegradationRecord((step,))


def test_seed_that_is_not_a_plain_int_is_refused():
    with pytest.raises(ValueError, match="seed must be an int"):
        DegradationRecord((), np.int64(3))


@pytest.mark.parametrize(
    ("text", "message"),
    [("{", "not valid JSON"), ("[]", "`steps`"), ('{"seed": 1}', "`steps`"), ('{"steps": [], "sed": 1}', r"\['sed'\]")],
)
def test_malformed_json_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        DegradationRecord.from_json(text)


def test_batch_is_tuple_like():
    records = batch()
    assert len(records) == 4
    assert records[-1].seed == 3
    assert [record.seed for record in records] == [0, 1, 2, 3]
    assert records[1:3] == RecordBatch([records[1], records[2]])
    assert records != batch(3)
    assert records.labels == ("task0", "task1", "task2", "task3")


def test_index_select_follows_tensors():
    order = torch.tensor([2, 0, 0, 3])
    seeds = torch.arange(4).index_select(0, order)
    assert [record.seed for record in batch().index_select(order)] == seeds.tolist()
    assert batch().index_select([2, 0]) == RecordBatch([batch()[2], batch()[0]])
    assert len(batch().index_select([])) == 0


def test_index_select_refuses_what_torch_refuses():
    with pytest.raises(IndexError, match=r"4 is not in \[0, 4\)"):
        batch().index_select([0, 4])
    with pytest.raises(IndexError, match="-1"):
        batch().index_select([-1])
    with pytest.raises(ValueError, match="integers"):
        batch().index_select(torch.tensor([True, False, True, True]))
    with pytest.raises(ValueError, match="integers"):
        batch().index_select(torch.tensor([[0]]))


def test_cat_keeps_the_order():
    assert RecordBatch.cat([batch()[:1], batch()[1:]]) == batch()
    assert len(RecordBatch.cat([])) == 0


def test_batch_of_something_else_is_refused():
    with pytest.raises(ValueError, match=r"RecordBatch\[0\]: expected a DegradationRecord, got dict"):
        RecordBatch([{"op": "A"}])


def test_batch_survives_pickling_and_pinning():
    assert pickle.loads(pickle.dumps(batch())) == batch()
    records = batch()
    assert pin_memory({"degradation": records})["degradation"] is records


@pytest.mark.parametrize("workers", [0, 1])
def test_batch_passes_through_a_loader(workers):
    loader = DataLoader(list(batch()), batch_size=2, num_workers=workers, collate_fn=RecordBatch)
    assert RecordBatch.cat(list(loader)) == batch()


def test_records_need_no_torch():
    code = "import sys, uir.degradations.record; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
