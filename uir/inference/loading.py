"""Loads a predictor from files of weights: the backbone, and the other networks that it needs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from uir.core.checkpoint import CheckpointError, StateDict, fit_state, read_weights, roles_in
from uir.inference.code_predictor import takes_code
from uir.inference.predictor import Predictor
from uir.inference.recognition import recognised
from uir.layers.code_widths import sized_by_encoder
from uir.registry import ARCH_REGISTRY, PREDICTORS, UnknownNameError
from uir.registry.components import build


def load_predictor(
    path: Path, opt: Path | None = None, param_key: str | None = None, beside: Mapping[str, Path | None] | None = None
) -> Predictor:
    """Load what restores single photographs; see `read_predictor`.

    Raises:
        CheckpointError, UnknownNameError: as `read_predictor`, or the method cannot restore a single photograph.
    """
    predictor = read_predictor(path, opt, param_key, beside)
    if predictor.refusal:
        raise CheckpointError(f"{path}: {predictor.refusal}")
    return predictor


def read_predictor(
    path: Path, opt: Path | None = None, param_key: str | None = None, beside: Mapping[str, Path | None] | None = None
) -> Predictor:
    """Load a backbone and the other networks that it needs for restoring, such as the encoder of its code.

    The card of the backbone's file names the network and the predictor. The network of a file without a card is
    recognised by its weights, if they show it (`recognised`). Without a card, a network that takes a degradation code
    restores with one, and any other network restores alone. The weights of another network come from the first of
    these: the file that `beside` names; the backbone's file, if it is a released model of several networks; a file in
    the backbone's folder with `net_<role>_` in its name instead of `net_g_`; the option file's
    `path.pretrain_network_<role>`; for an encoder, the backbone's own file, if it contains both networks, as published
    checkpoints do.

    Args:
        path: weights of the backbone, or a whole model in ONNX form.
        opt: an option file whose `network_<role>` describe the networks; default the files' cards.
        param_key: the key of the weights; default the moving average if a file has one.
        beside: files of the other networks' weights, by role.

    Raises:
        CheckpointError: a file does not fit its network, nothing describes its network, or a network is needed and not
            found, or given and not needed.
        UnknownNameError: the network or predictor that the card names is unknown; its plugin must be imported first.
    """
    if path.suffix == ".onnx":
        return _of_onnx(path)
    raw = _read_options(opt) if opt is not None else None
    files = {role: file for role, file in (beside or {}).items() if file is not None}
    state, card = read_weights(path, param_key, must_have=True)
    if raw is None and "arch" not in card:
        card = {**card, "arch": recognised(state, path)}
    network = _build("g", raw, card, path, opt)
    if not getattr(network, "loads_itself", False):
        fit_state(network, state, str(path), card=card)
    described = _described(card, network)
    try:
        cls = PREDICTORS.get(described["type"])
    except UnknownNameError as error:
        raise UnknownNameError(f"{path}: {error}") from None
    for role, file in files.items():
        if role not in cls.roles:
            input_name = "degradation code" if role == "e" else f"network_{role}"
            raise CheckpointError(f"{file}: {type(network).__name__} takes no {input_name}; remove it")
    networks = {"g": network}
    for role in cls.roles:
        if role != "g":
            networks[role] = _load_other(role, network, path, raw, opt, param_key, files.get(role), state)
    context = {
        "networks": networks,
        "scale": int((raw if raw is not None else card).get("scale", getattr(network, "scale", 1))),
        "labels": tuple(card.get("labels", ())),
    }
    settings = {key: value for key, value in described.items() if key != "type"}
    try:
        predictor: Predictor = cls(**context, **settings)
    except TypeError as error:
        raise CheckpointError(f"{path}: `predictor` on its card does not fit {cls.__name__} ({error})") from None
    return predictor


def _read_options(opt: Path) -> dict[str, Any]:
    """The content of an option file; a model with a card needs none, and starts sooner without what reads it."""
    from uir.config.options import read_translated

    return read_translated(opt)


def _of_onnx(path: Path) -> Predictor:
    """A model in ONNX form; its weights and its network are in the file."""
    from uir.inference.network_predictor import NetworkPredictor
    from uir.inference.onnx_network import OnnxNetwork

    network = OnnxNetwork(path)
    return NetworkPredictor({"g": network}, network.scale, tuple(network.card.get("labels", ())))


def _described(card: Mapping[str, Any], network: nn.Module) -> dict[str, Any]:
    """The predictor of a checkpoint: the card's, else the one that the network names, else one that fits it."""
    if "predictor" in card:
        return dict(card["predictor"])
    own = getattr(network, "predictor", None)
    if own is not None:
        return {"type": own}
    if takes_code(network):
        return {"type": "CodePredictor", "code": card.get("code", "own")}
    return {"type": "NetworkPredictor"}


def _load_other(
    role: str,
    network: nn.Module,
    path: Path,
    raw: Mapping[str, Any] | None,
    opt: Path | None,
    param_key: str | None,
    named: Path | None,
    state: StateDict,
) -> nn.Module:
    file = named or other_file(path, role) or _named_in(raw, opt, role)
    if file is not None:
        weights, card = read_weights(file, param_key, role=role)
    elif role == "e" and raw is not None and any(key.startswith("E.") for key in state):
        file, weights, card = path, state, {}
    else:
        other = path.name.replace("net_g_", f"net_{role}_")
        hint = f", or put its weights in the same folder as {other}" if other != path.name else ""
        if role == "e":
            needs = "restores by a degradation code, but its encoder is not found; name the encoder's weights"
            raise CheckpointError(f"{path}: {type(network).__name__} {needs} (--encoder){hint}")
        needs = f"restores with a network_{role}, but its weights are not found; name them in the option file"
        raise CheckpointError(f"{path}: {type(network).__name__} {needs} (-opt, path.pretrain_network_{role}){hint}")
    built = _build(role, raw, card, file, opt)
    fit_state(built, weights, str(file), card=card)
    return built


def other_file(path: Path, role: str) -> Path | None:
    """The file of another network that belongs to a backbone's file: the same one, or one beside it; None without."""
    if role in roles_in(path):
        return path
    file = path.with_name(path.name.replace("net_g_", f"net_{role}_"))
    return file if file != path and file.is_file() else None


def _named_in(raw: Mapping[str, Any] | None, opt: Path | None, role: str) -> Path | None:
    named = ((raw or {}).get("path") or {}).get(f"pretrain_network_{role}")
    if not named or opt is None:
        return None
    from uir.config.options import find_root

    return find_root(opt) / named


def _build(
    role: str, raw: Mapping[str, Any] | None, card: Mapping[str, Any], path: Path, opt: Path | None
) -> nn.Module:
    if raw is not None:
        arch = raw.get(f"network_{role}")
        if not isinstance(arch, dict):
            raise CheckpointError(f"{opt}: has no network_{role}, which would describe the network of {path}")
        if role == "g":
            arch = sized_by_encoder(arch, raw.get("network_e"))
    elif "arch" in card:
        arch = card["arch"]
    else:
        raise CheckpointError(
            f"{path}: has no card that names its network; give the option file it was trained with (-opt)"
        )
    try:
        built: nn.Module = build(ARCH_REGISTRY, arch)
    except UnknownNameError as error:
        raise UnknownNameError(f"{opt or path}: {error}") from None
    except Exception as error:  # whatever a constructor makes of arguments of another kind
        if raw is not None:
            raise
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise CheckpointError(f"{path}: {arch['type']} cannot be built as its card describes it ({reason})") from None
    return built
