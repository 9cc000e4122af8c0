"""`type: pyiqa:<name>`: the package is not installed here, so a small module of its form stands for it."""

import sys
from types import ModuleType

import pytest
import torch
from jsonschema import Draft202012Validator

from uir.config.json_schema import option_schema
from uir.config.options import load_options
from uir.metrics import build_metric
from uir.registry import LOSS_REGISTRY, METRIC_REGISTRY, UnknownNameError


class Measure(torch.nn.Module):
    """A metric as pyiqa gives it."""

    def __init__(self, mode, lower_better, options):
        super().__init__()
        self.metric_mode, self.lower_better, self.options, self.calls = mode, lower_better, options, []

    def forward(self, target, ref=None):
        self.calls.append(target)
        return (target - (0 if ref is None else ref)).abs().mean(dim=(1, 2, 3)) * self.options.get("factor", 1)


@pytest.fixture
def pyiqa(monkeypatch):
    """A module of pyiqa's form, with a metric of each kind."""
    kinds = {"musiq": ("NR", False), "ahiq": ("FR", False), "stlpips": ("FR", True), "fid": ("NR", True)}
    module = ModuleType("pyiqa")
    module.list_models = lambda: list(kinds)
    module.created = []

    def create_metric(name, as_loss=False, device=None, **options):
        module.created.append(Measure(*kinds[name], options))
        return module.created[-1]

    module.create_metric = create_metric
    monkeypatch.setitem(sys.modules, "pyiqa", module)
    return module


def test_a_metric_without_reference(pyiqa):
    metric = build_metric({"type": "pyiqa:musiq"})
    assert (metric.better, metric.needs_reference) == ("higher", False)
    assert metric(torch.full((2, 3, 4, 4), 0.2)) == pytest.approx(0.2)


def test_a_metric_with_reference_and_options(pyiqa):
    metric = build_metric({"type": "pyiqa:stlpips", "factor": 3})
    assert (metric.better, metric.needs_reference) == ("lower", True)
    assert metric(torch.full((3, 4, 4), 0.6), torch.full((3, 4, 4), 0.2)) == pytest.approx(1.2)
    assert metric.describe() == "pyiqa:stlpips (RGB, uint8, factor 3)"


def test_the_file_decides_which_scores_are_good(pyiqa):
    assert build_metric({"type": "pyiqa:ahiq", "better": "lower"}).better == "lower"


def test_images_are_given_as_saved_and_in_colour(pyiqa):
    build_metric({"type": "pyiqa:musiq"})(torch.tensor([[[-0.2, 0.5001, 1.7]]]))
    expected = torch.tensor([0, 128 / 255, 1]).expand(1, 3, 1, 3)
    torch.testing.assert_close(pyiqa.created[0].calls[0], expected)


def test_a_download_is_not_silent(pyiqa, caplog):
    build_metric({"type": "pyiqa:musiq"})
    assert "pyiqa:musiq: pyiqa reads its weights itself, and downloads those that it does not find" in caplog.text


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("pyiqa:musik", "val.metrics.m: pyiqa has no metric 'musik'; nearest: musiq"),
        ("pyiqa:fid", "val.metrics.m: pyiqa:fid measures folders of files, not images; uir's own FID"),
    ],
)
def test_mistakes(pyiqa, name, message):
    with pytest.raises(ValueError, match=message):
        build_metric({"type": name}, "val.metrics.m")


def test_without_the_package_one_sentence_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyiqa", None)
    message = (
        "^val.metrics.m: pyiqa:musiq needs pyiqa, which is not installed: pip install pyiqa, under a licence for nonc"
    )
    with pytest.raises(ValueError, match=message):
        build_metric({"type": "pyiqa:musiq"}, "val.metrics.m")


def test_the_same_name_is_the_same_class(pyiqa):
    assert METRIC_REGISTRY.get("pyiqa:musiq") is METRIC_REGISTRY.get("pyiqa:musiq")
    assert METRIC_REGISTRY.get("pyiqa:musiq") is not METRIC_REGISTRY.get("pyiqa:ahiq")


def test_only_metrics_have_this_origin():
    with pytest.raises(UnknownNameError, match="an origin is 'uir:' or 'basicsr:', not 'pyiqa:'"):
        LOSS_REGISTRY.get("pyiqa:musiq")
    with pytest.raises(UnknownNameError, match="an origin is 'uir:' or 'basicsr:' or 'pyiqa:', not 'piq:'"):
        METRIC_REGISTRY.get("piq:musiq")


def test_an_option_file_may_name_it(write_options):
    file = write_options({"val.metrics.iq": {"type": "pyiqa:musiq", "factor": 2, "better": "lower"}})
    loaded = load_options(file, is_train=True)
    assert loaded.options.val.metrics["iq"].spec() == {"type": "pyiqa:musiq", "factor": 2, "better": "lower"}
    assert "val.metrics.iq.factor" in loaded.unchecked


@pytest.mark.thorough
def test_editors_accept_it():
    metrics = option_schema()["$defs"]["metrics"]["properties"]["type"]
    assert Draft202012Validator(metrics).is_valid("pyiqa:musiq")
    assert not Draft202012Validator(metrics).is_valid("piq:musiq")
