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
    with pytest.raises(ValueError, match="cannot be decoded"):
        Haze(depth=tmp_path / "text.png")
    np.save(tmp_path / "metres.npy", np.full((4, 4), 7.5))
    with pytest.raises(ValueError, match=r"in \[0, 1\].*7\.5"):
        Haze(depth=tmp_path / "metres.npy")


def test_cdd11_depth_is_blurred_and_limited(tmp_path):
    nearness = np.random.default_rng(0).random((60, 80)).astype(np.float32)
    np.save(tmp_path / "near.npy", nearness)
    op = Haze(beta=1.4, airlight=0.7, depth=tmp_path / "near.npy", depth_form="cdd11")
    t = np.exp(-np.minimum(1 - cv2.blur(nearness.astype(np.float64), (22, 22)), 0.7) * 1.4)
    np.testing.assert_allclose(transmission(op.sample(0, (60, 80)), (60, 80))[0].numpy(), t, atol=1e-6)


def test_cdd11_haze_also_inverts_exactly():
    hazy, record = Haze(depth_form="cdd11", airlight=(0.6, 0.9), beta=(1, 2))(IMAGE.double(), 4)
    (step,) = record.steps
    t = transmission(step, (37, 50)).double()
    assert t.min() >= np.exp(-0.7 * step["beta"]) - 1e-6
    torch.testing.assert_close((hazy - step["airlight"] * (1 - t)) / t, IMAGE.double(), rtol=0, atol=1e-9)


def test_channels_may_have_an_airlight_each():
    op = Haze(per_channel=True)
    hazy, record = op(IMAGE.double(), 4)
    (step,) = record.steps
    assert len(set(step["airlight"])) == 3
    assert all(0.7 <= airlight <= 1 for airlight in step["airlight"])
    t = transmission(step, (37, 50)).double()
    for clear, channel, airlight in zip(IMAGE.double(), hazy, step["airlight"], strict=True):
        torch.testing.assert_close((channel - airlight * (1 - t[0])) / t[0], clear, rtol=0, atol=1e-9)


def test_grey_image_takes_the_mean_airlight():
    params = Haze(per_channel=True, beta=1e6, depth_gradient=1.0, depth_angle=0).sample(0, (37, 50))
    assert Haze.apply(IMAGE[:1], params)[0, 0, 0].item() == pytest.approx(sum(params["airlight"]) / 3)


def test_each_image_of_a_batch_may_have_its_own_parameters():
    batch = torch.stack([IMAGE, IMAGE.flip(-1), 1 - IMAGE])
    params = [Haze(per_channel=bool(seed)).sample(seed, (37, 50)) for seed in range(3)]
    expected = torch.stack([Haze.apply(image, own) for image, own in zip(batch, params, strict=True)])
    torch.testing.assert_close(Haze.apply_each(batch, params), expected, rtol=0, atol=1e-6)


def test_severity_grows_with_beta_and_is_less_where_depth_is_limited():
    severities = [Haze.severity(Haze(beta=beta).sample(0, (8, 8))) for beta in (0, 0.5, 1.5, 2.5, 9)]
    assert severities == pytest.approx([0, 0.2, 0.6, 1, 1])
    assert Haze.severity(Haze(beta=2, depth_form="cdd11").sample(0, (8, 8))) == pytest.approx(0.56)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"airlight": 1.2}, r"Haze\.airlight: must be between 0 and 1"),
        ({"beta": [1.8, 0.6]}, r"Haze\.beta: the range"),
        ({"depth_form": "metres"}, r"Haze\.depth_form: expected one of linear, cdd11, got 'metres'"),
        ({"per_channel": 3}, r"Haze\.per_channel: expected true or false"),
        ({"beta": -1}, r"Haze\.beta: must be at least 0"),
    ],
)
def test_mistakes_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        Haze(**arguments)
