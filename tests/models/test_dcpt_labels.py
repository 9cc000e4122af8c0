"""Labels are names: what classifiers are asked to say, whatever the order of the datasets."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from dcpt_options import batch, changes, model_of, step
from torch.nn import functional as F

from uir.degradations.record import DegradationRecord, RecordBatch
from uir.models.label_classes import LabelClasses, classes_of

Write = Callable[..., Path]
PARTS = {"haze_noise": ["haze", "noise"], "clean": []}
BCE = {"train.classify_opt": {"type": "MultiLabelBCELoss"}, "train.label_parts": PARTS}


def test_classes_are_in_alphabetical_order_composites_taken_apart() -> None:
    assert classes_of(["noise", "haze_noise", "clean", "blur"], PARTS) == ("blur", "haze", "noise")


def records(*labels: str | None) -> RecordBatch:
    return RecordBatch(DegradationRecord(None, label=label) for label in labels)


def test_a_target_is_an_index_or_with_parts_one_number_a_class() -> None:
    assert LabelClasses(("blur", "haze", "noise")).target(records("noise", "blur")).tolist() == [2, 0]
    target = LabelClasses(("blur", "haze", "noise"), PARTS).target(records("haze_noise", "clean", "blur"))
    assert target.tolist() == [[0, 1, 1], [0, 0, 0], [1, 0, 0]]


def test_hits_are_the_largest_logit_or_with_parts_all_signs() -> None:
    logits = torch.tensor([[-1.0, 2.0, 1.0], [-1.0, 2.0, -1.0]])
    assert LabelClasses(("a", "b", "c")).hits(logits, torch.tensor([1, 0])).tolist() == [True, False]
    several = LabelClasses(("a", "b", "c"), {"bc": ["b", "c"]})
    assert several.hits(logits, several.target(records("bc", "bc"))).tolist() == [True, False]


@pytest.mark.parametrize(
    ("labels", "message"),
    [([None], "an image has no label to classify"), (["snow"], "label 'snow': there is no class 'snow'")],
)
def test_an_image_without_a_known_label_is_an_error(labels: list[str | None], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LabelClasses(("blur", "haze")).target(records(*labels))


def test_a_name_stands_once() -> None:
    with pytest.raises(ValueError, match="a name occurs twice in blur, blur"):
        LabelClasses(("blur", "blur"))


@pytest.mark.thorough
def test_the_order_of_the_datasets_changes_nothing(write_options: Write, pair_folders: Path) -> None:
    found = []
    for labels in (("noise", "blur", "haze"), ("haze", "noise", "blur")):
        model = model_of(write_options(changes(pair_folders, "DCPTModel")), labels)
        step(model, batch())
        found.append((model.labels, model.log_dict, model.bare["dc"].state_dict()))
    (names, losses, weights), (other_names, other_losses, other_weights) = found
    assert names == other_names == ("blur", "haze", "noise")
    assert losses == other_losses
    assert all(torch.equal(weights[key], other_weights[key]) for key in weights)


def test_the_file_may_write_the_order_and_more_classes(write_options: Write, pair_folders: Path) -> None:
    written = {"train.labels": ["noise", "snow", "haze", "blur"]}
    model = model_of(write_options(changes(pair_folders, "DCPTModel", **written)))
    assert model.labels == ("noise", "snow", "haze", "blur")
    model.feed_data(batch(("haze", "noise")))
    assert model.target.tolist() == [2, 0]


def test_a_label_that_the_file_s_classes_lack_is_an_error(write_options: Write, pair_folders: Path) -> None:
    with pytest.raises(ValueError, match="there is no class 'haze'; the classes are blur, noise"):
        model_of(write_options(changes(pair_folders, "DCPTModel", **{"train.labels": ["blur", "noise"]})))


def test_a_training_set_without_labels_is_an_error(write_options: Write, pair_folders: Path) -> None:
    with pytest.raises(ValueError, match="the training set has no labels"):
        model_of(write_options(changes(pair_folders, "DCPTModel")), ())


def test_weights_bring_their_classes_and_others_are_refused(
    write_options: Write, pair_folders: Path, tmp_path: Path
) -> None:
    trained = model_of(write_options(changes(pair_folders, "DCPTModel", **{"train.labels": ["noise", "haze", "blur"]})))
    trained.save(tmp_path, 1)
    start: dict[str, Any] = {"path.pretrain_network_dc": str(tmp_path / "net_dc_1.pth")}
    model = model_of(write_options(changes(pair_folders, "DCTModel", **start)), ("blur", "noise"))
    assert model.labels == ("noise", "haze", "blur")
    with pytest.raises(ValueError, match=r"train\.labels: blur, haze, noise; the weights of network_dc .* noise, haze"):
        model_of(
            write_options(changes(pair_folders, "DCTModel", **start, **{"train.labels": ["blur", "haze", "noise"]}))
        )


def test_composites_are_trained_with_a_loss_for_each_class(write_options: Write, pair_folders: Path) -> None:
    model = model_of(write_options(changes(pair_folders, "DCTModel", **BCE)), ("blur", "clean", "haze_noise"))
    data = batch(("haze_noise", "clean", "blur"))
    with torch.no_grad():
        logits = model.net_dc(data["lq"], model.net_g(data["lq"])[1])
    target = torch.tensor([[0.0, 1.0, 1.0], [0.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
    step(model, data)
    assert model.log_dict["l_classify"] == pytest.approx(float(F.binary_cross_entropy_with_logits(logits, target)))
    assert set(model.extra_measures(batch(("clean",)))) == {"top1"}


def test_a_card_keeps_the_parts(write_options: Write, pair_folders: Path, tmp_path: Path) -> None:
    model_of(write_options(changes(pair_folders, "DCTModel", **BCE)), ("blur", "haze_noise")).save(tmp_path, 1)
    start = {"path.pretrain_network_dc": str(tmp_path / "net_dc_1.pth")}
    loss = {"train.classify_opt": {"type": "MultiLabelBCELoss"}}
    model = model_of(write_options(changes(pair_folders, "DCTModel", **start, **loss)), ("haze_noise",))
    model.feed_data(batch(("haze_noise",)))
    assert model.target.tolist() == [[0, 1, 1]]


def test_exchanged_classes_are_fixed_for_a_photograph_and_differ_between_photographs() -> None:
    classes = LabelClasses(tuple("abcde"))
    everything = torch.arange(5)
    of_one = classes.exchanged(everything, ["one.png"] * 5, seed=3)
    assert sorted(of_one.tolist()) == [0, 1, 2, 3, 4]
    assert classes.exchanged(everything, ["one.png"] * 5, seed=3).tolist() == of_one.tolist()
    photographs = [f"{number}.png" for number in range(2000)]
    drawn = classes.exchanged(torch.zeros(2000, dtype=torch.long), photographs, seed=3)
    assert all(330 < int(count) < 470 for count in drawn.bincount(minlength=5))  # 400 expected, deviation 18


def test_exchanged_composite_labels_have_as_many_true_classes() -> None:
    classes = LabelClasses(("blur", "haze", "noise"), PARTS)
    target = classes.target(records("haze_noise", "clean", "blur"))
    exchanged = classes.exchanged(target, ["a", "b", "c"], seed=1)
    assert exchanged.sum(1).tolist() == [2, 0, 1]


def test_permuted_labels_are_learned_but_not_validated(write_options: Write, pair_folders: Path) -> None:
    model = model_of(write_options(changes(pair_folders, "DCPTModel", **{"train.permute_labels": True})))
    data = {**batch(("blur", "haze", "noise") * 4), "gt_path": [f"/clean/{number // 3}.png" for number in range(12)]}
    model.feed_data(data)
    target, true = model.target.view(4, 3), torch.tensor([[0, 1, 2]] * 4)
    assert all(sorted(row) == [0, 1, 2] for row in target.tolist())
    assert not torch.equal(target, true)
    expected = model.classify(data["lq"]).argmax(1).eq(true.flatten()).float().mean().item()
    assert model.extra_measures(data)["top1"] == pytest.approx(expected)


def test_labels_cannot_be_permuted_without_names_of_photographs(write_options: Write, pair_folders: Path) -> None:
    model = model_of(write_options(changes(pair_folders, "DCPTModel", **{"train.permute_labels": True})))
    with pytest.raises(ValueError, match=r"train\.permute_labels: the samples have no gt_path"):
        model.feed_data({key: value for key, value in batch().items() if key != "gt_path"})
