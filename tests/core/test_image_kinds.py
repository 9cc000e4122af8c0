"""Every kind of image file, depth and number of channels, read as Pillow and tifffile read it."""

from __future__ import annotations

import contextlib
import io
import os
import struct
import warnings
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageOps

from uir.core.images import UnreadableImageError, decode_image, read_image, read_pages

pytestmark = pytest.mark.thorough

SIZE = (12, 10)
SAVED: dict[str, dict[str, Any]] = {
    "PNG": {}, "BMP": {}, "WEBP": {"lossless": True, "exact": True}, "JPEG": {"quality": 95}, "TIFF": {},
    "TIFF lzw": {"compression": "tiff_lzw"}, "TIFF deflate": {"compression": "tiff_adobe_deflate"},
    "TIFF packbits": {"compression": "packbits"},
}  # fmt: skip
MODES = ("1", "P", "P alpha", "L", "LA", "RGB", "RGBA", "CMYK", "I;16", "F")


def picture(mode: str, size: tuple[int, int] = SIZE) -> Image.Image:
    generator = np.random.default_rng(0)
    if mode in ("P", "P alpha"):
        channels = 3 if mode == "P" else 4
        return Image.fromarray(generator.integers(0, 256, (*size, channels), dtype=np.uint8)).quantize(16)
    if mode == "1":
        return Image.fromarray(generator.integers(0, 2, size).astype(bool))
    if mode == "F":
        return Image.fromarray(generator.random(size, dtype=np.float32))
    if mode == "I;16":
        return Image.fromarray(generator.integers(0, 65536, size, dtype=np.uint16))
    pixels = generator.integers(0, 256, (*size, len(Image.new(mode, (1, 1)).getbands())), dtype=np.uint8)
    return Image.frombytes(mode, size[::-1], pixels.tobytes())


def file_of(image: Image.Image, kind: str, **more: Any) -> bytes:
    content = io.BytesIO()
    image.save(content, kind.split()[0], **SAVED.get(kind, {}), **more)
    return content.getvalue()


def as_pillow_reads(content: bytes) -> np.ndarray:
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(content)))
    has_alpha = image.mode in ("LA", "PA") or (image.mode == "P" and "transparency" in image.info)
    wanted = {"1": "L", "P": "RGBA" if has_alpha else "RGB", "LA": "RGBA", "PA": "RGBA", "CMYK": "RGB"}
    pixels = np.asarray(image.convert(wanted[image.mode]) if image.mode in wanted else image)
    return pixels if pixels.ndim == 3 else pixels[:, :, None]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", SAVED)
def test_every_kind_and_mode_is_read_as_pillow_reads_it(kind: str, mode: str) -> None:
    try:
        content = file_of(picture(mode), kind)
    except (OSError, ValueError, KeyError):
        pytest.skip("Pillow writes no such file")
    expected = as_pillow_reads(content)
    image = decode_image(content, "image")
    assert (image.shape, image.dtype) == (expected.shape, expected.dtype)
    tolerance = 2 if (kind, mode) == ("JPEG", "CMYK") else 0  # CMYK has no exact colours
    assert np.abs(image.astype(float) - expected).max() <= tolerance


@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float16, np.float32, np.float64])
def test_every_tiff_is_read_as_tifffile_reads_it(
    dtype: type, channels: int, order: Any, compression: str | None, planar: str
) -> None:
    content, pixels = tiff(dtype, channels, planar, compression, byteorder=order)
    image = decode_image(content, "image")
    expected = pixels[:, :, [0, 0, 0, 1]] if channels == 2 else pixels
    assert image.dtype == (dtype if np.issubdtype(dtype, np.integer) else np.float32)
    np.testing.assert_array_equal(image, expected.astype(np.float32) if image.dtype == np.float32 else expected)


def tiff(dtype: Any, channels: int, planar: str = "contig", compression: str | None = None, **more: Any) -> Any:
    """The bytes of a TIFF and its pixels [H, W, C]."""
    generator = np.random.default_rng(channels)
    pixels = generator.random((*SIZE, channels)).astype(dtype)
    if np.issubdtype(dtype, np.integer):
        pixels = generator.integers(0, np.iinfo(dtype).max, (*SIZE, channels), dtype=dtype, endpoint=True)
    stored = pixels.transpose(2, 0, 1) if planar == "separate" else pixels
    settings = {"photometric": "rgb" if channels > 2 else "minisblack", "extrasamples": ["unassalpha"], **more}
    if channels in (1, 3):
        settings.pop("extrasamples")
    if channels == 1:
        stored, planar = pixels[:, :, 0], ""
    content = io.BytesIO()
    tifffile.imwrite(content, stored, planarconfig=planar or None, compression=compression, **settings)
    return content.getvalue(), pixels


