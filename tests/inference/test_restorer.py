from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from uir.core.checkpoint import CheckpointError
from uir.inference.image_files import restore_files
from uir.inference.restorer import Restorer

Write = Callable[..., Path]


class Same(nn.Module):
    """Gives back what it gets, enlarged by repetition; only takes multiples of 8."""

    pad_multiple = 8

    def __init__(self, scale: int = 1) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, lq: Tensor) -> Tensor:
        assert lq.shape[-1] % 8 == lq.shape[-2] % 8 == 0
        return lq.repeat_interleave(self.scale, -1).repeat_interleave(self.scale, -2)


IMAGES = {
    "grey8": ((13, 21), np.uint8), "grey16": ((13, 21, 1), np.uint16), "rgb8": ((13, 21, 3), np.uint8),
    "rgb16": ((9, 30, 3), np.uint16), "rgba8": ((13, 21, 4), np.uint8), "float": ((5, 5, 3), np.float32),
    "rgba16": ((13, 21, 4), np.uint16), "grey and alpha": ((13, 21, 2), np.uint8), "grey float": ((13, 21), np.float32),
    "rgba float": ((13, 21, 4), np.float32),
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(IMAGES))
@pytest.mark.parametrize("tile", [None, 8])
def test_an_identity_keeps_every_kind_of_image(name: str, tile: int | None) -> None:
    shape, kind = IMAGES[name]
    generator = np.random.default_rng(0)
    image = generator.random(shape, dtype=np.float32)
    if np.issubdtype(kind, np.integer):
        image = generator.integers(0, np.iinfo(kind).max, shape, dtype=kind, endpoint=True)
    restored = Restorer(Same(), tile=tile)(image)
    assert restored.dtype == image.dtype
    assert np.array_equal(restored, image)


def test_scale_enlarges_colour_and_alpha() -> None:
    image = np.random.default_rng(0).integers(0, 256, (7, 9, 4), dtype=np.uint8)
    assert Restorer(Same(2), scale=2)(image).shape == (14, 18, 4)


@pytest.mark.parametrize("shape", [(4, 4, 5), (4,), (2, 4, 4, 3)])
def test_what_is_no_image_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="expected an image"):
        Restorer(Same())(np.zeros(shape, np.uint8))


def test_a_checkpoint_with_a_card_needs_no_option_file(write_options: Write) -> None:
    from uir.config.options import load_options
    from uir.engine.train_loop import train

    folder = train(load_options(write_options({"train.ema_decay": 0.9}), force=["train:total_iter=2"]))
    restorer = Restorer.from_pretrained(folder / "models" / "net_g_latest.pth")
    assert restorer.scale == 2
    assert restorer(np.zeros((5, 7, 3), np.uint8)).shape == (10, 14, 3)


def test_a_checkpoint_of_basicsr_needs_the_option_file(write_options: Write, tmp_path: Path) -> None:
    from uir.config.options import load_options
    from uir.registry import ARCH_REGISTRY

    file = write_options()
    load_options(file)
    weights = tmp_path / "theirs.pth"
    torch.save({"params": ARCH_REGISTRY.get("PixelShuffleSR")(6, 2).state_dict()}, weights)
    with pytest.raises(CheckpointError, match=r"has no card.*-opt"):
        Restorer.from_pretrained(weights)
    assert Restorer.from_pretrained(weights, opt=file)(np.zeros((5, 7, 3), np.uint8)).shape == (10, 14, 3)


def test_folders_keep_their_names_and_depth(tmp_path: Path) -> None:
    source = tmp_path / "in"
    (source / "sub").mkdir(parents=True)
    cv2.imwrite(str(source / "a.png"), np.full((5, 6, 3), 7, np.uint16))
    cv2.imwrite(str(source / "sub" / "b.jpg"), np.full((5, 6, 3), 7, np.uint8))
    written = restore_files(Restorer(Same()), [source], tmp_path / "out").written
    assert [str(p.relative_to(tmp_path / "out")) for p in written] == ["a.png", "sub/b.png"]
    assert cv2.imread(str(written[0]), cv2.IMREAD_UNCHANGED).dtype == np.uint16
