"""From files of weights to the networks that restore: the backbone, and the encoder that steers it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from uir.config.dialects import translate
from uir.config.options import find_root, load_plugins_of, read_merged
from uir.core.checkpoint import CheckpointError, StateDict, fit_state, read_weights
from uir.inference.global_code import takes_code
from uir.layers.code_widths import sized_by_encoder
from uir.layers.degradation_code import DegradationCode
from uir.registry import ARCH_REGISTRY
from uir.registry.components import build


@dataclass(frozen=True)
class Loaded:
    """Networks that were loaded.

    Attributes:
        network: the backbone.
        encoder: of its degradation code, of zeros where the backbone was trained with `code: zero`; None where it takes
            none.
        scale: size of the restored image over that of the input.
    """

    network: nn.Module
    encoder: nn.Module | None
    scale: int


class ZeroCode(nn.Module):
    """An encoder whose code says nothing: zeros in every field that `encoder` fills, as training's `code: zero`."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, image: Tensor) -> DegradationCode:
        """The code of [B, 3, H, W]."""
        code: DegradationCode = self.encoder(image)
        return code.zeros_like()


def load_restorer(
    path: Path, opt: Path | None = None, param_key: str | None = None, encoder: Path | None = None
) -> Loaded:
    """Load a backbone and, where it is steered by a degradation code, its encoder.

    The encoder's weights are, in this order: the file `encoder`; the file beside the backbone's that has `net_e_` in
    its name for `net_g_`; the option file's `path.pretrain_network_e`; the backbone's own file, where it holds both
    networks, as published checkpoints do.

    Args:
        path: weights of the backbone.
        opt: an option file whose `network_g` and `network_e` describe the networks; default the files' cards.
        param_key: which weights; default the moving average where a file has one.
        encoder: weights of the encoder.

    Raises:
        CheckpointError: a file does not fit its network, nothing tells which network it is, an encoder is needed and
            not found, or given and not needed, or the backbone was trained with `code: shuffled`.
    """
    raw = _read(opt) if opt is not None else None
    state, card = read_weights(path, param_key, must_have=True)
    network = _build("g", raw, card, path, opt)
    fit_state(network, state, str(path), card=card)
    scale = int((raw if raw is not None else card).get("scale", 1))
    if not takes_code(network):
        if encoder is not None:
            raise CheckpointError(f"{encoder}: {type(network).__name__} takes no degradation code; leave it out")
        return Loaded(network, None, scale)
    use = card.get("code", "own")
    if use == "shuffled":
        raise CheckpointError(
            f"{path}: was trained with `code: shuffled`, by the codes of other images, and one image has no other; "
            "`uir test` restores as it was trained"
        )
    built = _load_encoder(network, path, raw, opt, param_key, encoder, state)
    return Loaded(network, ZeroCode(built) if use == "zero" else built, scale)


def _load_encoder(
    network: nn.Module,
    path: Path,
    raw: Mapping[str, Any] | None,
    opt: Path | None,
    param_key: str | None,
    encoder: Path | None,
    state: StateDict,
) -> nn.Module:
    file = encoder or _beside(path) or _named_in(raw, opt)
    if file is not None:
        weights, card = read_weights(file, param_key)
    elif raw is not None and any(key.startswith("E.") for key in state):
        file, weights, card = path, state, {}
    else:
        beside = (
            f", or put its weights beside as {path.name.replace('net_g_', 'net_e_')}" if "net_g_" in path.name else ""
        )
        raise CheckpointError(
            f"{path}: {type(network).__name__} restores by a degradation code, and the encoder that makes it is not "
            f"found; name its weights (--encoder){beside}"
        )
    built = _build("e", raw, card, file, opt)
    fit_state(built, weights, str(file), card=card)
    return built


def _beside(path: Path) -> Path | None:
    file = path.with_name(path.name.replace("net_g_", "net_e_"))
    return file if file != path and file.is_file() else None


def _named_in(raw: Mapping[str, Any] | None, opt: Path | None) -> Path | None:
    named = ((raw or {}).get("path") or {}).get("pretrain_network_e")
    return find_root(opt) / named if named and opt is not None else None


def _read(opt: Path) -> dict[str, Any]:
    raw, marks = read_merged(opt)
    load_plugins_of(raw, marks, opt)
    return translate(raw, marks).raw


def _build(
    role: str, raw: Mapping[str, Any] | None, card: Mapping[str, Any], path: Path, opt: Path | None
) -> nn.Module:
    if raw is not None:
        arch = raw.get(f"network_{role}")
        if not isinstance(arch, dict):
            raise CheckpointError(f"{opt}: holds no network_{role}, which would describe the network of {path}")
        if role == "g":
            arch = sized_by_encoder(arch, raw.get("network_e"))
    elif "arch" in card:
        arch = card["arch"]
    else:
        raise CheckpointError(
            f"{path}: has no card that tells its network; give the option file it was trained with (-opt)"
        )
    built: nn.Module = build(ARCH_REGISTRY, arch)
    return built
