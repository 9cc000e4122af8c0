"""Keys of BasicSR's forks: what becomes of each, and that a file reads the same before and after it is converted."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from uir.compat import basicsr_names
from uir.config.converting import convert
from uir.config.dialects import translate
from uir.config.options import OptionError, load_options, read_merged
from uir.registry import MODEL_REGISTRY

Form = dict[str, Any]


def restormer() -> Form:
    """A training of Restormer's form, small."""
    pair = {"dataroot_gt": "gt", "dataroot_lq": "lq", "io_backend": {"type": "disk"}}
    return {
        "name": "deraining", "model_type": "ImageCleanModel", "scale": 1, "num_gpu": 0, "manual_seed": 100,
        "datasets": {
            "train": {
                "name": "rain", "type": "Dataset_PairedImage", **pair, "geometric_augs": True, "use_shuffle": True,
                "num_worker_per_gpu": 0, "batch_size_per_gpu": 8, "gt_size": 384,
                "mini_batch_sizes": [8, 4], "iters": [9, 6], "gt_sizes": [32, 48],
                "dataset_enlarge_ratio": 1, "prefetch_mode": None,
            },
            "val": {"name": "rain", "type": "Dataset_PairedImage", **pair},
        },
        "network_g": {"type": "Restormer", "dim": 8, "num_blocks": [1, 1, 1, 1], "num_refinement_blocks": 1},
        "path": {"pretrain_network_g": None, "strict_load_g": True, "resume_state": None},
        "train": {
            "total_iter": 15, "warmup_iter": -1, "use_grad_clip": True,
            "scheduler": {
                "type": "CosineAnnealingRestartCyclicLR", "periods": [5, 10], "restart_weights": [1, 1],
                "eta_mins": [3e-4, 1e-6],
            },
            "mixing_augs": {"mixup": False, "mixup_beta": 1.2, "use_identity": True},
            "optim_g": {"type": "AdamW", "lr": 3e-4, "weight_decay": 1e-4, "betas": [0.9, 0.999]},
            "pixel_opt": {"type": "L1Loss", "loss_weight": 1, "reduction": "mean"},
        },
        "val": {
            "window_size": 8, "val_freq": 4, "save_img": False, "rgb2bgr": True, "use_image": False, "max_minibatch": 8,
            "metrics": {"psnr": {"type": "calculate_psnr", "crop_border": 0, "test_y_channel": False}},
        },
        "logger": {"print_freq": 1, "save_checkpoint_freq": 4, "use_tb_logger": False},
    }  # fmt: skip


def nafnet() -> Form:
    """A training of NAFNet's form, small."""
    form = restormer()
    form["model_type"] = "ImageRestorationModel"
    form["datasets"]["train"] = {
        "name": "blur", "type": "PairedImageDataset", "dataroot_gt": "gt", "dataroot_lq": "lq", "gt_size": 32,
        "use_flip": True, "use_rot": True, "batch_size_per_gpu": 8,
    }  # fmt: skip
    form["datasets"]["val"]["type"] = "PairedImageDataset"
    form["network_g"] = {"type": "NAFNetLocal", "width": 8, "enc_blk_nums": [1, 1], "dec_blk_nums": [1, 1]}
    form["train"] = {
        "optim_g": {"type": "AdamW", "lr": 1e-3, "weight_decay": 1e-3, "betas": [0.9, 0.9]},
        "scheduler": {"type": "TrueCosineAnnealingLR", "T_max": 15, "eta_min": 1e-7},
        "total_iter": 15, "warmup_iter": -1, "pixel_opt": {"type": "PSNRLoss", "loss_weight": 1, "reduction": "mean"},
        "mixup": False,
    }  # fmt: skip
    form["val"] = {
        "val_freq": 4, "save_img": True, "grids": False, "crop_size_h": None, "max_minibatch": 8, "trans_num": 1,
        "rgb2bgr": True, "use_image": True, "metrics": form["val"]["metrics"],
    }  # fmt: skip
    return form


