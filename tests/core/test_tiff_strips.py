"""Large TIFF files by strips give and get the same pixels as files that are read at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from uir.core import tiff_strips
from uir.core.image_heads import UnreadableImageError
from uir.core.image_metadata import Metadata
from uir.core.images import read_image, write_bands
from uir.core.tiff_strips import StripedPage, striped_page

PIXELS = np.random.default_rng(0).integers(0, 2**16, (61, 83, 3)).astype(np.uint16)


@pytest.fixture(autouse=True)
def _small_pages_are_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiff_strips, "LARGE", 1000)


@pytest.mark.parametrize(
    "settings",
    [
        {"rowsperstrip": 7},
        {"rowsperstrip": 7, "compression": "zlib", "byteorder": ">"},
        {"tile": (16, 32), "compression": "zlib", "predictor": True},
        {},
    ],
)
@pytest.mark.parametrize(
    "pixels",
    [PIXELS, (PIXELS[..., 0] >> 8).astype(np.uint8), (PIXELS / 65535).astype(np.float32)],
    ids=["rgb16", "grey8", "rgb float"],
)
def test_parts_are_those_of_the_whole(tmp_path: Path, settings: dict[str, Any], pixels: np.ndarray) -> None:
    if pixels.dtype == np.float32:
        settings = {key: value for key, value in settings.items() if key != "predictor"}  # tifffile has none for floats
    order = {"byteorder": settings.pop("byteorder")} if "byteorder" in settings else {}
    with tifffile.TiffWriter(tmp_path / "a.tif", **order) as writer:
        writer.write(pixels, photometric="rgb" if pixels.ndim == 3 else "minisblack", metadata=None, **settings)
    settings.update(order)
    whole = read_image(tmp_path / "a.tif")
    with striped_page(tmp_path / "a.tif") as page:
        assert isinstance(page, StripedPage)
        assert (page.shape, page.dtype) == (whole.shape, whole.dtype)
        for rows, columns in [
            (slice(0, 61), slice(0, 83)),
            (slice(5, 33), slice(30, 70)),
            (slice(50, 99), slice(80, 99)),
        ]:
            np.testing.assert_array_equal(page[rows, columns, :3], whole[rows, columns, :3])


def test_few_strips_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiff_strips, "_KEPT", 3000)
    tifffile.imwrite(tmp_path / "a.tif", PIXELS, photometric="rgb", rowsperstrip=2, metadata=None)
    with striped_page(tmp_path / "a.tif") as page:
        assert page is not None
        np.testing.assert_array_equal(page[0:61, 0:83, 0:3], PIXELS)
        assert sum(part.nbytes for part in page._kept.values()) <= 3000


def test_bands_of_any_height_become_one_file(tmp_path: Path) -> None:
    bands = [PIXELS[:3], PIXELS[3:40], PIXELS[40:]]
    for name in ("a.tif", "a.png"):
        metadata = Metadata(dpi=(300.0, 300.0), exif=b"Exif")
        left_out = write_bands(tmp_path / name, bands, PIXELS.shape, PIXELS.dtype, metadata)
        assert left_out == (["EXIF"] if name == "a.tif" else [])  # this EXIF is damaged
        np.testing.assert_array_equal(read_image(tmp_path / name), PIXELS)


def test_a_failure_leaves_no_file(tmp_path: Path) -> None:
    def bands() -> Any:
        yield PIXELS[:30]
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        write_bands(tmp_path / "a.tif", bands(), PIXELS.shape, PIXELS.dtype, Metadata())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", ["two pages", "alpha", "small", "turned", "png"])
def test_other_files_are_read_at_once(tmp_path: Path, kind: str) -> None:
    path = tmp_path / ("a.png" if kind == "png" else "a.tif")
    if kind == "alpha":
        rgba = np.dstack([PIXELS, PIXELS[..., :1]])
        tifffile.imwrite(path, rgba, photometric="rgb", extrasamples=["unassalpha"], metadata=None)
    elif kind == "turned":
        tifffile.imwrite(path, PIXELS, photometric="rgb", extratags=[(274, "H", 1, 6, True)], metadata=None)
    else:
        pixels = PIXELS[:5] if kind == "small" else PIXELS
        with tifffile.TiffWriter(path) as writer:
            for _ in range(2 if kind == "two pages" else 1):
                writer.write(pixels, photometric="rgb", metadata=None)
    with striped_page(path) as page:
        assert page is None


def test_a_damaged_strip_is_named(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", PIXELS, photometric="rgb", compression="zlib", rowsperstrip=61, metadata=None)
    data = bytearray((tmp_path / "a.tif").read_bytes())
    data[len(data) // 2 : len(data) // 2 + 40] = bytes(40)
    (tmp_path / "a.tif").write_bytes(bytes(data))
    with striped_page(tmp_path / "a.tif") as page:
        assert page is not None
        with pytest.raises(UnreadableImageError, match=r"a\.tif"):
            page[0:61, 0:83, 0:3]
