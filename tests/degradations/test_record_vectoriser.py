"""From records to numbers to learn from."""

import pytest
import torch

from uir.degradations.dasr_liang_vectoriser import DASRLiangVector
from uir.degradations.kernel_pca import draw_kernels, encode_kernels, pca_matrix
from uir.degradations.record import DegradationRecord, RecordBatch
from uir.degradations.record_vectoriser import ClassIndex, KernelCode, MultiHot, Severity
from uir.registry import VECTORISERS
from uir.registry.components import build

UNKNOWN = DegradationRecord(None)
CLEAN = DegradationRecord(())
NOISY = build("degradations", {"type": "GaussianNoise", "sigma": 25}).record(0, (8, 8), "noise")
MIXED = build(
    "degradations",
    {"type": "Sequence", "steps": [{"type": "Haze", "beta": 1.0}, {"type": "GaussianNoise", "sigma": 50}]},
).record(0, (8, 8), "haze_noise")


def test_class_is_the_label_s_place_and_needs_no_known_history():
    real = DegradationRecord(None, label="blur")
    values, mask = ClassIndex(["blur", "noise"])(RecordBatch([NOISY, real, CLEAN]))
    assert values[:2].tolist() == [[1], [0]]
    assert mask.tolist() == [[True], [True], [False]]
    with pytest.raises(ValueError, match="the label 'haze_noise' is none of noise"):
        ClassIndex(["noise"])(RecordBatch([MIXED]))


def test_multi_hot_holds_every_family_and_masks_unknown_histories():
    values, mask = MultiHot(["haze", "noise", "rain"])(RecordBatch([NOISY, MIXED, CLEAN, UNKNOWN]))
    assert values[:3].tolist() == [[0, 1, 0], [1, 1, 0], [0, 0, 0]]
    assert mask.tolist() == [[True] * 3] * 3 + [[False] * 3]


def test_severity_is_zero_for_clean_and_grows_with_the_strength():
    values, mask = Severity(["noise", "haze"])(RecordBatch([CLEAN, NOISY, MIXED, UNKNOWN]))
    assert values[0].tolist() == [0, 0]
    assert 0 < values[1, 0] < values[2, 0] <= 1
    assert values[1, 1] == 0 < values[2, 1]
    assert mask[:, 0].tolist() == [True, True, True, False]


def test_severity_takes_the_worst_step_of_a_family():
    twice = DegradationRecord((MIXED.steps[1], NOISY.steps[0]))
    once = DegradationRecord((MIXED.steps[1],))
    vectorise = Severity(["noise"])
    assert torch.equal(vectorise(RecordBatch([twice])).values, vectorise(RecordBatch([once])).values)


@pytest.mark.parametrize("components", [10, 15])
def test_kernel_code_is_the_projection_of_the_first_blur(components):
    blur = build("degradations", {"type": "IsotropicGaussianBlur", "sigma": [0.2, 4], "kernel_size": 21})
    kernels = draw_kernels(blur, 60, seed=0)
    matrix = pca_matrix(kernels, components)
    record = blur.record(5, (64, 64))
    values, mask = KernelCode(matrix)(RecordBatch([record, CLEAN, UNKNOWN]))
    assert values.shape == (3, components)
    assert mask[:, 0].tolist() == [True, True, False]
    rebuilt = values[0] @ matrix
    from uir.degradations.blur_degradation import kernel_of

    torch.testing.assert_close(rebuilt.view(21, 21), kernel_of(record.steps[0]), atol=1e-3, rtol=0)
    pulse = torch.zeros(21, 21)
    pulse[10, 10] = 1
    torch.testing.assert_close(values[1], encode_kernels(pulse, matrix))


def test_kernel_code_refuses_a_larger_kernel():
    blur = build("degradations", {"type": "IsotropicGaussianBlur", "sigma": [1, 2], "kernel_size": 11})
    matrix = pca_matrix(draw_kernels(blur, 20, seed=0), 3)
    large = build("degradations", {"type": "IsotropicGaussianBlur", "sigma": 3, "kernel_size": 21}).record(0, (8, 8))
    with pytest.raises(ValueError, match="21 px wide; expected at most 11 px"):
        KernelCode(matrix)(RecordBatch([large]))


def test_dasr_vector_masks_what_a_record_does_not_hold():
    recipe = build("degradations", {"type": "dasr_liang", "weights": {"weak": 1}})
    values, mask = DASRLiangVector()(RecordBatch([recipe.record(1, (64, 64)), UNKNOWN]))
    assert values.shape == mask.shape == (2, 33)
    assert mask[0].nonzero().flatten().tolist() == [*range(4), *range(10, 14), *range(18, 22), 26, 30, 31, 32]
    assert not mask[1].any()
    assert (values[0] >= 0).all()
    assert (values[0] <= 1).all()


def test_dasr_vector_means_the_same_at_every_level():
    rows = []
    for level in ("weak", "severe"):
        record = build("degradations", {"type": "dasr_liang", "weights": {level: 1}}).record(3, (64, 64)).to_dict()
        for step in record["steps"]:
            if step["op"] == "IsotropicGaussianBlur" and step["stage"] == "first":
                step["sigma_px"] = 0.6
            if step["op"] == "AnisotropicGaussianBlur" and step["stage"] == "first":
                step["sigma_x_px"] = step["sigma_y_px"] = 0.6
        rows.append(DegradationRecord.from_dict(record))
    absolute = DASRLiangVector()(RecordBatch(rows)).values
    published = DASRLiangVector(legacy=True)(RecordBatch(rows)).values
    assert absolute[0, 1] == absolute[1, 1]
    assert published[0, 1] != published[1, 1]


def test_dasr_vector_refuses_records_of_other_recipes():
    with pytest.raises(ValueError, match="is not part of the recipe `dasr_liang`"):
        DASRLiangVector()(RecordBatch([NOISY]))


def test_vectorisers_are_chosen_by_name():
    assert {"class", "label_parts", "multi_hot", "severity", "dasr_liang", "kernel_pca"} <= set(VECTORISERS.keys())
    assert isinstance(VECTORISERS.get("multi_hot")(["haze"]), MultiHot)
