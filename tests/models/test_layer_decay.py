"""Learning rates that fall from the output of a network to its input, and what has no weight decay."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from arch_configs import ARCH_CONFIGS
from small_networks import build_network, networks_of
from torch import nn

from uir.config.options import OptionError, load_options
from uir.config.schema import OptimOptions
from uir.models.building import build_model
from uir.models.parameter_groups import LAYER_FACTOR, parameter_groups

Write = Callable[..., Path]
SCHEDULE = {"type": "CosineAnnealingLR", "T_max": 10, "eta_min": 1e-5}
LAYERED = [name for name in networks_of("backbone") if hasattr(build_network(name), "depths")]


def options(**more: Any) -> OptimOptions:
    return OptimOptions.model_validate({"type": "AdamW", "lr": 1e-3, "weight_decay": 0.1, **more})


def by_name(net: nn.Module, **more: Any) -> dict[str, dict[str, Any]]:
    """The settings of every parameter."""
    groups, names = parameter_groups(net, options(**more), "train.optim_g")
    settings = [group for group in groups for _ in group["params"]]
    parameters = [parameter for group in groups for parameter in group["params"]]
    assert all(one is dict(net.named_parameters())[name] for one, name in zip(parameters, names, strict=True))
    assert sorted(names) == sorted(name for name, _ in net.named_parameters())
    return dict(zip(names, settings, strict=True))


@pytest.mark.parametrize("name", LAYERED)
def test_a_network_that_declares_its_layers_declares_all_of_itself_once(name: str) -> None:
    net = build_network(name)
    entries = [entry for group in net.depths() for entry in group]
    for parameter, _ in net.named_parameters():
        assert sum(parameter == entry or parameter.startswith(f"{entry}.") for entry in entries) == 1, parameter
    known = {*dict(net.named_modules()), *dict(net.named_parameters())}
    assert set(entries) <= known


def test_the_four_backbones_of_dcpt_declare_their_layers() -> None:
    assert {"NAFNet", "NAFNetLocal", "PromptIR", "Restormer", "RestormerDCPT", "SwinIR"} <= set(LAYERED)


@pytest.mark.parametrize("name", LAYERED)
def test_the_layers_are_in_the_order_in_which_they_run(name: str) -> None:
    """The first module of each group runs after those of the group before."""
    net, order = build_network(name), list[str]()
    for entry in [entry for group in net.depths() for entry in group]:
        if entry in dict(net.named_modules()):
            for module in net.get_submodule(entry).modules():  # a list of modules does not run itself, its parts do
                module.register_forward_pre_hook(lambda _m, _a, entry=entry: order.append(entry))
    net(torch.rand(1, 3, 16, 16))
    lasts = [max(order.index(entry) for entry in group if entry in order) for group in net.depths()]
    assert lasts == sorted(lasts)


def test_the_factor_of_every_layer_by_hand() -> None:
    net = build_network("NAFNet")  # two levels: intro, encoders 0 and 1, middle, decoders 0 and 1, ending
    depth = {
        "intro": 0, "encoders.0": 1, "downs.0": 1, "encoders.1": 2, "downs.1": 2, "middle_blks": 3, "ups.0": 4,
        "decoders.0": 4, "ups.1": 5, "decoders.1": 5, "ending": 6,
    }  # fmt: skip
    for name, settings in by_name(net, layer_decay=0.5).items():
        entry = next(entry for entry in depth if name.startswith(f"{entry}."))
        assert settings[LAYER_FACTOR] == 0.5 ** (6 - depth[entry]), name


def test_a_table_of_layers_and_what_it_leaves_out() -> None:
    net = nn.Sequential(*(nn.Linear(2, 2) for _ in range(4)))
    found = by_name(net, layer_decay={"factor": 0.1, "layers": [["0", "3.bias"], ["1"]]})
    assert [found[f"{i}.weight"][LAYER_FACTOR] for i in range(4)] == pytest.approx([0.01, 0.1, 1, 1])
    assert [found[f"{i}.bias"][LAYER_FACTOR] for i in range(4)] == pytest.approx([0.01, 0.1, 1, 0.01])


def test_groups_come_before_layers() -> None:
    net = build_network("NAFNet")
    found = by_name(net, layer_decay=0.5, decay_1d=False, groups=[{"parameters": ["intro"], "lr": 0.2}])
    assert {name for name, settings in found.items() if LAYER_FACTOR not in settings} == {"intro.weight", "intro.bias"}
    assert found["intro.bias"]["lr"] == 0.2
    assert "weight_decay" not in found["intro.bias"]


def test_biases_and_vectors_have_no_weight_decay() -> None:
    net = build_network("NAFNet")
    found = by_name(net, decay_1d=False)
    free = {name for name, settings in found.items() if settings.get("weight_decay") == 0}
    assert free == {name for name, parameter in net.named_parameters() if parameter.ndim == 1}
    assert not any(name.endswith((".beta", ".gamma")) for name in free)  # [1, C, 1, 1]


def test_frozen_layers_still_count() -> None:
    net = build_network("NAFNet")
    net.get_submodule("encoders").requires_grad_(False)
    _, names = parameter_groups(net, options(layer_decay=0.5), "train.optim_g")
    groups, _ = parameter_groups(net, options(layer_decay=0.5), "train.optim_g")
    assert not any(name.startswith("encoders") for name in names)
    assert [group[LAYER_FACTOR] for group in groups] == [0.5**depth for depth in (6, 5, 4, 3, 2, 1, 0)]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"layer_decay": 0.5}, "layer_decay: Sequential declares no layers"),
        ({"layer_decay": {"factor": 0.5, "layers": [["wheel"]]}}, r"layer_decay\.layers\[0\]: 'wheel': no trained"),
        ({"layer_decay": {"factor": 0.5, "layers": [["0"], ["0.bias"]]}}, r"layers\[1\]: '0.bias': its parameters"),
    ],
)
def test_layers_that_are_not_there_are_named(more: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parameter_groups(nn.Sequential(nn.Linear(1, 1)), options(**more), "train.optim_g")


@pytest.mark.parametrize("decay", [0, 1.5, {"factor": -1}, {"layers": [["body"]]}, "fast"])
def test_an_impossible_decay_is_refused(write_options: Write, decay: Any) -> None:
    with pytest.raises(OptionError, match=r"train\.optim_g\.layer_decay"):
        load_options(write_options({"train.optim_g.layer_decay": decay}))


@pytest.mark.parametrize("schedule", [SCHEDULE, {"type": "ExponentialLR", "gamma": 0.8}, None])
def test_the_factor_follows_the_schedule_and_the_warm_up(
    write_options: Write, schedule: dict[str, Any] | None, tmp_path: Path
) -> None:
    """Each layer's rate is its factor times that of the same run without layers, after a restart too."""
    network = {"type": "NAFNet", **ARCH_CONFIGS["NAFNet"]}
    changes = {"network_g": network, "scale": 1, "plugins": None, "train.scheduler": schedule}

    def model_of(name: str, **more: Any) -> Any:
        torch.manual_seed(0)
        return build_model(load_options(write_options({**changes, **more}, name)), torch.device("cpu"))

    plain, layered = model_of("one.yml"), model_of("two.yml", **{"train.optim_g.layer_decay": 0.5})
    other = model_of("three.yml", **{"train.optim_g.layer_decay": 0.5})
    for iteration in range(1, 9):
        for model in (plain, layered):
            model.update_learning_rate(iteration, warmup_iter=3)
        rates = layered.get_current_learning_rate()
        assert rates == pytest.approx([plain.get_current_learning_rate()[0] * 0.5 ** (6 - i) for i in range(7)])
        if iteration == 4:
            layered.save(tmp_path, 4)
            state = {"iter": 4, **layered.training_state()}
    other.resume_training(state, tmp_path)
    for iteration in range(5, 9):
        other.update_learning_rate(iteration, warmup_iter=3)
    assert other.get_current_learning_rate() == layered.get_current_learning_rate()


def test_the_steps_are_as_long_as_the_rates(write_options: Write) -> None:
    """Adam's first step moves every weight by its learning rate."""
    network = {"type": "NAFNet", **ARCH_CONFIGS["NAFNet"]}
    changes = {"network_g": network, "scale": 1, "plugins": None, "train.optim_g.layer_decay": 0.5}
    model: Any = build_model(load_options(write_options(changes)), torch.device("cpu"))
    net = model.bare["g"]
    first, last = net.intro.weight.clone(), net.ending.weight.clone()
    model.update_learning_rate(1)
    rate = model.get_current_learning_rate()[-1]
    model.feed_data({"lq": torch.rand(1, 3, 16, 16), "gt": torch.rand(1, 3, 16, 16)})
    model.optimize_parameters(1)
    assert (net.ending.weight - last).abs().max().item() == pytest.approx(rate, rel=1e-2)
    assert (net.intro.weight - first).abs().max().item() == pytest.approx(rate * 0.5**6, rel=1e-2)
