"""Which files are restored, and where the results go: all that can be wrong with it is said before anything runs."""

from __future__ import annotations

import glob
import logging
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from uir.core.files import is_unfinished, unfinished_start
from uir.core.images import IMAGE_EXTENSIONS, PAGES_EXTENSIONS, READ_EXTENSIONS, list_folder

logger = logging.getLogger("uir")
# names that mean an image or a document, not a folder
OTHER_KINDS = frozenset((
    ".gif", ".jfif", ".jpe", ".ppm", ".pgm", ".pbm", ".pnm", ".pfm", ".dib", ".ico", ".tga", ".pcx", ".psd", ".svg",
    ".pdf", ".eps", ".jp2", ".j2k", ".jxl", ".avif", ".heic", ".heif", ".exr", ".hdr", ".dng", ".cr2", ".cr3", ".nef",
    ".arw", ".raw", ".npy", ".npz", ".mp4", ".mov", ".avi", ".mkv", ".zip", ".txt", ".json",
))  # fmt: skip
SHOWN = 3  # number of files that a message names


@dataclass(frozen=True)
class Plan:
    """What is to be done.

    Attributes:
        jobs: source and target of each image; strings, because fifty thousand `Path` objects take seconds.
        left_out: what lies in the folders and is not restored, with the reason.
        variants: the values of a sweep, by the ending of the files' names; `{"": {}}` without one.
        grid: ending of the picture that shows the whole sweep; empty without one.
        output: the folder or file that the user named.
        done: images that an earlier run has restored.
    """

    jobs: list[tuple[str, str]]
    left_out: dict[str, str]
    variants: dict[str, dict[str, str]]
    output: Path
    done: list[str] = field(default_factory=list)
    grid: str = ""


def plan_files(
    inputs: Sequence[Path], output: Path, sweep: str | None = None, overwrite: bool = False, resume: bool = False
) -> Plan:
    """Find the images and decide where the results go.

    Args:
        inputs: images, and folders that are searched through; names below a folder are kept.
        output: a folder, or the file to write where there is one image.
        sweep: as for `restore_files`.
        overwrite: replace files that exist.
        resume: leave out the images whose results are all there; a result is written completely or not at all, and
            what a killed run had begun to write of the others is removed.

    Raises:
        ValueError: an input does not exist, there is no image, the output is of a kind that is not written, an input or
            another file would be overwritten, or two images would be written to one file.
    """
    variants = swept(sweep) if sweep else {"": {}}
    _check_output(output)
    names, left_out = find_images(inputs)
    jobs = {source: os.path.join(output, _target(name)) for source, name in names.items()}
    if output.suffix.lower() in IMAGE_EXTENSIONS and not output.is_dir():
        if len(jobs) > 1:
            raise ValueError(f"{output}: one file cannot hold {len(jobs)} images; give a folder")
        jobs = dict.fromkeys(jobs, str(output))
    jobs = _told_apart(jobs)
    grid = f"_{sweep.partition('=')[0]}" if sweep else ""
    endings = [*variants, *([grid] if grid else [])]
    _check_targets(jobs, endings, overwrite or resume)
    done = [source for source, target in jobs.items() if resume and _is_done(target, endings)]
    for source in done:
        del jobs[source]
    if resume:
        _remove_unfinished(with_ending(target, ending) for target in jobs.values() for ending in endings)
    return Plan(list(jobs.items()), left_out, variants, output, done, grid)


def _is_done(target: str, endings: Sequence[str]) -> bool:
    return all(os.path.isfile(with_ending(target, ending)) for ending in endings)


def _remove_unfinished(targets: Iterable[str]) -> None:
    """Remove what a killed run had begun to write in the place of these files; nothing else writes them."""
    folders: dict[str, set[str]] = {}
    for target in targets:
        folders.setdefault(os.path.dirname(target), set()).add(unfinished_start(target))
    for folder, starts in folders.items():
        if os.path.isdir(folder or "."):
            with os.scandir(folder or ".") as entries:
                begun = [
                    entry.path for entry in entries if entry.name.partition(".part")[0].rpartition(".")[0] in starts
                ]
            for path in begun:
                if is_unfinished(Path(path)):
                    os.unlink(path)


