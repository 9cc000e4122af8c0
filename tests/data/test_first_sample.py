"""The first sample of a plug-in's dataset is checked when the dataset is built."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset

from uir.core.images import UnreadableImageError
from uir.data.center_crop_dataset import CenterCropDataset
from uir.data.first_sample import check_first_sample
from uir.data.loading import SeededDataset, collate_samples
from uir.registry import DATASET_REGISTRY

IMAGE = torch.full((3, 12, 12), 0.5)


class Plain(Dataset[Any]):
    """A dataset of somebody else's that gives whatever it was made with."""

    def __init__(self, draw: Callable[[], Any]) -> None:
        self.draw = draw

    def __len__(self) -> int:
        return 20

    def __getitem__(self, index: int) -> Any:
        return self.draw()


def check(sample: Any, is_training: bool = True) -> None:
    check_first_sample(Plain(lambda: sample), is_training)


GOOD: list[dict[str, Any]] = [
    {"lq": IMAGE, "gt": IMAGE},
    {"lq": IMAGE, "gt": IMAGE, "lq_path": "a.png", "label": 3},
    {"lq": IMAGE.numpy(), "gt": IMAGE.numpy()},
    {"lq": IMAGE[None], "gt": IMAGE[None]},  # frames
    {"lq": (IMAGE - 0.4) / 0.1, "gt": (IMAGE - 0.4) / 0.1},  # normalised
]


@pytest.mark.parametrize("sample", GOOD, ids=[str(index) for index in range(len(GOOD))])
@pytest.mark.parametrize("is_training", [True, False])
def test_usual_samples_pass(sample: Any, is_training: bool) -> None:
    check(sample, is_training)


def test_training_may_need_one_image_only() -> None:
    check({"gt": IMAGE})
    with pytest.raises(ValueError, match="a sample has gt, but not lq"):
        check({"gt": IMAGE}, is_training=False)


@pytest.mark.parametrize(
    ("sample", "said"),
    [
        ((IMAGE, IMAGE), "a sample is a tuple; expected a dictionary with `lq` and `gt`"),
        ({"image": IMAGE}, "a sample has image, but not lq; expected a float32 tensor"),
        ({"lq": [1.0], "gt": IMAGE}, "`lq` of a sample is a list; expected"),
        ({"lq": IMAGE, "gt": IMAGE.double()}, r"`gt` of a sample is float64 \[3, 12, 12\]; expected a float32"),
        ({"lq": (IMAGE * 255).byte(), "gt": IMAGE}, r"`lq` of a sample is uint8 \[3, 12, 12\]; expected a float32"),
        ({"lq": IMAGE.permute(1, 2, 0), "gt": IMAGE}, r"`lq` of a sample has the shape \[12, 12, 3\]; expected"),
        ({"lq": IMAGE[0], "gt": IMAGE}, r"`lq` of a sample has the shape \[12, 12\]"),
        ({"lq": IMAGE, "gt": 255 * IMAGE}, "`gt` of a sample has values from 127.5 to 127.5; expected"),
        ({"lq": IMAGE / 0, "gt": IMAGE}, "`lq` of a sample has values from inf to inf"),
        (
            {"lq": IMAGE, "gt": IMAGE, "lq_path": Path("a.png")},
            r"`lq_path` of a sample is a PosixPath; expected a tensor",
        ),
        ({"lq": IMAGE.numpy()[:, ::-1], "gt": IMAGE}, "`lq` of a sample cannot become part of a batch: .*negative"),
        ({"lq": IMAGE, "gt": IMAGE, "mask": None}, "`mask` of a sample is a NoneType; expected a tensor"),
    ],
)
def test_a_wrong_sample_is_told_with_the_class(sample: Any, said: str) -> None:
    with pytest.raises(ValueError, match=f"^Plain: {said}"):
        check(sample)


def test_a_fault_of_the_dataset_is_told_with_its_place() -> None:
    def draw() -> Any:
        return {}["file"]

    with pytest.raises(ValueError, match=r"^Plain: its first sample cannot be drawn: KeyError: 'file' \(.*\.py:\d+\)$"):
        check_first_sample(Plain(draw), True)


def test_a_damaged_first_file_is_left_to_the_loader() -> None:
    def draw() -> Any:
        raise UnreadableImageError("a.png", "is damaged")

    check_first_sample(Plain(draw), True)


@pytest.mark.parametrize(
    "generator",
    [random.Random(3), np.random.default_rng(3), np.random.RandomState(3), torch.Generator().manual_seed(3)],
    ids=lambda generator: type(generator).__name__,
)
def test_no_random_state_is_used_up(generator: Any) -> None:
    class Drawing(Plain):
        def __getitem__(self, index: int) -> Any:
            own: Any = self.generator
            drawn = torch.rand(1, generator=own) if isinstance(own, torch.Generator) else own.random()
            return {"lq": IMAGE * float(drawn), "gt": torch.rand(3, 4, 4) * random.random() * np.random.rand()}

    def build() -> Drawing:
        dataset = Drawing(dict)
        dataset.generator = generator.clone_state() if isinstance(generator, torch.Generator) else generator
        return dataset

    def states() -> Any:
        return random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()  # type: ignore[index]

    dataset, before = build(), states()
    kept = dataset.generator
    state = kept.get_state().tolist() if isinstance(kept, torch.Generator) else repr_of(kept)
    check_first_sample(dataset, True)
    assert states() == before
    assert state == (kept.get_state().tolist() if isinstance(kept, torch.Generator) else repr_of(kept))


def repr_of(generator: Any) -> str:
    if isinstance(generator, random.Random):
        return repr(generator.getstate())
    return repr(generator.bit_generator.state if isinstance(generator, np.random.Generator) else generator.get_state())


def test_an_option_that_the_first_reading_takes_out_is_still_there() -> None:
    class LikeBasicSR(Plain):
        io_backend: dict[str, str]

        def __getitem__(self, index: int) -> Any:
            self.io_backend.pop("type")
            return {"lq": IMAGE, "gt": IMAGE}

    dataset = LikeBasicSR(dict)
    dataset.io_backend = {"type": "disk"}
    check_first_sample(dataset, True)
    assert dataset.io_backend == {"type": "disk"}


def test_wrappers_are_looked_into() -> None:
    class FirstSampleGrey(Plain):
        def __init__(self) -> None:
            super().__init__(lambda: {"lq": IMAGE.double(), "gt": IMAGE})

    if "FirstSampleGrey" not in DATASET_REGISTRY:
        DATASET_REGISTRY.register()(FirstSampleGrey)
    with pytest.raises(ValueError, match=r"^FirstSampleGrey: `lq` of a sample is float64"):
        check_first_sample(CenterCropDataset({"type": "FirstSampleGrey"}, size=4), True)


@pytest.mark.parametrize(("more", "path"), [({}, "sample_000012"), ({"gt_path": "x/7.png"}, "x/7.png")])
def test_a_sample_without_a_path_gets_one(more: dict[str, str], path: str) -> None:
    dataset = SeededDataset(Plain(lambda: {"lq": IMAGE, "gt": IMAGE, **more}))
    assert collate_samples([dataset[12]])["lq_path"] == [path]
