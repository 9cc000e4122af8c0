"""Preparation before training: cut large photographs into sub-images, and list a folder's images with their sizes."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path

from uir.core.files import temporary_beside, write_text
from uir.core.images import IMAGE_EXTENSIONS, UnreadableImageError, decode_image, shape_of
from uir.core.progress import progress_bar
from uir.data.image_sources import without_extension
from uir.data.journal import JOURNAL, Entry, Journal
from uir.data.source_files import (
    Fingerprint,
    SourceFile,
    check_level,
    encode_png,
    list_sources,
    map_ahead,
    raise_unreadable,
)

RESTART = "write to another folder, or delete this one"
GROUP = 32  # number of small images that are worth the hand-over to another thread
SCALE_SUFFIX = re.compile(r"(?<=\d)x[2348]$")  # in names of DIV2K's and Flickr2K's small images: 0001x4.png


def extract_subimages(
    source: Path,
    target: Path,
    *,
    crop_size: int,
    step: int,
    thresh_size: int = 0,
    compression_level: int = 3,
    workers: int | None = None,
    drop_scale: bool = True,
) -> int:
    """Cut the images in `source` and its subfolders into overlapping squares `stem_s001.png`, `stem_s002.png`, …

    Windows move by `step` from the top left corner, row by row. If more than `thresh_size` pixels remain at the right
    or the bottom, one more window is at that border. Depth, channels and subfolders are kept. An interrupted run is
    continued: `target` has a journal, and each file is written completely or not at all.

    For a paired set of scale s run it twice: on the small images with `crop_size / s`, `step / s`, `thresh_size / s`.

    Args:
        source: folder of images.
        target: folder to write to: a new one, or one from an earlier call with the same arguments.
        crop_size: side of the squares, in pixels.
        step: distance between neighbouring windows, in pixels.
        thresh_size: number of pixels at the border that may be left out.
        compression_level: PNG compression, 0 to 9.
        workers: threads; None for one per core, eight at most.
        drop_scale: remove `x2`, `x3`, `x4` or `x8` after a digit at a stem's end, as BasicSR does for DIV2K: the pieces
            of `0001x4.png` then have the same names as those of `0001.png`.

    Returns:
        The number of sub-images in `target`, earlier ones included.

    Raises:
        ValueError: an argument is out of range, two images would give the same names, `target` has other content,
            or images cannot be read or are smaller than `crop_size` (the others are cut first).
    """
    windows = Windows(crop_size, step, thresh_size)
    check_level(compression_level, "compression_level")
    source, target = source.expanduser(), target.expanduser()
    if source.resolve() in (target.resolve(), *target.resolve().parents):
        raise ValueError(f"{target}: is inside the source {source}; a second run would cut the pieces; write elsewhere")
    sources = list_sources(source)
    stems = {name: target / stem for name, stem in _stems(sources, drop_scale).items()}
    journal = _open_journal(target, {"kind": "subimages", **asdict(windows), "drop_scale": drop_scale})
    journal.check(sources)

    def cut(item: SourceFile) -> Entry:
        return _cut(item, stems[item.name], windows, compression_level)

    def is_done(item: SourceFile) -> bool:
        entry = journal.entries.get(item.name)
        return entry is not None and all(map(_is_complete, _piece_paths(stems[item.name], windows, entry.shape)))

    missing = [item for item in sources if not is_done(item)]
    failed: list[UnreadableImageError] = []
    with progress_bar() as progress, closing(map_ahead(cut, missing, workers)) as results:
        task = progress.add_task("Cutting", total=len(sources), completed=len(sources) - len(missing), note="")
        for _, result in results:
            try:
                journal.add([result.result()])
            except UnreadableImageError as error:
                failed.append(error)
            progress.advance(task)
    raise_unreadable(
        failed,
        len(sources),
        "Repair or remove what cannot be used and run it again to continue.",
        f"The others are cut into {target}.",
    )
    return sum(len(windows.corners(journal.entries[item.name].shape)) for item in sources)


@dataclass(frozen=True)
class Windows:
    """The positions of the squares in an image; see `extract_subimages`."""

    crop_size: int
    step: int
    thresh_size: int = 0

    def __post_init__(self) -> None:
        for key, least in (("crop_size", 1), ("step", 1), ("thresh_size", 0)):
            if getattr(self, key) < least:
                raise ValueError(f"{key}: got {getattr(self, key)}; expected at least {least}")

    def corners(self, shape: Sequence[int]) -> list[tuple[int, int]]:
        """The (top, left) corners in an image of shape (h, w, …), row by row."""
        return [(top, left) for top in self.starts(shape[0]) for left in self.starts(shape[1])]

    def starts(self, length: int) -> list[int]:
        """Their start positions along a side of `length` pixels, at least `crop_size`."""
        starts = list(range(0, length - self.crop_size + 1, self.step))
        last = length - self.crop_size
        return [*starts, last] if last - starts[-1] > self.thresh_size else starts


def write_meta_info(source: Path, target_file: Path, *, workers: int | None = None, overwrite: bool = False) -> int:
    """List the images in `source` and its subfolders: lines `name.png (h,w,c)`, sorted, as in a `meta_info_file`.

    The sizes are those that a dataset will see (upright). They come from the files' heads where that is enough: files
    that were cut short are found, other damage is not.

    Args:
        source: folder of images.
        target_file: the text file, written completely or not at all; missing folders are created.
        workers: threads; None for one per core, eight at most.
        overwrite: replace a file that exists.

    Returns:
        The number of images listed.

    Raises:
        ValueError: there is no image, images cannot be read, or the file exists; then nothing is written.
    """
    target_file = target_file.expanduser()
    if target_file.suffix.lower() in IMAGE_EXTENSIONS or target_file.is_dir():
        raise ValueError(f"{target_file}: expected the name of a text file")
    if os.path.lexists(target_file) and not overwrite:
        raise ValueError(f"{target_file}: exists already; --overwrite replaces it")
    sources = list_sources(source)
    groups = [sources[start : start + GROUP] for start in range(0, len(sources), GROUP)]
    lines: list[str] = []
    failed: list[UnreadableImageError] = []
    with progress_bar() as progress, closing(map_ahead(_listed, groups, workers)) as results:
        task = progress.add_task("Listing", total=len(sources), note="")
        for group, result in results:
            for line in result.result():
                if isinstance(line, UnreadableImageError):
                    failed.append(line)
                else:
                    lines.append(line)
            progress.advance(task, len(group))
    raise_unreadable(
        failed, len(sources), f"{target_file} is not written; repair or remove what cannot be used and run it again."
    )
    write_text(target_file, "".join(lines))
    return len(lines)


def _cut(source: SourceFile, stem: Path, windows: Windows, compression_level: int) -> Entry:
    """Write the pieces of one image."""
    content = source.read_bytes()
    image = decode_image(content, str(source.path))
    height, width, channels = image.shape
    size = windows.crop_size
    if min(height, width) < size:
        raise UnreadableImageError(str(source.path), f"is {height}x{width}, smaller than crop_size {size}")
    for path, (top, left) in zip(_piece_paths(stem, windows, image.shape), windows.corners(image.shape), strict=True):
        piece = image[top : top + size, left : left + size]
        content_of_piece = encode_png(piece, compression_level, str(source.path))
        try:
            _write_whole(path, content_of_piece)
        except OSError as error:  # such as a name that becomes too long
            raise UnreadableImageError(str(source.path), f"{path} cannot be written ({error.strerror})") from error
    return Entry(source.name, Fingerprint.of(source, content), (height, width, channels))


def _listed(sources: Sequence[SourceFile]) -> list[str | UnreadableImageError]:
    """The lines of some images in a list, or why they cannot be read."""
    lines: list[str | UnreadableImageError] = []
    for item in sources:
        try:
            shape = shape_of(item.read_bytes(), str(item.path))
            lines.append(f"{item.name} ({','.join(map(str, shape))})\n")
        except UnreadableImageError as error:
            lines.append(error)
    return lines


def _stems(sources: Sequence[SourceFile], drop_scale: bool) -> dict[str, str]:
    """The start of the piece names of each source, by the source's name."""
    owners: dict[str, SourceFile] = {}
    for item in sources:
        stem = without_extension(item.name)
        stem = SCALE_SUFFIX.sub("", stem) if drop_scale else stem
        if stem in owners:
            raise ValueError(
                f"{owners[stem].path} and {item.path} would both be cut into {stem}_s001.png and so on; keep one"
            )
        owners[stem] = item
    return {item.name: stem for stem, item in owners.items()}


def _piece_paths(stem: Path, windows: Windows, shape: Sequence[int]) -> list[Path]:
    return [stem.with_name(f"{stem.name}_s{index + 1:03d}.png") for index in range(len(windows.corners(shape)))]


def _open_journal(target: Path, settings: dict[str, object]) -> Journal:
    if target.is_dir() and not (target / JOURNAL).exists() and any(target.iterdir()):
        raise ValueError(f"{target} is not empty, and was not begun by this command; {RESTART}")
    return Journal(target / JOURNAL, settings, RESTART)


def _write_whole(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_beside(path)  # always the same name: the next run overwrites what a crash left
    try:
        temporary.write_bytes(content)
        os.replace(temporary, path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def _is_complete(path: Path) -> bool:
    try:
        return path.stat().st_size > 0
    except FileNotFoundError:
        return False
