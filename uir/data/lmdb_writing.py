"""Writes a folder of images as an LMDB store in BasicSR's layout; BasicSR and `uir.data.image_sources` read it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

from uir.core.files import write_text
from uir.core.images import UnreadableImageError, decode_image
from uir.core.progress import progress_bar
from uir.data.image_sources import close_stores, load_lmdb, without_extension
from uir.data.journal import JOURNAL, Entry, Journal
from uir.data.listings import first_column
from uir.data.source_files import (
    Fingerprint,
    SourceFile,
    check_level,
    encode_png,
    list_sources,
    map_ahead,
    raise_unreadable,
)

RESTART = "write to another folder, or start again with resume=False (--overwrite)"
KEPT_LEVEL = -1  # the compression in meta_info.txt for a PNG file that was stored unchanged
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def write_lmdb(
    source: Path,
    target: Path,
    *,
    compress_level: int | None = 1,
    workers: int | None = None,
    resume: bool = True,
    map_size: int = 64 << 20,
    commit_bytes: int = 32 << 20,
) -> int:
    """Write the images in `source` and its subfolders to the store `target`, as PNG bytes; the key has no extension.

    The store contains `data.mdb`, `lock.mdb`, `meta_info.txt` (lines `key.png (h,w,c) compression`, written last and at
    once) and a journal. An interrupted store is continued. A finished store of the same images is unchanged; new images
    of the folder are added. Images are read as in `PairedImageDataset` from disk (upright), a few at a time, so the
    memory does not grow with their number.

    Args:
        source: folder of images; the key of an image in a subfolder contains `/`.
        target: a folder named `*.lmdb`.
        compress_level: PNG compression, 0 to 9; every image is encoded again with it, as in BasicSR. None stores the
            bytes of PNG files unchanged, which is faster to write and often smaller (`meta_info.txt` then has -1);
            other kinds are encoded with 1. The pixels are always the same.
        workers: encoding threads; None for one per core, eight at most.
        resume: False deletes an existing store and starts again.
        map_size: first size of the store's map in bytes; it doubles when needed.
        commit_bytes: amount of data in one transaction, which is in memory until it is written.

    Returns:
        The number of images in the store.

    Raises:
        ValueError: two images share a key, a key cannot be stored, `target` is a store of other data, or images
            cannot be read (the others are stored first; `meta_info.txt` is not written).
    """
    if target.suffix != ".lmdb":
        raise ValueError(f"{target}: the name of an lmdb store must end in '.lmdb'")
    if compress_level is not None:
        check_level(compress_level, "compress_level")
    if min(map_size, commit_bytes) < 1:
        raise ValueError(f"map_size {map_size}, commit_bytes {commit_bytes}: expected numbers of bytes above 0")
    target = target.expanduser()
    sources = list_sources(source)
    keys = _keys(sources)
    if not resume:
        _delete_store(target)
    journal = _open_journal(target, compress_level)
    journal.check(sources)
    if _is_finished(target) and all(item.name in journal.entries for item in sources):
        return len(sources)

    close_stores()  # within one process, lmdb refuses to open a store twice
    store = _GrowingStore(target, map_size)
    with closing(store):
        too_long = [item.name for item in sources if len(keys[item.name]) > store.longest_key]
        if too_long:
            raise ValueError(f"{source}: the name {too_long[0]} is too long: lmdb takes {store.longest_key} bytes")
        stored_names = {name for name in journal.entries if store.holds(keys[name])}
        if len(stored_names) < len(journal.entries):  # the store was damaged from outside: listed images are missing
            (target / "meta_info.txt").unlink(missing_ok=True)
        missing = [item for item in sources if item.name not in stored_names]
        failed = _store_images(store, journal, keys, missing, len(sources), compress_level, workers, commit_bytes)
    raise_unreadable(
        failed,
        len(sources),
        "Repair or remove what cannot be used and run it again to continue.",
        f"The others are stored in {target}.",
    )
    lines = [_meta_line(journal.entries[item.name], compress_level) for item in sources]
    write_text(target / "meta_info.txt", "".join(line + "\n" for line in lines))
    return len(sources)


def _store_images(
    store: _GrowingStore,
    journal: Journal,
    keys: dict[str, bytes],
    missing: Sequence[SourceFile],
    total: int,
    compress_level: int | None,
    workers: int | None,
    commit_bytes: int,
) -> list[UnreadableImageError]:
    """Encode and store the missing images, one transaction at a time; return the errors of unreadable ones."""
    failed: list[UnreadableImageError] = []
    batch: list[tuple[bytes, bytes]] = []
    entries: list[Entry] = []
    size = 0

    def commit() -> None:
        nonlocal size
        store.put(batch)
        journal.add(entries)
        batch.clear()
        entries.clear()
        size = 0

    with progress_bar() as progress, closing(map_ahead(_encoder(compress_level), missing, workers)) as results:
        task = progress.add_task("Storing", total=total, completed=total - len(missing), note="")
        try:
            for item, result in results:
                try:
                    entry, content = result.result()
                except UnreadableImageError as error:
                    failed.append(error)
                else:
                    batch.append((keys[item.name], content))
                    entries.append(entry)
                    size += len(content)
                    if size >= commit_bytes:
                        commit()
                progress.advance(task)
        finally:  # keep the work that was done before an interruption
            commit()
    return failed


def _encoder(compress_level: int | None) -> Callable[[SourceFile], tuple[Entry, bytes]]:
    """The function that turns a source into its journal entry and the bytes to store."""

    def encode(source: SourceFile) -> tuple[Entry, bytes]:
        content = source.read_bytes()
        image = decode_image(content, str(source.path))
        height, width, channels = image.shape
        entry = Entry(source.name, Fingerprint.of(source, content), (height, width, channels))
        if compress_level is None and content.startswith(PNG_SIGNATURE):
            return entry, content
        return entry, encode_png(image, 1 if compress_level is None else compress_level, str(source.path))

    return encode


class _GrowingStore:
    """An LMDB environment whose map doubles whenever it is full."""

    def __init__(self, folder: Path, map_size: int) -> None:
        self._lmdb = load_lmdb(folder)
        self.folder = folder
        try:
            self._environment = self._lmdb.open(str(folder), map_size=map_size)
        except self._lmdb.Error as error:
            raise ValueError(f"{folder}: the store cannot be opened for writing ({error})") from error
        self.longest_key: int = self._environment.max_key_size()

    def holds(self, key: bytes) -> bool:
        with self._environment.begin() as transaction:
            return transaction.cursor().set_key(key)

    def put(self, items: Sequence[tuple[bytes, bytes]]) -> None:
        """Store all items or none; on return they are on the disk."""
        while items:
            try:
                with self._environment.begin(write=True) as transaction:
                    for key, value in items:
                        transaction.put(key, value)
                return
            except self._lmdb.MapFullError:
                self._environment.set_mapsize(2 * self._environment.info()["map_size"])
            except self._lmdb.Error as error:
                raise ValueError(f"{self.folder}: writing to the store failed ({error})") from error

    def close(self) -> None:
        self._environment.close()


def _keys(sources: Sequence[SourceFile]) -> dict[str, bytes]:
    """The key of each source, by its name."""
    owners: dict[str, str] = {}
    for item in sources:
        key = without_extension(item.name)
        if key in owners:
            raise ValueError(
                f"{item.path} and {item.path.parent / Path(owners[key]).name} would both be stored as '{key}'; keep one"
            )
        owners[key] = item.name
        line = f"{key}.png (1,1,3) 1"
        if len(line.splitlines()) != 1 or without_extension(first_column(line)) != key:
            raise ValueError(f"{item.path}: meta_info.txt cannot contain this name (line breaks, blanks at its start)")
    return {name: key.encode("utf-8") for key, name in owners.items()}


def _meta_line(entry: Entry, compress_level: int | None) -> str:
    level = 1 if compress_level is None else compress_level
    if compress_level is None and entry.name.lower().endswith(".png"):
        level = KEPT_LEVEL
    height, width, channels = entry.shape
    return f"{without_extension(entry.name)}.png ({height},{width},{channels}) {level}"


def _open_journal(target: Path, compress_level: int | None) -> Journal:
    if (target / "data.mdb").exists() and not (target / JOURNAL).exists():
        raise ValueError(f"{target} is a store that uir did not write, so it cannot be continued; {RESTART}")
    return Journal(target / JOURNAL, {"kind": "lmdb", "compress_level": compress_level}, RESTART)


def _is_finished(target: Path) -> bool:
    return (target / "meta_info.txt").is_file() and (target / "data.mdb").is_file()


def _delete_store(target: Path) -> None:
    """Delete the files of a store, the list first, so that the rest never counts as a finished store."""
    close_stores()
    for name in ("meta_info.txt", JOURNAL, "data.mdb", "lock.mdb"):
        (target / name).unlink(missing_ok=True)
