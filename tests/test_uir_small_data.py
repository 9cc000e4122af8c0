"""No photograph that uir-small learned from is in a test set: compared by their bytes and by what they show."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from uir.core.checkpoint import read_file
from uir.weights import shipped_weights

DEMO = Path(__file__).resolve().parents[1] / "datasets" / "demo" / "test"
LEARNED = ("train_clean", "train_clean_large")
IMAGES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
SIDE = 320  # pictures are compared at about this size
POINTS = 150
COPY = 0.2  # so many of the points of a copy find themselves again; of another picture at most a few hundredths


def files_in(*folders: Path) -> list[Path]:
    return sorted(file for folder in folders for file in folder.rglob("*") if file.suffix.lower() in IMAGES)


def grey(file: Path) -> np.ndarray:
    image = cv2.imread(str(file), cv2.IMREAD_GRAYSCALE)
    assert image is not None, file
    return image


def points_of(image: np.ndarray) -> np.ndarray:
    """SIFT descriptors (Lowe, IJCV 2004) as unit vectors [N, 128]: they survive cutting, resizing and JPEG."""
    factor = min(1.0, SIDE / max(image.shape))
    small = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    _, found = cv2.SIFT_create(POINTS).detectAndCompute(small, None)
    found = np.zeros((0, 128), np.float32) if found is None else found[:POINTS]
    return found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-6)


class Gallery:
    """Pictures in which copies are looked for."""

    def __init__(self, files: list[Path]) -> None:
        self.files = files
        points = [points_of(grey(file)) for file in files]
        self.points = np.concatenate(points)
        self.owner = np.repeat(np.arange(len(files)), [len(part) for part in points])

    def share(self, image: np.ndarray) -> tuple[float, Path]:
        """The largest share of a picture's points that one picture of the gallery has, also mirrored; and that one."""
        best = (0.0, self.files[0])
        for picture in (image, image[:, ::-1].copy()):
            points = points_of(picture)
            if len(points) < 10:
                continue
            likeness = points @ self.points.T
            nearest = likeness.argmax(1)
            owner, value = self.owner[nearest], likeness.max(1)
            likeness[self.owner[None] == owner[:, None]] = -1
            angle, other_angle = np.arccos(value.clip(-1, 1)), np.arccos(likeness.max(1).clip(-1, 1))
            votes = np.bincount(owner[angle < 0.7 * other_angle], minlength=len(self.files))
            best = max(best, (float(votes.max() / len(points)), self.files[int(votes.argmax())]))
        return best


@pytest.fixture(scope="module")
def data(shared: Path) -> Path:
    if not (shared / "data" / "test").is_dir():
        pytest.skip("the photographs of the report are not here")
    return shared / "data"


def test_no_file_is_in_both(data: Path) -> None:
    learned = files_in(*(data / name for name in LEARNED))
    tested = files_in(data / "test", DEMO)
    assert len(learned) > 300
    assert len(tested) > 300
    digests = {hashlib.sha256(file.read_bytes()).hexdigest() for file in learned}
    assert not digests & {hashlib.sha256(file.read_bytes()).hexdigest() for file in tested}


def test_the_folders_are_all_that_it_learned_from(data: Path) -> None:
    """By the numbers on the card of the shipped file."""
    card = read_file(shipped_weights()["uir-small"], "g")["card"]
    counts = [len(files_in(data / name)) for name in LEARNED]
    numbers = [int(number) for number in re.findall(r"(?:^|\()(\d+)(?= photographs|\))", card["data"])]
    assert numbers == [sum(counts), *counts]


@pytest.mark.thorough
def test_a_cut_resized_and_mirrored_copy_would_be_noticed(data: Path) -> None:
    files = files_in(data / LEARNED[0])[:12]
    gallery = Gallery(files)
    copy = cv2.resize(grey(files[7])[37:, 41:-60][:, ::-1], None, fx=0.8, fy=0.8, interpolation=cv2.INTER_AREA)
    coded = cv2.imdecode(cv2.imencode(".jpg", copy, [cv2.IMWRITE_JPEG_QUALITY, 60])[1], cv2.IMREAD_GRAYSCALE)
    share, file = gallery.share(coded)
    assert share > COPY
    assert file == files[7]


@pytest.mark.slow
def test_no_picture_is_in_both(data: Path) -> None:
    gallery = Gallery(files_in(*(data / name for name in LEARNED)))
    alike = []
    for file in files_in(data / "test", DEMO):
        if "lq" not in file.parts:
            share, learned = gallery.share(grey(file))
            if share > COPY:
                alike.append(f"{file.name} is {learned.name} ({share:.0%})")
    assert not alike
