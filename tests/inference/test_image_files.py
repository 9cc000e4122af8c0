"""`uir restore`: every file is accounted for, and nothing is overwritten that the user did not mean."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image
from torch import Tensor, nn

from uir.core import tiff_strips
from uir.core.images import UnreadableImageError, read_image, read_pages, write_image, write_pages
from uir.inference.image_files import Outcome, restore_files
from uir.inference.image_plan import plan_files
from uir.inference.restorer import Restorer


class Rolled(nn.Module):
    """Gives green, blue and red for red, green and blue, weighted differently, each pixel repeated."""

    def __init__(self, scale: int = 1, weights: tuple[float, ...] = (1, 1, 1)) -> None:
        super().__init__()
        self.scale = scale
        self.register_buffer("weights", torch.tensor(weights).view(1, 3, 1, 1))

    def forward(self, lq: Tensor) -> Tensor:
        rolled = lq.roll(-1, 1) * self.weights
        return rolled.repeat_interleave(self.scale, -1).repeat_interleave(self.scale, -2)


RESTORER = Restorer(Rolled())


def pixels(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def mixed_folder(folder: Path) -> Path:
    """A folder with good and bad files; a good one sorts last."""
    folder.mkdir()
    write_image(folder / "a.png", pixels(5, 6, 3))
    tifffile.imwrite(folder / "b.tif", pixels(5, 6, 3).astype(np.float32), photometric="rgb")  # 0 to 255
    (folder / "c.jpg").write_bytes(b"nonsense")
    os.mkfifo(folder / "d.png")
    (folder / "e.png").symlink_to("e.png")
    Image.fromarray(pixels(5, 6, 3)).save(folder / "f.gif")
    (folder / "g.ppm").write_bytes(b"P5 1 1 255 a")
    (folder / "h.jfif").touch()
    (folder / ".i.png").touch()
    write_image(folder / "z.png", pixels(5, 6, 3))
    return folder


def test_every_file_is_accounted_for_and_a_bad_one_stops_no_other(tmp_path: Path) -> None:
    source = mixed_folder(tmp_path / "in")
    outcome = restore_files(RESTORER, [source], tmp_path / "out")
    assert [Path(name).name for name in outcome.restored] == ["a.png", "z.png"]
    assert outcome.written == [tmp_path / "out" / "a.png", tmp_path / "out" / "z.png"]
    failed = {Path(name).name: why for name, why in outcome.failed.items()}
    assert list(failed) == ["b.tif", "c.jpg", "d.png", "e.png"]
    assert failed["b.tif"].startswith("float pixels from 0 to 248; expected [0, 1]")
    assert failed["d.png"] == "is no regular file"
    assert {Path(name).name: why for name, why in outcome.left_out.items()} == {
        ".i.png": "hidden",
        "f.gif": "files of kind .gif are not read from folders",
        "g.ppm": "files of kind .ppm are not read from folders",
        "h.jfif": "files of kind .jfif are not read from folders",
    }
    named = [row["file"] for rows in outcome.as_dict().values() for row in rows]
    assert sorted(named) == sorted(str(path) for path in source.iterdir())
    np.testing.assert_array_equal(read_image(tmp_path / "out" / "z.png"), np.roll(pixels(5, 6, 3), -1, 2))


def test_what_the_network_or_the_disk_refuses_stops_no_other(tmp_path: Path) -> None:
    class Small(nn.Module):
        def forward(self, lq: Tensor) -> Tensor:
            if lq.shape[-1] > 6:
                raise RuntimeError("the kernel is larger than the input\nmore")
            return lq

    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    for name, width in (("a", 9), ("b/c", 6), ("d", 6)):
        write_image(tmp_path / "in" / f"{name}.png", pixels(5, width, 3))
    (tmp_path / "out" / "b").touch()  # where a folder should be made
    outcome = restore_files(Restorer(Small()), [tmp_path / "in"], tmp_path / "out")
    assert [file.name for file in outcome.written] == ["d.png"]
    assert list(outcome.failed.values()) == ["the kernel is larger than the input", "File exists"]


def test_the_summary_counts_and_names() -> None:
    outcome = Outcome({"x.png": [Path("o/x.png")]}, {"a.png": "is damaged"}, {"b.gif": "hidden", "c.gif": "hidden"})
    assert outcome.summary(Path("o")).splitlines() == [
        "1 image restored, written to o", "1 image failed:", "  a.png: is damaged", "2 files left out:",
        "  b.gif: hidden", "  c.gif: hidden",
    ]  # fmt: skip
    outcome = Outcome(
        {str(index): [Path("a"), Path("b")] for index in range(2)}, {str(index): "" for index in range(25)}
    )
    lines = outcome.summary(Path("o")).splitlines()
    assert lines[:2] == ["2 images restored as 4 files, written to o", "25 images failed:"]
    assert lines[-1] == "  and 5 more; --json names all"


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_every_page_of_a_tiff_is_restored_into_one(tmp_path: Path, dtype: type) -> None:
    pages = [pixels(5 + index, 6, 3, seed=index).astype(dtype) for index in range(3)]
    write_pages(tmp_path / "pages.tif", pages)
    written = restore_files(RESTORER, [tmp_path / "pages.tif"], tmp_path / "out").written
    for page, expected in zip(read_pages(written[0]), pages, strict=True):
        assert page.dtype == dtype
        np.testing.assert_array_equal(page, np.roll(expected, -1, 2))
    refused = restore_files(RESTORER, [tmp_path / "pages.tif"], tmp_path / "one.png")
    assert list(refused.failed.values()) == [f"{tmp_path}/one.png: .png stores one image, not 3; write pages as .tif"]
    assert not (tmp_path / "one.png").exists()


def test_what_exists_is_overwritten_only_when_asked(tmp_path: Path) -> None:
    write_image(tmp_path / "in" / "a.png", pixels(5, 6, 3))
    write_image(tmp_path / "out" / "a.png", pixels(5, 6, 3, seed=1))
    with pytest.raises(ValueError, match=r"out/a\.png: exists already; --overwrite"):
        restore_files(RESTORER, [tmp_path / "in"], tmp_path / "out")
    np.testing.assert_array_equal(read_image(tmp_path / "out" / "a.png"), pixels(5, 6, 3, seed=1))
    restore_files(RESTORER, [tmp_path / "in"], tmp_path / "out", overwrite=True)
    np.testing.assert_array_equal(read_image(tmp_path / "out" / "a.png"), np.roll(pixels(5, 6, 3), -1, 2))


@pytest.mark.parametrize("output", ["in", "link", "in/../in"])
def test_an_input_is_never_overwritten(tmp_path: Path, output: str) -> None:
    write_image(tmp_path / "in" / "a.png", pixels(5, 6, 3))
    (tmp_path / "link").symlink_to("in")
    with pytest.raises(ValueError, match="would overwrite an input"):
        restore_files(RESTORER, [tmp_path / "in"], tmp_path / output, overwrite=True)


def test_an_input_that_a_link_leads_to_is_not_overwritten(tmp_path: Path) -> None:
    write_image(tmp_path / "out" / "a.png", pixels(5, 6, 3))
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").symlink_to(tmp_path / "out" / "a.png")
    with pytest.raises(ValueError, match="would overwrite an input"):
        restore_files(RESTORER, [tmp_path / "in"], tmp_path / "out", overwrite=True)


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("one.png", "one file cannot hold 2 images"), ("a.gif", "cannot write '.gif' files"),
        ("a.HEIC", "cannot write '.HEIC' files"), ("note", "note: is a file"),
    ],
)  # fmt: skip
def test_an_output_that_cannot_be_is_refused(tmp_path: Path, output: str, message: str) -> None:
    for name in "ab":
        write_image(tmp_path / "in" / f"{name}.png", pixels(5, 6, 3))
    (tmp_path / "note").touch()
    with pytest.raises(ValueError, match=message):
        restore_files(RESTORER, [tmp_path / "in"], tmp_path / output)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "note"]


def test_images_of_one_name_and_two_kinds_are_both_restored_and_told_apart(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("a.png", "a.jpg", "b.png"):
        write_image(tmp_path / "in" / name, pixels(5, 6, 3))
    outcome = restore_files(RESTORER, [tmp_path / "in"], tmp_path / "out")
    assert sorted(file.name for file in outcome.written) == ["a_jpg.png", "a_png.png", "b.png"]
    assert f"a.jpg is written to {tmp_path}/out/a_jpg.png" in caplog.text


def test_two_inputs_of_one_name_are_refused_and_one_named_twice_is_not(tmp_path: Path) -> None:
    for folder in ("in", "also"):
        write_image(tmp_path / folder / "a.png", pixels(5, 6, 3))
    with pytest.raises(ValueError, match="would both be written to"):
        plan_files([tmp_path / "in" / "a.png", tmp_path / "also" / "a.png"], tmp_path / "out")
    twice = [tmp_path / "in" / "a.png"] * 2
    assert len(plan_files(twice, tmp_path / "out").jobs) == 1


@pytest.mark.parametrize("length", [240, 250, 255])
def test_names_as_long_as_the_system_allows(tmp_path: Path, length: int) -> None:
    name = "n" * (length - 4) + ".png"
    write_image(tmp_path / "in" / name, pixels(5, 6, 3))
    assert [file.name for file in restore_files(RESTORER, [tmp_path / "in"], tmp_path / "out").written] == [name]


def test_names_that_are_not_utf_8(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", pixels(5, 6, 3))
    (tmp_path / "in").mkdir()
    name = os.fsdecode(b"caf\xe9.png")
    (tmp_path / "a.png").rename(tmp_path / "in" / name)
    assert [file.name for file in restore_files(RESTORER, [tmp_path / "in"], tmp_path / "out").written] == [name]


def test_a_limit_of_pixels(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", pixels(5, 6, 3))
    outcome = restore_files(RESTORER, str(tmp_path / "a.png"), f"{tmp_path}/out", max_pixels=29)
    assert "claims 6x5 = 30 pixels" in outcome.failed[str(tmp_path / "a.png")]


@pytest.mark.thorough
def test_fifty_thousand_files_are_planned_within_a_second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"{index // 100}/{index}.png" for index in range(50_000)]
    monkeypatch.setattr("uir.inference.image_plan.list_folder", lambda folder: (names, {}))
    (tmp_path / "in").mkdir()
    began = time.process_time()
    assert len(plan_files([tmp_path / "in"], tmp_path / "out").jobs) == 50_000
    assert time.process_time() - began < 1


# what a restorer takes ------------------------------------------------------------------------------------------------


def test_a_path_gives_an_array_and_an_image_of_pillow_gives_one(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", pixels(5, 6, 3))
    expected = np.roll(pixels(5, 6, 3), -1, 2)
    for path in (tmp_path / "a.png", str(tmp_path / "a.png")):
        np.testing.assert_array_equal(RESTORER(path), expected)
    restored = RESTORER(Image.fromarray(pixels(5, 6, 3)))
    assert isinstance(restored, Image.Image)
    np.testing.assert_array_equal(np.asarray(restored), expected)
    with pytest.raises(FileNotFoundError):
        RESTORER(tmp_path / "none.png")
    with pytest.raises(ValueError, match="an array, a path or an image of Pillow, got list"):
        RESTORER([1])  # type: ignore[call-overload]


@pytest.mark.parametrize(
    ("mode", "expected"),
    [("1", "L"), ("L", "L"), ("P", "RGB"), ("LA", "LA"), ("RGBA", "RGBA"), ("CMYK", "RGB"), ("I;16", "I;16")],
)
def test_every_mode_of_pillow(mode: str, expected: str) -> None:
    image = Image.new("I;16", (6, 5)) if mode == "I;16" else Image.fromarray(pixels(5, 6, 3)).convert(mode)
    restored = RESTORER(image)
    assert (restored.mode, restored.size) == (expected, (6, 5))


def test_an_image_of_pillow_is_turned_upright() -> None:
    image = Image.fromarray(pixels(5, 6, 3))
    image.getexif()[0x0112] = 6
    np.testing.assert_array_equal(np.asarray(RESTORER(image)), np.roll(np.rot90(pixels(5, 6, 3), -1), -1, 2))


@pytest.mark.parametrize("given", ["file.pth", Path("photo.png"), Image.new("L", (2, 2))])
def test_a_restorer_of_something_else_says_how_to_load_one(given: object) -> None:
    with pytest.raises(ValueError, match=r"Restorer\.from_pretrained\(path\)"):
        Restorer(given)  # type: ignore[arg-type]


def test_several_pages_are_not_one_photograph(tmp_path: Path) -> None:
    write_pages(tmp_path / "a.tif", [pixels(5, 6, 3)] * 2)
    with pytest.raises(UnreadableImageError, match="2 pages"):
        RESTORER(tmp_path / "a.tif")


# grey and alpha -------------------------------------------------------------------------------------------------------


def test_grey_is_the_mean_of_all_three_restored_channels() -> None:
    grey = pixels(5, 6)
    restored = Restorer(Rolled(weights=(0.9, 0.5, 0.4)))(grey)
    np.testing.assert_array_equal(restored, (grey * 0.6).round().astype(np.uint8))


def test_each_colour_of_rgba_is_restored_and_alpha_is_not() -> None:
    image = pixels(5, 6, 4)
    np.testing.assert_array_equal(
        RESTORER(image), np.concatenate([np.roll(image[:, :, :3], -1, 2), image[:, :, 3:]], 2)
    )


def test_alpha_is_resized_bilinearly() -> None:
    image = pixels(5, 6, 4)
    image[:, :, 3] = np.arange(0, 240, 8).reshape(5, 6)  # a plane
    alpha = Restorer(Rolled(2), scale=2)(image)[:, :, 3].astype(int)
    inside = alpha[1:-1, 1:-1]  # a plane stays a plane, with half the slopes
    assert set(np.unique(np.diff(inside, axis=1))) == {4}
    assert set(np.unique(np.diff(inside, axis=0))) == {24}


@pytest.mark.parametrize(
    ("files", "said"), [([], ""), (["a.txt"], " (1 file left out)"), (["a.txt", "b"], " (2 files left out)")]
)
def test_a_folder_without_an_image_says_how_many_others_it_has(tmp_path: Path, files: list[str], said: str) -> None:
    for name in files:
        (tmp_path / name).write_text("text")
    with pytest.raises(ValueError, match=re.escape(f"no image in {tmp_path}{said}; known kinds: .avif, .bmp")):
        plan_files([tmp_path], tmp_path / "out")


@pytest.mark.parametrize("scale", [1, 2])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_large_tiff_gives_the_same_by_strips(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scale: int, channels: int
) -> None:
    image = pixels(90, 70, channels).astype(np.uint16) * 257
    tifffile.imwrite(tmp_path / "a.tif", image.squeeze(), rowsperstrip=11, resolution=(300, 300), metadata=None)
    restorer = Restorer(Rolled(scale), tile=32, overlap=0)
    whole = restore_files(restorer, tmp_path / "a.tif", tmp_path / "whole")
    monkeypatch.setattr(tiff_strips, "LARGE", 1)
    monkeypatch.setattr("uir.inference.image_files.read_content", None)  # nothing reads the file at once
    strips = restore_files(restorer, tmp_path / "a.tif", tmp_path / "strips")
    assert not strips.failed
    np.testing.assert_array_equal(read_image(strips.written[0]), read_image(whole.written[0]))
    assert Image.open(strips.written[0]).info["dpi"] == (300, 300)
