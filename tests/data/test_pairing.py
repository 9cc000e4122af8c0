"""Which degraded image belongs to which clean one."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from uir.data.listings import first_column
from uir.data.pairing import pair_names, read_meta_info, read_pair_list


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
    assert pair_names(gt, lq, listed=[("a/2.png", None), ("a/1.png", None)]) == [
        ("a/2.png", "a/2.png"),
        ("a/1.png", "1.png"),
    ]


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
    gt = source("gt", "1.png", "2.png", "3.png")
    assert read_meta_info(listing, gt, gt) == [("1.png", None), ("2.png", None)]
    with pytest.raises(ValueError, match=r"names 1 images that dataroot_gt gt lacks: 2\.png"):
        read_meta_info(listing, source("gt", "1.png"), gt)


def test_a_missing_or_empty_meta_info_file_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="no file"):
        read_meta_info(tmp_path / "none.txt", source("gt", "1.png"), source("lq", "1.png"))
    (tmp_path / "empty.txt").write_text("\n")
    with pytest.raises(ValueError, match="names no image"):
        read_meta_info(tmp_path / "empty.txt", source("gt", "1.png"), source("lq", "1.png"))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gbk", "utf-16"])
def test_a_list_may_have_any_encoding_of_chinese_text(tmp_path, encoding):
    (tmp_path / "meta.txt").write_bytes("图像 一.png (4,4,3)\r\n2.png\r\n".encode(encoding))
    gt = source("gt", "图像 一.png", "2.png")
    assert read_meta_info(tmp_path / "meta.txt", gt, gt) == [("图像 一.png", None), ("2.png", None)]


def test_a_list_that_is_no_text_is_an_error(tmp_path):
    (tmp_path / "meta.txt").write_bytes(b"\xff\xff\x00\x81")
    with pytest.raises(ValueError, match="is no text in UTF-8 or GBK; save it as UTF-8"):
        read_meta_info(tmp_path / "meta.txt", source("gt", "1.png"), source("lq", "1.png"))


@pytest.mark.parametrize(
    ("line", "pair"),
    [
        ("my photo.png", ("my photo.png", None)),
        ("my photo.png 0.5", ("my photo.png", None)),
        ("a\\b.png (4,4,3)", ("a/b.png", None)),
        (".\\a\\b.png", ("a/b.png", None)),
        ("a/b.png, c d.png", ("a/b.png", "c d.png")),
        ("a/b.png,c d.png", ("a/b.png", "c d.png")),
        ("a/b.png, c d.png, (4,4,3)", ("a/b.png", "c d.png")),
        ("a/b.png, 0.5", ("a/b.png", None)),
        ("a/b.png, (4,4,3)", ("a/b.png", None)),
        ("a/b.png c d.png", ("a/b.png", None)),
    ],
)
def test_a_line_of_a_list_names_an_image_and_perhaps_its_partner(tmp_path, line, pair):
    (tmp_path / "meta.txt").write_text(line)
    gt, lq = source("gt", "my photo.png", "my", "a/b.png"), source("lq", "c d.png")
    assert read_meta_info(tmp_path / "meta.txt", gt, lq) == [pair]


def test_a_partner_after_a_comma_must_exist(tmp_path):
    (tmp_path / "meta.txt").write_text("1.png, 2.png\n")
    with pytest.raises(ValueError, match=r"names 1 images that dataroot_lq lq lacks: 2\.png"):
        read_meta_info(tmp_path / "meta.txt", source("gt", "1.png"), source("lq", "1.png"))


def test_the_partner_that_a_list_names_is_taken():
    gt, lq = source("gt", "1.png"), source("lq", "1.png", "other.png")
    assert pair_names(gt, lq, listed=[("1.png", "other.png")]) == [("1.png", "other.png")]


@pytest.mark.parametrize("line", ["a b.png c d.png", "a b.png, c d.png", "a b.png\tc d.png 0.5"])
def test_a_list_of_pairs_may_have_blanks_and_commas(tmp_path, line):
    (tmp_path / "pairs.txt").write_text(line)
    assert read_pair_list(tmp_path / "pairs.txt", source("gt", "a b.png"), source("lq", "c d.png")) == [
        ("a b.png", "c d.png")
    ]


def test_lol_v2_names_both_sides_differently():
    gt, lq = source("Normal", "normal00690.png", "normal00691.png"), source("Low", "low00690.png", "low00691.png")
    assert pair_names(gt, lq) == [("normal00690.png", "low00690.png"), ("normal00691.png", "low00691.png")]


def test_both_unicode_forms_of_a_name_are_the_same():
    nfc, nfd = "caf\u00e9.png", "cafe\u0301.png"
    assert pair_names(source("gt", nfc), source("lq", nfd)) == [(nfc, nfd)]
    assert pair_names(source("gt", nfd), source("lq", nfc)) == [(nfd, nfc)]


def test_a_list_tells_both_unicode_forms_apart_where_both_exist(tmp_path):
    nfc, nfd = "caf\u00e9.png", "cafe\u0301.png"
    (tmp_path / "meta.txt").write_text(f"{nfd}\n{nfc}\n", encoding="utf-8")
    gt = source("gt", nfc, nfd)
    assert read_meta_info(tmp_path / "meta.txt", gt, gt) == [(nfd, None), (nfc, None)]
