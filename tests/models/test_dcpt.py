"""One step of each method that classifies, against the formula written out with plain hooks."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from dcpt_options import HEAD, METHODS, NETWORK, batch, changes, gradients, model_of, step, weights
from torch import Tensor, nn
from torch.nn import functional as F

from uir.config.options import load_options
from uir.core.checkpoint import read_file
from uir.models.building import build_model

Write = Callable[..., Path]
CLASSES = ("blur", "haze", "noise")
TRAINS = {"DCModel": ("dc",), "DCDistModel": ("g",)}


@pytest.fixture
def make(write_options: Write, pair_folders: Path) -> Callable[..., Any]:
    def made(model_type: str, labels: tuple[str, ...] | None = ("noise", "blur", "haze"), **more: Any) -> Any:
        more = {key.replace("__", "."): value for key, value in more.items()}
        return model_of(write_options(changes(pair_folders, model_type, **more)), labels)

    return made


def hooked(net: nn.Module, image: Tensor) -> tuple[Tensor, list[Tensor]]:
    """A full forward, and what each decoder stage gave, fine to coarse."""
    caught: list[Tensor] = []
    handles = [d.register_forward_hook(lambda _m, _a, output: caught.append(output)) for d in net.decoders]
    restored = net(image)
    for handle in handles:
        handle.remove()
    return restored, caught[::-1]


def published_gradients(model: Any, data: dict[str, Any], clean_input: bool) -> tuple[dict[str, Tensor | None], float]:
    """Two full forwards, focal loss with gamma 2 as its formula, one backward; and the sum of the losses."""
    net, head = model.bare["g"], model.bare["dc"]
    target = torch.tensor([CLASSES.index(label) for label in data["degradation"].labels])
    restored, _ = hooked(net, data["gt"] if clean_input else data["lq"])
    _, features = hooked(net, data["lq"])
    log_p = F.log_softmax(head(data["lq"], features), 1)[range(len(target)), target]
    loss = F.l1_loss(restored, data["gt"]) + ((1 - log_p.exp()) ** 2 * -log_p).mean()
    for network in (net, head):
        network.zero_grad()
    loss.backward()
    return {name: grad.clone() for name, grad in gradients(model).items() if grad is not None}, float(loss.detach())


@pytest.mark.parametrize(("model_type", "clean_input"), [("DCPTModel", True), ("DCTModel", False)])
def test_a_step_has_the_gradients_of_the_published_arrangement(
    make: Callable[..., Any], model_type: str, clean_input: bool
) -> None:
    model, data = make(model_type), batch()
    expected, loss = published_gradients(model, data, clean_input)
    step(model, data)
    assert sum(model.log_dict.values()) == pytest.approx(loss, rel=1e-5)
    assert set(model.log_dict) == {"l_pix", "l_classify"}
    found = gradients(model)
    assert all(grad is not None for grad in found.values())
    for name, grad in expected.items():
        torch.testing.assert_close(found[name], grad, atol=1e-6, rtol=1e-4)


@pytest.mark.thorough
@pytest.mark.parametrize(
    "model_type", [pytest.param(m, marks=[] if m == "MaskDCPTModel" else pytest.mark.slow) for m in METHODS]
)
def test_a_compiled_step_is_the_same(
    make: Callable[..., Any], model_type: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Trace as torch.compile does, but generate no code: that takes minutes.
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="aot_eager"))
    plain, compiled = make(model_type), make(model_type, compile=True)
    for _ in range(2):  # the second step takes the cached graph
        for model in (plain, compiled):
            step(model, batch())
        assert compiled.log_dict == pytest.approx(plain.log_dict, rel=1e-5)
        torch.testing.assert_close(gradients(compiled), gradients(plain), atol=1e-6, rtol=1e-4)


def test_classification_reaches_all_of_the_restorer_but_its_output(make: Callable[..., Any]) -> None:
    model = make("DCPTModel", train__pixel_opt={"type": "L1Loss", "loss_weight": 0.0})
    step(model, batch())
    silent = {name for name, grad in gradients(model).items() if grad is None or not grad.any()}
    assert silent == {"g.ending.weight", "g.ending.bias"}


def test_the_restorer_does_not_run_behind_the_last_feature_for_degraded_images(make: Callable[..., Any]) -> None:
    model, sizes = make("DCPTModel"), []
    model.bare["g"].ending.register_forward_hook(lambda _m, args, _o: sizes.append(len(args[0])))
    step(model, batch())
    assert sizes == [4]


@pytest.mark.parametrize(("model_type", "moving"), [("DCModel", "dc"), ("DCDistModel", "g")])
def test_a_frozen_network_stays_and_the_other_moves(make: Callable[..., Any], model_type: str, moving: str) -> None:
    model = make(model_type, train__ema_decay=0.9)
    before = {role: weights(model.bare[role]) for role in model.roles()}
    step(model, batch())
    for role in model.roles():
        same = all(torch.equal(before[role][k], v) for k, v in model.bare[role].state_dict().items())
        assert same == (role != moving)
        assert model.bare[role].training == (role == moving)
    assert set(model.ema) == {moving}
    assert len(model.optimizers) == 1


def test_the_guided_transfer_has_dct_s_gradients(make: Callable[..., Any]) -> None:
    model, data = make("DCDistModel"), batch()
    model.bare["dc"].requires_grad_(True)
    expected, _ = published_gradients(model, data, clean_input=False)
    model.bare["dc"].requires_grad_(False)
    step(model, data)
    for name, parameter in model.bare["g"].named_parameters():
        torch.testing.assert_close(parameter.grad, expected[f"g.{name}"], atol=1e-6, rtol=1e-4)


def test_the_probe_runs_the_restorer_without_gradients_in_evaluation_mode(make: Callable[..., Any]) -> None:
    model, data = make("DCModel"), batch()
    expected, _ = published_gradients(model, data, clean_input=True)  # the head's do not depend on the pixel loss
    step(model, data)
    for name, parameter in model.bare["dc"].named_parameters():
        torch.testing.assert_close(parameter.grad, expected[f"dc.{name}"], atol=1e-6, rtol=1e-4)
    assert all(parameter.grad is None for parameter in model.bare["g"].parameters())


@pytest.mark.thorough
@pytest.mark.parametrize("model_type", METHODS)
def test_a_step_lowers_the_loss_of_its_batch(make: Callable[..., Any], model_type: str) -> None:
    rate = {"type": "AdamW", "lr": 1e-2}
    model = make(model_type, **{f"train.optim_{role}": rate for role in TRAINS.get(model_type, ("g", "dc"))})
    data, losses = batch(), []
    for _ in range(8):
        model._steps = 0  # one step's mask
        step(model, data)
        losses.append(sum(model.log_dict.values()))
    assert losses[-1] < 0.95 * losses[0]


def test_averages_of_both_networks_follow_where_the_file_asks(make: Callable[..., Any]) -> None:
    model = make("DCPTModel", train__ema_decay=0.9)
    for role in ("g", "dc"):
        model.ema[role].module.load_state_dict(model.bare[role].state_dict())
    before = {role: weights(model.bare[role]) for role in ("g", "dc")}
    step(model, batch())
    for role in ("g", "dc"):
        for name, value in model.ema[role].module.named_parameters():
            expected = 0.9 * before[role][name] + 0.1 * model.bare[role].state_dict()[name]
            torch.testing.assert_close(value.detach(), expected, atol=1e-7, rtol=1e-5)


def test_clipping_bounds_each_network_s_gradient(make: Callable[..., Any]) -> None:
    model = make("DCPTModel", train__grad_clip=1e-4)
    step(model, batch())
    for role in ("g", "dc"):
        grads = [p.grad.flatten() for p in model.bare[role].parameters()]
        assert torch.cat(grads).norm() <= 1.001e-4


def test_taps_name_fewer_features(make: Callable[..., Any]) -> None:
    model = make("DCPTModel", train__taps=["decoders.1"])
    assert [point.name for point in model.bare["dc"].points] == ["decoders.1"]
    step(model, batch())
    with pytest.raises(
        ValueError, match=r"NAFNet has no feature point \['decoders.7'\]; it has decoders.0, decoders.1"
    ):
        make("DCPTModel", train__taps=["decoders.7"])


def test_the_published_head_is_sized_from_the_restorer_and_the_labels(make: Callable[..., Any]) -> None:
    model = make("DCPTModel", network_dc={"type": "PromptIR_NoImg_DC", "feature_dims": [4, 8], "num_res_blocks": 1})
    assert model.bare["dc"].fc.out_features == 3
    step(model, batch())


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"network_dc": {**HEAD, "num_classes": 5}}, "network_dc.num_classes: 5, but there are 3 classes, blur, haze"),
        (
            {"network_dc": {"type": "PromptIR_NoImg_DC", "feature_dims": [8, 4]}},
            r"network_dc.feature_dims: \[8, 4\], but the features of network_g have \[4, 8\] channels",
        ),
        ({"network_g": {"type": "Identity"}}, r"network_g \(Identity\): its method feature_points\(\) names nothing"),
        ({"train__classify_opt": None}, "train: DCPTModel needs the loss classify_opt"),
    ],
)
def test_what_does_not_fit_is_explained(make: Callable[..., Any], more: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make("DCPTModel", **more)


@pytest.mark.parametrize(("model_type", "role"), [("DCModel", "g"), ("DCDistModel", "dc")])
def test_an_optimizer_of_a_frozen_network_is_refused(make: Callable[..., Any], model_type: str, role: str) -> None:
    with pytest.raises(ValueError, match=f"train.optim_{role}: {model_type} does not train network_{role}; remove it"):
        make(model_type, **{f"train__optim_{role}": {"type": "Adam", "lr": 1e-3}})


@pytest.mark.parametrize(("model_type", "missing"), [("DCModel", "network_g"), ("DCDistModel", "network_dc")])
def test_a_missing_network_is_named(make: Callable[..., Any], model_type: str, missing: str) -> None:
    with pytest.raises(ValueError, match=f"{missing} is missing; it is required"):
        make(model_type, **{missing: None})


def test_a_network_of_another_scale_is_explained(make: Callable[..., Any]) -> None:
    model, data = make("DCTModel"), batch()
    data["gt"] = data["gt"][..., :8, :8]
    model.feed_data(data)
    with pytest.raises(ValueError, match="does `scale` \\(1\\) fit"):
        model.optimize_parameters(1)


def test_the_classifier_sees_the_image_as_the_restorer_pads_it(make: Callable[..., Any]) -> None:
    model, seen = make("DCTModel", network_dc={"type": "PromptIR_NoImg_DC"}), []
    model.bare["dc"].register_forward_pre_hook(lambda _m, arguments: seen.append(tuple(arguments[0].shape)))
    step(model, batch(size=18))  # two levels: in multiples of 4
    model.extra_measures(batch(size=18))
    assert seen == [(4, 3, 20, 20)] * 2


def test_top1_counts_what_the_average_says(make: Callable[..., Any]) -> None:
    model = make("DCPTModel", train__ema_decay=0.9)
    with torch.no_grad():
        for network, row in ((model.bare["dc"], 0), (model.ema["dc"].module, 2)):
            last = network.layers.head[-1]
            last.weight.zero_()
            last.bias.zero_()[row] = 1.0
    found = [model.extra_measures(batch((label,), 13))["top1"] for label in CLASSES]
    assert found == [0.0, 0.0, 1.0]
    assert model.extra_measures(batch((None,))) == {}
    assert model.bare["g"].training


def test_a_label_that_was_not_trained_is_not_measured_and_said_once(
    make: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    model = make("DCPTModel")
    assert model.extra_measures(batch(("snow",))) == model.extra_measures(batch(("snow",))) == {}
    assert caplog.text.count("there is no class 'snow'") == 1


def test_a_test_without_classes_says_that_it_does_not_classify(
    write_options: Write, pair_folders: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = write_options(changes(pair_folders, "DCPTModel"))
    model = build_model(load_options(file, is_train=False), torch.device("cpu"))
    assert model.extra_measures(batch()) == {}
    assert "network_dc is not used and top1 is not measured: nothing names its classes" in caplog.text


def test_files_hold_bare_networks_and_what_rebuilds_them(make: Callable[..., Any], tmp_path: Path) -> None:
    model = make("DCPTModel", train__ema_decay=0.9)
    model.save(tmp_path, 3)
    net, head = read_file(tmp_path / "net_g_3.pth"), read_file(tmp_path / "net_dc_3.pth")
    assert list(net["params"]) == list(model.bare["g"].state_dict())
    assert set(head) == {"params", "params_ema", "card"}
    assert head["card"]["labels"] == net["card"]["labels"] == list(CLASSES)
    assert [point["name"] for point in head["card"]["feature_points"]] == ["decoders.1", "decoders.0"]
    assert net["card"]["arch"] == NETWORK


def test_a_guide_without_weights_is_warned_of(make: Callable[..., Any], caplog: pytest.LogCaptureFixture) -> None:
    make("DCDistModel")
    said = "path.pretrain_network_dc is missing: the classifier that guides network_g is not trained"
    assert caplog.text.count(said) == 1


@pytest.mark.parametrize("model_type", [name for name in METHODS if name != "DCModel"])
def test_any_further_loss_judges_what_is_restored(make: Callable[..., Any], model_type: str) -> None:
    model = make(model_type, train__edge_opt={"type": "MSELoss", "loss_weight": 0.5})
    step(model, batch())
    assert set(model.get_current_log()) == {"l_pix", "l_edge", "l_classify"}
    assert model.get_current_log()["l_edge"] > 0


def test_a_probe_that_restores_nothing_takes_no_loss_on_images(write_options: Write, pair_folders: Path) -> None:
    with pytest.raises(ValueError, match=r"train\.edge_opt is not an option"):
        load_options(write_options(changes(pair_folders, "DCModel", **{"train.edge_opt": {"type": "MSELoss"}})))


def test_classifying_skips_the_layers_behind_the_last_features(make: Callable[..., Any]) -> None:
    model = make("DCPTModel")
    ran: list[int] = []
    model.bare["g"].ending.register_forward_hook(lambda *_: ran.append(1))
    image = torch.rand(1, 3, 32, 32)
    assert model.classify(image).shape == (1, 3)
    assert ran == []
    model.bare["g"](image)
    assert ran == [1]


def test_without_the_global_residual_the_output_layer_alone_makes_the_clean_image(make: Callable[..., Any]) -> None:
    model, data = make("DCPTModel", train__global_residual=False), batch()
    made: list[Tensor] = []
    model.bare["g"].ending.register_forward_hook(lambda _m, _a, output: made.append(output))
    step(model, data)
    assert model.log_dict["l_pix"] == pytest.approx(float(F.l1_loss(made[0], data["gt"]).detach()), rel=1e-5)


def test_a_network_that_does_not_add_its_input_keeps_its_output(
    make: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make("DCPTModel", train__global_residual=False)
    monkeypatch.setattr(type(model.bare["g"]), "adds_input", False)
    with pytest.raises(ValueError, match=r"train\.global_residual: false, but NAFNet does not say that it adds"):
        model.check_network("g", model.bare["g"])
