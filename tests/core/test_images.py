"""Image files in and out."""

import io
import pickle

import cv2
import numpy as np
import pytest
import torch

from uir.core.images import (
    UnreadableImageError,
    decode_image,
    list_images,
    read_image,
    read_rgb,
    to_float,
    to_tensor,
    write_image,
)


def pixels(shape, dtype=np.uint8, seed=0):
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, shape, endpoint=True).astype(dtype)


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("extension", ["png", "tif"])
def test_every_depth_and_channel_count_comes_back_as_written(tmp_path, channels, dtype, extension):
    image = pixels((5, 7, channels), dtype)
    write_image(tmp_path / f"image.{extension}", image)
    back = read_image(tmp_path / f"image.{extension}")
    assert back.dtype == dtype
    np.testing.assert_array_equal(back, image)


def test_channels_are_red_green_blue(tmp_path):
    red = np.zeros((4, 4, 3), np.uint8)
    red[:, :, 2] = 255  # OpenCV's order is blue, green, red
    cv2.imwrite(str(tmp_path / "red.png"), red)
    assert read_image(tmp_path / "red.png")[0, 0].tolist() == [255, 0, 0]


def test_unicode_names_work(tmp_path):
    image = pixels((4, 5, 3))
    write_image(tmp_path / "写真 één.png", image)
    np.testing.assert_array_equal(read_image(tmp_path / "写真 één.png"), image)


def test_rgb_replicates_grey_and_drops_alpha(tmp_path):
    grey, rgba = pixels((4, 5, 1), np.uint16), pixels((4, 5, 4))
    write_image(tmp_path / "grey.png", grey)
    write_image(tmp_path / "rgba.png", rgba)
    np.testing.assert_array_equal(read_rgb(tmp_path / "grey.png"), np.repeat(grey.astype(np.float32) / 65535, 3, 2))
    np.testing.assert_array_equal(read_rgb(tmp_path / "rgba.png"), rgba[:, :, :3].astype(np.float32) / 255)


def test_rgb_equals_what_basicsr_reads(tmp_path, basicsr):
    basicsr_utils = basicsr.utils
    write_image(tmp_path / "image.png", pixels((6, 5, 3)))
    content = (tmp_path / "image.png").read_bytes()
    theirs = basicsr_utils.img2tensor(basicsr_utils.imfrombytes(content, float32=True), bgr2rgb=True, float32=True)
    assert torch.equal(to_tensor(read_rgb(tmp_path / "image.png")), theirs)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF"])
def test_exif_orientation_is_applied_as_opencv_applies_it_in_colour(kind):
    pil = pytest.importorskip("PIL.Image")
    photo = pil.fromarray(pixels((20, 30, 3)))
    exif = pil.Exif()
    exif[0x0112] = 6  # turned by a quarter
    content = io.BytesIO()
    photo.save(content, kind, exif=exif)
    expected = cv2.imdecode(np.frombuffer(content.getvalue(), np.uint8), cv2.IMREAD_COLOR)[:, :, ::-1]
    image = decode_image(content.getvalue(), "photo")
    assert image.shape == (30, 20, 3)
    np.testing.assert_array_equal(image, expected)


@pytest.mark.parametrize("content", [b"", b"not an image"])
def test_what_is_no_image_is_refused_by_name(tmp_path, content):
    (tmp_path / "bad.png").write_bytes(content)
    with pytest.raises(UnreadableImageError, match=r"bad\.png"):
        read_image(tmp_path / "bad.png")


