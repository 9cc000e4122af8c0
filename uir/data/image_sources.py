"""The sources of a dataset's images: a folder with its subfolders, or an LMDB store in BasicSR's layout."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

import numpy as np

from uir.core.images import IMAGE_EXTENSIONS, UnreadableImageError, decode_image, list_image_names, read_image
from uir.data.journal import JOURNAL
from uir.data.listings import first_column, read_lines

logger = logging.getLogger("uir")


class ImageSource(Protocol):
    """Named images; they are read one at a time.

    Attributes:
        root: the folder or store, for messages.
        names: the names of all images, in an order that does not change; a name is a path relative to the root with `/`
            between folders.
    """

    root: Path
    names: list[str]

    def read(self, name: str) -> np.ndarray:
        """Read the image as stored, HWC (see `uir.core.images.read_image`)."""

    def path(self, name: str) -> str:
        """The image's path in a batch (`lq_path`, `gt_path`)."""


class FolderImages:
    """The image files in a folder and its subfolders, sorted."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.names = list_image_names(root)
        self._prefix = str(root)  # joining text is many times faster than joining paths

    def read(self, name: str) -> np.ndarray:
        return read_image(self.path(name))

    def path(self, name: str) -> str:
        return os.path.join(self._prefix, name)


class LmdbImages:
    """The images of an LMDB store in BasicSR's layout: a folder `x.lmdb` with `data.mdb` and `meta_info.txt`.

    Each line of `meta_info.txt` is `key.png (h,w,c) compression`. The key is the name without its extension; other dots
    stay in it (BasicSR's reader cuts the key at the first dot). The order is that of the lines, which is the order of
    the stored folder: disk and store give the same batches.

    Raises:
        ValueError: the name does not end in `.lmdb`, or `meta_info.txt` is missing: the store is unfinished or none.
    """

    def __init__(self, root: Path) -> None:
        listing = root / "meta_info.txt"
        if root.suffix != ".lmdb":
            raise ValueError(f"{root}: with `io_backend: {{type: lmdb}}` the folder's name must end in '.lmdb'")
        if not listing.is_file():
            if (root / JOURNAL).is_file():
                raise ValueError(f"{root}: an unfinished LMDB store; the `uir prepare lmdb` that began it continues it")
            raise ValueError(f"{root}: no LMDB store: {listing} is missing")
        self.root = root
        self._store = root.resolve()
        self.names = [without_extension(first_column(line)) for line in read_lines(str(root), listing)]

    def read(self, name: str) -> np.ndarray:
        with _open_store(self._store).begin() as transaction:
            content = transaction.get(name.encode("utf-8"))
        if content is None:
            raise UnreadableImageError(f"{self.root}:{name}", "is named in meta_info.txt but not in the store")
        return decode_image(content, f"{self.root}:{name}")

    def path(self, name: str) -> str:
        return name


_open_stores: dict[Path, Any] = {}  # within one process, lmdb refuses to open a store twice


def _open_store(root: Path) -> Any:
    if root not in _open_stores:
        _open_stores[root] = load_lmdb(root).open(str(root), readonly=True, lock=False, readahead=False)
    return _open_stores[root]


def load_lmdb(root: Path) -> ModuleType:
    """Import the package lmdb.

    Raises:
        ValueError: it is not installed; `root` is the store that needs it.
    """
    try:
        import lmdb
    except ImportError:
        raise ValueError(f"{root}: an lmdb store needs the package lmdb; `pip install lmdb`") from None
    return lmdb


def close_stores() -> None:
    """Close every store that this process reads; the next read opens it again."""
    while _open_stores:
        _open_stores.popitem()[1].close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=close_stores)  # a forked process must not inherit an open store


def open_images(key: str, root: str | Path, io_backend: Mapping[str, Any] | None = None) -> ImageSource:
    """The images under `root`.

    Args:
        key: the option that contains the root (`dataroot_gt`), for messages.
        root: a folder, or a store `x.lmdb`.
        io_backend: `{type: disk}` or `{type: lmdb}`. The default is `disk`, and `lmdb` for a store `x.lmdb`.

    Raises:
        ValueError: there is no such folder, it contains no image, or the backend is unknown or not that of the folder.
    """
    is_store = Path(root).suffix == ".lmdb" and (Path(root).expanduser() / "data.mdb").is_file()
    backend = dict(io_backend or {"type": "lmdb" if is_store else "disk"})
    kind = backend.pop("type", None)
    if kind not in ("disk", "lmdb") or backend:
        raise ValueError(f"io_backend: got {dict(io_backend or {})}; expected {{type: disk}} or {{type: lmdb}}")
    folder = Path(root).expanduser()
    if not folder.is_dir():
        raise ValueError(f"{key}: there is no folder {folder}")
    if is_store and kind == "disk":
        raise ValueError(f"{key}: {folder} is an LMDB store; write `io_backend: {{type: lmdb}}`")
    if is_store and not io_backend:
        logger.info("%s %s is read as an LMDB store", key, folder)
    source: ImageSource = FolderImages(folder) if kind == "disk" else LmdbImages(folder)
    if not source.names:
        raise ValueError(f"{key}: there is no image in {folder} or below it (png, jpg, jpeg, bmp, tif, tiff, webp)")
    return source


def without_extension(name: str) -> str:
    """An image's name without the extension, as stores use it for a key; other dots stay: `a/b.c` for `a/b.c.png`."""
    stem, dot, extension = name.rpartition(".")
    return stem if dot and f".{extension.lower()}" in IMAGE_EXTENSIONS else name