def test_floats_with_a_predictor_are_read() -> None:
    pixels = np.random.default_rng(0).random((9, 12, 3), dtype=np.float32)
    settings = [cv2.IMWRITE_TIFF_COMPRESSION, 8, cv2.IMWRITE_TIFF_PREDICTOR, 3]  # as Photoshop writes them
    content = cv2.imencode(".tif", pixels[:, :, ::-1], settings)[1].tobytes()
    np.testing.assert_array_equal(decode_image(content, "image"), pixels)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_colours_that_were_multiplied_by_alpha_are_divided_by_it(dtype: type) -> None:
    white = 1.0 if dtype is np.float32 else np.iinfo(dtype).max
    alpha = np.linspace(0.4, 1, 120).reshape(*SIZE, 1)
    colours = np.random.default_rng(0).random((*SIZE, 3))
    stored = np.concatenate([colours * alpha, alpha], 2) * white
    content = io.BytesIO()
    stored = stored if dtype is np.float32 else stored.round()
    tifffile.imwrite(content, stored.astype(dtype), photometric="rgb", extrasamples=["assocalpha"])
    image = decode_image(content.getvalue(), "image")
    assert np.abs(image[:, :, :3] / white - colours).max() < (0.01 if dtype is np.uint8 else 1e-4)
    np.testing.assert_array_equal(image[:, :, 3], stored[:, :, 3].astype(dtype))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_tiff_whose_white_is_zero_is_inverted(dtype: type) -> None:
    content, pixels = tiff(dtype, 1, photometric="miniswhite")
    np.testing.assert_array_equal(decode_image(content, "image"), np.iinfo(dtype).max - pixels)


def test_a_thumbnail_in_a_tiff_is_no_page() -> None:
    content = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    with tifffile.TiffWriter(content) as writer:
        writer.write(pixels, photometric="rgb")
        writer.write(pixels[::2, ::2], photometric="rgb", subfiletype=1)
    np.testing.assert_array_equal(decode_image(content.getvalue(), "image"), pixels)


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF", "TIFF lzw", "JPEG"])
@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_turns_every_kind_upright(orientation: int, mode: str, kind: str) -> None:
    if (kind, mode) == ("JPEG", "RGBA"):
        pytest.skip("JPEG has no alpha")
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = file_of(picture(mode), kind, exif=exif)
    np.testing.assert_array_equal(decode_image(content, "image"), as_pillow_reads(content))


@pytest.mark.parametrize("kind", SAVED)
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9, 0.99])
def test_what_is_cut_short_is_refused(kind: str, share: float) -> None:
    content = file_of(picture("RGB", (120, 100)), kind)
    with pytest.raises(UnreadableImageError, match="short"):
        decode_image(content[: int(len(content) * share)], "short")


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("share", [0.4, 0.7, 0.95])
def test_a_planar_tiff_that_is_cut_short_is_refused(
    dtype: type, channels: int, compression: str | None, share: float
) -> None:
    content, _ = tiff(dtype, channels, "separate", compression)
    with pytest.raises(UnreadableImageError, match="short"):
        decode_image(content[: int(len(content) * share)], "short")


def pages_of(count: int, compression: str | None = None) -> tuple[bytes, list[np.ndarray]]:
    generator = np.random.default_rng(0)
    pages = [generator.integers(0, 256, (6 + index, 5, 3), dtype=np.uint8) for index in range(count)]
    content = io.BytesIO()
    pictures = [Image.fromarray(page) for page in pages]
    pictures[0].save(content, "TIFF", save_all=True, append_images=pictures[1:], compression=compression)
    return content.getvalue(), pages


@pytest.mark.parametrize("compression", [None, "tiff_lzw"])
def test_all_pages_of_a_tiff_are_read_and_one_image_is_not_the_first_of_them(
    tmp_path: Path, compression: str | None
) -> None:
    content, pages = pages_of(3, compression)
    (tmp_path / "pages.tif").write_bytes(content)
    for page, expected in zip(read_pages(tmp_path / "pages.tif"), pages, strict=True):
        np.testing.assert_array_equal(page, expected)
    with pytest.raises(UnreadableImageError, match=r"pages\.tif: is a TIFF of 3 pages; expected one image"):
        read_image(tmp_path / "pages.tif")


