"""Haze: the scattering model and its depth."""

import cv2
import numpy as np
import pytest
import torch

from uir.degradations.base import replay
from uir.degradations.haze_degradation import Haze, depth_of, transmission

IMAGE = 0.05 + 0.9 * torch.rand(3, 37, 50, generator=torch.Generator().manual_seed(0))


def test_true_t_and_airlight_give_the_clear_image_back():
    hazy, record = Haze()(IMAGE.double(), 4)
    (step,) = record.steps
    t = transmission(step, (37, 50)).double()
    clear = (hazy - step["airlight"] * (1 - t)) / t
    torch.testing.assert_close(clear, IMAGE.double(), rtol=0, atol=1e-9)


def test_transmission_falls_exponentially_with_depth():
    params = Haze(beta=1.3).sample(0, (37, 50))
    depth = depth_of(params, (37, 50))
    torch.testing.assert_close(transmission(params, (37, 50)), torch.exp(-1.3 * depth))


def test_no_scattering_is_the_identity():
    assert torch.equal(Haze(beta=0)(IMAGE, 0)[0], IMAGE)


def test_endless_scattering_leaves_the_airlight():
    flat = Haze(beta=1e6, airlight=0.8, depth_gradient=1.0, depth_angle=0)(IMAGE, 0)[0]
    torch.testing.assert_close(flat[:, :-1], torch.full((3, 36, 50), 0.8), rtol=0, atol=1e-6)


def test_procedural_depth_is_smooth_and_in_0_1():
    for seed in range(5):
        depth = depth_of(Haze().sample(seed, (96, 128)), (96, 128))
        assert depth.min() >= 0
        assert depth.max() <= 1
        assert depth.diff(dim=1).abs().max() < 0.15


def test_gradient_depth_is_far_at_the_top():
    depth = depth_of(Haze(depth_gradient=1.0, depth_angle=0).sample(0, (10, 6)), (10, 6))
    assert (depth[0, 0] == 1).all()
    assert (depth[0, -1] == 0).all()


def test_defaults_stay_in_the_published_ranges():
    for seed in range(30):
        params = Haze().sample(seed, (8, 8))
        assert 0.7 <= params["airlight"] <= 1.0
        assert 0.6 <= params["beta"] <= 1.8


def test_depth_file_is_used_and_recorded_by_name(tmp_path):
    depth = np.linspace(0, 1, 37 * 50, dtype=np.float32).reshape(37, 50)
    np.save(tmp_path / "depth.npy", depth)
    hazy, record = Haze(airlight=0.9, beta=1.0, depth=tmp_path / "depth.npy")(IMAGE, 0)
    t = torch.exp(-torch.from_numpy(depth))
    torch.testing.assert_close(hazy, IMAGE * t + 0.9 * (1 - t), rtol=0, atol=1e-5)
    assert record.steps[0]["depth_file"] == str(tmp_path / "depth.npy")
    assert torch.equal(replay(record, IMAGE), hazy)


def test_sixteen_bit_depth_image_is_scaled_and_resized(tmp_path):
    path = str(tmp_path / "depth.png")
    cv2.imwrite(path, np.full((20, 30), 32768, dtype=np.uint16))
    depth = depth_of(Haze(depth=path).sample(0, (37, 50)), (37, 50))
    torch.testing.assert_close(depth, torch.full((1, 37, 50), 32768 / 65535))


def test_unusable_depth_files_are_refused(tmp_path):
    with pytest.raises(ValueError, match="there is no file"):
        Haze(depth=tmp_path / "nothing.png")
    (tmp_path / "text.png").write_text("no image")
    with pytest.raises(ValueError, match="cannot be read"):
        Haze(depth=tmp_path / "text.png")
    np.save(tmp_path / "metres.npy", np.full((4, 4), 7.5))
    with pytest.raises(ValueError, match=r"in \[0, 1\].*7\.5"):
        Haze(depth=tmp_path / "metres.npy")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"airlight": 1.2}, r"Haze\.airlight: must be between 0 and 1"),
        ({"beta": [1.8, 0.6]}, r"Haze\.beta: the range"),
        ({"beta": -1}, r"Haze\.beta: must be at least 0"),
    ],
)
def test_mistakes_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        Haze(**arguments)
