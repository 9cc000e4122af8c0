"""The option files of the blind super-resolution family: the small ones make a step of each stage."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import torch

from uir.config.options import Stage, load_options, read_merged
from uir.data.building import training_stream
from uir.models.building import build_model
from uir.registry.components import build

pytestmark = pytest.mark.thorough

OPTIONS = Path(__file__).resolve().parents[2] / "options"
METHODS = ("dasr", "cdsr", "daa", "airnet", "crl_sr")
PROXIES = sorted(file for method in METHODS for file in (OPTIONS / "train").glob(f"{method}_*_proxy.yml"))
PUBLISHED = {
    *(f"dasr_x{scale}_iso" for scale in (2, 3, 4)), "dasr_x4_aniso",
    *(f"cdsr_x{scale}_aniso" for scale in (2, 3, 4)), "cdsr_x4_aniso_noise", "daa_x4_aniso", "airnet_5d",
}  # fmt: skip
RUNS = PUBLISHED | {"crl_sr_x4_multimodal"}  # whose weights and schedule are not known


@pytest.mark.thorough
@pytest.mark.parametrize("file", PROXIES, ids=lambda file: file.stem)
def test_every_proxy_makes_a_step_of_each_stage(file: Path) -> None:
    scale = read_merged(file)[0]["scale"]
    small = [f"datasets:train:gt_size={24 * scale}", "datasets:train:batch_size_per_gpu=2", "num_gpu=0"]
    loaded = load_options(file, force=[*small, "datasets:train:num_worker_per_gpu=0"])
    for stage in loaded.stages or (Stage("", loaded),):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            model = build_model(stage.file, torch.device("cpu"))
        model.feed_data(training_stream(stage.file).next())
        model.optimize_parameters(1)
        assert all(torch.isfinite(torch.tensor(value)) for value in model.log_dict.values())
        assert sum(p.numel() for role in model.roles() for p in model.bare[role].parameters()) < 500_000


@pytest.mark.parametrize("kind", ["train", "test"])
def test_every_published_run_has_its_file_and_its_small_twin(kind: str) -> None:
    held = {file.stem for method in METHODS for file in (OPTIONS / kind).glob(f"{method}_*.yml")}
    assert held >= RUNS | {f"{name}_proxy" for name in RUNS}


@pytest.mark.parametrize("name", sorted(RUNS | {f"{name}_proxy" for name in RUNS}))
def test_a_test_takes_the_networks_that_its_training_leaves(name: str) -> None:
    trained, tested = (read_merged(OPTIONS / kind / f"{name}.yml")[0] for kind in ("train", "test"))
    for role in "eg":
        assert tested[f"network_{role}"] == trained[f"network_{role}"]
        assert Path(tested["path"][f"pretrain_network_{role}"]).parts[1] == name


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_the_contrast_has_the_published_balance(name: str) -> None:
    train = read_merged(OPTIONS / "train" / f"{name}.yml")[0]["train"]
    slot, published = {"daa": ("ranking_opt", 0.2), "airnet": ("contrastive_opt", 0.1 * 255)}.get(
        name.split("_")[0], ("contrastive_opt", 1.0)
    )
    assert train[slot]["loss_weight"] * 255 == pytest.approx(published, rel=1e-5)
    assert train["pixel_opt"] == {"type": "L1Loss", "loss_weight": 1.0}


@pytest.mark.parametrize("name", sorted(RUNS | {f"{name}_proxy" for name in RUNS}))
def test_carried_moments_are_of_gradients_of_the_published_size(name: str) -> None:
    """The authors' Adam goes on too: what its moments hold must stand to the joint stage's gradients as theirs do."""
    first_to_joint = {"daa": 1 / 0.2, "airnet": 1 / 0.1}.get(name.split("_")[0], 1.0)
    stages = load_options(OPTIONS / "train" / f"{name}.yml").stages or ()
    assert len(stages) == (0 if name.startswith("cdsr") else 2)
    for before, after in itertools.pairwise(stages):
        assert after.carry == ("optim_e",)
        left, joint = (
            {key: spec["loss_weight"] for key, spec in stage.file.raw["train"].items() if key.endswith("_opt")}
            for stage in (before, after)
        )
        assert left == {key: pytest.approx(joint[key] * first_to_joint, rel=1e-5) for key in left}
        assert before.file.raw["train"]["optim_e"].get("eps") == after.file.raw["train"]["optim_e"].get("eps")


def published_rates(method: str) -> list[list[float]]:
    """The rate of each epoch, by the authors' rules, stage by stage; epochs count from 1."""
    if method == "airnet":  # set after each epoch, which counts from 0: the rule of one counts for the next
        rules = [
            1e-3 * 0.1 ** (epoch // 60) if epoch <= 100 else 1e-4 * 0.5 ** ((epoch - 100) // 125)
            for epoch in range(1000)
        ]
        rates = [1e-3, *rules[:-1]]
        return [rates[:100], rates[100:]]
    first = [(1e-3 if method == "dasr" else 1e-4) * 0.1 ** (epoch // 60) for epoch in range(1, 101)]
    joint = [1e-4 * 0.5 ** (epoch // 125) for epoch in range(1, 701 if method == "daa" else 501)]
    return [joint] if method == "cdsr" else [first, joint]


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_every_epoch_has_the_published_rate(name: str) -> None:
    method = name.split("_")[0]
    per_epoch = {"airnet": 400, "daa": 970}.get(method, 1000)
    loaded = load_options(OPTIONS / "train" / f"{name}.yml")
    files = [stage.file for stage in loaded.stages or ()] or [loaded]
    for file, rates in zip(files, published_rates(method), strict=True):
        train = file.raw["train"]
        milestones, gamma = (train["scheduler"][key] for key in ("milestones", "gamma"))
        assert file.options.train.total_iter == per_epoch * len(rates)
        for epoch, rate in enumerate(rates):
            lowered = sum(milestone <= epoch * per_epoch for milestone in milestones)
            assert train["optim_e"]["lr"] * gamma**lowered == pytest.approx(rate), epoch


@pytest.mark.parametrize("small", ["", "_proxy"])
def test_every_batch_of_airnet_has_each_degradation_once_and_the_queue_whole_batches(small: str) -> None:
    loaded = load_options(OPTIONS / "train" / f"airnet_5d{small}.yml")
    train = loaded.options.datasets["train"]
    assert train.arguments["sampling"] == "stratified"
    assert train.batch_size_per_gpu == len(train.arguments["tasks"]) == 5
    queue = loaded.raw["train"]["momentum_contrast"]["queue_size"]
    assert queue == (64 if small else 256) * 5


@pytest.mark.parametrize(
    ("name", "encoder", "restorer"),
    [
        ("dasr_x2_iso", 1_278_784, 4_542_811), ("dasr_x3_iso", 1_278_784, 4_727_451),
        ("dasr_x4_iso", 1_278_784, 4_690_523), ("dasr_x4_aniso", 1_278_784, 4_690_523),
        ("cdsr_x4_aniso", 2_934_592, 10_318_738), ("cdsr_x4_aniso_noise", 2_934_592, 10_318_738),
        ("daa_x4_aniso", 1_147_200 + 43_265, 1_670_424), ("airnet_5d", 1_319_936, None),
    ],
)  # fmt: skip
def test_the_networks_have_their_published_size(name: str, encoder: int, restorer: int | None) -> None:
    raw = read_merged(OPTIONS / "train" / f"{name}.yml")[0]
    for role, expected in (("e", encoder), ("g", restorer)):
        with torch.device("meta"):
            network = build("archs", raw[f"network_{role}"])
        assert expected in (None, sum(parameter.numel() for parameter in network.parameters())), role


@pytest.mark.parametrize("small", ["", "_proxy"])
def test_cdsr_trains_both_networks_from_the_start_and_every_fifth_image_has_no_noise(small: str) -> None:
    loaded = load_options(OPTIONS / "train" / f"cdsr_x4_aniso_noise{small}.yml")
    assert not loaded.stages
    degradation = build("degradations", loaded.options.datasets["train"].arguments["degradation"])
    steps = [step for seed in range(500) for step in degradation.record(seed, (96, 96)).steps or ()]
    levels = [step["sigma_255"] for step in steps if step["op"] == "GaussianNoise"]
    assert set(levels) == {0, 15}
    assert levels.count(0) / 500 == pytest.approx(0.2, abs=0.05)


def test_crl_sr_learns_by_its_two_losses() -> None:
    first, second = load_options(OPTIONS / "train" / "crl_sr_x4_multimodal.yml").stages or ()
    losses = [
        {value["type"] for key, value in stage.file.raw["train"].items() if key.endswith("_opt")}
        for stage in (first, second)
    ]
    contrastive = {"BidirectionalContrastiveLoss", "ConditionalContrastiveLoss"}
    assert losses == [{"BidirectionalContrastiveLoss"}, {"L1Loss"} | contrastive]
