"""A folder with a file of every kind is restored, and every property of each is kept."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms, features
from torch import nn

from uir.core.image_heads import kind_of
from uir.core.image_metadata import read_metadata
from uir.core.images import encode_pages, read_image, read_pages
from uir.inference.image_files import Outcome, restore_bytes, restore_files
from uir.inference.restorer import Restorer

SAME = Restorer(nn.Identity())
PROFILES = {
    name: ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()[:16] + name + bytes(100)
    for name in (b"RGB ", b"GRAY")
}  # only the name of the colours counts here; Pillow makes no profile of grey


def pixels(channels: int, dtype: Any = np.uint8) -> np.ndarray:
    random = np.random.default_rng(channels).random((9, 12, channels)).astype(np.float32)
    return random if dtype == np.float32 else (random * np.iinfo(dtype).max).astype(dtype)


def photograph(image: Image.Image, kind: str, **settings: Any) -> bytes:
    """A file with profile, EXIF and resolution."""
    exif = Image.Exif()
    exif[0x010F], exif[0x0112], exif[0x8769] = "a camera", 6, {0x829A: 0.5}
    if kind in ("WEBP", "AVIF", "HEIF"):  # their only place for the resolution
        exif[0x011A], exif[0x011B], exif[0x0128] = 300.0, 300.0, 2
    loaded = Image.Exif()
    loaded.load(exif.tobytes())
    grey = image.mode in ("L", "LA")
    file = io.BytesIO()
    described = {"icc_profile": PROFILES[b"GRAY" if grey else b"RGB "], "exif": loaded, "dpi": (300, 300)}
    image.save(file, kind, **({"dpi": (300, 300)} if kind == "BMP" else described), **settings)
    return file.getvalue()


def tiff(pages: list[np.ndarray], **settings: Any) -> bytes:
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        for page in pages:
            grey = page.shape[2] <= 2
            writer.write(
                page.squeeze(), photometric="minisblack" if grey else "rgb", resolution=(300, 300), metadata=None,
                extrasamples=["unassalpha"] if page.shape[2] in (2, 4) else None, planarconfig="contig",
                iccprofile=PROFILES[b"GRAY" if grey else b"RGB "], resolutionunit="INCH",
                extratags=[(271, "s", 0, "a camera", True), (274, "H", 1, 6, True)], **settings,
            )  # fmt: skip
    return file.getvalue()


def folder_of_every_kind(folder: Path) -> None:
    rgb = Image.fromarray(pixels(3))
    modes = {"grey": 1, "grey_alpha": 2, "rgb": 3, "rgba": 4}
    for name, channels in modes.items():
        image = Image.fromarray(pixels(channels).squeeze())
        (folder / f"{name}.png").write_bytes(photograph(image, "PNG"))
        (folder / f"{name}16.png").write_bytes(encode_pages(Path("it.png"), [pixels(channels, np.uint16)]))
        for dtype in (np.uint8, np.uint16, np.float32):
            (folder / f"{name}_{dtype.__name__}.tif").write_bytes(tiff([pixels(channels, dtype)]))
    (folder / "pages.tiff").write_bytes(tiff([pixels(3), pixels(1), pixels(4)], compression="zlib"))
    (folder / "palette_png.png").write_bytes(photograph(rgb.quantize(16), "PNG"))
    (folder / "palette_bmp.bmp").write_bytes(photograph(rgb.quantize(16), "BMP"))
    (folder / "rgb_bmp.bmp").write_bytes(photograph(rgb, "BMP"))
    (folder / "rgb_jpg.jpg").write_bytes(photograph(rgb, "JPEG"))
    (folder / "grey_jpg.jpeg").write_bytes(photograph(rgb.convert("L"), "JPEG"))
    (folder / "inks.jpg").write_bytes(photograph(rgb.convert("CMYK"), "JPEG"))
    (folder / "inks_tif.tif").write_bytes(photograph(rgb.convert("CMYK"), "TIFF"))
    (folder / "rgba_webp.webp").write_bytes(photograph(Image.fromarray(pixels(4)), "WEBP", lossless=True, exact=True))
    if features.check("avif"):
        (folder / "rgb_avif.avif").write_bytes(photograph(rgb, "AVIF"))


@pytest.fixture(scope="module")
def restored(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Outcome]:
    folder = tmp_path_factory.mktemp("kinds") / "in"
    folder.mkdir()
    folder_of_every_kind(folder)
    return folder, restore_files(SAME, folder, folder.parent / "out")


def test_no_file_fails_and_what_was_converted_is_said(restored: tuple[Path, Outcome]) -> None:
    folder, outcome = restored
    assert not outcome.failed
    assert len(outcome.written) == len(list(folder.iterdir()))
    assert {Path(name).name: note for name, note in outcome.notes.items()} == {
        "inks.jpg": "CMYK, converted to RGB",
        "inks_tif.tif": "CMYK, converted to RGB",
        "palette_png.png": "palette, converted to RGB",
        "palette_bmp.bmp": "palette, converted to RGB",
    }


def test_pixels_depth_and_pages_are_kept(restored: tuple[Path, Outcome]) -> None:
    for source, (target,) in restored[1].restored.items():
        for page, expected in zip(read_pages(target), read_pages(source), strict=True):
            assert (page.dtype, page.shape) == (expected.dtype, expected.shape), source
            np.testing.assert_array_equal(page, expected, source)
        assert kind_of(target.read_bytes()) == ("TIFF" if target.suffix in (".tif", ".tiff") else "PNG")


def test_grey_with_alpha_is_stored_so(restored: tuple[Path, Outcome]) -> None:
    folder = restored[0].parent / "out"
    for name in ("grey_alpha.png", "grey_alpha16.png"):
        assert (folder / name).read_bytes()[25] == 4  # grey and alpha
        assert np.array_equal(Image.open(folder / name).convert("LA"), np.rot90(pixels(2), -1)) or "16" in name
    for name in ("uint8", "uint16", "float32"):
        page = tifffile.imread(folder / f"grey_alpha_{name}.tif")
        np.testing.assert_array_equal(page, np.rot90(pixels(2, np.dtype(name)), -1))


def test_profile_exif_and_resolution_are_kept(restored: tuple[Path, Outcome]) -> None:
    for source, (target,) in restored[1].restored.items():
        if Path(source).stem.endswith("16") and source.endswith(".png"):
            continue  # these have none
        metadata = read_metadata(target.read_bytes())
        assert metadata.dpi == pytest.approx((300, 300), abs=0.02), source
        if source.endswith(".bmp"):
            continue  # it holds no more
        grey = Path(source).stem.startswith("grey")
        assert metadata.icc == (None if "inks" in source else PROFILES[b"GRAY" if grey else b"RGB "]) or (
            "inks" in source  # a profile of RGB, which Pillow wrote into the file of inks
        )
        exif = Image.Exif()
        exif.load(metadata.exif or b"")
        assert exif[0x010F] == "a camera", source
        assert exif.get(0x0112, 1) == 1


def test_floats_need_a_tiff(tmp_path: Path) -> None:
    (tmp_path / "it.tif").write_bytes(tiff([pixels(3, np.float32)]))
    outcome = restore_files(SAME, tmp_path / "it.tif", tmp_path / "it.png")
    assert outcome.notes == {str(tmp_path / "it.tif"): "floats, written with 16 bits; a TIFF keeps floats"}
    expected = np.rot90(pixels(3, np.float32), -1)
    assert np.abs(read_image(tmp_path / "it.png") / 65535 - expected).max() < 1e-5


def test_a_pipe_keeps_floats_and_says_what_it_converts(caplog: pytest.LogCaptureFixture) -> None:
    data = tiff([pixels(2, np.float32)])
    again = tifffile.imread(io.BytesIO(restore_bytes(SAME, data, {})))
    np.testing.assert_array_equal(again, np.rot90(pixels(2, np.float32), -1))
    restore_bytes(SAME, photograph(Image.fromarray(pixels(3)).convert("CMYK"), "JPEG"), {})
    assert "standard input: CMYK, converted to RGB" in caplog.text