def denoising() -> Form:
    """A training of Restormer's denoising, small."""
    form = restormer()
    noise = {"type": "Dataset_GaussianDenoising", "dataroot_gt": "gt", "dataroot_lq": "none", "in_ch": 3}
    drawn = {"sigma_type": "random", "sigma_range": [0, 50]}
    form["datasets"]["train"] = {**noise, **drawn, "geometric_augs": True, "gt_size": 32, "batch_size_per_gpu": 4}
    form["datasets"]["val"] = {**noise, "sigma_test": 15}
    return form


FORMS = {"Restormer": restormer, "NAFNet": nafnet, "denoising": denoising}


def changed(form: Form, **changes: Any) -> Form:
    """A form with `section__key=value`; None deletes."""
    form = copy.deepcopy(form)
    for name, value in changes.items():
        *parents, leaf = name.split("__")
        target = form
        for key in parents:
            target = target[key]
        target[leaf] = value
    return form


def translated(form: Form) -> Any:
    return translate(form, {}, quiet=True)


@pytest.fixture
def old(tmp_path: Path) -> Path:
    file = tmp_path / "options" / "old.yml"
    file.parent.mkdir()
    return file


@pytest.mark.thorough
@pytest.mark.parametrize("name", FORMS)
def test_a_fork_s_file_reads_the_same_before_and_after(old: Path, name: str) -> None:
    old.write_text(yaml.safe_dump(FORMS[name](), sort_keys=False))
    new = old.with_name("new.yml")
    done = convert(old, new)
    assert done.refused == done.problems == ()
    one, other = load_options(old), load_options(new)
    assert one.options.model_dump() == other.options.model_dump()
    assert one.raw == other.raw
    again = translate(*read_merged(new))
    assert (again.notes, again.moved, again.refused) == ((), {}, {})


def test_restormer_s_keys_are_uir_s() -> None:
    found = translated(restormer()).raw
    assert found["model_type"] == "SRModel"
    assert found["train"]["grad_clip"] == 0.01
    train = found["datasets"]["train"]
    assert (train["type"], train["use_hflip"], train["use_rot"]) == ("PairedImageDataset", True, True)
    assert [train[key] for key in ("iters", "gt_sizes", "mini_batch_sizes")] == [[9, 6], [32, 48], [8, 4]]
    assert found["val"]["metrics"]["psnr"] == {
        "type": "PSNR", "crop_border": 0, "color_space": "rgb", "rounding": "none", "clip": False,
    }  # fmt: skip
    gone = {"use_grad_clip", "mixing_augs", "geometric_augs", "window_size", "rgb2bgr", "use_image", "max_minibatch"}
    assert not gone & {*found["train"], *train, *found["val"]}


def test_nafnet_clips_unless_it_is_told_not_to() -> None:
    assert translated(nafnet()).raw["train"]["grad_clip"] == 0.01
    assert "grad_clip" not in translated(changed(nafnet(), train__use_grad_clip=False)).raw["train"]
    assert translated(changed(nafnet(), train__grad_clip=1.0)).raw["train"]["grad_clip"] == 1.0
    assert "grad_clip" not in translated(changed(nafnet(), model_type="SRModel")).raw["train"]


def test_keys_keep_their_place() -> None:
    found = translated(nafnet()).raw
    assert list(found["datasets"]["train"]) == [
        "name", "type", "dataroot_gt", "dataroot_lq", "gt_size", "use_hflip", "use_rot", "batch_size_per_gpu",
    ]  # fmt: skip
    assert found["train"]["scheduler"] == {"type": "CosineAnnealingLR", "T_max": 15, "eta_min": 1e-7}


def test_padding_is_the_network_s() -> None:
    raised = translated(changed(restormer(), val__window_size=24)).raw
    assert raised["network_g"]["window_size"] == 24
    assert "window_size" not in translated(restormer()).raw["network_g"]
    swin = {"type": "SwinIR", "upscale": 1, "window_size": 8, "embed_dim": 12, "depths": [1], "num_heads": [2]}
    assert "val.window_size" in dotted(translated(changed(restormer(), network_g=swin, val__window_size=7)).refused)
    assert not translated(changed(restormer(), network_g=swin)).refused


def test_the_ensemble_of_eight_is_a_control() -> None:
    translation = translated(changed(restormer(), ensemble=True))
    assert translation.raw["val"]["controls"] == {"ensemble": 8}
    assert "ensemble" not in translation.raw


def dotted(paths: Any) -> list[str]:
    return [".".join(path) for path in paths]


