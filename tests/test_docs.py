"""Pages that are made from the code are those of the code."""

from pathlib import Path

import pytest
from scripts import load_script

from uir.analysis.degradation_sheets import pictured_ops

DOCS = Path(__file__).resolve().parents[1] / "docs"


@pytest.mark.parametrize("page", ["degradations", "options"])
def test_a_page_is_up_to_date(page):
    maker = load_script(f"docs/make_{page}.py")
    written = (DOCS / f"{page}.md").read_text(encoding="utf-8")
    assert written == maker.page(), f"run: python docs/make_{page}.py"


def test_every_option_is_described():
    rows = [line.split("|") for line in (DOCS / "options.md").read_text(encoding="utf-8").splitlines()]
    options = [cells for cells in rows if len(cells) == 6 and cells[1].startswith(" `")]
    assert len(options) > 80
    assert [cells[1] for cells in options if not (cells[2].strip() and cells[4].strip())] == []


def test_every_family_has_its_picture():
    assert {path.stem for path in (DOCS / "degradations").glob("*.jpg")} == set(pictured_ops())


def test_the_index_names_every_page():
    index = (DOCS / "README.md").read_text()
    assert all(f"]({page.name})" in index for page in DOCS.glob("*.md") if page.name != "README.md")
