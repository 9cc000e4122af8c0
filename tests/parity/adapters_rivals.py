"""Adapters of the rival all-in-one restorers: what stands for their networks, and how these are run."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from itertools import combinations_with_replacement, product
from typing import Any

import torch
from adapters_blind_sr import BlindSRAdapter, patched
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from uir.archs.adair_arch import AdaIR
from uir.archs.diffir_arch import DiffIRS1, DiffIRS2
from uir.archs.instructir_arch import InstructIR
from uir.archs.moce_ir_arch import MoCEIR
from uir.archs.transweather_arch import TransWeather, TransWeatherBase
from uir.encoders.prompt_encoder import LMHead
from uir.layers.degradation_code import DegradationCode

Meta = Mapping[str, Any]


def with_unused(build: Callable[[Meta], nn.Module]) -> Callable[[Meta], nn.Module]:
    """Gives the network of a key map the parameters that it drops on loading: the published one never runs them.

    Where fixtures are compared it stays without them.
    """

    def built(meta: Meta) -> nn.Module:
        network = build(meta)
        if "state_dict" not in meta:
            return network
        published = {key: torch.empty(shape, device="meta") for key, shape in meta["state_dict"].items()}
        for key in published.keys() - network.convert_state_dict(published).keys():
            owner = network
            *path, name = key.split(".")
            for part in path:
                if not hasattr(owner, part):
                    owner.add_module(part, nn.Module())
                owner = getattr(owner, part)
            owner.register_parameter(name, nn.Parameter(published[key]))
        network = copy.copy(network)
        network.__class__ = type("Published", (type(network),), {"convert_state_dict": staticmethod(dict)})
        return network

    return built


def transweather(cls: type[nn.Module]) -> Callable[[Meta], nn.Module]:
    """Its inputs are normalised already."""
    return with_unused(lambda meta: cls(embed_dims=patched(meta, "embed dims", (64, 128, 320, 512)), normalise=False))


def adair(meta: Meta) -> nn.Module:
    """Also reads what the authors fix."""
    (grid,), (reduction,) = patched(meta, "frequency grid", (128,)), patched(meta, "channel gate", (16,))
    return AdaIR(**meta["constructor"], frequency_grid=grid, gate_reduction=reduction)


def on_the_image(network: nn.Module, inputs: Mapping[str, Any]) -> Any:
    """The image alone."""
    return network(inputs["x"])


def moce_ir(meta: Meta) -> nn.Module:
    """The multiply-adds of a key map are those of one random choice of experts: the network counts such a choice."""
    network = MoCEIR(**meta["constructor"])
    if "macs" in meta:
        _choose_experts(network, meta["macs"], meta["macs_input"][-2:])
    return network


def _choose_experts(network: MoCEIR, macs: int, size: list[int]) -> None:
    """Set the experts that are counted so that the sum is `macs`; without such a choice they stay the largest."""
    levels = [[layer.adapter for layer in stage.layers] for *_, stage in network.dec]
    costs = []
    for level, (first, *_) in enumerate(levels):
        stride = 2 ** (len(levels) - 1 - level)
        x = torch.empty(1, first.proj_out.in_channels, *(side // stride for side in size), device="meta")
        costs.append([_macs(lambda expert=expert, x=x: expert[0](x, x)) for expert in first.experts])
    largest = _macs(lambda: network.eval()(torch.empty(1, 3, *size, device="meta")))
    spared = largest - macs
    choices = [
        {
            sum(cost[-1] - cost[index] for index in chosen): chosen
            for chosen in combinations_with_replacement(range(len(cost)), len(level))
        }
        for cost, level in zip(costs, levels, strict=True)
    ]
    for choice in product(*choices):
        if sum(choice) == spared:
            for level, saved, known in zip(levels, choice, choices, strict=True):
                for adapter, index in zip(level, known[saved], strict=True):
                    adapter.counted = index
            return


def _macs(run: Callable[[], Any]) -> int:
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops() // 2


def with_router_noise(network: nn.Module, inputs: Mapping[str, Any]) -> Any:
    """The image and one draw for each router; a network in training also gives its balance."""
    draws = [value for key, value in inputs.items() if key != "x"]
    noise = torch.stack(draws, 1) if draws else None
    if not network.training:
        return network(inputs["x"], noise)
    restored, balance = network(inputs["x"], noise, with_balance=True)
    return restored, balance.mean(0, keepdim=True)


CREATED = {"input_channels": "img_channel", "enc_blks": "enc_blk_nums", "dec_blks": "dec_blk_nums"}
"""The arguments of InstructIR's `create_model`, and those of its class."""


def instructir(meta: Meta) -> nn.Module:
    """Of the class or of `create_model`."""
    return InstructIR(**{CREATED.get(key, key): value for key, value in meta["constructor"].items()})


def with_embedding(network: nn.Module, inputs: Mapping[str, Any]) -> Any:
    """The image, and the embedding of the sentence, whatever its name."""
    (embedding,) = (value for key, value in inputs.items() if key != "x")
    return network(inputs["x"], DegradationCode(vector=embedding))


def on_sentences(network: nn.Module, inputs: Mapping[str, Any]) -> Any:
    """The vectors of sentences."""
    code = network.project(inputs["x"])
    return code.vector, code.logits


def diffir(cls: type[nn.Module]) -> Callable[[Meta], nn.Module]:
    """Either stage; the authors fix the width of the prior."""
    return lambda meta: cls(**meta["constructor"], n_feats=patched(meta, "prior width", (64,))[0])


def first_stage(network: nn.Module, inputs: Mapping[str, Any]) -> Any:
    """The image and, if it is there, the clean one."""
    gt = inputs.get("gt", inputs["x"])
    return {"out": network(inputs["x"], gt), "ipr": network.prior_of(inputs["x"], gt)}


def second_stage(network: nn.Module, inputs: Mapping[str, Any]) -> Any:
    """The image and, if it is there, the noise of the prior."""
    restored, prior = network(inputs["x"], inputs.get("z"), with_prior=True)
    return {"out": restored, "ipr": prior}


TRANSWEATHER = "jeya-maria-jose/TransWeather"

RIVAL_ADAPTERS: dict[tuple[str, str], Any] = {
    ("eduardzamfir/MoCE-IR", "MoCEIR"): BlindSRAdapter(moce_ir, with_router_noise),
    ("c-yn/AdaIR", "AdaIR"): BlindSRAdapter(with_unused(adair), on_the_image),
    ("Zj-BinXia/DiffIR", "DiffIRS1"): BlindSRAdapter(diffir(DiffIRS1), first_stage),
    ("Zj-BinXia/DiffIR", "DiffIRS2"): BlindSRAdapter(diffir(DiffIRS2), second_stage),
    ("mv-lab/InstructIR", "InstructIR"): BlindSRAdapter(instructir, with_embedding),
    ("mv-lab/InstructIR", "create_model"): BlindSRAdapter(instructir, with_embedding),
    ("mv-lab/InstructIR", "LMHead"): BlindSRAdapter(lambda meta: LMHead(**meta["constructor"]), on_sentences),
    (TRANSWEATHER, "Transweather"): BlindSRAdapter(transweather(TransWeather), on_the_image),
    (TRANSWEATHER, "Transweather_base"): BlindSRAdapter(transweather(TransWeatherBase), on_the_image),
}