REFUSED = [
    ("train__mixup", True, "train.mixup: NAFNet's code fails with it"),
    ("train__mixing_augs", True, "train.mixing_augs: mixing images is a key of the training set"),
    ("datasets__train__task", "CAR", "datasets.train.task: the images of 'CAR' are created by MambaIR's own dataset"),
    ("val__rgb2bgr", False, "val.rgb2bgr: uir saves images with their colours"),
    ("val__grids", True, "val.grids: uir tests whole images; `uir restore --tile`"),
    ("val__crop_size_h", 64, "val.crop_size_h: uir tests whole images"),
    ("val__use_chop", True, "val.use_chop: uir tests whole images"),
    ("tile", {"tile_size": 512, "tile_pad": 32}, "tile: uir tests whole images"),
    ("ensemble", 4, "ensemble: the mean over eight flips and turns is `ensemble: 8` in `val.controls`"),
    ("train__accum_iter", 2, "train.accum_iter: accumulation is `train.accumulate`"),
    ("path__ignore_resume_networks", "network_g", "path.ignore_resume_networks: uir resumes all networks"),
    ("train__losses", [{"type": "l1loss"}], "train.losses: each loss is a key of its own here"),
    ("train__use_grad_clip", "some", "train.use_grad_clip: expected true or false, got 'some'"),
    ("train__grad_clip", 1.0, "train.use_grad_clip: contradicts grad_clip in the same section"),
    ("datasets__train__use_hflip", False, "datasets.train.geometric_augs: contradicts use_hflip in the same section"),
]  # fmt: skip


@pytest.mark.thorough
@pytest.mark.parametrize(("name", "value", "said"), REFUSED, ids=[row[0] for row in REFUSED])
def test_a_key_without_an_equivalent_is_told(old: Path, name: str, value: Any, said: str) -> None:
    """Used directly the file is refused; converted, it has the key as a comment, and loads."""
    old.write_text(yaml.safe_dump(changed(restormer(), **{name: value}), sort_keys=False))
    with pytest.raises(OptionError) as error:
        load_options(old)
    line = next(line for line in str(error.value).splitlines() if said in line)
    assert line.startswith(f"{old}:")
    assert line.endswith("; `uir convert` writes the file without it")
    new = old.with_name("new.yml")
    done = convert(old, new)
    assert done.problems == ()
    assert any(said in text for text in done.refused)
    comments = [text.strip() for text in new.read_text().splitlines() if text.strip().startswith("# was: ")]
    reason = said.partition(": ")[2]
    assert any(reason in text for text in comments)
    load_options(new)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("print_network", False), ("remove_norm", False), ("crop_border", 4), ("suffix", None), ("tile", None),
         ("ensemble", False), ("save_img", True), ("val__crop_border", 4), ("dist_params", {"prot": 29500}),
         ("train__net_d_iters", 1), ("train__net_d_init_iters", 0), ("datasets__val__task", "SR"),
         ("datasets__val__suffix", "x"), ("datasets__train__save_img", True), ("datasets__val__crop_border", 4),
         ("use_amp", False), ("accum_iter", 1), ("train__losses", None),
        ("path__ignore_resume_networks", None), ("val__trans_num", 1), ("val__use_chop", False),
        ("train__mixup", False), ("datasets__train__cache_keys", "x"), ("datasets__train__accum_iter", 1),
    ],
)  # fmt: skip
def test_a_key_that_says_nothing_is_left_out(name: str, value: Any) -> None:
    found = translated(changed(restormer(), **{name: value}))
    path = (*name.split("__"), *(value if isinstance(value, dict) else ()))
    assert not found.refused
    assert path in found.reasons
    plain = translated(restormer())
    assert {**found.raw, "dist_params": {}} == {**plain.raw, "dist_params": {}}


def test_an_empty_strict_load_is_false_as_in_basicsr(old: Path) -> None:
    old.write_text(yaml.safe_dump(changed(restormer(), path__strict_load_g=None)))
    assert load_options(old).options.path.strict_load_g is False  # type: ignore[attr-defined]


