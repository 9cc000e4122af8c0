"""FID: closed forms of its arithmetic, the network against pytorch-fid's, and its place in evaluations."""

import math
from importlib.util import find_spec

import pytest
import torch

from uir.compat import prepare
from uir.metrics import build_metric
from uir.metrics.building import SetMetric
from uir.metrics.fid_metric import FID, fid_inception, frechet_distance


@pytest.fixture(scope="module")
def metric(trunk):
    return build_metric({"type": "FID", "weights": str(trunk("inception"))})


@pytest.fixture
def bare():
    """FID without a network, for features that a test makes."""
    return FID.__new__(FID)


def rows(count, width=4):
    return torch.randn(count, width, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_of_a_shifted_set_is_the_squared_shift(bare):
    clean, shift = rows(50), torch.tensor([1.0, 0.0, -2.0, 0.5])
    parts = [(row[None] + shift, row[None]) for row in clean]
    assert bare.compute(parts) == pytest.approx(5.25, abs=1e-6)


def test_of_a_scaled_set_is_the_difference_of_the_spreads(bare):
    clean = rows(60) - rows(60).mean(0)
    expected = (torch.cov(clean.T).trace() * (3 - 1) ** 2).item()
    assert bare.compute([(3 * clean, clean)]) == pytest.approx(expected, rel=1e-6)


def test_the_distance_is_torchmetrics():
    from torchmetrics.image.fid import FrechetInceptionDistance

    first, second = rows(70, 6), rows(140, 6)[70:] @ rows(6, 6) + 1
    given = torch.nn.Identity()
    given.num_features = 6
    reference = FrechetInceptionDistance(feature=given)
    reference.update(second, real=True)
    reference.update(first, real=False)
    assert frechet_distance(first, second) == pytest.approx(reference.compute().item(), rel=1e-6)


def test_fewer_images_than_features_are_measured_exactly():
    """Both sets vary along one line: each line is a Gaussian of one dimension, whose distance has a closed form."""
    line, along = torch.tensor([0.6, 0.8, 0.0, 0.0, 0.0], dtype=torch.float64), torch.tensor([[-1.0], [0.0], [1.0]])
    first, second = along * line, 3 * along * line + torch.tensor([0, 0, 2.0, 0, 0])
    assert frechet_distance(first, second) == pytest.approx(2**2 + (3 - 1) ** 2, abs=1e-6)


def test_the_order_of_the_clean_images_does_not_matter(bare):
    clean = rows(50)
    assert bare.compute([(clean.flip(0), clean)]) == pytest.approx(0, abs=1e-6)


def test_every_set_starts_from_nothing(bare):
    first, second = [(rows(20) + 1, rows(20))], [(rows(30), rows(30))]
    bare.compute(first)
    assert bare.compute(second) == pytest.approx(0, abs=1e-6)


def test_one_image_has_no_distance(bare, caplog):
    assert math.isnan(bare.compute([(rows(1), rows(1))]))
    assert "at least two images, got 1" in caplog.text


def test_a_feature_that_is_not_finite_gives_no_number(bare):
    parts = [(row[None], row[None]) for row in rows(5)]
    parts[3][0][0, 1] = math.nan
    assert math.isnan(bare.compute(parts))


def test_few_images_are_announced(bare, caplog):
    bare.compute([(rows(3), rows(3))])
    assert "FID of 3 images is biased: it has 4 features" in caplog.text


@pytest.mark.slow
@pytest.mark.skipif(find_spec("basicsr") is None, reason="basicsr is not installed")
@pytest.mark.filterwarnings("ignore")
def test_the_features_are_those_of_pytorch_fid(metric, trunk, monkeypatch):
    prepare()
    from basicsr.archs import inception

    state = {key: value.float() for key, value in torch.load(trunk("inception"), weights_only=True).items()}
    monkeypatch.setattr(inception.os.path, "exists", lambda path: False)
    monkeypatch.setattr(inception, "load_url", lambda *arguments, **options: state)
    reference = inception.InceptionV3([3]).eval()
    image = torch.randint(0, 256, (1, 3, 40, 33), generator=torch.Generator().manual_seed(0)) / 255
    with torch.no_grad():
        expected = reference(image)[0].flatten(1)
    restored, clean = metric.contribution(image, 1 - image)
    torch.testing.assert_close(restored, expected, rtol=1e-3, atol=1e-3 * float(expected.abs().mean()))
    assert (clean - expected).abs().mean() > 10 * (restored - expected).abs().mean()


def test_is_a_metric_of_a_set_where_lower_is_better(metric):
    assert isinstance(metric, SetMetric)
    assert (metric.better, metric.needs_reference) == ("lower", True)
    assert metric.describe() == "FID (2048 features of the Inception of 2015, uint8, of the whole set)"


@pytest.mark.thorough
def test_a_grey_image_has_features(metric):
    grey = torch.full((1, 1, 20, 20), 0.5)
    first, second = metric.contribution(grey, grey.clone())
    assert first.shape == (1, 2048)
    torch.testing.assert_close(first, second)


@pytest.mark.thorough
def test_torchvisions_own_weights_are_refused(tmp_path, trunk):
    state = torch.load(trunk("inception"), weights_only=True)
    state["fc.weight"] = torch.zeros(1000, 2048)
    torch.save(state, tmp_path / "google.pth")
    with pytest.raises(ValueError, match=r"fc.weight has the shape \[1000, 2048\], expected \[1008, 2048\]"):
        fid_inception(tmp_path / "google.pth")
