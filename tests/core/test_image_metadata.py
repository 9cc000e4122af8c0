"""Colour profile, EXIF and resolution of image files, and photographs of phones."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms

from uir.core.image_heads import UnreadableImageError, kind_of, reader_of
from uir.core.image_metadata import Metadata, read_metadata
from uir.core.images import decode_image, encode_pages, list_images, read_image, write_pages

PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def pixels(height: int = 9, width: int = 12) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def photograph(kind: str, orientation: int = 1) -> bytes:
    """A file with a profile, EXIF and 300 dots per inch."""
    exif = Image.Exif()
    exif[0x010F], exif[0x0112] = "a camera", orientation
    exif[0x8769] = {0x829A: 0.5, 0x9286: b"ASCII\0\0\0a word"}  # of the exposure
    exif[0x8825] = {1: "N", 2: (50.0, 30.0, 0.25)}  # of the place
    file = io.BytesIO()
    Image.fromarray(pixels()).save(file, kind, icc_profile=PROFILE, exif=exif, dpi=(300, 300))
    return file.getvalue()


@pytest.mark.parametrize("extension", [".png", ".jpg", ".webp", ".tif"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_a_written_file_holds_what_the_read_one_held(tmp_path: Path, extension: str, dtype: type) -> None:
    if (dtype != np.uint8 and extension in (".jpg", ".webp")) or (dtype == np.float32 and extension != ".tif"):
        pytest.skip("it has fewer bits")
    metadata = read_metadata(photograph("JPEG"))
    image = pixels().astype(dtype) * (257 if dtype == np.uint16 else 1)
    image = image / 255 if dtype == np.float32 else image
    assert write_pages(tmp_path / f"it{extension}", [image], bits=32, metadata=metadata) == []
    again = read_metadata((tmp_path / f"it{extension}").read_bytes())
    assert again.icc == PROFILE
    exif = Image.Exif()
    exif.load(again.exif)
    assert exif[0x010F] == "a camera"
    assert exif.get_ifd(0x8769) == {0x829A: 0.5, 0x9286: b"ASCII\0\0\0a word"}
    assert exif.get_ifd(0x8825)[2] == (50.0, 30.0, 0.25)
    assert again.dpi == pytest.approx((300, 300), abs=0.01)
    if extension != ".jpg":
        assert np.array_equal(read_image(tmp_path / f"it{extension}"), image)


def test_a_bitmap_keeps_the_resolution_and_says_what_it_does_not_hold(tmp_path: Path) -> None:
    metadata = read_metadata(photograph("JPEG"))
    assert write_pages(tmp_path / "it.bmp", [pixels()], metadata=metadata) == ["ICC", "EXIF"]
    assert read_metadata((tmp_path / "it.bmp").read_bytes()).dpi == pytest.approx((300, 300), abs=0.02)
    assert np.array_equal(read_image(tmp_path / "it.bmp"), pixels())


def test_exif_of_a_tiff_lies_with_its_first_page_and_other_readers_find_all_pages(tmp_path: Path) -> None:
    pages = [pixels(), pixels(5, 7), pixels(8, 8)]
    write_pages(tmp_path / "it.tif", pages, metadata=read_metadata(photograph("JPEG")))
    with tifffile.TiffFile(tmp_path / "it.tif") as tiff:
        assert [page.tags[271].value if 271 in page.tags else None for page in tiff.pages] == ["a camera", None, None]
        for page, expected in zip(tiff.pages, pages, strict=True):
            assert np.array_equal(page.asarray(), expected)
    image = Image.open(tmp_path / "it.tif")
    image.seek(2)
    assert np.array_equal(np.asarray(image), pages[2])


def test_the_orientation_is_left_out_because_the_pixels_are_upright(tmp_path: Path) -> None:
    data = photograph("JPEG", orientation=6)
    image = decode_image(data, "it")
    assert image.shape == (12, 9, 3)
    write_pages(tmp_path / "it.png", [image], metadata=read_metadata(data))
    assert np.array_equal(read_image(tmp_path / "it.png"), image)
    assert Image.open(tmp_path / "it.png").getexif().get(0x0112, 1) == 1


def test_a_profile_of_another_kind_of_pixels_is_left_out() -> None:
    inks = bytearray(PROFILE)
    inks[16:20] = b"CMYK"
    assert Metadata(bytes(inks)).fitting(3).icc is None
    assert Metadata(PROFILE).fitting(1).icc is None
    assert Metadata(PROFILE).fitting(4).icc == PROFILE


def test_damaged_metadata_is_left_out() -> None:
    assert not read_metadata(b"nonsense")
    assert not read_metadata(photograph("JPEG")[:30])


def test_exif_of_a_png_is_found_behind_the_pixels_and_nothing_is_decoded_for_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = encode_pages(Path("it.png"), [pixels()], Metadata(exif=read_metadata(photograph("JPEG")).exif))
    start = data.index(b"eXIf") - 4
    end = start + 12 + int.from_bytes(data[start : start + 4], "big")
    late = data[:start] + data[end:-12] + data[start:end] + data[-12:]
    assert read_metadata(late).exif == read_metadata(data).exif is not None
    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load", None)
    assert read_metadata(data[:start] + data[end:]) == Metadata()
    assert read_metadata(data).exif is not None


def test_alpha_and_pages_of_a_tiff_keep_their_profile(tmp_path: Path) -> None:
    pages = [np.dstack([pixels(), pixels()[:, :, 0]]), np.dstack([pixels(5, 5), pixels(5, 5)[:, :, 1]])]
    write_pages(tmp_path / "it.tif", pages, metadata=Metadata(PROFILE))
    from uir.core.images import read_pages

    for page, expected in zip(read_pages(tmp_path / "it.tif"), pages, strict=True):
        assert np.array_equal(page, expected)


@pytest.mark.parametrize(("kind", "extension"), [("AVIF", ".avif"), ("HEIF", ".heic")])
def test_photographs_of_phones_are_read(tmp_path: Path, kind: str, extension: str) -> None:
    if kind == "HEIF":
        pytest.importorskip("pillow_heif").register_heif_opener()
    smooth = np.zeros((40, 60, 3), np.uint8) + np.arange(60, dtype=np.uint8)[None, :, None] * 4
    file = tmp_path / f"it{extension}"
    Image.fromarray(smooth).save(file, kind, quality=95)
    assert kind_of(file.read_bytes()) == {"HEIF": "HEIC"}.get(kind, kind)
    assert np.abs(read_image(file).astype(int) - smooth).max() < 12
    assert list_images(tmp_path) == [file]
    file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(UnreadableImageError, match="cannot be decoded"):
        read_image(file)


def test_what_reads_them_is_named_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(UnreadableImageError, match=r"it.heic: is a HEIC file; pip install 'uir\[heif\]'"):
        reader_of("HEIC", "it.heic")
    monkeypatch.setattr("PIL.features.check", lambda name: False)
    with pytest.raises(UnreadableImageError, match="is an AVIF file, which this Pillow cannot read"):
        reader_of("AVIF", "it.avif")


def test_the_bytes_of_pages_are_those_of_the_file(tmp_path: Path) -> None:
    write_pages(tmp_path / "it.png", [pixels()])
    assert encode_pages(Path("it.png"), [pixels()]) == (tmp_path / "it.png").read_bytes()
