"""Files whose training method is written like BasicSR's: basicsr's own models, and those of plugins."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from uir.compat import basicsr_names
from uir.config.methods import method_of
from uir.config.options import OptionError, load_options
from uir.registry import DATASET_REGISTRY, MODEL_REGISTRY
from uir.registry.sources import name_source

Write = Callable[..., Path]
needs_basicsr = pytest.mark.skipif(not basicsr_names(), reason="basicsr is not installed")
MODEL = """
from uir.registry import MODEL_REGISTRY

@MODEL_REGISTRY.register()
class OwnModel:
    def __init__(self, opt):
        self.opt = opt
"""
DERIVED = """
from basicsr.models.sr_model import SRModel
from uir.registry import MODEL_REGISTRY

@MODEL_REGISTRY.register()
class DerivedModel(SRModel):
    pass
"""


@pytest.fixture(autouse=True)
def _own_models_for_one_test(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MODEL_REGISTRY._objects, "plugin", dict(MODEL_REGISTRY._objects["plugin"]))


def written(write_options: Write, changes: dict[str, Any], model: str = "OwnModel", code: str = MODEL) -> Path:
    """A file for a model of a plugin."""
    file = write_options({"model_type": model, "plugins": ["./small_net.py", "./own.py"], **changes})
    (file.parent / "own.py").write_text(code)
    return file


NETWORK = {"type": "PixelShuffleSR", "width": 6}
OWN_KEYS: dict[str, Any] = {
    "network_S1": NETWORK,
    "network_p": NETWORK,
    "network_m": {"nf": 64},
    "path.pretrain_network_S1": "y.pth",
    "path.pretrain_network_p": "x.pth",
    "path.strict_load_p": False,
    "train.optim_d": {"type": "Adam", "lr": 1e-4},
    "train.optim_h": {"type": "OwnOptimizer", "rate": 1e-4},
    "train.scheduler": {"type": "TrueCosineAnnealingLR", "T_max": 10},
    "train.use_grad_clip": True,
    "train.total_iters": 3,
    "train.mixing_opt": {"mixup": True},
    "train.degree_opt": [1, 2],
    "val.window_size": 8,
}


@pytest.mark.parametrize("key", OWN_KEYS)
def test_a_plugin_s_model_reads_its_own_keys(write_options: Write, key: str) -> None:
    load_options(written(write_options, {key: OWN_KEYS[key]}))


def test_networks_and_optimizers_of_a_plugin_are_never_guessed(
    write_options: Write, caplog: pytest.LogCaptureFixture
) -> None:
    names = ("network_p", "network_S1", "path.pretrain_network_p", "train.optim_d")
    loaded = load_options(written(write_options, {name: OWN_KEYS[name] for name in names}))
    assert set(names) <= set(loaded.unchecked)
    assert not caplog.records


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("train.use_grad_clip", True, "train.use_grad_clip is left to the plugin, for uir does not know it; did you"),
        ("train.grad_clip", 0.1, "train.grad_clip is left to OwnModel, which does its whole step itself"),
        ("train.scheduler", {"type": "OwnLR"}, "no scheduler is called 'OwnLR'; it is left to OwnModel"),
    ],
)
def test_a_likely_mistake_under_a_plugin_s_model_is_a_warning(
    write_options: Write, caplog: pytest.LogCaptureFixture, key: str, value: Any, said: str
) -> None:
    load_options(written(write_options, {key: value}))
    assert said in caplog.text


@needs_basicsr
@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"val.measure_input": True}, "val.measure_input cannot be used with basicsr:SRModel"),
        (
            {"train.scheduler": {"type": "CosineAnnealingRestartCyclicLR", "periods": [6], "eta_mins": [0]}},
            "train.scheduler.type: basicsr's own models support only MultiStepLR, MultiStepRestartLR, "
            "CosineAnnealingRestartLR, not CosineAnnealingRestartCyclicLR; uir:SRModel supports all",
        ),
        ({"train.optim_g.type": "AdamW"}, "train.optim_g.type: basicsr's own models support only Adam, not AdamW"),
        ({"network_g": {"type": "SwinIR", "upscale": 2, "rel_pos_bias": False}}, "network_g.rel_pos_bias is not an"),
        ({"network_g": NETWORK}, "network_g.type: basicsr:SRModel builds it, and basicsr has no arch 'Pixel"),
        ({"model_type": "EDVRModel", "val.save_img": True}, "val.save_img: basicsr's video models write no images"),
        ({"val.metrics": {"p": {"type": "PSNR"}}}, "val.metrics.p.type: basicsr:SRModel builds it, and basicsr has no"),
    ],
)  # fmt: skip
def test_what_a_model_of_basicsr_cannot_do_is_refused(write_options: Write, changes: Any, said: str) -> None:
    net = {"type": "EDSR", "num_in_ch": 3, "num_out_ch": 3, "upscale": 2}
    with pytest.raises(OptionError) as error:
        load_options(write_options({"model_type": "basicsr:SRModel", "network_g": net, **changes}))
    assert len(error.value.problems) == 1
    assert said in str(error.value)


@pytest.mark.thorough
@needs_basicsr
def test_every_key_of_a_model_of_basicsr_is_read_by_it_or_said_to_be_dead() -> None:
    """Read from the source: a key that is accepted is in the code of the class, or uir's loop or check has it."""
    loop = {
        "": {"name", "model_type", "scale", "num_gpu", "manual_seed", "plugins", "dist_params", "datasets", "logger"},
        "path": {"resume_state", "experiments_root", "results_root", "ignore_resume_networks"},
        "train": {"total_iter", "warmup_iter", "stages"},
        "val": {"val_freq", "save_img", "pbar", "suffix", "radar"},
    }
    loop[""] |= {"path", "train", "val"}
    refused = {
        "precision", "compile", "channels_last", "grad_clip", "accumulate", "keep_best", "probes", "sheet", "observers",
        "controls", "measure_input", "max_nonfinite", "protocols", "vectorisers",
    }  # fmt: skip
    for name, row in name_source().model_keys.items():
        method = method_of(f"basicsr:{name}", True)
        classes = [cls for cls in inspect.getmro(method.target) if cls is not object]
        source = "".join(inspect.getsource(cls) for cls in classes)
        for section, known in loop.items():
            keys = method.file.keys if not section else method.section(section).keys
            unread = {key for key in keys if f"'{key}'" not in source} - known - refused
            dead = {key.rpartition(".")[2] for key in row.dead if key.rpartition(".")[0] == section}
            assert unread == dead, f"{name}, section '{section}'"


