"""kNN and linear probes on features whose answer is known."""

import json

import numpy as np
import pytest
import torch

from uir.analysis.patches import DegradedPatches
from uir.analysis.probe_report import ProbeReport
from uir.analysis.probes import SPLIT_SEEDS, probe_features, split_by_photograph, split_seeds
from uir.core.images import read_rgb

pytest.importorskip("sklearn")
PATCHES = DegradedPatches(torch.zeros(36, 3, 1, 1), ("x", "y", "z"), tuple(f"{i}.png" for i in range(12)))
NOISE = torch.randn(36, 4, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor(PATCHES.labels)
TELLING = torch.nn.functional.one_hot(LABELS, 3).float() + 0.05 * NOISE[:, :3]
CONTENT = torch.nn.functional.one_hot(torch.tensor(PATCHES.groups), 12).float()


@pytest.mark.parametrize("kind", ["knn", "linear"])
def test_features_that_tell_the_class_are_read_perfectly(kind):
    (found,) = probe_features({"level": TELLING}, PATCHES, kind, k=3)
    assert found.accuracies == (1.0,) * 5
    assert (found.mean, found.deviation, found.dimensions) == (1.0, 0.0, 3)
    assert np.array_equal(np.array(found.confusion), np.eye(3, dtype=int) * 4 * 5)  # 4 photographs tested, 5 times


@pytest.mark.parametrize("kind", ["knn", "linear"])
def test_features_that_tell_only_the_photograph_give_nothing_away(kind):
    """The classes share their photographs and the splits do not: knowing the content cannot help."""
    (found,) = probe_features({"level": CONTENT}, PATCHES, kind)
    assert found.mean == pytest.approx(1 / 3)


def test_splits_keep_photographs_apart_and_have_the_published_seeds():
    from sklearn.model_selection import GroupShuffleSplit

    groups = np.array(PATCHES.groups)
    for (fitted, tested), seed in zip(split_by_photograph(PATCHES), SPLIT_SEEDS, strict=True):
        assert not set(groups[fitted]) & set(groups[tested])
        assert len(tested) == 12
        assert len(fitted) == 24
        same = next(GroupShuffleSplit(1, test_size=0.33, random_state=seed).split(groups, groups, groups))
        assert np.array_equal(tested, same[1])
    assert split_seeds(2) == [0, 223]
    assert split_seeds(7)[:5] == list(SPLIT_SEEDS)
    assert len(set(split_seeds(7))) == 7


def test_knn_is_a_vote_of_the_nearest():
    """Against nearest neighbours counted by hand."""
    features = NOISE.clone()
    (found,) = probe_features({"level": features}, PATCHES, "knn", k=5, splits=1)
    fitted, tested = split_by_photograph(PATCHES, 1)[0]
    nearest = torch.cdist(features[tested], features[fitted]).topk(5, largest=False).indices
    answers = LABELS[fitted][nearest].mode(dim=1).values  # the smallest of equally frequent ones, as scikit-learn's
    assert found.accuracies == (float((answers == LABELS[tested]).double().mean()),)
    assert found.deviation is None


def test_the_linear_probe_is_logistic_regression_on_standardised_features():
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    wide = torch.randn(36, 80, generator=torch.Generator().manual_seed(1)) * torch.linspace(0.1, 9, 80)
    wide[:, :3] += TELLING
    (found,) = probe_features({"level": wide}, PATCHES, "linear", splits=1)
    fitted, tested = split_by_photograph(PATCHES, 1)[0]
    scale = StandardScaler().fit(wide[fitted])
    plain = LogisticRegression(max_iter=5000, tol=1e-8).fit(scale.transform(wide[fitted]), LABELS[fitted])
    assert found.accuracies[0] == pytest.approx(plain.score(scale.transform(wide[tested]), LABELS[tested]))
    assert found.layout == {}


def test_global_random_state_is_left_alone():
    before = np.random.get_state()[1].copy()
    probe_features({"level": NOISE}, PATCHES, "knn")
    assert (before == np.random.get_state()[1]).all()


def test_mistakes_are_told():
    with pytest.raises(ValueError, match="k: got 25; expected 1 to 24"):
        probe_features({"level": NOISE}, PATCHES, "knn", k=25)
    with pytest.raises(ValueError, match="splits: got 0"):
        probe_features({"level": NOISE}, PATCHES, "knn", splits=0)


@pytest.mark.thorough
def test_a_report_is_written_as_numbers_tables_and_pictures(tmp_path):
    pytest.importorskip("matplotlib")
    levels = probe_features({"pixels": NOISE, "deep": TELLING}, PATCHES, "knn", k=3)
    report = ProbeReport("knn", PATCHES, levels, {"k": 3})
    written = report.write(tmp_path)
    names = ["knn.json", "knn.md", "knn_confusion_pixels.png", "knn_confusion_deep.png"]
    assert [file.name for file in written] == names
    content = json.loads((tmp_path / "knn.json").read_text())
    assert content["chance"] == pytest.approx(1 / 3)
    assert content["split_seeds"] == list(SPLIT_SEEDS)
    assert content["levels"][1]["accuracy"] == 1.0
    assert set(content["levels"][1]) >= {"silhouette", "alignment", "uniformity", "confusion", "deviation"}
    text = (tmp_path / "knn.md").read_text()
    assert "| deep | 3 | 100.0 ± 0.0 |" in text
    assert "| x | 100.0 | 0.0 | 0.0 |" in text
    assert read_rgb(tmp_path / "knn_confusion_deep.png").min() < 0.5
