"""Adapters of the blind super-resolution family: encoders, restorers, and the two in one published checkpoint."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from uir.archs.airnet_arch import DGRN
from uir.archs.cdsr_arch import CDSR
from uir.archs.dasr_arch import DASR, mean_shift
from uir.archs.imdn_arch import DAAdapter, IMDNAdapted
from uir.encoders.airnet_encoder import CBDE
from uir.encoders.cdsr_encoder import CDSREncoder
from uir.encoders.conv_bn_encoder import ConvBN6Encoder
from uir.encoders.daa_encoder import DAAEncoder, Ranker
from uir.layers.code_modulator import SFT
from uir.layers.degradation_code import DegradationCode

Meta = Mapping[str, Any]
Call = Callable[[nn.Module, dict[str, Tensor]], Any]


@dataclass(frozen=True)
class BlindSRAdapter:
    """How one published class is compared: what stands for it, and how it is run on the inputs."""

    build: Callable[[Meta], nn.Module]
    call: Call


def patched(meta: Meta, prefix: str, default: tuple[int, ...]) -> tuple[int, ...]:
    """What a hard-coded value was replaced by, from notes like `64/128/256 -> 8/12/16 (everywhere)`."""
    for key, note in (meta.get("patched_hardcoded_values") or {}).items():
        if key.startswith(prefix):
            return tuple(map(int, re.findall(r"\d+", note.partition("->")[2].partition("(")[0])))
    return default


def scale_of(meta: Meta) -> int:
    """Published constructors take the scale as a number or as a list of one."""
    scale = meta["constructor"]["scale"]
    return int(scale[0] if isinstance(scale, list) else scale)


def conv_bn_widths(meta: Meta) -> tuple[int, ...]:
    """Widths of DASR's, DAA's and AirNet's encoders."""
    return patched(meta, "encoder widths", (64, 128, 256))


class FullDASR(DASR):
    """DASR that also takes weights drawn by a recipe, which leave the fixed colour shifts as they are built."""

    @staticmethod
    def convert_state_dict(state: dict[str, Tensor]) -> dict[str, Tensor]:
        """As DASR's, the shifts added where they are missing."""
        shifts = {"sub_mean": mean_shift(-1, 255.0), "add_mean": mean_shift(1, 255.0)}
        fixed = {f"{name}.{key}": p for name, shift in shifts.items() for key, p in shift.state_dict().items()}
        state = DASR.convert_state_dict(state)
        return state | {key: value for key, value in fixed.items() if key not in state}


def make_dasr(meta: Meta) -> DASR:
    """DASR's restorer."""
    return FullDASR(
        scale_of(meta),
        *patched(meta, "n_groups", (5,)),
        *patched(meta, "n_blocks", (5,)),
        *patched(meta, "n_feats", (64,)),
        *patched(meta, "reduction", (8,)),
        code_channels=conv_bn_widths(meta)[-1],
    )


def cdsr_widths(meta: Meta) -> tuple[int, ...]:
    """Widths of CDSR's encoder."""
    return (*patched(meta, "nf", (64,)), *patched(meta, "encoder widths", (128, 256)))


def make_cdsr(meta: Meta) -> CDSR:
    """CDSR's restorer."""
    nf, *_, code_channels = cdsr_widths(meta)
    return CDSR(scale_of(meta), nf, *patched(meta, "nb", (10,)), *patched(meta, "gc", (32,)), code_channels)


def make_cdsr_encoder(meta: Meta) -> CDSREncoder:
    """CDSR's encoder."""
    return CDSREncoder(cdsr_widths(meta), *patched(meta, "codebook size", (1024,)))


def make_imdn(meta: Meta) -> IMDNAdapted:
    """DAA's restorer."""
    arguments = {key: value for key, value in meta["constructor"].items() if key != "pretrain"}
    return IMDNAdapted(**arguments, code_channels=conv_bn_widths(meta)[-1])


def ranker_widths(meta: Meta) -> tuple[int, ...]:
    """Of DAA's linear layers, the code's first."""
    return patched(meta, "ranker widths", (256, 128, 64, 32, 1))


def make_dgrn(meta: Meta) -> DGRN:
    """AirNet's restorer."""
    (n_feats,) = patched(meta, "n_feats", (64,))
    return DGRN(*patched(meta, "n_groups", (5,)), *patched(meta, "n_blocks", (5,)), n_feats, n_feats)


def make_cbde(meta: Meta) -> CBDE:
    """AirNet's encoder."""
    return CBDE(conv_bn_widths(meta))


class PublishedPair(nn.Module):
    """An encoder and a restorer, as one published class has them; each takes its keys from the whole.

    Args:
        network_e, network_g: the two.
        rest: of a key map, the shapes of what only training uses: the momentum encoder and the queue.
    """

    def __init__(self, network_e: nn.Module, network_g: nn.Module, rest: Mapping[str, list[int]]) -> None:
        super().__init__()
        self.network_e, self.network_g = network_e, network_g
        if any(".encoder_k." in key for key in rest):
            self.momentum = copy.deepcopy(network_e)
        for key, shape in rest.items():
            if "queue" in key:
                self.register_buffer(key.rpartition(".")[2], torch.zeros(shape))
        kinds = (type(network_e), type(network_g))

        def convert(state: dict[str, Tensor]) -> dict[str, Tensor]:
            converted = {f"network_e.{key}": value for key, value in kinds[0].convert_state_dict(state).items()}
            converted |= {f"network_g.{key}": value for key, value in kinds[1].convert_state_dict(state).items()}
            if hasattr(self, "momentum"):
                keys = [key for key in state if ".encoder_k." in key]
                converted |= {f"momentum.{key.partition('.encoder_k.')[2]}": state[key] for key in keys}
            return converted | {key.rpartition(".")[2]: value for key, value in state.items() if "queue" in key}

        # A rule of this very pair, where the tests look for it: on the class.
        self.__class__ = type("PublishedPair", (PublishedPair,), {"convert_state_dict": staticmethod(convert)})

    def forward(self, image: Tensor) -> Tensor:
        """Encode, then restore."""
        restored: Tensor = self.network_g(image, self.network_e(image))
        return restored


