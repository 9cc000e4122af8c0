"""CDD-11 (OneRestore, ECCV 2024): the composites of one scene from its depth, light, rain and snow, by the formulas."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from uir.degradations.haze_degradation import Haze
from uir.degradations.low_light_degradation import RetinexLowLight
from uir.degradations.pipeline_degradation import Sequence
from uir.degradations.rain_degradation import RainStreaks
from uir.degradations.snow_degradation import Snow

# the two maps bear each other's name: the "depth" shows leaves and sky, the "light" brightens with nearness
LIGHT, NEARNESS = "depth_map_1.jpg", "light_map_1.jpg"
GAMMA, BETA, AIRLIGHT = 2.5, 1.5, 0.75


@pytest.fixture(scope="module")
def scene(shared):
    folder = shared / "data/aux/onerestore_syn"
    if not folder.is_dir():
        pytest.skip("the folder ../shared/data/aux/onerestore_syn is absent")
    return folder


def grey(path: Path, size: tuple[int, int]) -> np.ndarray:
    plane = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) / 255.0
    return cv2.resize(plane, size[::-1], interpolation=cv2.INTER_LINEAR)[..., None]


def clear_of(scene: Path) -> np.ndarray:
    return cv2.imread(str(scene / "clear_1.jpg"))[..., ::-1] / 255.0


def low(image: np.ndarray, scene: Path) -> np.ndarray:
    def box(plane: np.ndarray) -> np.ndarray:
        return cv2.blur(plane, (3, 3))

    guide = grey(scene / LIGHT, image.shape[:2])[..., 0]
    source = image @ np.array([0.299, 0.587, 0.114])
    slope = (box(guide * source) - box(guide) * box(source)) / (box(guide**2) - box(guide) ** 2 + 0.01)
    offset = box(source) - slope * box(guide)
    light = (box(slope) * guide + box(offset))[..., None].clip(0) + 1e-7
    return image / light * light**GAMMA


def rain(image: np.ndarray, scene: Path) -> np.ndarray:
    return image + grey(scene / "rain_mask_00001.jpg", image.shape[:2])


def snow(image: np.ndarray, scene: Path) -> np.ndarray:
    mask = grey(scene / "snow_mask_beautiful_smile_00006.jpg", image.shape[:2])
    return image * (1 - mask) + mask


def haze(image: np.ndarray, scene: Path) -> np.ndarray:
    depth = 1 - cv2.blur(grey(scene / NEARNESS, image.shape[:2]), (22, 22))[..., None]
    t = np.exp(-np.minimum(depth, 0.7) * BETA)
    return image * t + AIRLIGHT * (1 - t)


def ops(scene: Path) -> dict:
    return {
        low: RetinexLowLight(gamma=GAMMA, noise_sigma=0, light=scene / LIGHT, clip=False),
        rain: RainStreaks(mask=scene / "rain_mask_00001.jpg", clip=False),
        snow: Snow(
            mask=scene / "snow_mask_beautiful_smile_00006.jpg", opacity=1, brightness=1, transmission=1, clip=False
        ),
        haze: Haze(beta=BETA, airlight=AIRLIGHT, depth=scene / NEARNESS, depth_form="cdd11"),
    }


@pytest.mark.thorough
@pytest.mark.parametrize("steps", [(low,), (rain,), (snow,), (haze,), (low, rain, haze), (low, snow, haze)])
def test_composites_are_those_of_the_formulas(scene, steps):
    clear = clear_of(scene)
    expected = clear
    for step in steps:
        expected = step(expected, scene)
    composite, _ = Sequence([ops(scene)[step] for step in steps])(torch.from_numpy(clear).float().permute(2, 0, 1), 0)
    expected = expected.clip(0, 1) if haze in steps else expected
    np.testing.assert_allclose(composite.permute(1, 2, 0).numpy(), expected, atol=2e-6)


def test_far_things_are_hazier(scene):
    hazy, _ = ops(scene)[haze](torch.zeros(3, 720, 1080), 0)
    houses, street = hazy[:, 350:450], hazy[:, -60:]
    assert houses.mean() > 1.5 * street.mean()


def test_bright_things_stay_brighter_in_low_light(scene):
    clear = torch.from_numpy(clear_of(scene)).float().permute(2, 0, 1)
    dark = ops(scene)[low](clear, 0)[0].mean(dim=0)
    sky, tree = (slice(0, 40), slice(560, 680)), (slice(300, 380), slice(430, 500))
    assert clear.mean(dim=0)[sky].mean() / clear.mean(dim=0)[tree].mean() < dark[sky].mean() / dark[tree].mean()


def test_a_folder_gives_one_of_its_masks(scene, tmp_path):
    names = set()
    for index in (1, 2, 3):
        (tmp_path / f"{index}.jpg").symlink_to(scene / f"rain_mask_0000{index}.jpg")
    op = RainStreaks(mask=tmp_path)
    for seed in range(20):
        names.add(op.sample(seed, (8, 8))["mask_file"])
    assert names == {str(tmp_path / f"{index}.jpg") for index in (1, 2, 3)}