def test_restormer_s_mixup_is_the_training_set_s() -> None:
    found = translated(
        changed(restormer(), train__mixing_augs={"mixup": True, "mixup_beta": 1.5, "use_identity": True})
    )
    assert found.raw["datasets"]["train"]["mixup"] == {"beta": 1.5, "use_identity": True}
    assert "mixing_augs" not in found.raw["train"]


@pytest.mark.skipif(not basicsr_names(), reason="basicsr is not installed")
def test_padding_of_a_network_that_does_not_declare_it_is_written_to_the_network() -> None:
    network = {"type": "EDSR", "num_in_ch": 3, "num_out_ch": 3}
    assert translated(changed(restormer(), network_g=network)).raw["network_g"]["pad_multiple"] == 8


@pytest.mark.parametrize(("named", "is_refused"), [("network_g", True), (["network_d"], False)])
def test_networks_that_are_not_resumed_matter_only_if_they_are_there(named: Any, is_refused: bool) -> None:
    found = translated(changed(restormer(), path__ignore_resume_networks=named))
    assert bool(found.refused) == is_refused


def test_mixed_precision_is_the_checker_s_business(old: Path) -> None:
    old.write_text(yaml.safe_dump(changed(restormer(), train__use_amp=True)))
    with pytest.raises(OptionError, match=r"train.use_amp is not an option; mixed precision is `precision: bf16`"):
        load_options(old)


def test_a_slip_of_the_pen_is_none_of_a_fork_s_keys() -> None:
    form = changed(nafnet(), model_type="SRModel")
    assert "use_flip" in translated(form).raw["datasets"]["train"]


@pytest.mark.parametrize(
    "form",
    [
        {"val": 3}, {"datasets": {"train": 3}}, {"datasets": 3, "train": [1]}, {"model_type": ["ImageCleanModel"]},
        {"val": {"use_image": False, "metrics": {"psnr": "x", "ssim": None}}}, {"val": {"window_size": "8"}},
        {"network_g": 3, "val": {"window_size": 8}}, {"network_g": {"type": "Nobody"}, "val": {"window_size": 8}},
        {"train": {"scheduler": "TrueCosineAnnealingLR", "mixing_augs": 3}}, {"datasets": {"train": {"type": ["x"]}}},
        {"datasets": {"train": {"gt_sizes": [], "mini_batch_sizes": 3}}}, {"train": {"use_grad_clip": None}},
        {"path": {"ignore_resume_networks": 3}}, {"path": {"ignore_resume_networks": [[1]]}}, {"path": 3},
    ],
    ids=str,
)  # fmt: skip
def test_values_of_a_wrong_kind_are_the_checker_s_business(form: Form) -> None:
    kept = copy.deepcopy(form)
    found = translated(form)
    assert form == kept
    assert not {"network_g", "datasets", "model_type"} & (set(form) - set(found.raw))


def test_grey_noise_is_refused() -> None:
    form = denoising()
    form["datasets"]["val"]["in_ch"] = 1
    assert dotted(translated(form).refused) == ["datasets.val.in_ch"]


def test_a_plugin_s_method_reads_its_own_keys(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MODEL_REGISTRY._objects, "plugin", dict(MODEL_REGISTRY._objects["plugin"]))
    (old.parent / "fork.py").write_text(
        "from uir.registry import MODEL_REGISTRY\n"
        "@MODEL_REGISTRY.register()\n"
        "class ForkModel:\n"
        "    def __init__(self, opt):\n"
        "        self.opt = opt\n"
    )
    form = changed(restormer(), model_type="ForkModel")
    form["plugins"] = ["./fork.py"]
    old.write_text(yaml.safe_dump(form))
    raw, marks = read_merged(old)
    from uir.config.options import load_plugins_of

    load_plugins_of(raw, marks, old)
    found = translate(raw, marks).raw
    assert {**found, "datasets": None} == {**raw, "datasets": None}
    assert found["datasets"]["val"]["type"] == "PairedImageDataset"  # which is uir's, so its keys are uir's


def test_mistakes_elsewhere_are_told_beside_the_refused_keys(old: Path) -> None:
    old.write_text(yaml.safe_dump(changed(restormer(), train__mixup=True, train__grad_clipp=3)))
    with pytest.raises(OptionError) as error:
        load_options(old)
    assert ["mixup" in str(error.value), "train.grad_clipp is not an option" in str(error.value)] == [True, True]
