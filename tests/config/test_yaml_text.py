"""Where the entries of a YAML text begin and end."""

from __future__ import annotations

from pathlib import Path

from uir.config.yaml_text import source_text

TEXT = """\
first: 1
notes:
  a: x
  b: |
    one
    # a part of the text

# about the next key
next: 2
"""


def test_a_text_of_several_lines_ends_with_its_own_last_line(tmp_path: Path) -> None:
    file = tmp_path / "x.yml"
    file.write_text(TEXT)
    entries = source_text(file).entries
    assert {key: (entry.line, entry.last) for key, entry in entries.items()} == {
        ("first",): (0, 0),
        ("notes",): (1, 6),
        ("notes", "a"): (2, 2),
        ("notes", "b"): (3, 6),  # the blank line is a part of it too
        ("next",): (8, 8),
    }


def test_a_collection_ends_with_its_last_entry_however_many_it_has(tmp_path: Path) -> None:
    file = tmp_path / "x.yml"
    file.write_text(
        "a:\n  one: 1\n  two: 2\n  three: |\n    first\n    # of the text\n# next\nb:\n- 1\n- 2\n- 3\n# end\n"
    )
    entries = source_text(file).entries
    assert [(entries[(key,)].line, entries[(key,)].last) for key in "ab"] == [(0, 5), (7, 10)]
