"""Adapters of the rival all-in-one restorers: what stands for their networks, and how these are run."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

import torch
from adapters_blind_sr import BlindSRAdapter, patched
from torch import nn

from uir.archs.adair_arch import AdaIR
from uir.archs.transweather_arch import TransWeather, TransWeatherBase

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


TRANSWEATHER = "jeya-maria-jose/TransWeather"

RIVAL_ADAPTERS: dict[tuple[str, str], Any] = {
    ("c-yn/AdaIR", "AdaIR"): BlindSRAdapter(with_unused(adair), on_the_image),
    (TRANSWEATHER, "Transweather"): BlindSRAdapter(transweather(TransWeather), on_the_image),
    (TRANSWEATHER, "Transweather_base"): BlindSRAdapter(transweather(TransWeatherBase), on_the_image),
}
