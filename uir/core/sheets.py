"""Sheets of pictures: rows of photographs side by side, under titles."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from uir.core.files import replacing

_MARGIN, _TITLE, _WHITE = 6, 30, 255
_LARGEST_FILE = 3_000_000  # bytes
_QUALITIES = (95, 90, 80, 65, 50)  # of JPEG, until the file is small enough


def picture_sheet(
    rows: Sequence[tuple[str, Sequence[np.ndarray]]], titles: Sequence[str], width: int = 320
) -> np.ndarray:
    """Place pictures in rows.

    Args:
        rows: each row's label and its pictures, float [H, W, 3] RGB in [0, 1], of the same shape within a row.
        titles: title of each column.
        width: width of a picture on the sheet, in pixels.

    Returns:
        The sheet, float [H, W, 3] RGB in [0, 1].

    Raises:
        ValueError: the number of pictures in a row differs from the number of titles.
    """
    for label, pictures in rows:
        if len(pictures) != len(titles):
            raise ValueError(
                f"row '{label}' has {len(pictures)} pictures, expected {len(titles)} ({', '.join(titles)})"
            )
    label_width = 16 + max(_text_width(label) for label, _ in rows)
    head = [_text_cell("", label_width, _TITLE), *(_text_cell(title, width, _TITLE) for title in titles)]
    lines = [_join(head)]
    for label, pictures in rows:
        shown = [of_width(picture, width) for picture in pictures]
        lines.append(_join([_text_cell(label, label_width, shown[0].shape[0]), *shown]))
    sheet = cv2.copyMakeBorder(
        np.concatenate(lines), _MARGIN, _MARGIN, _MARGIN, _MARGIN, cv2.BORDER_CONSTANT, value=(_WHITE,) * 3
    )
    return sheet.astype(np.float32) / 255.0


def write_sheet(
    path: Path, rows: Sequence[tuple[str, Sequence[np.ndarray]]], titles: Sequence[str], width: int = 320
) -> Path:
    """Write a sheet to an image file; see `picture_sheet`. A JPEG file is made smaller than 3 MB."""
    from uir.core.images import write_image

    sheet = picture_sheet(rows, titles, width)
    if path.suffix.lower() not in (".jpg", ".jpeg"):
        write_image(path, sheet)
        return path
    pixels = np.ascontiguousarray((sheet * 255).round().astype(np.uint8)[:, :, ::-1])
    for quality in _QUALITIES:
        content = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()
        if len(content) < _LARGEST_FILE:
            break
    with replacing(path, flush=False) as temporary:
        temporary.write_bytes(content)
    return path


def as_picture(image: Tensor, size: Sequence[int]) -> np.ndarray:
    """A tensor as a picture for a sheet.

    Args:
        image: [C, H, W], clamped to [0, 1]; not-a-number becomes black; RGB (further channels are dropped) or grey.
        size: height and width to enlarge it to, without smoothing.

    Returns:
        float32 [height, width, 3] RGB in [0, 1].
    """
    colour = image[:3] if len(image) >= 3 else image[:1].expand(3, -1, -1)
    picture = np.ascontiguousarray(torch.nan_to_num(colour.float()).clamp(0, 1).permute(1, 2, 0).cpu().numpy())
    if picture.shape[:2] == tuple(size):
        return picture
    return np.asarray(cv2.resize(picture, (size[1], size[0]), interpolation=cv2.INTER_NEAREST))


def of_width(picture: np.ndarray, width: int) -> np.ndarray:
    """Resize a picture [H, W, 3], float in [0, 1], to another width with the same aspect ratio, as uint8."""
    height = max(1, round(picture.shape[0] * width / picture.shape[1]))
    small = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
    return (np.clip(small, 0, 1) * 255).round().astype(np.uint8)


def _join(cells: Sequence[np.ndarray]) -> np.ndarray:
    gap = np.full((cells[0].shape[0], _MARGIN, 3), _WHITE, np.uint8)
    line = [part for cell in cells for part in (gap, cell)][1:]
    joined = np.concatenate(line, axis=1)
    below = np.full((_MARGIN, joined.shape[1], 3), _WHITE, np.uint8)
    return np.concatenate([joined, below])


def _text_width(text: str) -> int:
    return int(cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.55, 1)[0][0])


def _text_cell(text: str, width: int, height: int) -> np.ndarray:
    cell = np.full((height, width, 3), _WHITE, np.uint8)
    place = (max(2, (width - _text_width(text)) // 2), height // 2 + 6)
    cv2.putText(cell, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.55, (0, 0, 0), 1, cv2.LINE_AA)
    return cell
