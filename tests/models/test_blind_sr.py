"""BlindSRModel: what a step does, and what it says when something does not fit."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from blind_sr_options import RANKING, changes
from torch.nn import functional as F

from uir.config.options import OptionError, load_options
from uir.data.building import training_stream
from uir.degradations.record import DegradationRecord, RecordBatch
from uir.inference.code_predictor import code_as
from uir.layers.degradation_code import DegradationCode
from uir.layers.resize import imresize
from uir.losses.contrastive_loss import InfoNCELoss
from uir.models.building import build_model
from uir.models.encoder_step import EncoderStep

Write = Callable[..., Path]


def model_and_batch(file: Path) -> tuple[Any, dict[str, Any]]:
    loaded = load_options(file)
    torch.manual_seed(0)
    model = build_model(loaded, torch.device("cpu"))
    return model, dict(training_stream(loaded).next())


def step(model: Any, batch: dict[str, Any]) -> None:
    model.feed_data(batch)
    model.optimize_parameters(1)


def weights(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}


def test_the_restorer_is_sized_by_the_encoder(write_options: Write, pair_folders: Path) -> None:
    model, _ = model_and_batch(write_options(changes(pair_folders)))
    assert model.bare["g"].code_channels == 8
    assert model.card("g")["arch"]["code_channels"] == 8
    network_g = {"type": "DASR", "scale": 2, "n_groups": 1, "n_blocks": 1, "n_feats": 8, "code_channels": None}
    model, _ = model_and_batch(write_options(changes(pair_folders, network_g=network_g)))
    assert model.bare["g"].code_channels == 8


def test_a_step_is_the_published_one(write_options: Write, pair_folders: Path) -> None:
    """Follow, keys, loss, step, enqueue; the pixel loss reaches the encoder through the code."""
    model, batch = model_and_batch(write_options(changes(pair_folders)))
    encoder, restorer, contrast = (copy.deepcopy(m) for m in (model.bare["e"], model.bare["g"], model.contrast))
    for _ in range(2):
        step(model, batch)
    optimizers = [torch.optim.Adam(encoder.parameters(), 1e-3), torch.optim.Adam(
        [p for p in restorer.parameters() if p.requires_grad], 1e-3
    )]  # fmt: skip
    for _ in range(2):
        code = encoder(batch["lq"])
        contrast.follow(encoder)
        key = contrast(batch["lq_key"])
        loss = F.l1_loss(restorer(batch["lq"], code), batch["gt"])
        loss = loss + InfoNCELoss(loss_weight=0.00392157)(code, key, contrast.queue)
        for optimizer in optimizers:
            optimizer.zero_grad()
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()
        contrast.enqueue(key.projection)
    for mine, theirs in ((model.bare["e"], encoder), (model.bare["g"], restorer), (model.contrast, contrast)):
        torch.testing.assert_close(mine.state_dict(), theirs.state_dict(), atol=1e-6, rtol=0)
    assert model.contrast.pointer == 4


def test_keys_enter_once_a_batch_and_the_encoder_follows_once_a_step(write_options: Write, pair_folders: Path) -> None:
    more = {"train.accumulate": 2, "train.momentum_contrast": {"queue_size": 7, "momentum": 0.5}}
    model, batch = model_and_batch(write_options(changes(pair_folders, **more)))
    followed = []
    follow = model.contrast.follow
    model.contrast.follow = lambda encoder: (followed.append(int(model.contrast.pointer)), follow(encoder))
    for _ in range(4):
        step(model, batch)
    assert followed == [0, 4]
    assert model.contrast.pointer == 8 % 7
    torch.testing.assert_close(model.contrast.queue.norm(dim=1), torch.ones(7))


def test_the_keys_of_a_batch_with_a_broken_loss_stay_out(write_options: Write, pair_folders: Path) -> None:
    model, batch = model_and_batch(write_options(changes(pair_folders)))
    before = model.contrast.queue.clone()
    step(model, {**batch, "lq_key": batch["lq_key"] * torch.nan})
    assert torch.equal(model.contrast.queue, before)
    assert model.contrast.pointer == 0


def test_bf16_keeps_queue_and_weights_in_full_precision(write_options: Write, pair_folders: Path) -> None:
    plain, batch = model_and_batch(write_options(changes(pair_folders)))
    mixed, _ = model_and_batch(write_options(changes(pair_folders, precision="bf16")))
    for model in (plain, mixed):
        step(model, batch)
    assert {value.dtype for value in mixed.contrast.state_dict().values()} == {torch.float32, torch.int64}
    assert mixed.log_dict == pytest.approx(plain.log_dict, rel=0.05)
    torch.testing.assert_close(mixed.contrast.queue, plain.contrast.queue, atol=0.03, rtol=0)


def test_what_is_frozen_or_has_no_optimizer_stays(write_options: Write, pair_folders: Path) -> None:
    more: dict[str, Any] = {
        "network_e": {"type": "DAAEncoder", "widths": [4, 6, 8], "ranker_widths": [4]},
        "datasets.train": {**RANKING, "dataroot_gt": str(pair_folders / "gt"), "gt_size": 32, "batch_size_per_gpu": 2},
        "train.contrastive_opt": None,
        "train.ranking_opt": {"type": "MarginRankingLoss", "loss_weight": 0.000784314},
        "train.freeze": ["network_e.ranker_q"],
    }
    model, batch = model_and_batch(write_options(changes(pair_folders, **more)))
    before = weights(model.bare["e"])
    step(model, batch)
    moved = {
        name.split(".")[0] for name, value in weights(model.bare["e"]).items() if not torch.equal(value, before[name])
    }
    assert moved == {"encoder_q"}
    assert model.contrast is None
    assert set(model.log_dict) == {"l_pix", "l_ranking"}
    untrained = {**more, "train.optim_e": None, "train.freeze": []}
    model, batch = model_and_batch(write_options(changes(pair_folders, **untrained)))
    before = weights(model.bare["e"])
    step(model, batch)
    assert all(torch.equal(value, before[name]) for name, value in weights(model.bare["e"]).items())


def test_every_loss_on_codes_works_beside_the_others(write_options: Write, pair_folders: Path) -> None:
    losses = ("SupConLoss", "CodebookLoss")
    more: dict[str, Any] = {f"train.{name}_opt": {"type": name} for name in losses}
    more["network_e"] = {"type": "CDSREncoder", "widths": [4, 6, 8], "codebook_size": 5}
    more |= {"datasets.train.label": "sr", "datasets.train.batch_size_per_gpu": 3}
    model, batch = model_and_batch(write_options(changes(pair_folders, **more)))
    step(model, batch)
    assert set(model.log_dict) == {"l_pix", "l_contrastive", *(f"l_{name}" for name in losses)}
    assert all(value > 0 for value in model.log_dict.values())


CRL_SR: dict[str, Any] = {
    "network_e": {"type": "CRLSREncoder", "num_feat": 6, "num_block": 1, "growth": 3, "num_local": 5},
    "network_g": {"type": "CRLSR", "scale": 2, "num_feat": 6, "num_block": 1, "growth": 3},
    "train.pixel_opt": None,
    "train.contrastive_opt": None,
}


def moved_by_a_step(file: Path) -> tuple[Any, dict[str, set[str]]]:
    """A model of the file after a step, and the parameters of each network that the step moved."""
    model, batch = model_and_batch(file)
    before = {role: weights(model.bare[role]) for role in "eg"}
    step(model, batch)
    return model, {
        role: {name for name, value in model.bare[role].named_parameters() if not torch.equal(value, held[name])}
        for role, held in before.items()
    }


def test_crl_sr_s_refinement_teaches_the_restorer_through_the_momentum_encoder(
    write_options: Write, pair_folders: Path
) -> None:
    more = {**CRL_SR, "train.refinement_opt": {"type": "ConditionalContrastiveLoss"}}
    model, moved = moved_by_a_step(write_options(changes(pair_folders, **more)))
    assert moved["g"] >= {"head.weight", "tail.1.weight"}
    assert moved["e"] >= {"head.weight", "high.0.weight", "to_detail.0.weight"}
    assert not any(name.startswith("to_local.") for name in moved["e"])  # the condition gets no gradient
    assert list(model.net_e.left_out) == ["projection"]


def test_crl_sr_s_decoupling_teaches_the_low_frequencies_alone(write_options: Write, pair_folders: Path) -> None:
    more = {**CRL_SR, "train.decoupling_opt": {"type": "BidirectionalContrastiveLoss"}}
    more["train.optim_g"] = None
    model, moved = moved_by_a_step(write_options(changes(pair_folders, **more)))
    assert moved["e"] >= {"head.weight", "to_local.2.weight"}
    assert not any(name.startswith(("high.", "to_detail.")) for name in moved["e"])
    assert moved["g"] == set()
    assert sorted(model.net_e.left_out) == ["detail", "projection"]


def test_details_come_from_the_whole_code_of_an_encoder_without_a_shorter_way() -> None:
    class Plain(torch.nn.Module):
        def forward(self, image: torch.Tensor) -> DegradationCode:
            return DegradationCode(vector=image.mean((2, 3)), detail=2 * image)

    image = torch.rand(2, 3, 4, 4)
    code, last = EncoderStep(Plain(), ["vector"])(image, detailed=image + 1)
    assert code.vector is None
    assert last.vector is None
    assert torch.equal(last.detail, 2 * (image + 1))


def test_the_oracle_sees_the_true_kernel(write_options: Write, pair_folders: Path) -> None:
    more = {"train.code": "kernel", "train.contrastive_opt": None, "train.optim_e": None}
    more["network_g"] = {"type": "DASR", "scale": 2, "n_groups": 1, "n_blocks": 1, "n_feats": 8, "kernel_size": 21}
    model, batch = model_and_batch(write_options(changes(pair_folders, **more)))
    sigmas = [record.steps[0]["sigma_px"] for record in batch["degradation"]]
    code = code_as("kernel", model.bare["e"](batch["lq"]), records=batch["degradation"])
    places = torch.arange(21.0) - 10
    for kernel, sigma in zip(code.kernel[:, 0], sigmas, strict=True):
        gaussian = torch.exp(-(places[:, None] ** 2 + places**2) / (2 * sigma**2))
        torch.testing.assert_close(kernel, gaussian / gaussian.sum(), atol=1e-6, rtol=1e-4)
    assert not code.vector.any()
    before = weights(model.bare["g"])
    step(model, batch)
    assert not torch.equal(model.bare["g"].from_kernel[0].weight, before["from_kernel.0.weight"])
    with pytest.raises(ValueError, match="`code: kernel` needs a record"):
        code_as("kernel", code, records=RecordBatch([DegradationRecord(None)] * 2))


def test_the_small_clean_code_is_of_the_clean_image_at_the_degraded_size(
    write_options: Write, pair_folders: Path
) -> None:
    more = {**CRL_SR, "train.decoupling_opt": {"type": "BidirectionalContrastiveLoss"}, "train.optim_g": None}
    model, batch = model_and_batch(write_options(changes(pair_folders, **more)))
    expected = model.bare["e"](imresize(batch["gt"], scale=0.5)).local
    model.feed_data(batch)
    torch.testing.assert_close(model.value("small_gt_code").local, expected)


@pytest.mark.thorough
def test_the_code_may_be_zero_or_another_image_s(write_options: Write, pair_folders: Path) -> None:
    model, batch = model_and_batch(write_options(changes(pair_folders)))
    lq = batch["lq"]
    one, other = lq[:1], lq[1:]
    codes = [model.predict({"lq": image}).extras["code"] for image in (one, other)]
    assert torch.equal(model.restore(one), model.restore(one, code=codes[0]))
    assert not torch.equal(model.restore(one, code=codes[1]), model.restore(one))
    model.predictor.code = "zero"
    assert torch.equal(model.restore(one), model.restore(one, code=codes[0].zeros_like()))
    model.predictor.code = "shuffled"
    for _ in range(2):
        model.feed_data(batch)  # the next validation does not know the images of this one
        assert torch.equal(model.restore(one), model.restore(one, code=codes[0].zeros_like()))
        assert torch.equal(model.restore(other), model.restore(other, code=codes[0]))
    both = model.restore(lq)
    torch.testing.assert_close(both[:1], model.restore(one, code=codes[1]))
    torch.testing.assert_close(both[1:], model.restore(other, code=codes[0]))


def test_the_code_may_be_the_true_degradation(write_options: Write, pair_folders: Path) -> None:
    model, batch = model_and_batch(write_options(changes(pair_folders)))
    code = code_as("own", model.predict({"lq": batch["lq"][:1]}).extras["code"])
    wide = replace(code, vector=torch.zeros(1, 20))
    for sigma in (1.0, 3.0):
        step_of_blur = {"op": "IsotropicGaussianBlur", "sigma_px": sigma, "kernel_size": 21}
        records = RecordBatch([DegradationRecord((step_of_blur,))])
        vector = code_as("record", wide, records=records).vector
        assert vector.shape == (1, 20)
        torch.testing.assert_close(vector.max(), torch.tensor(sigma / 10))  # the widest published blur is 10 px
        assert (vector > 0).sum() in (1, 2)  # one family, repeated
    with pytest.raises(ValueError, match="needs a record"):
        code_as("record", wide)
    with pytest.raises(ValueError, match="a code of at least"):
        code_as("record", code, records=records)


def test_training_with_the_true_degradation(write_options: Write, pair_folders: Path) -> None:
    wide = {"network_e": {"type": "ConvBN6Encoder", "widths": [4, 6, 20]}, "train.code": "record"}
    model, batch = model_and_batch(write_options(changes(pair_folders, **wide)))
    blurs = [{"op": "IsotropicGaussianBlur", "sigma_px": sigma, "kernel_size": 21} for sigma in (1.0, 3.0)]
    batch["degradation"] = RecordBatch([DegradationRecord((blur,)) for blur in blurs])
    seen: list[DegradationCode] = []
    model.bare["g"].register_forward_pre_hook(
        lambda _module, _args, named: seen.append(named["code"]), with_kwargs=True
    )
    step(model, batch)
    torch.testing.assert_close(seen[0].vector.amax(1), torch.tensor([0.1, 0.3]))
    assert model.predictor.refusal


@pytest.mark.parametrize("use", ["zero", "shuffled"])
def test_training_with_another_code(write_options: Write, pair_folders: Path, use: str) -> None:
    model, batch = model_and_batch(write_options(changes(pair_folders, **{"train.code": use})))
    seen: list[DegradationCode] = []
    model.bare["g"].register_forward_pre_hook(
        lambda _module, _args, named: seen.append(named["code"]), with_kwargs=True
    )
    with torch.no_grad():
        own = copy.deepcopy(model.bare["e"])(batch["lq"]).vector
    step(model, batch)
    assert torch.equal(seen[0].vector, torch.zeros_like(own) if use == "zero" else own.flip(0))


@pytest.mark.parametrize("stage", [False, True])
def test_codes_of_one_image_alone_are_not_shuffled(write_options: Write, pair_folders: Path, stage: bool) -> None:
    more: dict[str, Any] = {"train.code": "shuffled", "datasets.train.batch_size_per_gpu": 1}
    if stage:
        later = {"name": "later", "iterations": 1, "code": "shuffled", "datasets": {"train": {"batch_size_per_gpu": 1}}}
        stages = [{"name": "first", "iterations": 1}, later]
        more = {"train.total_iter": None, "train.stages": stages}
    with pytest.raises(OptionError, match=r"train.code: shuffled .*\.batch_size_per_gpu is 1; it must be at least 2"):
        load_options(write_options(changes(pair_folders, **more)))


def test_restoring_leaves_every_module_in_its_mode(write_options: Write, pair_folders: Path) -> None:
    model, batch = model_and_batch(write_options(changes(pair_folders, **{"train.freeze": ["network_e.mlp"]})))
    modes = {name: module.training for name, module in model.bare["e"].named_modules()}
    before = weights(model.bare["e"])
    assert model.restore(batch["lq"][:, :, :13, :9]).shape == (2, 3, 26, 18)
    assert {name: module.training for name, module in model.bare["e"].named_modules()} == modes
    assert not modes["mlp"]
    assert modes["E"]
    assert all(torch.equal(value, before[name]) for name, value in weights(model.bare["e"]).items())


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"train.ranking_opt": {"type": "MarginRankingLoss"}}, r"train.ranking_opt: .* needs the field 'score'"),
        ({"network_e": {"type": "NAFNet", "width": 4}}, "network_e: NAFNet gave Tensor"),
        ({"train.freeze": ["network_e.nothing"]}, "train.freeze: there is no module 'nothing' in ConvBN6Encoder"),
        ({"train.freeze": ["ranker"]}, "train.freeze: expected names such as network_e.ranker_q"),
        ({"network_e": None}, "network_e is missing; it is required"),
        ({"train.optim_e": None, "train.optim_g": None}, "train: optim_e and optim_g are both missing"),
        ({"train.pixel_opt": None}, "train.optim_g: no loss uses restored images"),
        ({"train.contrastive_opt": None, "train.code": "zero"}, "train.optim_e: with `code: zero`"),
        ({"train.contrastive_opt": None, "train.pixel_opt": None}, "train: no loss is given"),
        (
            {"network_e": {"type": "ConvBN6Encoder", "widths": [4, 6, 8], "projection": False}},
            r"train.contrastive_opt: InfoNCELoss needs the field 'projection' .* \(ConvBN6Encoder\) gives vector",
        ),
    ],
)
def test_what_does_not_fit_is_told_before_training(
    write_options: Write, pair_folders: Path, more: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        build_model(load_options(write_options(changes(pair_folders, **more))), torch.device("cpu"))


@pytest.mark.parametrize(
    ("network_g", "message"),
    [
        (
            {"type": "ConditionedNet", "modulator": "sft", "condition": "map", "scale": 2, "num_feat": 4},
            "network_g: ConditionedNet needs the field 'map' of a degradation code; the encoder returned vector",
        ),
        (
            {"type": "DASR", "scale": 3, "n_groups": 1, "n_blocks": 1, "n_feats": 8},
            "network_g: DASR gives 192×216 for an image of 64×72, but `scale` is 2, which means 128×144",
        ),
    ],
)
def test_a_restorer_that_does_not_fit_is_told_before_the_encoder_trains(
    write_options: Write, pair_folders: Path, network_g: dict[str, Any], message: str
) -> None:
    alone = {"train.pixel_opt": None, "train.optim_g": None, "network_g": network_g}
    with pytest.raises(ValueError, match=message):
        build_model(load_options(write_options(changes(pair_folders, **alone))), torch.device("cpu"))


def test_a_restorer_that_takes_no_code_is_told_by_the_check(write_options: Write, pair_folders: Path) -> None:
    file = write_options(changes(pair_folders, network_g={"type": "IMDN", "nf": 8, "upscale": 2}))
    with pytest.raises(OptionError, match=r"network_g.type: IMDN takes only an image, but BlindSRModel also gives"):
        load_options(file)
    with pytest.raises(ValueError, match="network_g: IMDN takes only an image"):
        build_model(load_options(file, is_train=False), torch.device("cpu"))


@pytest.mark.parametrize("use", ["own", "shuffled"])
def test_trying_the_restorer_leaves_no_trace(write_options: Write, pair_folders: Path, use: str) -> None:
    model, _ = model_and_batch(write_options(changes(pair_folders, **{"train.code": use})))
    assert model.predictor._before is None
    assert all(module.training for role in "eg" for module in model.bare[role].modules())
    assert model.bare["e"].E[1].num_batches_tracked == 0


def test_a_misspelt_modulator_is_told_by_the_check(write_options: Write, pair_folders: Path) -> None:
    file = write_options(changes(pair_folders, network_g={"type": "ConditionedNet", "scale": 2, "modulator": "daconv"}))
    with pytest.raises(OptionError, match=r"network_g.modulator: should be 'da_conv', .*, got 'daconv'"):
        load_options(file)


def test_a_dataset_without_labels_is_told(write_options: Write, pair_folders: Path) -> None:
    more = {"train.supervised_opt": {"type": "SupConLoss"}}
    model, batch = model_and_batch(write_options(changes(pair_folders, **more)))
    with pytest.raises(ValueError, match="a loss needs labels, but no image of the batch has one"):
        step(model, batch)


def test_a_dataset_without_second_crops_is_told(write_options: Write, pair_folders: Path) -> None:
    model, batch = model_and_batch(write_options(changes(pair_folders)))
    del batch["lq_key"]
    with pytest.raises(ValueError, match="a loss needs `lq_key`, but the dataset gives none; use ContrastiveDataset"):
        step(model, batch)


def test_the_restorer_has_a_moving_average(write_options: Write, pair_folders: Path) -> None:
    file = write_options(changes(pair_folders, **{"train.ema_decay": 0.9}))
    model = build_model(load_options(file), torch.device("cpu"))
    assert set(model.ema) == {role for role, declared in type(model).network_roles.items() if declared.averaged}
    assert "g" in model.ema
