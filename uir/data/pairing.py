"""Matches degraded images with clean ones, by name only; no file is opened here."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from uir.data.image_sources import ImageSource, first_column, without_extension


def pair_names(
    gt: ImageSource, lq: ImageSource, filename_tmpl: str = "{}", listed: Sequence[str] | None = None
) -> list[tuple[str, str]]:
    """Pairs `(gt name, lq name)`, sorted by the gt name.

    The degraded image of `folder/stem.ext` is `folder/filename_tmpl.format(stem)` with any extension; the same
    extension if there are several.

    Args:
        gt: the clean images.
        lq: the degraded images.
        filename_tmpl: form of a degraded file's stem from the clean one's; `{}x4` for `0001.png` and `0001x4.png`.
        listed: the clean names of a `meta_info_file`: only these are paired, in this order, and other files need no
            partner. The degraded image may then also be at the top of its folder, as BasicSR expects it.

    Raises:
        ValueError: a template without `{}`, a name without a partner, or one with several possible partners.
    """
    _check_template(filename_tmpl)
    by_stem: dict[str, list[str]] = defaultdict(list)
    for name in lq.names:
        by_stem[without_extension(name)].append(name)

    pairs, missing = [], []
    for name in gt.names if listed is None else listed:
        folder, slash, file = name.rpartition("/")
        lq_stem = filename_tmpl.format(without_extension(file))
        candidates = by_stem.get(f"{folder}{slash}{lq_stem}", [])
        if not candidates and listed is not None:
            candidates = by_stem.get(lq_stem, [])
        if candidates:
            pairs.append((name, _choose(name, candidates, lq.root)))
        else:
            missing.append(f"{folder}{slash}{lq_stem}")
    if missing:
        raise ValueError(
            f"dataroot_lq: {lq.root} lacks the partners of {len(missing)} of the images of dataroot_gt {gt.root}"
            f"{_first(missing)} (any extension; filename_tmpl is '{filename_tmpl}')"
        )
    if listed is None:
        used = {partner for _, partner in pairs}
        unused = [name for name in lq.names if name not in used]
        if unused:
            raise ValueError(
                f"dataroot_gt: {gt.root} lacks the partners of {len(unused)} of the images of dataroot_lq {lq.root}"
                f"{_first(unused)} (filename_tmpl is '{filename_tmpl}'; a `meta_info_file` picks a part of the images)"
            )
    return pairs


def read_meta_info(path: str | Path, gt: ImageSource) -> list[str]:
    """The clean names in a `meta_info_file`: one per line, the first column, the rest of the line is ignored.

    Raises:
        ValueError: the file is missing or empty, or it names an image that `gt` does not have.
    """
    names = [first_column(line) for line in _lines(path)]
    _check_held(path, names, "dataroot_gt", gt)
    return names


def read_pair_list(path: str | Path, gt: ImageSource, lq: ImageSource) -> list[tuple[str, str]]:
    """The pairs in a `meta_info_file`: on each line the clean image's name, then the degraded one's.

    Raises:
        ValueError: the file is missing or empty, a line has fewer than two names, or an image does not exist.
    """
    rows = [line.split() for line in _lines(path)]
    for row in rows:
        if len(row) < 2:
            raise ValueError(f"meta_info_file: {path}: expected a clean and a degraded image on a line, got '{row[0]}'")
    _check_held(path, [row[0] for row in rows], "dataroot_gt", gt)
    _check_held(path, [row[1] for row in rows], "dataroot_lq", lq)
    return [(row[0], row[1]) for row in rows]


def _lines(path: str | Path) -> list[str]:
    file = Path(path).expanduser()
    if not file.is_file():
        raise ValueError(f"meta_info_file: there is no file {file}")
    lines = [line for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    if not lines:
        raise ValueError(f"meta_info_file: {file} names no image")
    return lines


def _check_held(path: str | Path, names: Sequence[str], key: str, images: ImageSource) -> None:
    available = set(images.names)
    missing = [name for name in names if name not in available]
    if missing:
        raise ValueError(
            f"meta_info_file: {path} names {len(missing)} images that {key} {images.root} lacks{_first(missing)}"
        )


def _check_template(template: str) -> None:
    try:
        works = template.format("a") != template.format("b")
    except (IndexError, KeyError, ValueError):
        works = False
    if not works:
        raise ValueError(f"filename_tmpl: got '{template}'; expected '{{}}' in it, once, for the clean image's name")


def _choose(name: str, candidates: list[str], root: Path) -> str:
    if len(candidates) == 1:
        return candidates[0]
    same = [candidate for candidate in candidates if PurePosixPath(candidate).suffix == PurePosixPath(name).suffix]
    if len(same) != 1:
        raise ValueError(f"dataroot_lq: {root} has several partners of {name}: {', '.join(candidates)}; keep one")
    return same[0]


def _first(names: list[str]) -> str:
    shown = ", ".join(names[:3])
    return f", first: {shown}" if len(names) > 3 else f": {shown}"
