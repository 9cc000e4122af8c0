"""The data sets of option files of DCPT and MaskDCPT: lists of folders, and keys that uir does not have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from uir.config.dialects import DialectError
from uir.config.yaml_file import KeyPath

SETS = (
    "PairedImageDataset",
    "PairedImageTxtlistDataset",
    "MultiPairedImageDataset",
    "PairedImageDenoiseDataset",
    "PairedImageJPEGCARDataset",
    "PairedImageGaussianBlurDataset",
    "PairedImageDehazeDataset",
    "PairedImageOutdoorRainDataset",
    "PairedImageMosaicDataset",
    "PairedImageInpaintingDataset",
)
# Keys that uir has only switched off, each with what to do instead.
SWITCHES = {
    "hist": "uir equalises no colours; equalise the degraded files, and give their folder as dataroot_lq",
    "prctile_norm": "uir stretches no images by percentiles; convert the files to [0, 1] first",
}
# Keys that identify the dialect, because no class of uir has them.
MARKS = ("txt_lists", "datasets_balance", "scale_range", *SWITCHES)
# The keys that are lists in published files, each with the keys of uir that it stands for.
_LISTS: dict[str, dict[str, tuple[str, ...]]] = {
    "PairedImageDataset": {"dataroot_gt": ("dataroot_gt",), "dataroot_lq": ("dataroot_lq",)},
    "PairedImageTxtlistDataset": {"dataroot": ("dataroot_gt", "dataroot_lq"), "txt_lists": ("meta_info_file",)},
}


@dataclass(frozen=True)
class Part:
    """One folder of a set.

    Attributes:
        section: the set that reads this folder alone.
        repeats: how often each of its images counts in an epoch.
        moved: the place in the user's file of each of its keys that is elsewhere, relative to the section.
    """

    section: dict[str, Any]
    repeats: int
    moved: dict[KeyPath, KeyPath]


def is_marked(section: Any) -> bool:
    """Whether a data set has keys that only files of the dialect have."""
    return isinstance(section, Mapping) and section.get("type") in SETS and any(key in section for key in MARKS)


def parts_of(section: Mapping[str, Any], path: KeyPath) -> list[Part]:
    """A set as one set for each folder of its lists; a set without lists is its only part.

    Raises:
        DialectError: a list is empty, the lists differ in length, or `datasets_balance` does not have a whole number
            above 0 for each folder.
    """
    rest = dict(section)
    balance = rest.pop("datasets_balance", None)
    lists = {key: rest.pop(key) for key in _LISTS.get(str(section.get("type")), {}) if key in rest}
    if not any(isinstance(value, list) for value in lists.values()) and "txt_lists" not in lists:
        return [Part(dict(section), 1, {})]
    listed = {key: value if isinstance(value, list) else [value] for key, value in lists.items()}
    first, *others = listed
    count = len(listed[first])
    if count == 0:
        raise DialectError((*path, first), ": is empty; expected at least one folder")
    for key in [key for key in others if len(listed[key]) != count]:
        raise DialectError((*path, key), f": has {len(listed[key])} items, but {first} has {count}; give equally many")
    repeats = _repeats(balance, count, (*path, "datasets_balance"))
    parts = []
    for index in range(count):
        own = dict(rest)
        moved: dict[KeyPath, KeyPath] = {}
        for key, new_keys in _LISTS[str(section["type"])].items():
            for new in new_keys if key in listed else ():
                own[new] = listed[key][index]
                moved[(new,)] = (key, index) if isinstance(lists[key], list) else (key,)
        parts.append(Part(own, repeats[index], moved))
    return parts


def _repeats(balance: Any, count: int, path: KeyPath) -> list[int]:
    if balance is None:
        return [1] * count
    numbers = balance if isinstance(balance, list) else [balance]
    if len(numbers) != count or not all(_is_count(number) for number in numbers):
        raise DialectError(path, f": expected {count} whole numbers above 0, one for each folder, got {balance!r}")
    return [int(number) for number in numbers]


def _is_count(number: Any) -> bool:
    return isinstance(number, int | float) and not isinstance(number, bool) and number >= 1
