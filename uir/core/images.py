"""Reading and writing image files: any bit depth, any number of channels, RGB, names in any alphabet."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import ImageOps
from torch import Tensor

from uir.core.files import home_expanded, replacing
from uir.core.image_heads import UnreadableImageError, check_size, kind_of, read_head, reader_of, shape_of_head
from uir.core.image_metadata import Metadata
from uir.core.image_writing import swap_red_and_blue, write_encoded
from uir.core.tiff import tiff_pages, turned
from uir.core.tiff_writing import Page

IMAGE_EXTENSIONS = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"})
READ_EXTENSIONS = IMAGE_EXTENSIONS | {".avif", ".heic", ".heif"}
"""Of files that are read; fewer kinds are written."""
SIXTEEN_BIT_EXTENSIONS = frozenset({".png", ".tif", ".tiff"})
ALPHA_EXTENSIONS = frozenset({".png", ".tif", ".tiff", ".webp"})
PAGES_EXTENSIONS = FLOAT_EXTENSIONS = frozenset({".tif", ".tiff"})
_ROWS = 256


# reading --------------------------------------------------------------------------------------------------------------


def read_image(path: str | Path) -> np.ndarray:
    """Read an image file as stored: HWC, uint8, uint16 or float32, with 1, 3 (RGB) or 4 (RGBA) channels.

    The EXIF orientation is applied, as in BasicSR's reader, which knows no alpha: here to RGBA too.

    Raises:
        FileNotFoundError: there is no such file.
        UnreadableImageError: it is not an image, it is damaged, it has more pixels than the limit (see `check_size`),
            or it is an animation or a TIFF of several pages.
    """
    return decode_image(read_content(path), str(path))


def read_pages(path: str | Path, max_pixels: int | None = None) -> Iterator[np.ndarray]:
    """The pages of a TIFF one by one, the one image of another file; each like that of `read_image`.

    Args:
        path: the file.
        max_pixels: of one page, as for `check_size`.

    Raises:
        FileNotFoundError: there is no such file.
        UnreadableImageError: as for `read_image`, except that a TIFF can have several pages.
    """
    return decode_pages(read_content(path), str(path), max_pixels)


def decode_pages(data: bytes, name: str, max_pixels: int | None = None) -> Iterator[np.ndarray]:
    """The same for the bytes of a file; `name` is for messages."""
    if kind_of(data) == "TIFF":
        return (decode() for decode in tiff_pages(data, name, max_pixels))
    return iter([decode_image(data, name, max_pixels)])


def read_content(path: str | Path) -> bytes:
    """The bytes of a regular file; reading a pipe would wait, perhaps for ever.

    Raises:
        FileNotFoundError: there is no such file.
        UnreadableImageError: it is a pipe, a device or a folder, or it cannot be opened.
    """
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise UnreadableImageError(str(path), "is no regular file")
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise UnreadableImageError(str(path), str(error)) from error


def decode_image(data: bytes | np.ndarray, name: str, max_pixels: int | None = None) -> np.ndarray:
    """Decode the bytes of an image file to an array like that of `read_image`.

    Args:
        data: the file's content, as bytes or a flat uint8 array.
        name: the name for messages.
        max_pixels: as for `check_size`.

    Raises:
        UnreadableImageError: as for `read_image`.
    """
    content = data if isinstance(data, bytes) else data.tobytes()
    if not content:
        raise UnreadableImageError(name, "the file is empty")
    head = read_head(content, name, max_pixels)
    if head.kind == "TIFF":
        pages = tiff_pages(content, name, max_pixels)
        if len(pages) > 1:
            raise UnreadableImageError(name, f"is a TIFF of {len(pages)} pages; expected one image")
        return pages[0]()
    if head.kind in ("AVIF", "HEIC"):
        return _decode_with_pillow(content, head.kind, name)
    # OpenCV turns an image upright in every mode except IMREAD_UNCHANGED, the only one that keeps an alpha channel
    flags = cv2.IMREAD_ANYCOLOR | cv2.IMREAD_ANYDEPTH if head.kind == "JPEG" else cv2.IMREAD_UNCHANGED
    try:
        image = cv2.imdecode(np.frombuffer(content, np.uint8), flags)
    except cv2.error as error:
        raise UnreadableImageError(name, f"cannot be decoded as an image ({error.err})") from error
    if image is None:
        raise UnreadableImageError(name, "cannot be decoded as an image; the file is damaged or is no image")
    if image.ndim == 2:
        image = image[:, :, None]
    return turned(_swapped_in_place(image), head.orientation)


def _decode_with_pillow(content: bytes, kind: str, name: str) -> np.ndarray:
    try:
        image = ImageOps.exif_transpose(reader_of(kind, name)(io.BytesIO(content)))
        if image.mode not in ("L", "RGB", "RGBA"):
            image = image.convert("RGBA" if image.has_transparency_data else "RGB")
        pixels = np.asarray(image)
    except Exception as error:  # whatever a damaged file makes a library raise
        raise UnreadableImageError(name, f"cannot be decoded as an image ({error})") from error
    return np.ascontiguousarray(pixels.reshape(*pixels.shape[:2], -1))


def shape_of(data: bytes, name: str) -> tuple[int, int, int]:
    """The shape of the array of `decode_image`, from the file's head alone if that is enough.

    Args:
        data: the file's content.
        name: the name for messages.

    Raises:
        UnreadableImageError: as for `read_image`; but damaged pixels of a PNG or JPEG of full length are not found.
    """
    shape = shape_of_head(data)
    if shape is None:
        height, width, channels = decode_image(data, name).shape
        return height, width, channels
    check_size(shape[1], shape[0], name)
    return shape


def read_rgb(path: str | Path) -> np.ndarray:
    """Read an image file as float32 HWC RGB in [0, 1]; grey is replicated, alpha is dropped.

    Raises:
        FileNotFoundError: there is no such file.
        UnreadableImageError: it is not an image, or it is damaged.
    """
    return to_rgb(read_image(path), str(path))


def to_rgb(image: np.ndarray, name: str = "image") -> np.ndarray:
    """Convert an array of `read_image` to float32 HWC RGB in [0, 1]; grey is replicated, alpha is dropped."""
    colour = to_float(image[:, :, : 1 if image.shape[2] == 2 else 3], name)
    return np.repeat(colour, 3, axis=2) if colour.shape[2] == 1 else np.ascontiguousarray(colour)


def to_grey(image: np.ndarray, name: str = "image") -> np.ndarray:
    """Convert an array of `read_image` to float32 [H, W, 1] in [0, 1], by OpenCV's conversion from RGB.

    A weighted sum of red, green and blue, rounded to the bit depth of the file; alpha is dropped, grey stays.
    """
    if image.shape[2] <= 2:
        return to_float(image[:, :, :1], name)
    return to_float(cv2.cvtColor(np.ascontiguousarray(image[:, :, :3]), cv2.COLOR_RGB2GRAY)[:, :, None], name)


def to_float(image: np.ndarray, name: str = "image") -> np.ndarray:
    """Convert pixels to float32 in [0, 1]: uint8 / 255, uint16 / 65535, floats are clipped.

    Raises:
        ValueError: another type, or floats so far from [0, 1] that they must have another scale (or are not finite).
    """
    if image.dtype == np.uint8:
        return image.astype(np.float32) / 255.0
    if image.dtype == np.uint16:
        return image.astype(np.float32) / 65535.0
    if not np.issubdtype(image.dtype, np.floating):
        raise ValueError(f"{name}: pixels of type {image.dtype}; expected uint8, uint16 or floats in [0, 1]")
    low, high = (float(image.min()), float(image.max())) if image.size else (0.0, 0.0)
    if not (low >= -1.0 and high <= 2.0):
        raise ValueError(f"{name}: float pixels from {low:g} to {high:g}; expected [0, 1]: divide by the white level")
    return np.clip(image, 0.0, 1.0).astype(np.float32)


def to_tensor(image: np.ndarray) -> Tensor:
    """Convert an HWC (or HW) array to a contiguous CHW tensor of the same type that shares no memory with it."""
    if image.ndim == 2:
        image = image[:, :, None]
    return torch.from_numpy(image.transpose(2, 0, 1).copy())


def list_images(folder: str | Path) -> list[Path]:
    """All image files in `folder` and its subfolders, sorted by path; hidden files and folders are left out.

    Raises:
        ValueError: the folder does not exist.
    """
    root = home_expanded(folder)
    return [root / name for name in list_image_names(root)]


def list_image_names(root: Path) -> list[str]:
    """The same as paths relative to the folder, with `/` (a hundred thousand `Path` objects would take seconds)."""
    return list_folder(root)[0]


def list_folder(root: Path) -> tuple[list[str], dict[str, str]]:
    """The names of `list_image_names`, and every file and folder that is left out, with the reason.

    Raises:
        ValueError: the folder does not exist, or it or a folder in it cannot be listed.
    """
    if not root.is_dir():
        raise ValueError(f"{root}: there is no such folder")
    names: list[str] = []
    left_out: dict[str, str] = {}
    visited: set[str] = set()  # linked folders are followed, but each only once, so that a circle of links ends
    for place, folders, files in os.walk(root, followlinks=True, onerror=_cannot_list):
        relative = os.path.relpath(place, root).replace(os.sep, "/")
        prefix = "" if relative == "." else f"{relative}/"
        real = os.path.realpath(place)
        if real in visited:
            folders.clear()
            left_out[prefix] = "a link to a folder that is listed already"
            continue
        visited.add(real)
        left_out.update({f"{prefix}{name}/": "hidden" for name in folders if name.startswith(".")})
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in files:
            extension = os.path.splitext(name)[1].lower()
            if name.startswith("."):
                left_out[prefix + name] = "hidden"
            elif extension in READ_EXTENSIONS:
                names.append(prefix + name)
            else:
                kind = f"files of kind {extension} are" if extension else "files without an extension are"
                left_out[prefix + name] = f"{kind} not read from folders"
    return sorted(names), dict(sorted(left_out.items()))


def _cannot_list(error: OSError) -> None:
    raise ValueError(f"{error.filename}: the folder cannot be listed ({error.strerror})") from error


# writing --------------------------------------------------------------------------------------------------------------


def write_image(path: str | Path, image: Tensor | np.ndarray, bits: int = 8) -> None:
    """Write an image file completely or not at all (a temporary file, then a rename); missing folders are created.

    Args:
        path: the file; its extension determines the format.
        image: a float tensor CHW or a float array HWC (or HW), RGB in [0, 1]. It is clamped, scaled and rounded half to
            even, as in BasicSR. A uint8 or uint16 array or tensor is written unchanged. 1 (grey), 2 (grey and alpha), 3
            (RGB) or 4 (RGBA) channels.
        bits: per channel, for floats: 8 or 16, or 32 to write them as they are, into a TIFF.

    Raises:
        ValueError: the format cannot store the shape, type or bit depth, or some pixels are not finite.
    """
    write_pages(path, [image], bits)


def write_pages(
    path: str | Path, pages: Sequence[Tensor | np.ndarray], bits: int = 8, metadata: Metadata | None = None
) -> list[str]:
    """Write images as the pages of a TIFF, or one image as a file of any kind; otherwise as `write_image`.

    Args:
        path, bits: as for `write_image`.
        pages: the images.
        metadata: what else to write into the file.

    Returns:
        What of the metadata the kind of file does not hold.

    Raises:
        ValueError: as for `write_image`, or there are several pages and the file is no TIFF.
    """
    path = Path(path)
    check_writable(path)
    pixels = [_to_pixels(path, _to_hwc(path, page), bits) for page in pages]
    for page in pixels:
        check_writable(path, page.shape[2], 8 * page.dtype.itemsize, len(pixels))
    with replacing(path, flush=False) as temporary, temporary.open("w+b") as file:
        return write_encoded(file, path.suffix.lower(), _whole(pixels), metadata or Metadata())


def write_bands(
    path: Path, bands: Iterable[np.ndarray], shape: tuple[int, ...], dtype: np.dtype, metadata: Metadata
) -> list[str]:
    """Write bands of rows as a file of one page, completely or not at all; a PNG or TIFF is never wholly in memory.

    Args:
        path: the file; its extension determines the format.
        bands: [rows, W, C], RGB; the rows of all add up to H.
        shape: H, W and C; 1 (grey), 2 (grey and alpha), 3 (RGB) or 4 (RGBA) channels.
        dtype: uint8, uint16, or float32 for a TIFF.
        metadata: what else to write into the file.

    Returns:
        What of the metadata the kind of file does not hold.

    Raises:
        ValueError: as for `check_writable`.
    """
    check_writable(path, shape[2], 8 * dtype.itemsize)
    with replacing(path) as temporary, temporary.open("w+b") as file:
        return write_encoded(file, path.suffix.lower(), [(bands, shape, dtype)], metadata)


def encode_pages(path: Path, pixels: Sequence[np.ndarray], metadata: Metadata | None = None) -> bytes:
    """The bytes of an image file.

    Args:
        path: its name, for its kind.
        pixels: its pages, [H, W, C] of uint8, uint16, or float32 for a TIFF, RGB.
        metadata: what else to write into it.

    Raises:
        ValueError: the library cannot encode them.
    """
    file = io.BytesIO()
    write_encoded(file, path.suffix.lower(), _whole(pixels), metadata or Metadata())
    return file.getvalue()


def _whole(pixels: Sequence[np.ndarray]) -> list[Page]:
    return [([page], page.shape, page.dtype) for page in pixels]


def check_writable(path: Path, channels: int = 3, bits: int = 8, pages: int = 1) -> None:
    """Refuse what the format of a file's extension cannot store.

    Args:
        path: the file.
        channels: 1 to 4.
        bits: 8, 16, or 32 for floats, per channel.
        pages: number of images.

    Raises:
        ValueError: it cannot store them.
    """
    extension = path.suffix.lower()
    if extension not in IMAGE_EXTENSIONS:
        raise ValueError(
            f"{path}: cannot write '{path.suffix}' files; use one of {', '.join(sorted(IMAGE_EXTENSIONS))}"
        )
    if bits > 16 and extension not in FLOAT_EXTENSIONS:
        raise ValueError(f"{path}: {extension} stores no floats; write them as .tif, or with 16 bits as .png")
    if bits > 8 and extension not in SIXTEEN_BIT_EXTENSIONS:
        raise ValueError(f"{path}: {extension} stores 8 bits per channel; write 16 bits as .png or .tif")
    if channels in (2, 4) and extension not in ALPHA_EXTENSIONS:
        raise ValueError(f"{path}: {extension} stores no alpha channel; write RGBA as .png, .tif or .webp")
    if pages != 1 and extension not in PAGES_EXTENSIONS:
        raise ValueError(f"{path}: {extension} stores one image, not {pages}; write pages as .tif")


def _to_hwc(path: Path, image: Tensor | np.ndarray) -> np.ndarray:
    if isinstance(image, Tensor):
        tensor = image.detach().cpu()
        if tensor.ndim != 3 or tensor.shape[0] not in range(1, 5):
            raise ValueError(f"{path}: got a tensor {list(tensor.shape)}; expected [C, H, W] with 1 to 4 channels")
        if tensor.is_floating_point():
            tensor = tensor.float()  # numpy has no bfloat16
        return tensor.permute(1, 2, 0).numpy()
    array = image[:, :, None] if image.ndim == 2 else image
    if array.ndim != 3 or array.shape[2] not in range(1, 5):
        raise ValueError(f"{path}: got an array {list(image.shape)}; expected [H, W, C] with 1 to 4 channels")
    return array


def _to_pixels(path: Path, image: np.ndarray, bits: int) -> np.ndarray:
    if bits not in (8, 16, 32):
        raise ValueError(f"{path}: bits is {bits}; expected 8 or 16, or 32 for a TIFF of floats")
    if 0 in image.shape:
        raise ValueError(f"{path}: the image has no pixels: {list(image.shape)}")
    if image.dtype in (np.uint8, np.uint16):
        return image
    if not np.issubdtype(image.dtype, np.floating):
        raise ValueError(f"{path}: pixels of type {image.dtype}; expected uint8, uint16 or floats in [0, 1]")
    bad = int(np.count_nonzero(~np.isfinite(image)))
    if bad:
        raise ValueError(f"{path}: {bad} of {image.size} values are not finite")
    if bits == 32:
        return image.astype(np.float32, copy=False)
    white, kind = (255.0, np.uint8) if bits == 8 else (65535.0, np.uint16)
    return (np.clip(image, 0.0, 1.0).astype(np.float32) * np.float32(white)).round().astype(kind)


def _swapped_in_place(image: np.ndarray) -> np.ndarray:
    """The same for an image that nobody else uses, a few rows at a time: a second copy of a large image is much."""
    for top in range(0, len(image) if image.shape[2] > 1 else 0, _ROWS):
        image[top : top + _ROWS] = swap_red_and_blue(image[top : top + _ROWS])
    return image
