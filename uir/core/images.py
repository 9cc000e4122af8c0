"""Reading and writing image files: any bit depth, any number of channels, RGB, names in any alphabet."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from uir.core.files import replacing

IMAGE_EXTENSIONS = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"})
SIXTEEN_BIT_EXTENSIONS = frozenset({".png", ".tif", ".tiff"})
ALPHA_EXTENSIONS = frozenset({".png", ".tif", ".tiff", ".webp"})


class UnreadableImageError(ValueError):
    """The file is not an image, or it is damaged. `path` names it."""

    def __init__(self, path: str, reason: str = "") -> None:
        super().__init__(path, reason)  # both arguments, so that the error can be pickled in a loader's worker
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}" if self.reason else self.path


# reading --------------------------------------------------------------------------------------------------------------


def read_image(path: str | Path) -> np.ndarray:
    """Read an image file as stored: HWC, uint8, uint16 or float32, with 1, 3 (RGB) or 4 (RGBA) channels.

    The EXIF orientation of a photograph is applied, as in BasicSR's reader (see `decode_image`).

    Raises:
        FileNotFoundError: there is no such file.
        UnreadableImageError: it is not an image, or it is damaged.
    """
    with open(path, "rb") as file:
        return decode_image(file.read(), str(path))  # cv2.imread fails on unicode paths on Windows


def decode_image(data: bytes | np.ndarray, name: str) -> np.ndarray:
    """Decode the bytes of an image file to an array like that of `read_image`.

    OpenCV applies the EXIF orientation in every mode except `IMREAD_UNCHANGED`, the only mode that keeps an alpha
    channel. So an image without alpha is turned upright, as with BasicSR's `IMREAD_COLOR`; one with alpha stays as
    stored.

    Args:
        data: the file's content, as bytes or a flat uint8 array.
        name: the name for messages.

    Raises:
        UnreadableImageError: it is not an image, or it is damaged.
    """
    buffer = np.frombuffer(data, dtype=np.uint8) if isinstance(data, bytes) else data
    if buffer.size == 0:
        raise UnreadableImageError(name, "the file is empty")
    upright = cv2.IMREAD_ANYCOLOR | cv2.IMREAD_ANYDEPTH
    try:
        if _cannot_have_alpha(buffer):  # one decoding is enough
            image = cv2.imdecode(buffer, upright)
        else:
            image = cv2.imdecode(buffer, cv2.IMREAD_UNCHANGED)
            has_alpha = image is not None and image.ndim == 3 and image.shape[2] == 4
            if image is not None and not has_alpha and _may_have_exif(buffer):
                image = cv2.imdecode(buffer, upright)
    except cv2.error as error:
        raise UnreadableImageError(name, f"cannot be decoded as an image ({error.err})") from error
    if image is None:
        raise UnreadableImageError(name, "cannot be decoded as an image; the file is damaged or is no image")
    if image.ndim == 2:
        image = image[:, :, None]
    channels = image.shape[2]
    if channels not in (1, 3, 4):
        raise UnreadableImageError(name, f"has {channels} channels; expected 1, 3 or 4")
    if image.dtype == np.float64:
        image = image.astype(np.float32)
    if image.dtype not in (np.uint8, np.uint16, np.float32):
        raise UnreadableImageError(name, f"has pixels of type {image.dtype}; expected uint8, uint16 or float32")
    return _swap_red_and_blue(image)


def read_rgb(path: str | Path) -> np.ndarray:
    """Read an image file as float32 HWC RGB in [0, 1]; grey is replicated, alpha is dropped.

    Raises:
        FileNotFoundError: there is no such file.
        UnreadableImageError: it is not an image, or it is damaged.
    """
    return to_rgb(read_image(path), str(path))


def to_rgb(image: np.ndarray, name: str = "image") -> np.ndarray:
    """Convert an array of `read_image` to float32 HWC RGB in [0, 1]; grey is replicated, alpha is dropped."""
    colour = to_float(image[:, :, :3], name)
    return np.repeat(colour, 3, axis=2) if colour.shape[2] == 1 else np.ascontiguousarray(colour)


def to_grey(image: np.ndarray, name: str = "image") -> np.ndarray:
    """Convert an array of `read_image` to float32 [H, W, 1] in [0, 1], by OpenCV's conversion from RGB.

    A weighted sum of red, green and blue, rounded to the bit depth of the file; alpha is dropped, grey stays.
    """
    if image.shape[2] == 1:
        return to_float(image, name)
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
    root = Path(folder).expanduser()
    return [root / name for name in list_image_names(root)]


def list_image_names(root: Path) -> list[str]:
    """The same as paths relative to the folder, with `/` (a hundred thousand `Path` objects would take seconds)."""
    if not root.is_dir():
        raise ValueError(f"{root}: there is no such folder")
    names: list[str] = []
    visited: set[str] = set()  # linked folders are followed, but each only once, so that a circle of links ends
    for place, folders, files in os.walk(root, followlinks=True):
        real = os.path.realpath(place)
        if real in visited:
            folders.clear()
            continue
        visited.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        relative = os.path.relpath(place, root).replace(os.sep, "/")
        prefix = "" if relative == "." else f"{relative}/"
        for name in files:
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in IMAGE_EXTENSIONS:
                names.append(prefix + name)
    return sorted(names)


# writing --------------------------------------------------------------------------------------------------------------


def write_image(path: str | Path, image: Tensor | np.ndarray, bits: int = 8) -> None:
    """Write an image file completely or not at all (a temporary file, then a rename); missing folders are created.

    Args:
        path: the file; its extension determines the format.
        image: a float tensor CHW or a float array HWC (or HW), RGB in [0, 1]. It is clamped, scaled and rounded half to
            even, as in BasicSR. A uint8 or uint16 array or tensor is written unchanged. 1, 3 or 4 channels (RGB, RGBA).
        bits: 8 or 16 per channel, for floats.

    Raises:
        ValueError: the format cannot store the shape, type or bit depth, or some pixels are not finite.
    """
    path = Path(path)
    extension = path.suffix.lower()
    if extension not in IMAGE_EXTENSIONS:
        raise ValueError(
            f"{path}: cannot write '{path.suffix}' files; use one of {', '.join(sorted(IMAGE_EXTENSIONS))}"
        )
    pixels = _to_pixels(path, _to_hwc(path, image), bits)
    if pixels.dtype == np.uint16 and extension not in SIXTEEN_BIT_EXTENSIONS:
        raise ValueError(f"{path}: {extension} stores 8 bits per channel; write 16 bits as .png or .tif")
    if pixels.shape[2] == 4 and extension not in ALPHA_EXTENSIONS:
        raise ValueError(f"{path}: {extension} stores no alpha channel; write RGBA as .png, .tif or .webp")
    is_encoded, encoded = cv2.imencode(extension, _swap_red_and_blue(pixels))
    if not is_encoded:
        raise ValueError(f"{path}: OpenCV could not encode an image of shape {pixels.shape}")
    with replacing(path, flush=False) as temporary:
        temporary.write_bytes(encoded.tobytes())


def _to_hwc(path: Path, image: Tensor | np.ndarray) -> np.ndarray:
    if isinstance(image, Tensor):
        tensor = image.detach().cpu()
        if tensor.ndim != 3 or tensor.shape[0] not in (1, 3, 4):
            raise ValueError(f"{path}: got a tensor {list(tensor.shape)}; expected [C, H, W] with 1, 3 or 4 channels")
        if tensor.is_floating_point():
            tensor = tensor.float()  # numpy has no bfloat16
        return tensor.permute(1, 2, 0).numpy()
    array = image[:, :, None] if image.ndim == 2 else image
    if array.ndim != 3 or array.shape[2] not in (1, 3, 4):
        raise ValueError(f"{path}: got an array {list(image.shape)}; expected [H, W, C] with 1, 3 or 4 channels")
    return array


def _to_pixels(path: Path, image: np.ndarray, bits: int) -> np.ndarray:
    if bits not in (8, 16):
        raise ValueError(f"{path}: bits is {bits}; expected 8 or 16")
    if 0 in image.shape:
        raise ValueError(f"{path}: the image has no pixels: {list(image.shape)}")
    if image.dtype in (np.uint8, np.uint16):
        return image
    if not np.issubdtype(image.dtype, np.floating):
        raise ValueError(f"{path}: pixels of type {image.dtype}; expected uint8, uint16 or floats in [0, 1]")
    bad = int(np.count_nonzero(~np.isfinite(image)))
    if bad:
        raise ValueError(f"{path}: {bad} of {image.size} values are not finite")
    white, kind = (255.0, np.uint8) if bits == 8 else (65535.0, np.uint16)
    return (np.clip(image, 0.0, 1.0).astype(np.float32) * np.float32(white)).round().astype(kind)


def _swap_red_and_blue(image: np.ndarray) -> np.ndarray:
    """Convert BGR(A) to RGB(A) and back; grey is unchanged."""
    code = {1: None, 3: cv2.COLOR_BGR2RGB, 4: cv2.COLOR_BGRA2RGBA}[image.shape[2]]
    return np.ascontiguousarray(image) if code is None else cv2.cvtColor(np.ascontiguousarray(image), code)


def _cannot_have_alpha(buffer: np.ndarray) -> bool:
    """Whether it is a JPEG, or a PNG of colour type grey or RGB (which are opaque except with a rare tRNS chunk)."""
    head = buffer[:26].tobytes()
    if head.startswith(b"\xff\xd8"):
        return True
    return head.startswith(b"\x89PNG\r\n\x1a\n") and head[25:26] in (b"\x00", b"\x02")


def _may_have_exif(buffer: np.ndarray) -> bool:
    """Whether a PNG or WebP file seems to contain an EXIF chunk (a false alarm only costs a second decoding)."""
    content = buffer.tobytes()
    return b"eXIf" in content or b"EXIF" in content
