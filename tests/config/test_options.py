"""Option files: inheritance, overrides, and every mistake that BasicSR lets pass or answers with a riddle."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from uir.compat import basicsr_names
from uir.config.options import OptionError, basicsr_dictionary, find_root, load_options, read_merged
from uir.registry import MODEL_REGISTRY
from uir.registry.plugins import PluginError

Write = Callable[..., Path]


def problems_of(file: Path, **arguments: Any) -> str:
    with pytest.raises(OptionError) as caught:
        load_options(file, **arguments)
    return str(caught.value)


# --- what BasicSR accepts silently, or answers with a bare KeyError ---


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train.ema_decya": 0.9}, "train.ema_decya is not an option; did you mean ema_decay?"),
        (
            {"val.metrics.psnr.test_y_chanel": True},
            "val.metrics.psnr.test_y_chanel is not an argument of calculate_psnr; did you mean test_y_channel?",
        ),
        ({"train.use_amp": True}, "train.use_amp is not an option; mixed precision is `precision: bf16`"),
        ({"path.vgg_weights": "some_file.pth"}, "path.vgg_weights is not an option"),
        ({"datasets.train.use_flip": True}, "datasets.train.use_flip is not an argument of PairedImageDataset"),
        ({"val.metrics.psnr.crop_border": None}, "val.metrics.psnr (calculate_psnr) lacks crop_border"),
        ({"network_g.num_fea": 3}, "network_g.num_fea is not an argument of PixelShuffleSR"),
        ({"network_g": {"type": "MSRResnet"}}, "no arch is called 'MSRResnet'; nearest: MSRResNet"),
        ({"train.total_iter": "fast"}, "train.total_iter: expected a whole number, got 'fast'"),
        ({"train.optim_g.lr": "fast"}, "train.optim_g.lr: expected a number, got 'fast'"),
        ({"train.optim_g.betas": "high"}, "train.optim_g.betas: expected a list, got 'high'"),
        ({"train.optim_g.type": "Adamm"}, "no optimizer is called 'Adamm'; nearest: Adam"),
        ({"train.scheduler.gama": 0.5}, "train.scheduler.gama is not an argument of MultiStepLR; did you mean gamma?"),
        ({"train.scheduler.type": "CosineLR"}, "no scheduler is called 'CosineLR'"),
        ({"train.pixel_opt.reduction": 3}, "train.pixel_opt.reduction"),
        ({"train.optim_g": None}, "train lacks optim_g, the optimizer of network_g"),
        ({"model_type": "SRModle"}, "no model is called 'SRModle'; nearest: SRModel"),
        ({"datasets.valid": {"type": "PairedImageDataset"}}, "datasets.valid: a dataset's key starts with train, val"),
        ({"datasets.train.iters": [1, 2]}, "datasets.train: iters, gt_sizes, mini_batch_sizes go together"),
        ({"datasets.val.mixup": {"beta": 1}}, "datasets.val.mixup changes batches of a training set only; remove it"),
        ({"datasets.train.batch_size_per_gpu": None}, "datasets.train.batch_size_per_gpu is missing"),
        ({"datasets.train.type": None}, "datasets.train lacks `type`"),
        ({"datasets": None}, "datasets is missing"),
        ({"network_g": None}, "network_g is missing"),
        ({"name": None}, "name is missing"),
        ({"train": None}, "train is missing"),
        ({"logger.print_freq": 0}, "logger.print_freq"),
        ({"precision": "fp8"}, "precision: should be 'fp32', 'bf16' or 'fp16', got 'fp8'"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_the_nearest_valid_name(
    write_options: Write, changes: dict[str, Any], message: str
) -> None:
    assert message in problems_of(write_options(changes))


@pytest.mark.parametrize("key", ["scale", "num_gpu", "logger", "path", "manual_seed"])
def test_what_has_a_sensible_default_may_be_left_out(write_options: Write, key: str) -> None:
    assert load_options(write_options({key: None})).options.name == "small"


def test_grad_clip_works_at_both_places(write_options: Write) -> None:
    assert load_options(write_options({"grad_clip": 0.01})).options.grad_clip == 0.01
    train = load_options(write_options({"train.grad_clip": {"max_norm": 1.0}})).options.train
    assert train is not None
    assert train.grad_clip.max_norm == 1.0  # type: ignore[union-attr]


def test_two_norms_to_clip_at_are_refused(write_options: Write) -> None:
    message = "grad_clip: 0.01, but train.grad_clip is 1.0; keep one of them"
    assert message in problems_of(write_options({"grad_clip": 0.01, "train.grad_clip": 1.0}))


def test_exponents_without_a_dot_are_numbers(write_options: Write) -> None:
    file = write_options()
    file.write_text(file.read_text().replace("lr: 0.001", "lr: 1e-4"))
    assert load_options(file).options.train.optim_g.lr == 1e-4  # type: ignore[union-attr]


def test_all_mistakes_are_reported_at_once_with_file_and_line(write_options: Write) -> None:
    file = write_options({"scal": 4, "train.ema_decya": 0.9, "logger.print_freqq": 3})
    lines = problems_of(file).splitlines()
    text = file.read_text().splitlines()
    for key in ("scal", "ema_decya", "print_freqq"):
        number = next(i for i, line in enumerate(text, 1) if line.strip().startswith(f"{key}:"))
        assert any(line.startswith(f"{file}:{number}: ") and key in line for line in lines)


def test_the_typed_options_cannot_be_changed(write_options: Write) -> None:
    options = load_options(write_options()).options
    with pytest.raises(Exception, match="frozen"):
        options.scale = 3


def test_a_model_in_basicsr_manner_refuses_what_it_cannot_honour(write_options: Write) -> None:
    changes = {"model_type": "basicsr:SRModel", "precision": "bf16", "train.accumulate": 2, "train.grad_clip": 0.1}
    text = problems_of(write_options(changes))
    for key in ("precision", "train.accumulate", "train.grad_clip"):
        assert f"{key} cannot be used with basicsr:SRModel" in text


def test_a_class_that_is_no_training_method_is_named(write_options: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MODEL_REGISTRY, "_objects", {"plugin": {}, "uir": {**MODEL_REGISTRY._objects["uir"]}})
    file = write_options({"model_type": "NoMethod", "plugins": ["./small_net.py", "./no_method.py"]})
    (file.parent / "no_method.py").write_text(
        "from uir.registry import MODEL_REGISTRY\n@MODEL_REGISTRY.register()\nclass NoMethod:\n    pass\n"
    )
    assert "model_type: NoMethod is not a training method" in problems_of(file)


@pytest.mark.parametrize("value", ["4", "1e1", '"4"'])
def test_a_number_written_oddly_reaches_the_constructor_as_a_number(write_options: Write, value: str) -> None:
    loaded = load_options(write_options(), force=[f"network_g:width={value}"])
    assert loaded.options.network_g.arguments["width"] in (4, 10)  # type: ignore[attr-defined]
    assert isinstance(loaded.options.network_g.arguments["width"], int)  # type: ignore[attr-defined]


@pytest.mark.skipif(not basicsr_names(), reason="basicsr is not installed")
def test_a_model_of_basicsr_s_needs_a_scheduler(write_options: Write) -> None:
    text = problems_of(write_options({"model_type": "basicsr:SRModel", "train.scheduler": None}))
    assert "train lacks scheduler, which basicsr:SRModel needs" in text


# --- overrides ---


@pytest.mark.parametrize(
    ("override", "read"),
    [
        ("train:optim_g:lr=1e-4", lambda o: o.train.optim_g.lr == 1e-4),
        ("train:warmup_iter=-1", lambda o: o.train.warmup_iter == -1),
        ("name=a=b", lambda o: o.name == "a=b"),
        ("datasets:train:use_rot=false", lambda o: o.datasets["train"].arguments["use_rot"] is False),
        ("train:scheduler:milestones=[1, 2]", lambda o: o.train.scheduler.arguments["milestones"] == [1, 2]),
        ("train:scheduler:milestones:0=3", lambda o: o.train.scheduler.arguments["milestones"] == [3]),
        ("val:suffix=x", lambda o: o.val.suffix == "x"),
    ],
)
def test_force_yml_takes_yaml_values(write_options: Write, override: str, read: Callable[[Any], bool]) -> None:
    assert read(load_options(write_options(), force=[override]).options)


def test_force_yml_with_an_unknown_key_is_an_error_that_names_the_override(write_options: Write) -> None:
    text = problems_of(write_options(), force=["train:ema_dcay=0.5"])
    assert "--force_yml train:ema_dcay=0.5: train.ema_dcay is not an option; did you mean ema_decay?" in text


def test_force_yml_evaluates_nothing(write_options: Write) -> None:
    value = "__import__('os').getcwd()"
    assert load_options(write_options(), force=[f"name={value}"]).options.name == value


@pytest.mark.parametrize("override", ["name", "=3", "train:optim_g:lr:x=1"])
def test_a_malformed_override_is_an_error(write_options: Write, override: str) -> None:
    assert f"--force_yml {override}" in problems_of(write_options(), force=[override])


# --- inheritance ---


def test_base_merges_mappings_replaces_lists_and_deletes_with_null(tmp_path: Path) -> None:
    (tmp_path / "base.yml").write_text("a: {b: 1, c: [1, 2]}\nd: 4\ne: 5\n")
    (tmp_path / "file.yml").write_text("base: base.yml\na: {c: [3]}\nd: ~\nf: 6\n")
    raw, marks = read_merged(tmp_path / "file.yml")
    assert raw == {"a": {"b": 1, "c": [3]}, "e": 5, "f": 6}
    assert (marks[("a", "b")].file.name, marks[("a", "c")].file.name) == ("base.yml", "file.yml")


def test_a_mistake_in_the_base_is_reported_in_its_own_file(write_options: Write) -> None:
    base = write_options({"train.ema_decya": 0.9}, name="base.yml")
    file = base.with_name("child.yml")
    file.write_text("base: base.yml\nname: child\nscal: 2\n")
    text = problems_of(file)
    assert "base.yml:" in text
    assert f"{file}:3: scal is not an option" in text


def test_a_missing_base_is_named_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "a.yml").write_text("name: x\nbase: nowhere.yml\n")
    with pytest.raises(OptionError, match=rf"a\.yml:2: base: there is no file {tmp_path}/nowhere\.yml"):
        read_merged(tmp_path / "a.yml")


def test_a_circle_of_bases_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.yml").write_text("base: b.yml\n")
    (tmp_path / "b.yml").write_text("base: a.yml\n")
    with pytest.raises(OptionError, match=r"circle: a\.yml -> b\.yml -> a\.yml"):
        read_merged(tmp_path / "a.yml")


def test_a_long_chain_of_bases_is_refused_at_once(tmp_path: Path) -> None:
    for number in range(60):
        (tmp_path / f"{number}.yml").write_text(f"base: {number + 1}.yml\nname: x\n")
    assert "more than 50 files inherit one from another" in problems_of(tmp_path / "0.yml")


def test_a_home_of_nobody_is_a_folder_that_does_not_exist(tmp_path: Path) -> None:
    file = tmp_path / "a.yml"
    file.write_text("base: ~nouser/x.yml")
    assert f"base: there is no file {tmp_path}/~nouser/x.yml" in problems_of(file)
    assert "~nouser/x.yml: No such file" in problems_of(Path("~nouser/x.yml"))


@pytest.mark.parametrize("key", ["datasets.train.dataroot_gt", "path.pretrain_network_g"])
def test_a_path_with_a_null_character_is_refused(write_options: Write, key: str) -> None:
    assert f"{key}: no file can have the name" in problems_of(write_options({key: "a\0b"}))


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"none\.yml: No such file"):
        load_options(tmp_path / "none.yml")


# --- root and paths ---


def test_the_root_is_the_nearest_ancestor_that_holds_options(tmp_path: Path) -> None:
    file = tmp_path / "project" / "options" / "train" / "x.yml"
    file.parent.mkdir(parents=True)
    assert find_root(file) == tmp_path / "project"
    assert find_root(tmp_path / "elsewhere" / "x.yml") == tmp_path / "elsewhere"


def test_restormer_s_capital_options_mark_the_root_too(tmp_path: Path) -> None:
    file = tmp_path / "Deraining" / "Options" / "x.yml"
    file.parent.mkdir(parents=True)
    assert find_root(file) == tmp_path / "Deraining"


def test_the_name_of_shipped_weights_is_their_file(write_options: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write_options({"path.pretrain_network_g": "ours"})
    shipped = file.parents[1] / "elsewhere" / "ours.safetensors"
    monkeypatch.setattr("uir.weights.FOLDER", shipped.parent)
    shipped.parent.mkdir()
    shipped.touch()
    assert load_options(file).options.path.pretrain_network_g == shipped  # type: ignore[attr-defined]
    (file.parents[1] / "ours").touch()
    assert load_options(file).options.path.pretrain_network_g == file.parents[1] / "ours"  # type: ignore[attr-defined]


def test_relative_paths_start_at_the_root_wherever_one_stands(
    write_options: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write_options({"datasets.train.dataroot_gt": "data/gt", "path.pretrain_network_g": "weights/x.pth"})
    monkeypatch.chdir("/")
    loaded = load_options(file)
    root = file.parents[1]
    assert loaded.options.datasets["train"].arguments["dataroot_gt"] == str(root / "data" / "gt")
    assert loaded.options.path.pretrain_network_g == root / "weights" / "x.pth"  # type: ignore[attr-defined]
    assert loaded.run_dir == root / "experiments" / "small"


def test_a_plugin_of_the_file_is_found_beside_it_and_a_broken_one_is_named(write_options: Write) -> None:
    file = write_options({"plugins": ["./small_net.py", "./broken.py"]})
    (file.parent / "broken.py").write_text("import no_such_module_at_all\n")
    with pytest.raises(PluginError, match=r"broken\.py.*run\.yml:\d+.*no_such_module_at_all"):
        load_options(file)


# --- BasicSR's dictionary ---


def test_the_dictionary_is_complete_and_fresh(write_options: Write) -> None:
    loaded = load_options(write_options())
    opt = basicsr_dictionary(loaded, num_gpu=0)
    root = loaded.root
    assert (opt["is_train"], opt["dist"], opt["rank"], opt["world_size"], opt["num_gpu"]) == (True, False, 0, 1, 0)
    assert opt["path"]["models"] == str(root / "experiments" / "small" / "models")
    assert opt["datasets"]["val"]["phase"] == "val"
    assert opt["datasets"]["train"]["scale"] == 2
    opt["train"]["optim_g"].pop("type")
    assert basicsr_dictionary(loaded, num_gpu=0)["train"]["optim_g"]["type"] == "Adam"


def test_debug_renames_and_hurries(write_options: Write) -> None:
    options = load_options(write_options(), debug=True).options
    assert options.name == "debug_small"
    assert (options.logger.print_freq, options.logger.save_checkpoint_freq, options.val.val_freq) == (1, 8, 8)  # type: ignore[union-attr]


def test_debug_keeps_the_other_keys_of_the_log(write_options: Write) -> None:
    assert load_options(write_options({"logger.keep_last": 3}), debug=True).options.logger.keep_last == 3
    assert load_options(write_options({"logger": None}), debug=True).options.logger.print_freq == 1
    assert not load_options(write_options({"logger.use_tb_logger": True}), debug=True).options.logger.use_tb_logger


def test_a_drawn_seed_is_recorded(write_options: Write) -> None:
    loaded = load_options(write_options({"manual_seed": None}))
    assert loaded.options.manual_seed == loaded.raw["manual_seed"]
    assert 1 <= loaded.seed <= 10000


SECTIONS = [
    "datasets", "datasets.train", "network_g", "path", "train", "train.optim_g", "train.scheduler", "train.pixel_opt",
    "train.stages", "val", "val.metrics", "val.metrics.psnr", "val.radar", "logger", "dist_params",
]  # fmt: skip


@pytest.mark.parametrize("value", [-5, 0.5, True, "text", [1], {"a": 1}])
@pytest.mark.parametrize("key", SECTIONS)
def test_something_else_in_the_place_of_a_section_is_a_mistake(write_options: Write, key: str, value: Any) -> None:
    for debug in (False, True):
        with pytest.raises(OptionError, match=key.split(".")[0]):
            load_options(write_options({key: value}), debug=debug)