@pytest.mark.parametrize("extension", [".png", ".jpg"])
def test_a_truncated_file_is_refused(extension):
    encoded = cv2.imencode(extension, pixels((60, 60, 3)))[1].tobytes()
    with pytest.raises(UnreadableImageError, match="half"):
        decode_image(encoded[: len(encoded) // 2], "half")


def test_the_error_survives_pickling():
    error = pickle.loads(pickle.dumps(UnreadableImageError("a.png", "is empty")))
    assert (error.path, str(error)) == ("a.png", "a.png: is empty")


def test_a_missing_file_is_a_file_not_found_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_image(tmp_path / "none.png")


def test_floats_are_clipped_and_another_scale_is_refused():
    np.testing.assert_array_equal(to_float(np.array([[[-0.1, 0.5, 1.1]]])), np.array([[[0, 0.5, 1]]], np.float32))
    with pytest.raises(ValueError, match="divide by the white level"):
        to_float(np.array([[[0.0, 200.0, 255.0]]]))
    with pytest.raises(ValueError, match="nan"):
        to_float(np.array([[[np.nan, 0.0, 0.0]]]))
    with pytest.raises(ValueError, match="int32"):
        to_float(np.zeros((1, 1, 3), np.int32))


def test_floats_are_clamped_scaled_and_rounded_half_to_even(tmp_path):
    values = torch.tensor([-0.2, 0.5 / 255, 1.5 / 255, 0.5, 1.3]).repeat(3, 1, 1)
    write_image(tmp_path / "image.png", values)
    assert read_image(tmp_path / "image.png")[0, :, 0].tolist() == [0, 0, 2, 128, 255]


def test_floats_are_written_as_basicsr_writes_them(tmp_path, basicsr):
    basicsr_utils = basicsr.utils
    image = torch.rand(3, 9, 8, generator=torch.Generator().manual_seed(0)) * 1.2 - 0.1
    write_image(tmp_path / "image.png", image)
    theirs = basicsr_utils.tensor2img(image, rgb2bgr=False)
    np.testing.assert_array_equal(read_image(tmp_path / "image.png"), theirs)


def test_sixteen_bits_keep_what_eight_lose(tmp_path):
    image = torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(0))
    write_image(tmp_path / "image.png", image, bits=16)
    back = to_tensor(read_rgb(tmp_path / "image.png"))
    assert (back - image).abs().max() <= 0.5 / 65535 + 1e-7


def test_writing_makes_folders_and_leaves_no_temporary_file(tmp_path):
    write_image(tmp_path / "a" / "b" / "image.png", np.zeros((4, 4)))
    assert [path.name for path in (tmp_path / "a" / "b").iterdir()] == ["image.png"]


@pytest.mark.parametrize(
    ("name", "image", "bits", "message"),
    [
        ("x.png", torch.zeros(5, 4, 4), 8, "1 to 4 channels"),
        ("x.png", torch.zeros(1, 3, 4, 4), 8, r"\[C, H, W\]"),
        ("x.png", torch.full((3, 4, 4), float("nan")), 8, "48 of 48 values are not finite"),
        ("x.png", np.zeros((4, 4, 3), np.int64), 8, "int64"),
        ("x.png", torch.zeros(3, 4, 4), 12, "8 or 16"),
        ("x.png", torch.zeros(3, 0, 4), 8, "no pixels"),
        ("x.jpg", torch.zeros(3, 4, 4), 16, "8 bits per channel"),
        ("x.png", np.zeros((4, 4, 3), np.float32), 32, "stores no floats"),
        ("x.jpg", torch.zeros(4, 4, 4), 8, "no alpha"),
        ("x.xyz", torch.zeros(3, 4, 4), 8, "cannot write"),
    ],
)
def test_what_cannot_be_written_is_refused(tmp_path, name, image, bits, message):
    with pytest.raises(ValueError, match=message):
        write_image(tmp_path / name, image, bits)
    assert not list(tmp_path.iterdir())


def test_listing_is_recursive_sorted_and_knows_extensions_in_any_case(tmp_path):
    for name in ["b.PNG", "a/z.jpeg", "a/c/d.webp", "notes.txt", ".hidden.png", ".git/x.png", "B.tiff"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    names = [path.relative_to(tmp_path).as_posix() for path in list_images(tmp_path)]
    assert names == ["B.tiff", "a/c/d.webp", "a/z.jpeg", "b.PNG"]


def test_listing_follows_links_and_ends_in_a_circle(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "x.png").touch()
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "linked").symlink_to(tmp_path / "real")
    (tmp_path / "real" / "circle").symlink_to(tmp_path / "root")
    names = [path.relative_to(tmp_path / "root").as_posix() for path in list_images(tmp_path / "root")]
    assert names == ["linked/x.png"]


def test_listing_a_missing_folder_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="no such folder"):
        list_images(tmp_path / "none")


def test_a_tensor_shares_no_memory_with_its_array():
    image = np.zeros((2, 3, 3), np.float32)
    tensor = to_tensor(image)
    tensor += 1
    assert tensor.shape == (3, 2, 3)
    assert tensor.is_contiguous()
    assert not image.any()
