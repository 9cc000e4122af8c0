"""Matches degraded images with clean ones, by name only; no file is opened here."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from uir.data.image_sources import ImageSource, without_extension
from uir.data.listings import Names, composed, first_column, names_an_image, read_lines

# Starts of names in sets that name both sides differently: LOL-v2's normal00690.png and low00690.png.
OTHER_STARTS = {"normal": "low"}


def pair_names(
    gt: ImageSource,
    lq: ImageSource,
    filename_tmpl: str = "{}",
    listed: Sequence[tuple[str, str | None]] | None = None,
) -> list[tuple[str, str]]:
    """Pairs `(gt name, lq name)`, sorted by the gt name.

    The degraded image of `folder/stem.ext` is `folder/filename_tmpl.format(stem)` with any extension; the same
    extension if there are several. Names that differ only in Unicode's form (NFC, NFD) are the same, and `lowX` belongs
    to `normalX`.

    Args:
        gt: the clean images.
        lq: the degraded images.
        filename_tmpl: form of a degraded file's stem from the clean one's; `{}x4` for `0001.png` and `0001x4.png`.
        listed: the clean names of a `meta_info_file`, each with the degraded one if the file names it: only these are
            paired, in this order, and other files need no partner. The degraded image may then also be at the top of
            its folder, as BasicSR expects it.

    Raises:
        ValueError: a template without `{}`, a name without a partner, or one with several possible partners.
    """
    _check_template(filename_tmpl)
    by_stem: dict[str, list[str]] = defaultdict(list)
    for name in lq.names:
        by_stem[composed(without_extension(name))].append(name)

    pairs, missing = [], []
    for name, partner in [(name, None) for name in gt.names] if listed is None else listed:
        folder, slash, file = composed(name).rpartition("/")
        lq_stem = filename_tmpl.format(without_extension(file))
        stem = f"{folder}{slash}{lq_stem}"
        candidates = [partner] if partner else by_stem.get(stem) or _elsewhere(by_stem, stem, listed is not None)
        if candidates:
            pairs.append((name, _choose(name, candidates, lq.root)))
        else:
            missing.append(stem)
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


def read_meta_info(path: str | Path, gt: ImageSource, lq: ImageSource) -> list[tuple[str, str | None]]:
    """The clean names in a `meta_info_file`, each with the degraded one if it is after a comma, as in Real-ESRGAN.

    Other columns of a line are ignored. Names may contain blanks, and `\\` between folders.

    Raises:
        ValueError: the file is missing or empty, or it names an image that does not exist.
    """
    clean, degraded = Names(gt.names), Names(lq.names)
    pairs: list[tuple[str, str | None]] = []
    missing: dict[str, list[str]] = {"dataroot_gt": [], "dataroot_lq": []}
    for line in read_lines("meta_info_file", path):
        name, rest = clean.at_start(line) or (None, "")
        second = rest.removeprefix(",").strip() if rest.startswith(",") else ""
        partner, _ = (degraded.at_start(second) if second else None) or (None, "")
        if name is None:
            missing["dataroot_gt"].append(first_column(line))
        elif partner is None and names_an_image(second.split(",")[0].strip()):
            missing["dataroot_lq"].append(second.split(",")[0].strip())
        else:
            pairs.append((name, partner))
    _check_missing(path, missing, gt, lq)
    return pairs


def read_pair_list(path: str | Path, gt: ImageSource, lq: ImageSource) -> list[tuple[str, str]]:
    """The pairs in a `meta_info_file`: on each line the clean image's name, then the degraded one's.

    Raises:
        ValueError: the file is missing or empty, a line has fewer than two names, or an image does not exist.
    """
    clean, degraded = Names(gt.names), Names(lq.names)
    pairs: list[tuple[str, str]] = []
    missing: dict[str, list[str]] = {"dataroot_gt": [], "dataroot_lq": []}
    for line in read_lines("meta_info_file", path):
        name, rest = clean.at_start(line) or (None, "")
        if name is None:
            missing["dataroot_gt"].append(first_column(line))
            continue
        rest = rest.lstrip(", \t")
        if not rest:
            raise ValueError(f"meta_info_file: {path}: expected a clean and a degraded image on a line, got '{name}'")
        partner, _ = degraded.at_start(rest) or (None, "")
        if partner is None:
            missing["dataroot_lq"].append(rest if names_an_image(rest) else first_column(rest))
        else:
            pairs.append((name, partner))
    _check_missing(path, missing, gt, lq)
    return pairs


def _check_missing(path: str | Path, missing: Mapping[str, list[str]], gt: ImageSource, lq: ImageSource) -> None:
    for (key, names), images in zip(missing.items(), (gt, lq), strict=True):
        if names:
            raise ValueError(
                f"meta_info_file: {path} names {len(names)} images that {key} {images.root} lacks{_first(names)}"
            )


def _elsewhere(by_stem: Mapping[str, list[str]], stem: str, at_top: bool) -> list[str]:
    """The partners of a clean image under another name than `stem`: at the top of the folder, or with another start."""
    folder, slash, file = stem.rpartition("/")
    others = [file] if at_top else []
    others += [f"{folder}{slash}{lq}{file[len(gt) :]}" for gt, lq in OTHER_STARTS.items() if file.startswith(gt)]
    return next((by_stem[other] for other in others if other in by_stem), [])


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