def find_images(inputs: Sequence[Path]) -> tuple[dict[str, str], dict[str, str]]:
    """The images that a user names.

    Args:
        inputs: images, folders that are searched through, and patterns such as `photos/*.jpg` (`**` for folders below).

    Returns:
        The name of each image below its folder, with `/`; and why other files in the folders are left out.

    Raises:
        ValueError: an input does not exist, or there is no image.
    """
    images: dict[str, str] = {}
    left_out: dict[str, str] = {}
    for given in inputs:
        if given.is_dir():
            names, others = list_folder(given)
            images |= {os.path.join(given, name): name for name in names}
            left_out |= {os.path.join(given, name): reason for name, reason in others.items()}
        elif os.path.lexists(given):
            images[str(given)] = given.name
        elif _is_pattern(str(given)):
            matches = sorted(glob.glob(str(given), recursive=True))
            named = {match: os.path.basename(match) for match in matches if os.path.isfile(match)}
            images |= {match: name for match, name in named.items() if _extension(name) in READ_EXTENSIONS}
            left_out |= {match: "no image" for match in named if match not in images}
            if not named:
                raise ValueError(f"{given}: no file has such a name")
        else:
            raise ValueError(f"{given}: there is no such file or folder")
    if not images:
        others_text = f" ({counted(len(left_out), 'file')} left out)" if left_out else ""
        known = ", ".join(sorted(READ_EXTENSIONS))
        raise ValueError(f"no image in {', '.join(map(str, inputs))}{others_text}; known kinds: {known}")
    return images, left_out


def _is_pattern(text: str) -> bool:
    return any(letter in text for letter in "*?[")


def _extension(name: str) -> str:
    return os.path.splitext(name)[1].lower()


def swept(sweep: str) -> dict[str, dict[str, str]]:
    """The values of a sweep, by the ending of the files' names.

    Raises:
        ValueError: it is not written as it should be.
    """
    name, equals, text = sweep.partition("=")
    bounds = text.split(":")
    if name and equals and len(bounds) == 3:
        with suppress(ValueError):
            low, high, count = float(bounds[0]), float(bounds[1]), int(bounds[2])
            if count >= 2:
                values = [f"{low + (high - low) * index / (count - 1):g}" for index in range(count)]
                return {f"_{name}={value}": {name: value} for value in values}
    elif name and equals and text and len(bounds) == 1:
        return {f"_{name}={value}": {name: value} for value in text.split(",")}
    raise ValueError(f"--sweep: expected name=from:to:count (of 2 or more) or name=a,b,c, got '{sweep}'")


def with_ending(target: str, ending: str) -> str:
    """The name of a file with an ending before its extension."""
    stem, extension = os.path.splitext(target)
    return f"{stem}{ending}{extension}" if ending else target


def counted(count: int, noun: str) -> str:
    """`1 image`, `2 images`."""
    return f"{count} {noun}{'s' * (count != 1)}"


def _check_output(output: Path) -> None:
    known = ", ".join(sorted(IMAGE_EXTENSIONS))
    suffix = output.suffix.lower()
    if suffix in OTHER_KINDS and not output.is_dir():
        raise ValueError(f"{output}: cannot write '{output.suffix}' files; give a folder, or one of {known}")
    if suffix not in IMAGE_EXTENSIONS and os.path.lexists(output) and not output.is_dir():
        raise ValueError(f"{output}: is a file; give a folder, or a file of one of the kinds {known}")


def _told_apart(jobs: dict[str, str]) -> dict[str, str]:
    """The same jobs; images whose results would have one name, `a.jpg` and `a.png`, keep their kinds in it."""
    counts = Counter(jobs.values())
    told = dict(jobs)
    for source, target in jobs.items():
        if counts[target] > 1:
            stem, extension = os.path.splitext(target)
            told[source] = f"{stem}_{os.path.splitext(source)[1].removeprefix('.')}{extension}"
            logger.warning("%s is written to %s, because %s is not its alone", source, told[source], target)
    return told


def _check_targets(jobs: dict[str, str], endings: Sequence[str], overwrite: bool) -> None:
    owners: dict[str, str] = {}
    for source, plain in jobs.items():
        for target in (with_ending(plain, ending) for ending in endings):
            if target in owners:
                raise ValueError(
                    f"{source} and {owners[target]} would both be written to {target}; restore them one by one"
                )
            owners[target] = source
    folders = {folder for folder in {os.path.dirname(target) for target in owners} if os.path.isdir(folder or ".")}
    existing = [target for target in owners if os.path.dirname(target) in folders and os.path.lexists(target)]
    if not existing:
        return  # the usual case, and then no input can be among the targets
    sources = {_identity(source) for source in jobs} - {None}
    for target in existing:
        if _identity(target) in sources:
            raise ValueError(f"{target}: would overwrite an input; give another output folder")
    if not overwrite:
        more = f" and {len(existing) - SHOWN} more" if len(existing) > SHOWN else ""
        verb = "exists" if len(existing) == 1 else "exist"
        raise ValueError(f"{', '.join(existing[:SHOWN])}{more}: {verb} already; --overwrite replaces what is there")


def _identity(path: str) -> tuple[int, int] | None:
    """The file itself, whatever links lead to it; None where there is none."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _target(name: str) -> str:
    stem, extension = os.path.splitext(name)
    return name if extension.lower() in {".png", *PAGES_EXTENSIONS} else f"{stem}.png"