@needs_basicsr
def test_every_key_of_a_dataset_of_basicsr_is_read_by_it_or_said_to_be_dead() -> None:
    for name, keys in name_source().dataset_keys.items():
        classes = inspect.getmro(DATASET_REGISTRY.get(f"basicsr:{name}"))
        source = "".join(inspect.getsource(cls) for cls in classes if cls.__module__.startswith("basicsr"))
        unread = {k for k in keys if not any(text in source for text in (f"['{k}']", f"get('{k}'", f"'{k}' in"))}
        assert unread - {"phase", "scale"} == name_source().dead_dataset_keys.get(name, frozenset()), name


@needs_basicsr
def test_a_key_that_a_model_of_basicsr_does_not_read_is_said(
    write_options: Write, caplog: pytest.LogCaptureFixture
) -> None:
    discriminator = {"type": "HiFaceGANDiscriminator", "num_in_ch": 3}
    changes = {"network_d": discriminator, "path.pretrain_network_d": "x.pth", "model_type": "HiFaceGANModel"}
    load_options(write_options({**changes, "network_g": {"type": "EDSR", "num_in_ch": 3, "num_out_ch": 3}}))
    assert "path.pretrain_network_d has no effect with HiFaceGANModel, which does not read it" in caplog.text


@needs_basicsr
def test_a_key_that_a_dataset_of_basicsr_does_not_read_is_said(
    write_options: Write, caplog: pytest.LogCaptureFixture
) -> None:
    roots = {f"datasets.val.dataroot_{kind}": "data" for kind in ("gt", "lq")}
    load_options(write_options({"datasets.val.type": "SingleImageDataset", **roots}))
    assert "datasets.val.dataroot_gt has no effect with SingleImageDataset" in caplog.text


def test_a_class_of_a_fork_is_named_with_its_owner(write_options: Write) -> None:
    with pytest.raises(OptionError, match=r"no model is called 'HATModel'; it is HAT's: name its file in `plugins`"):
        load_options(write_options({"model_type": "HATModel"}))


@needs_basicsr
def test_a_plugin_that_derives_from_a_model_of_basicsr_has_its_limits(write_options: Write) -> None:
    with pytest.raises(OptionError, match="support only Adam, not AdamW"):
        load_options(written(write_options, {"train.optim_g.type": "AdamW"}, "DerivedModel", DERIVED))


@needs_basicsr
def test_networks_that_uir_lends_to_basicsr_are_found(write_options: Write) -> None:
    net = {"type": "NAFNet", "width": 8}
    assert load_options(write_options({"model_type": "basicsr:SRModel", "network_g": net})).options.scale == 2


def test_unknown_keys_of_dist_params_are_mistakes(write_options: Write) -> None:
    with pytest.raises(OptionError, match=r"dist_params\.backned is not an option; did you mean backend\?"):
        load_options(write_options({"dist_params": {"backned": "gloo", "port": 29500}}))