def test_a_tiff_whose_last_pages_are_cut_off_is_refused() -> None:
    content, _ = pages_of(3)
    for share in (0.5, 0.7, 0.9):
        with pytest.raises(UnreadableImageError, match="short"):
            decode_image(content[: int(len(content) * share)], "short")


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_an_animation_is_refused(kind: str) -> None:
    frames = [picture("RGB"), ImageOps.invert(picture("RGB")), picture("RGB").rotate(180)]
    content = file_of(frames[0], kind, save_all=True, append_images=frames[1:])
    with pytest.raises(UnreadableImageError, match="is an animation of 3 frames"):
        decode_image(content, "image")


@pytest.mark.parametrize("kind", ["GIF", "JPEG2000"])
def test_a_kind_that_is_not_read_is_named(kind: str) -> None:
    with pytest.raises(
        UnreadableImageError, match=r"is a (GIF|JPEG 2000) file; PNG, JPEG, BMP, TIFF, WebP, AVIF and HEIC are read"
    ):
        decode_image(file_of(picture("RGB"), kind), "image")


def huge(kind: str, side: int = 30000) -> bytes:
    """A small file whose head claims side x side pixels."""
    content = file_of(picture("L", (8, 8)), kind)
    if kind == "PNG":
        head = content[12:16] + struct.pack(">II", side, side) + content[24:29]
        return content[:12] + head + struct.pack(">I", zlib.crc32(head)) + content[33:]
    if kind == "JPEG":
        place = content.index(b"\xff\xc0") + 5
        return content[:place] + struct.pack(">HH", side, side) + content[place + 4 :]
    if kind == "BMP":
        return content[:18] + struct.pack("<ii", side, side) + content[26:]
    if kind == "WEBP":
        side = min(side, 16384)
        return content[:21] + struct.pack("<I", (side - 1) | (side - 1) << 14) + content[25:]
    for tag in tifffile.TiffFile(io.BytesIO(content)).pages[0].tags:
        if tag.name in ("ImageWidth", "ImageLength"):
            content = content[: tag.valueoffset] + struct.pack("<H", side) + content[tag.valueoffset + 2 :]
    return content


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "WEBP", "TIFF", "TIFF lzw"])
def test_a_head_that_claims_too_many_pixels_is_refused_before_decoding(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for decoder in ("imdecode", "imdecodemulti"):
        monkeypatch.setattr(f"cv2.{decoder}", lambda *_: pytest.fail("decoded"))
    with pytest.raises(
        UnreadableImageError, match=r"claims (30000x30000|16384x16384) = .*--max_pixels.*UIR_MAX_PIXELS"
    ):
        decode_image(huge(kind), "image")


@pytest.mark.parametrize("kind", SAVED)
def test_the_limit_is_an_argument_or_a_variable_and_no_other(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 60)  # of Pillow's own
    content = file_of(picture("RGB"), kind)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert decode_image(content, "image", max_pixels=120).shape == (12, 10, 3)
    with pytest.raises(UnreadableImageError, match="120 pixels, more than the limit of 119"):
        decode_image(content, "image", max_pixels=119)
    monkeypatch.setenv("UIR_MAX_PIXELS", "119")
    with pytest.raises(UnreadableImageError, match="more than the limit of 119"):
        decode_image(content, "image")
    monkeypatch.setenv("UIR_MAX_PIXELS", "many")
    with pytest.raises(ValueError, match="UIR_MAX_PIXELS: expected a whole number above 0, got 'many'"):
        decode_image(content, "image")


def test_a_pipe_and_a_link_to_itself_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "loop.png").symlink_to("loop.png")
    for name in ("pipe.png", "loop.png"):
        with pytest.raises(UnreadableImageError, match=name):
            read_image(tmp_path / name)


def test_a_chunk_of_a_png_that_claims_gigabytes_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    content = file_of(picture("RGB"), "PNG")
    place = content.index(b"IDAT") - 4
    claims = content[:place] + struct.pack(">I", 0xFFFF0000) + content[place + 4 :]
    monkeypatch.setattr("cv2.imdecode", lambda *_: pytest.fail("OpenCV was asked"))
    with pytest.raises(UnreadableImageError, match="a part of it lies beyond its end"):
        decode_image(claims, "image")


@pytest.mark.parametrize("tag", [256, 257, 258, 259, 262, 284])
def test_a_number_of_a_tiff_that_is_a_list_is_no_fault_of_uir(tag: int) -> None:
    content = bytearray(file_of(picture("L"), "TIFF"))
    places = (content.find(struct.pack("<HHI", tag, kind, 1)) for kind in (3, 4))
    place = next(place for place in places if place >= 0)
    content[place + 4 : place + 12] = struct.pack("<II", 4, 8)  # four numbers, which lie at byte 8
    with contextlib.suppress(UnreadableImageError):  # for some of them tifffile has an answer of its own
        decode_image(bytes(content), "image")
