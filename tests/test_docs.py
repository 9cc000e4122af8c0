"""Pages that are made from the code are those of the code."""

import importlib.util
from pathlib import Path

import pytest

from uir.analysis.degradation_sheets import pictured_ops

DOCS = Path(__file__).resolve().parents[1] / "docs"


@pytest.fixture(scope="module")
def maker():
    spec = importlib.util.spec_from_file_location("make_degradations", DOCS / "make_degradations.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_of_degradations_is_up_to_date(maker):
    assert (DOCS / "degradations.md").read_text() == maker.page(), "run: python docs/make_degradations.py"


def test_every_family_has_its_picture():
    assert {path.stem for path in (DOCS / "degradations").glob("*.jpg")} == set(pictured_ops())
