"""Which uir class stands for which published one, and how its arguments and inputs are passed.

An adapter maps names, never sizes: other folders of fixtures hold the same classes with other widths, depths and sizes.
Keys are converted by the class itself (`convert_state_dict`), as a checkpoint's are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from adapters_adversarial import ADVERSARIAL_BLOCKS
from adapters_blind_sr import BLIND_SR_ADAPTERS
from adapters_diffusion import DIFFUSION_ADAPTERS
from adapters_rivals import RIVAL_ADAPTERS
from torch import Tensor, nn

from uir.archs.msrresnet_arch import MSRResNetDynamic
from uir.archs.nafnet_arch import NAFNet
from uir.layers.features import FeaturePoint, FeatureTap
from uir.registry.components import build


def call_with_inputs(network: nn.Module, inputs: dict[str, Tensor]) -> Any:
    """The inputs in their stored order, as positional arguments."""
    return network(*inputs.values())


@dataclass(frozen=True)
class ArchAdapter:
    """How one published class is compared.

    Attributes:
        type: the name under which uir registers its own.
        arguments: published constructor arguments -> uir's, `patched_hardcoded_values` among them.
        call: runs the network on the inputs (named without `in_`), returns a tensor, or a tuple or mapping of outputs.
    """

    type: str
    arguments: Callable[[dict[str, Any]], dict[str, Any]] = dict
    call: Callable[[nn.Module, dict[str, Tensor]], Any] = call_with_inputs

    def build(self, meta: Mapping[str, Any]) -> nn.Module:
        """The uir network of a fixture or key map."""
        patched = meta.get("patched_hardcoded_values") or {}
        arguments = self.arguments({**meta["constructor"], **(patched if isinstance(patched, dict) else {})})
        return build("archs", {"type": f"uir:{self.type}", **arguments})


def with_defaults(**defaults: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Published defaults that differ from uir's."""
    return lambda arguments: {**defaults, **arguments}


def published_defaults(arguments: dict[str, Any]) -> dict[str, Any]:
    """Leaves out the note that a full-size network was built with the defaults of its class."""
    return {key: value for key, value in arguments.items() if key != "defaults"}


def promptir_arguments(arguments: dict[str, Any]) -> dict[str, Any]:
    """Also reads what the authors hard-code, from notes like `64,128,320 -> 6,10,14`."""
    names = {"prompt dims (level 1,2,3)": "prompt_dims", "prompt sizes": "prompt_sizes"}
    read = {}
    for key, value in published_defaults(arguments).items():
        if not isinstance(value, str) or key == "LayerNorm_type":
            read[key] = value
        elif "->" in value:  # the others follow from these
            sizes = [int(size) for size in value.partition("->")[2].split(",")]
            read[names.get(key, key)] = sizes if key in names else sizes[0]
    return read


def swinir_arguments(arguments: dict[str, Any]) -> dict[str, Any]:
    """Also reads the width that the authors hard-code, from a note like `64 -> 12`."""
    width = arguments.get("num_feat", 64)
    return {**arguments, "num_feat": int(str(width).rpartition("->")[2])}


# Its attention has neither tables nor masks; the sizes are its defaults.
DCPT_SWINIR = {"rel_pos_bias": False, "attn_mask": False, "img_size": 128, "embed_dim": 180, "window_size": 8}


class EqualExperts(MSRResNetDynamic):
    """Weighs each expert by 1 where no weights are given, as the fixtures of full size and the key maps do."""

    def forward(self, lq: Tensor, experts: Tensor | None = None) -> Tensor:
        """The restored image."""
        return super().forward(lq, lq.new_ones(1, self.num_experts) if experts is None else experts)


class ExpertsAdapter(ArchAdapter):
    """Builds the network with equal experts."""

    def build(self, meta: Mapping[str, Any]) -> nn.Module:
        """Of the published arguments."""
        return EqualExperts(**meta["constructor"])


def call_predictor(network: nn.Module, inputs: dict[str, Tensor]) -> Any:
    """The numbers of the degradation, and the experts' weights for them."""
    code = network.predict(inputs["x"])
    return code.params, network.route(code)


def call_with_features(network: nn.Module, inputs: dict[str, Tensor]) -> Any:
    """The image, and the features `f0`, `f1`, ... as one list."""
    features = {key: value for key, value in inputs.items() if key != "lq"}
    return network(inputs["lq"], [features[f"f{index}"] for index in range(len(features))])


class PromptIRAdapter(ArchAdapter):
    """Gives the network of a key map the convolutions that the published one holds and never runs."""

    def build(self, meta: Mapping[str, Any]) -> nn.Module:
        """Without them where fixtures are compared: there they are dropped on loading."""
        network = super().build(meta)
        if "state_dict" not in meta:
            return network
        for key, shape in meta["state_dict"].items():
            if key.startswith(("chnl_reduce", "reduce_noise_channel_")):
                network.add_module(key.removesuffix(".weight"), nn.Conv2d(shape[1], shape[0], 1, bias=False))
        network.__class__ = type("PublishedPromptIR", (type(network),), {"convert_state_dict": staticmethod(dict)})
        return network


