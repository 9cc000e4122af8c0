"""Which degraded image belongs to which clean one."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from uir.data.image_sources import first_column
from uir.data.pairing import pair_names, read_meta_info


def source(root, *names):
    return SimpleNamespace(root=Path(root), names=list(names))


def test_equal_names_pair_in_nested_folders():
    pairs = pair_names(source("gt", "a/1.png", "b/1.png"), source("lq", "a/1.png", "b/1.png"))
    assert pairs == [("a/1.png", "a/1.png"), ("b/1.png", "b/1.png")]


def test_extensions_may_differ():
    assert pair_names(source("gt", "1.png"), source("lq", "1.JPG")) == [("1.png", "1.JPG")]


def test_dots_within_a_name_are_kept():
    assert pair_names(source("gt", "a.b.png"), source("lq", "a.b.jpg")) == [("a.b.png", "a.b.jpg")]


def test_the_same_extension_wins_where_there_are_several():
    assert pair_names(source("gt", "1.png", "1.jpg"), source("lq", "1.jpg", "1.png")) == [
        ("1.png", "1.png"),
        ("1.jpg", "1.jpg"),
    ]


def test_several_possible_partners_are_an_error():
    with pytest.raises(ValueError, match=r"several partners of 1\.png: 1\.bmp, 1\.jpg"):
        pair_names(source("gt", "1.png"), source("lq", "1.bmp", "1.jpg"))


def test_the_template_makes_the_degraded_name():
    assert pair_names(source("gt", "s/1.png"), source("lq", "s/1x4.png"), "{}x4") == [("s/1.png", "s/1x4.png")]


@pytest.mark.parametrize("template", ["x4", "{}{}", "{name}"])
def test_a_template_without_a_place_for_the_name_is_an_error(template):
    with pytest.raises(ValueError, match="filename_tmpl"):
        pair_names(source("gt", "1.png"), source("lq", "1.png"), template)


def test_a_missing_partner_is_named_with_both_folders():
    with pytest.raises(ValueError, match=r"lq lacks the partners of 4 .* gt, first: 1, 2, 3 "):
        pair_names(source("gt", "0.png", "1.png", "2.png", "3.png", "4.png"), source("lq", "0.png"))


def test_a_surplus_degraded_image_is_named():
    with pytest.raises(ValueError, match=r"gt lacks the partners of 1 .* lq: 2\.png"):
        pair_names(source("gt", "1.png"), source("lq", "1.png", "2.png"))


def test_ten_thousand_pairs_in_any_order():
    names = [f"{number:05d}.png" for number in range(10_000)]
    pairs = pair_names(source("gt", *names), source("lq", *reversed(names)))
    assert pairs == [(name, name) for name in names]


def test_listed_names_pick_a_part_and_may_lie_flat():
    gt, lq = source("gt", "a/1.png", "a/2.png", "3.png"), source("lq", "1.png", "a/2.png", "9.png")
    assert pair_names(gt, lq, listed=["a/2.png", "a/1.png"]) == [("a/2.png", "a/2.png"), ("a/1.png", "1.png")]


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("0001_s001.png (480,480,3)", "0001_s001.png"),
        ("my photo.png (480, 480, 3) 1", "my photo.png"),
        ("grey.png (480,480)", "grey.png"),
        ("a/b.png", "a/b.png"),
        ("  x.png other.png", "x.png"),
    ],
)
def test_the_first_column_of_a_meta_info_line(line, name):
    assert first_column(line) == name


def test_meta_info_names_what_the_folder_lacks(tmp_path):
    listing = tmp_path / "meta.txt"
    listing.write_text("1.png (4,4,3)\n\n2.png (4,4,3)\n")
    assert read_meta_info(listing, source("gt", "1.png", "2.png", "3.png")) == ["1.png", "2.png"]
    with pytest.raises(ValueError, match=r"names 1 images that dataroot_gt gt lacks: 2\.png"):
        read_meta_info(listing, source("gt", "1.png"))


def test_a_missing_or_empty_meta_info_file_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="no file"):
        read_meta_info(tmp_path / "none.txt", source("gt", "1.png"))
    (tmp_path / "empty.txt").write_text("\n")
    with pytest.raises(ValueError, match="names no image"):
        read_meta_info(tmp_path / "empty.txt", source("gt", "1.png"))