def pair(make_e: Callable[[Meta], nn.Module], make_g: Callable[[Meta], nn.Module]) -> Callable[[Meta], nn.Module]:
    """Both networks; those of a key map with what only training uses."""
    return lambda meta: PublishedPair(make_e(meta), make_g(meta), meta.get("state_dict", {}))


def in_range(value: float, out: float | None = None) -> Call:
    """Images of 0 to `value` (and restored ones of 0 to `out`) where uir has [0, 1]."""
    return lambda network, inputs: network(inputs["x"] / value) * (value if out is None else out)


def restore_from(field: str, value: float = 1.0) -> Call:
    """The image and one field of a code, in images of 0 to `value`."""

    def call(network: nn.Module, inputs: dict[str, Tensor]) -> Any:
        lq, code = inputs.values()
        return network(lq / value, DegradationCode(**{field: code})) * value

    return call


def encode(*fields: str, value: float = 1.0) -> Call:
    """Some fields of the code of images of 0 to `value`."""

    def call(network: nn.Module, inputs: dict[str, Tensor]) -> Any:
        code = network(inputs["x"] / value)
        return tuple(getattr(code, field) for field in fields)

    return call


def restore_with_differences(network: nn.Module, inputs: dict[str, Tensor]) -> Any:
    """DAA's restored image, and what each of its adapters adds (`diff0` to `diff6`)."""
    added = {}
    for name, adapter in network.named_children():
        if isinstance(adapter, DAAdapter):
            adapter.register_forward_hook(
                lambda _module, _inputs, output, name=name: added.__setitem__(name.replace("adapt", "diff"), output)
            )
    sr = network(inputs["x"], DegradationCode(vector=inputs["rep"]))
    return {"sr": sr, **added}


def plain(network: nn.Module, inputs: dict[str, Tensor]) -> Any:
    """The inputs as positional arguments."""
    return network(*inputs.values())


def make_dab(meta: Meta) -> DAAdapter:
    """One adapter of DAA."""
    return DAAdapter(meta["constructor"]["n_feat"], *patched(meta, "embedding", (256,)))


def make_sft(meta: Meta) -> SFT:
    """AirNet's spatial feature transform."""
    return SFT(meta["constructor"]["channels_out"], meta["constructor"]["channels_in"])


WANG, CDSR_REPO = "The-Learning-And-Vision-Atelier-LAVA/DASR", "ZhouYiiFeng/CDSR"
DAA, AIRNET = "wangyue7777/blindsr_daa", "XLearning-SCU/2022-CVPR-AirNet"

BLIND_SR_ADAPTERS: dict[tuple[str, str], BlindSRAdapter] = {
    (WANG, "Encoder"): BlindSRAdapter(
        lambda meta: ConvBN6Encoder(conv_bn_widths(meta)), encode("vector", "projection", value=255)
    ),
    (WANG, "DASR"): BlindSRAdapter(make_dasr, restore_from("vector", 255)),
    (WANG, "BlindSR"): BlindSRAdapter(
        pair(lambda meta: ConvBN6Encoder(conv_bn_widths(meta)), make_dasr), in_range(255)
    ),
    (CDSR_REPO, "Encoder"): BlindSRAdapter(make_cdsr_encoder, encode("vector", "projection")),
    (CDSR_REPO, "CDSR"): BlindSRAdapter(make_cdsr, restore_from("vector")),
    (CDSR_REPO, "BlindSR"): BlindSRAdapter(pair(make_cdsr_encoder, make_cdsr), in_range(255)),
    (DAA, "Encoder"): BlindSRAdapter(
        lambda meta: ConvBN6Encoder(conv_bn_widths(meta), projection=False), encode("vector", value=255)
    ),
    (DAA, "Ranker"): BlindSRAdapter(lambda meta: Ranker(ranker_widths(meta)), plain),
    (DAA, "DAB"): BlindSRAdapter(make_dab, plain),
    (DAA, "IMDN"): BlindSRAdapter(make_imdn, restore_with_differences),
    (DAA, "BlindSR"): BlindSRAdapter(
        pair(lambda meta: DAAEncoder(conv_bn_widths(meta), ranker_widths(meta)[1:-1]), make_imdn), in_range(1)
    ),
    (AIRNET, "ResEncoder"): BlindSRAdapter(make_cbde, encode("vector", "projection", "map")),
    (AIRNET, "SFT_layer"): BlindSRAdapter(make_sft, plain),
    (AIRNET, "DGRN"): BlindSRAdapter(make_dgrn, restore_from("map")),
    (AIRNET, "AirNet"): BlindSRAdapter(pair(make_cbde, make_dgrn), plain),
}