class BlockwiseNAFNet(NAFNet):
    """NAFNet with a feature point behind every decoder block."""

    def feature_points(self) -> list[FeaturePoint]:
        """Coarse to fine."""
        stages = zip(super().feature_points(), self.decoders, strict=True)
        return [
            FeaturePoint(f"{point.name}.{index}", point.channels, point.stride)
            for point, stage in stages
            for index in range(len(stage))
        ]


class PretrainForward(nn.Module):
    """The classification pass of DCPT's pre-training: a backbone up to its last feature, and the classifier."""

    def __init__(self, net_g: Mapping[str, Any], net_dc: Mapping[str, Any]) -> None:
        super().__init__()
        self.net_g = BlockwiseNAFNet(**net_g)
        self.net_dc = build("archs", {"type": "uir:PromptIR_NoImg_DC", **net_dc})

    def forward(self, lq: Tensor) -> dict[str, Tensor]:
        """The logits and the features, in the order of the forward pass."""
        restored, features = FeatureTap(self.net_g, stop_at_last=True)(lq)
        assert restored is None
        hooked = {f"hooked{index}": feature for index, feature in enumerate(features)}
        return {"logits": self.net_dc(lq, features[::-1]), **hooked}

    @staticmethod
    def convert_state_dict(state: dict[str, Tensor]) -> dict[str, Tensor]:
        """The keys of both networks, each by its own rule."""
        backbone = {key.removeprefix("net_g."): value for key, value in state.items() if key.startswith("net_g.")}
        others = {key: value for key, value in state.items() if not key.startswith("net_g.")}
        return others | {f"net_g.{key}": value for key, value in NAFNet.convert_state_dict(backbone).items()}


class PretrainForwardAdapter(ArchAdapter):
    """Two networks instead of one."""

    def build(self, meta: Mapping[str, Any]) -> nn.Module:
        """Both, under the names of DCPT's roles."""
        return PretrainForward(**meta["constructor"])


NAFNET, DCPT = "megvii-research/NAFNet", "MILab-PKU/dcpt"
SWINIR = "JingyunLiang/SwinIR"
RESTORMER, PROMPTIR = "swz30/Restormer", "va1shn9v/PromptIR"

# (source_repo, class_name) of a fixture -> adapter
ARCH_ADAPTERS: dict[tuple[str, str], Any] = {
    **BLIND_SR_ADAPTERS,
    **ADVERSARIAL_BLOCKS,
    **RIVAL_ADAPTERS,
    **DIFFUSION_ADAPTERS,
    (NAFNET, "NAFNet"): ArchAdapter("NAFNet"),
    (NAFNET, "NAFNetLocal"): ArchAdapter("NAFNetLocal"),
    (NAFNET, "Baseline"): ArchAdapter("Baseline"),
    (DCPT, "NAFNetBaseline"): ArchAdapter("NAFNet"),
    (DCPT, "NAFNet"): ArchAdapter("NAFNetLocal", with_defaults(train_size=(1, 3, 128, 128))),
    (SWINIR, "SwinIR"): ArchAdapter("SwinIR", swinir_arguments),
    (DCPT, "SwinIR"): ArchAdapter("SwinIR", with_defaults(**DCPT_SWINIR)),
    (RESTORMER, "Restormer"): ArchAdapter("Restormer"),
    (DCPT, "Restormer"): ArchAdapter("RestormerDCPT", published_defaults),
    (PROMPTIR, "PromptIR"): PromptIRAdapter("PromptIR", promptir_arguments),
    (DCPT, "PromptIR"): ArchAdapter("PromptIR", promptir_arguments),
    (DCPT, "PromptIR_DC"): ArchAdapter("PromptIR_DC", call=call_with_features),
    (DCPT, "PromptIR_NoImg_DC"): ArchAdapter("PromptIR_NoImg_DC", call=call_with_features),
    ("csjliang/DASR", "UNetDiscriminatorSN"): ArchAdapter("UNetDiscriminatorSN"),
    ("csjliang/DASR", "MSRResNetDynamic"): ExpertsAdapter("MSRResNetDynamic"),
    ("csjliang/DASR", "Degradation_Predictor"): ArchAdapter("Degradation_Predictor", call=call_predictor),
    (DCPT, "NAFNetBaseline + PromptIR_NoImg_DC"): PretrainForwardAdapter("NAFNet"),
}


def adapter_of(meta: Mapping[str, Any]) -> ArchAdapter | None:
    """The adapter of a fixture or key map, if there is one."""
    return ARCH_ADAPTERS.get((meta["source_repo"], meta.get("class_name") or ""))


def convert_keys(network: nn.Module, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Published keys -> the network's own, as on loading a checkpoint."""
    convert = getattr(type(network), "convert_state_dict", None)
    return convert(state) if convert else state


def convert_module_name(network: nn.Module, name: str) -> str:
    """A published module path -> the network's own, by the rule of the keys."""
    return next(iter(convert_keys(network, {f"{name}.": torch.empty(0)}))).rstrip(".")
