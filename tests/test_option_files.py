"""The option files that come with the project: all are valid, and the small ones make a step."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import torch
import yaml

from uir.ablation.grid import read_ablation
from uir.ablation.runs import Plan, plan_runs
from uir.config.options import Stage, load_options, read_merged
from uir.engine.dry_run import describe_stage

pytestmark = pytest.mark.thorough

OPTIONS = Path(__file__).resolve().parents[1] / "options"
TRAIN, TEST = (sorted((OPTIONS / kind).glob("*.yml")) for kind in ("train", "test"))
# One of each kind is tried with every run of the tests, all with those that take longer.
PROXIES = sorted((OPTIONS / "train").glob("*dcpt_*_proxy.yml"))
QUICK = ("dcpt_nafnet_5d_proxy", "dcpt_nafnet_cdd11_proxy")


def name_of(file: Path) -> str:
    return f"{file.parent.name}/{file.stem}"


@pytest.mark.parametrize("file", TRAIN + TEST, ids=name_of)
def test_every_file_is_valid_and_named_as_its_run(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    loaded = load_options(file, is_train=file in TRAIN)
    assert loaded.options.name == file.stem
    assert loaded.unchecked == ()
    assert [record for record in caplog.records if record.levelname == "WARNING"] == []


@pytest.mark.parametrize("base", sorted((OPTIONS / "base").glob("*.yml")), ids=lambda file: file.stem)
def test_every_base_is_inherited(base: Path) -> None:
    everything = "\n".join(file.read_text() for file in OPTIONS.rglob("*.yml"))
    assert f"base: {base.name}" in everything or f"base: ../base/{base.name}" in everything


@pytest.mark.parametrize("backbone", ["nafnet", "restormer", "promptir", "swinir"])
@pytest.mark.parametrize(("method", "task"), [("dcpt", "5d"), ("dcpt", "10d"), ("mask_dcpt", "5d")])
def test_every_backbone_has_all_files_of_a_task(backbone: str, method: str, task: str) -> None:
    stem = f"{method}_{backbone}_{task}"
    assert {f"{stem}_pretrain", f"{stem}_finetune", f"{stem}_proxy"} <= {file.stem for file in TRAIN}
    assert {stem, f"{stem}_proxy"} <= {file.stem for file in TEST}


RIVALS = {  # the tasks of their files, in the published size and small
    "adair": ("3d", "5d", "5d_proxy"),
    "daclip": ("10d", "5d_proxy"),
    "diffir_s1": ("gopro", "5d_proxy"),
    "diffir_s2": ("gopro", "5d_proxy"),
    "diffuir": ("3d", "5d", "5d_proxy"),
    "idr": ("3d", "5d", "5d_proxy"),
    "instructir": ("3d", "5d", "5d_proxy"),
    "irsde": ("rain", "5d_proxy"),
    "moce_ir": ("3d", "5d", "5d_proxy", "cdd11_proxy"),
    "moce_ir_s": ("cdd11",),
    "onerestore": ("cdd11", "cdd11_proxy"),
    "refusion": ("haze", "5d_proxy"),
    "transweather": ("weather", "weather_proxy", "5d_proxy"),
    "weather_diff": ("weather", "weather_proxy"),
}
PRE_TRAINED = (
    "adair", "daclip", "diffir", "diffuir", "idr", "instructir", "irsde", "moce_ir", "onerestore", "refusion",
    "transweather", "weather_diff",
)  # fmt: skip
RIVAL_PROXIES = [f"{name}_{task}" for name, tasks in RIVALS.items() for task in tasks if task.endswith("_proxy")]
# The first stage restores no photographs, and is tested in training.
UNTESTED = ("diffir_s1_gopro", "diffir_s1_5d_proxy")


@pytest.mark.parametrize("name", RIVALS)
def test_every_rival_has_its_files(name: str) -> None:
    files = {f"{name}_{task}" for task in RIVALS[name]}
    assert files <= {file.stem for file in TRAIN}
    assert files - set(UNTESTED) <= {file.stem for file in TEST}


@pytest.mark.parametrize("method", ["dcpt", "mask_dcpt"])
@pytest.mark.parametrize("name", PRE_TRAINED)
def test_every_rival_is_pre_trained(name: str, method: str) -> None:
    stem = f"{method}_{name}_{'cdd11' if name == 'onerestore' else '5d'}"
    assert {f"{stem}_{step}" for step in ("pretrain", "finetune", "proxy")} <= {file.stem for file in TRAIN}
    assert {stem, f"{stem}_proxy"} <= {file.stem for file in TEST}


TRANSFERS = [(s, t) for s, t in itertools.product(("noise", "rain", "blur"), repeat=2) if s != t]
CELLS = {f"from_{s}-to_{t}-{kind}" for s, t in TRANSFERS for kind in ("plain", "guided")}


def plan_of(name: str) -> Plan:
    return plan_runs(read_ablation(OPTIONS / "ablation" / f"{name}.yml"), OPTIONS.parent)


@pytest.mark.parametrize("file", sorted((OPTIONS / "ablation").glob("*.yml")), ids=name_of)
def test_every_cell_of_every_ablation_is_valid(file: Path) -> None:
    plan = plan_of(file.stem)
    assert plan.ablation.name == file.stem
    assert len(plan.runs) == len(plan.ablation.cells) * len(plan.ablation.seeds)


@pytest.mark.parametrize("name", ["dcpt_transfer", "dcpt_transfer_proxy"])
def test_every_transfer_has_its_control(name: str) -> None:
    runs = {run.cell: run.options["train"] for run in plan_of(name).runs}
    assert set(runs) == CELLS
    for source, target in TRANSFERS:
        plain, guided = (runs[f"from_{source}-to_{target}-{kind}"] for kind in ("plain", "guided"))
        assert plain["network_g"] == guided["network_g"]
        if name == "dcpt_transfer":
            assert plain["datasets"] == guided["datasets"]
            assert plain["datasets"]["train"]["label"] == target
            assert set(plain["datasets"]) == {"train", f"val_{target}"}
            assert plain["path"]["pretrain_network_g"] == guided["path"]["pretrain_network_g"]
            assert (plain["model_type"], guided["model_type"]) == ("SRModel", "DCDistModel")


@pytest.mark.parametrize(
    "cell",
    [pytest.param(c, marks=[] if c.startswith("from_noise-to_rain") else pytest.mark.slow) for c in sorted(CELLS)],
)
def test_every_small_transfer_makes_a_step_of_each_stage(cell: str, tmp_path: Path) -> None:
    plan = plan_of("dcpt_transfer_proxy").only([cell])
    file = tmp_path / "run.yml"
    file.write_text(yaml.safe_dump(dict(plan.runs[0].options["train"])))
    small = ["gt_size=32", "batch_size_per_gpu=2", "num_worker_per_gpu=0"]
    loaded = load_options(file, force=["num_gpu=0", *(f"datasets:train:{key}" for key in small)], root=OPTIONS.parent)
    with torch.random.fork_rng():
        described = [describe_stage(stage) for stage in loaded.stages]
    source, target = cell.split("-")[0].removeprefix("from_"), cell.split("-")[1].removeprefix("to_")
    assert [set(stage["training"]["shares"]) for stage in described] == [
        {source}, {"rain", "noise", "haze", "low_light", "blur"}, {target},
    ]  # fmt: skip
    assert [set(stage["losses"]) for stage in described] == [
        {"l_pix"}, {"l_classify"}, {"l_pix", "l_classify"} if cell.endswith("guided") else {"l_pix"},
    ]  # fmt: skip


ADVERSARIAL = {
    "esrgan_imdn_x4_proxy": [{"pix"}, {"pix", "percep", "gan"}],
    "realesrgan_imdn_x4_proxy": [{"pix", "percep", "gan"}],
    "dasr_liang_x4_proxy": [{"pix", "percep", "regress", "gan"}],
    "nogan_nafnet_5d_proxy": [{"pix", "percep"}, set(), {"pix", "percep", "gan"}],
    "mialgo_nafnet_proxy": [{"pix"}, {"pix", "percep", "gan"}, *[{"pix", "percep", "gan", "edge"}] * 3],
}


@pytest.mark.parametrize("name", ADVERSARIAL)
def test_every_small_adversarial_training_makes_a_step_of_each_stage(name: str) -> None:
    size = "crop_size" if name.startswith("dasr") else "gt_size"
    force = ["num_gpu=0", f"datasets:train:{size}=32", "train:net_d_init_iters=0"]
    loaded = load_options(OPTIONS / "train" / f"{name}.yml", force=force)
    stages = loaded.stages or (Stage("", loaded),)
    for stage, learned in zip(stages, ADVERSARIAL[name], strict=True):
        with torch.random.fork_rng():
            losses = set(describe_stage(stage)["losses"])
        of_restorer = {loss.removeprefix("l_g_") for loss in losses if loss.startswith("l_g_")}
        # This first iteration is within a warm-up of the discriminator, or no judgement of it came before.
        waits = (name, stage.name) in {("nogan_nafnet_5d_proxy", "together"), ("esrgan_imdn_x4_proxy", "adversarial")}
        assert of_restorer == (set() if waits else learned)
        assert ("l_d_real" in losses) == ("gan" in learned or not learned)


@pytest.mark.parametrize("name", ["dasr_liang_x4", "dasr_liang_x4_proxy"])
def test_the_sets_of_dasr_liang_are_bicubic_and_one_for_each_level(name: str) -> None:
    options = read_merged(OPTIONS / "test" / f"{name}.yml")[0]
    degradations = {entry["name"]: entry["degradation"] for entry in options["datasets"].values()}
    assert options["manual_seed"] == 0
    assert degradations.pop("bicubic")["sigma"] == 0
    levels = {key: list(entry["weights"]) for key, entry in degradations.items()}
    assert levels == {"level_1": ["weak"], "level_2": ["standard"], "level_3": ["severe"]}


BASELINES = sorted((OPTIONS / "train").glob("baseline_*.yml"))


@pytest.mark.parametrize("file", BASELINES, ids=name_of)
def test_a_baseline_differs_from_its_fine_tuning_in_its_start_alone(file: Path) -> None:
    mine = read_merged(file)[0]
    theirs = read_merged(OPTIONS / "train" / f"{file.stem.replace('baseline', 'dcpt')}_finetune.yml")[0]
    assert mine["path"].get("pretrain_network_g") is None
    assert theirs["path"].pop("pretrain_network_g")
    mine["path"].pop("pretrain_network_g", None)
    assert {**mine, "name": None} == {**theirs, "name": None}


def test_every_published_baseline_is_there() -> None:
    tasks = {f"{backbone}_5d" for backbone in ("nafnet", "restormer", "promptir", "swinir")}
    assert {file.stem for file in BASELINES} == {f"baseline_{task}" for task in tasks | {"nafnet_10d", "nafnet_cdd11"}}


def test_the_classifier_of_the_transfers_fits_their_network() -> None:
    trained = load_options(OPTIONS / "train" / "dc_restormer_5d.yml", is_train=True).raw
    guided = plan_of("dcpt_transfer").only(["from_rain-to_noise-guided"]).runs[0].options["train"]
    assert (trained["network_g"], trained["network_dc"]) == (guided["network_g"], guided["network_dc"])
    assert trained["train"]["labels"] == guided["train"]["labels"]


def test_twelve_degradations_are_pre_trained_and_fine_tuned() -> None:
    stems = ("mask_dcpt_nafnet_12d_pretrain", "mask_dcpt_nafnet_12d_finetune")
    first, second = (read_merged(OPTIONS / "train" / f"{stem}.yml")[0]["datasets"]["train"]["tasks"] for stem in stems)
    assert set(first) == set(second)
    assert len(first) == 12


def test_every_task_that_is_trained_on_is_a_class() -> None:
    merged = {file.name: read_merged(file)[0] for file in TRAIN}
    classifying = {name: raw for name, raw in merged.items() if raw["train"].get("labels")}
    assert len(classifying) > 20
    for name, raw in classifying.items():
        parts = raw["train"].get("label_parts") or {}
        needed = {part for task in raw["datasets"]["train"]["tasks"] for part in parts.get(task, [task])}
        assert sorted(needed - set(raw["train"]["labels"])) == [], name


def noise_sets_of(section: object) -> list[dict[str, object]]:
    """The data sets of white noise, whatever is around them."""
    if not isinstance(section, dict):
        return []
    if section.get("type") == "PairedImageDenoiseDataset":
        return [section]
    return [noise for part in section.values() for noise in noise_sets_of(part)]


MASKED = [file for file in TRAIN + TEST if file.stem.startswith("mask_dcpt") and not file.stem.endswith("proxy")]


def test_noise_is_clipped_as_in_mask_dcpts_code() -> None:
    sets = [(file.name, noise) for file in MASKED for noise in noise_sets_of(read_merged(file)[0]["datasets"])]
    assert len(sets) > 70
    assert [name for name, noise in sets if noise.get("clip") is not True] == []


@pytest.mark.parametrize("file", sorted((OPTIONS / "test").glob("*dcpt_*.yml")), ids=name_of)
def test_a_test_takes_the_network_that_its_training_leaves(file: Path) -> None:
    raw, _ = read_merged(file)
    run = Path(raw["path"]["pretrain_network_g"]).parts[1]
    trained, _ = read_merged(OPTIONS / "train" / f"{run}.yml")
    last = (trained["train"].get("stages") or [{}])[-1]
    mine, theirs = raw["network_g"], {**trained["network_g"], **last.get("network_g", {})}
    local = {"type": "NAFNet", "train_size": None}  # of the same weights
    assert mine == theirs or {**mine, "train_size": None} == {**theirs, **local}


SMALL_MASKED = sorted((OPTIONS / "train").glob("mask_dcpt_*_proxy.yml"))
WITHOUT_PLACES = ("mask_dcpt_idr_5d_proxy", "mask_dcpt_daclip_5d_proxy")  # a hub's keys, and a time's embedding


@pytest.mark.parametrize(
    "file",
    [pytest.param(f, marks=[] if f.stem in WITHOUT_PLACES else pytest.mark.slow, id=f.stem) for f in SMALL_MASKED],
)
def test_all_can_be_masked_in_every_backbone(file: Path) -> None:
    small = ["datasets:train:batch_size_per_gpu=2", "datasets:train:num_worker_per_gpu=0", "num_gpu=0"]
    first, *_ = load_options(file, force=[*small, "train:stages:0:remask=all"]).stages
    with torch.random.fork_rng():
        described = describe_stage(first)
    assert all(torch.isfinite(torch.tensor(value)) for value in described["losses"].values())


@pytest.mark.parametrize(
    "stem",
    [
        pytest.param(s, marks=[] if s in ("adair_5d_proxy", "diffir_s2_5d_proxy") else pytest.mark.slow)
        for s in RIVAL_PROXIES
    ],
)
def test_every_small_rival_makes_a_step_of_each_stage(stem: str) -> None:
    small = ["datasets:train:batch_size_per_gpu=2", "datasets:train:num_worker_per_gpu=0", "num_gpu=0"]
    first = ["path:pretrain_network_g=~"] if stem.startswith("diffir_s2") else []
    loaded = load_options(OPTIONS / "train" / f"{stem}.yml", force=[*small, *first])
    with torch.random.fork_rng():
        steps = [describe_stage(stage) for stage in loaded.stages or (Stage("", loaded),)]
    for described in steps:
        assert described["losses"]
        assert all(torch.isfinite(torch.tensor(value)) for value in described["losses"].values())
        assert described["networks"]["network_g"]["parameters"] < 1_100_000


@pytest.mark.thorough
@pytest.mark.parametrize(
    "file",
    [pytest.param(f, marks=[] if f.stem in QUICK else pytest.mark.slow) for f in PROXIES],
    ids=lambda file: file.stem,
)
def test_every_proxy_makes_a_step_of_each_stage(file: Path) -> None:
    small = ["datasets:train:gt_size=32", "datasets:train:batch_size_per_gpu=2", "num_gpu=0"]
    loaded = load_options(file, force=small + ["datasets:train:num_worker_per_gpu=0"])
    with torch.random.fork_rng():  # a dry run seeds everything, as a run does
        found = [describe_stage(stage) for stage in loaded.stages or (Stage("", loaded),)]
    assert len(found) >= 2
    for described in found:
        assert all(torch.isfinite(torch.tensor(value)) for value in described["losses"].values())
        assert sum(described["training"]["shares"].values()) == pytest.approx(1)
        assert described["networks"]["network_g"]["parameters"] < 500_000
