"""Network files: BasicSR's form (`{params, params_ema}`) with a card. All usual forms can be read."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from uir import __version__
from uir.core.digests import digest, digest_of
from uir.core.releases import write_safetensors
from uir.core.weight_files import CheckpointError, read_plain, write_tensors

__all__ = [
    "CheckpointError", "StateDict", "digest", "fit_state", "full_card", "load_weights", "read_file", "read_weights",
    "roles_in", "write_checkpoint", "write_release",
]  # fmt: skip

logger = logging.getLogger("uir")
StateDict = dict[str, Tensor]
PARAM_KEYS = (
    "params_ema", "g_ema", "ema_model",  # the moving averages come first
    "params", "state_dict", "model_state_dict", "model", "net", "generator", "weight",
)  # fmt: skip
WRAPPERS = ("module.", "net.")
"""Names under which other programs put the whole network."""
NOT_WEIGHTS = ("total_ops", "total_params", "n_averaged")
"""What counters of operations and torch's averages leave in a state dict, in any module."""
LARGEST_SCALE = 64
CARD_KINDS: dict[str, tuple[type | tuple[type, ...], str]] = {
    "arch": (Mapping, "a mapping"), "predictor": (Mapping, "a mapping"), "label_parts": (Mapping, "a mapping"),
    "scale": (int, "an integer"), "labels": ((list, tuple), "a list"), "temperature": ((int, float), "a number"),
    "role": (str, "a text"), "method": (str, "a text"),
}  # fmt: skip


def published_state(network: nn.Module) -> StateDict:
    """The weights of a network as they are written to a file.

    These are all keys that the published class of the network has, so that other tools load the file strictly. A
    network with `published_state_dict()` gives them by that; of all others they are the state dict.
    """
    publish = getattr(network, "published_state_dict", network.state_dict)
    return dict(publish())


def write_checkpoint(path: Path, params: Mapping[str, StateDict], card: Mapping[str, Any]) -> None:
    """Write a network file.

    Args:
        path: the file to write.
        params: `{params: state dict}`, and `params_ema` if there is a moving average.
        card: a description of the weights: `arch` (the network's mapping in the option file), `scale`, `labels`, ...
            The card that is written also has digests of each state dict and of itself.
    """
    on_cpu = {key: {name: tensor.detach().cpu() for name, tensor in state.items()} for key, state in params.items()}
    write_tensors(path, {**on_cpu, "card": full_card(on_cpu, card)})


def write_release(path: Path, networks: Mapping[str, tuple[StateDict, Mapping[str, Any]]]) -> None:
    """Write a released model: the weights and the card of each role in one `.safetensors` file.

    A card that was read from a file keeps what it says; its digests are those of the new file.

    Raises:
        ValueError: there is no network, or a card holds more than plain data.
    """
    cards = {role: full_card({"params": state}, card) for role, (state, card) in networks.items()}
    write_safetensors(path, {role: (state, cards[role]) for role, (state, _) in networks.items()})


def full_card(params: Mapping[str, StateDict], card: Mapping[str, Any]) -> dict[str, Any]:
    """A card with uir's version and the digests of the state dicts and of itself."""
    digests = {key: digest(state) for key, state in params.items()}
    full = {**card, "uir_version": __version__, "sha256": digests}
    full["sha256"] = {**digests, "card": digest_of(full)}
    return full


def roles_in(path: Path) -> tuple[str, ...]:
    """The roles of the networks in a released model; empty for a file of one network that names none."""
    return tuple(read_plain(path).get("networks", ())) if path.suffix == ".safetensors" else ()


def read_file(path: Path, role: str = "g") -> dict[str, Any]:
    """The content of a `.pth` or `.safetensors` file; only plain data is unpickled.

    Args:
        path: the file.
        role: which network of a released model.

    Raises:
        CheckpointError: the file is missing or damaged, contains more than plain data, or is not what its card says.
    """
    content = read_plain(path)
    if path.suffix == ".safetensors" and isinstance(content.get("networks"), Mapping):
        networks = content["networks"]
        if role not in networks:
            raise CheckpointError(f"{path}: has no network_{role}; its networks are {', '.join(networks)}")
        content = networks[role]
    card = content.get("card")
    if isinstance(card, Mapping):
        _check_digests(path, content, card)
        _check_card(path, card)
    return content


def _check_digests(path: Path, content: Mapping[str, Any], card: Mapping[str, Any]) -> None:
    written = card.get("sha256")
    if not isinstance(written, Mapping):
        return
    for group, expected in written.items():
        if group == "card":
            groups = {key: value for key, value in written.items() if key != "card"}
            actual = digest_of({**card, "sha256": groups})  # the names of the groups count too
        else:
            state = content.get(group)
            actual = digest(state) if isinstance(state, Mapping) else "missing"
        if actual != expected:
            raise CheckpointError(
                f"{path}: the file is damaged: its '{group}' is not what was written (the sha256 differs); take "
                "another copy of it, or an earlier checkpoint"
            )


def _check_card(path: Path, card: Mapping[str, Any]) -> None:
    for key, (kind, expected) in CARD_KINDS.items():
        if key in card and (not isinstance(card[key], kind) or isinstance(card[key], bool)):
            raise CheckpointError(f"{path}: `{key}` on its card is to be {expected}, it is {card[key]!r}"[:300])
    for key in ("arch", "predictor"):
        if key in card and not isinstance(card[key].get("type"), str):
            raise CheckpointError(f"{path}: `{key}.type` on its card is to be the name of a class")
    if not 1 <= card.get("scale", 1) <= LARGEST_SCALE:
        raise CheckpointError(
            f"{path}: `scale` on its card is to be at least 1 and at most {LARGEST_SCALE}, it is {card['scale']}"
        )
    if not card.get("temperature", 1.0) > 0:
        raise CheckpointError(f"{path}: `temperature` on its card is to be above 0, it is {card['temperature']}")
    if not all(isinstance(label, str) for label in card.get("labels", ())):
        raise CheckpointError(f"{path}: `labels` on its card are to be texts, they are {card['labels']!r}"[:300])


def read_weights(
    path: Path, param_key: str | None = None, must_have: bool = False, role: str = "g"
) -> tuple[StateDict, dict[str, Any]]:
    """The weights in a file, and its card (empty if it has none).

    Args:
        path: a file of basicsr, of uir, a raw state dict, or `.safetensors`.
        param_key: the entry to use. If the file lacks it, and by default, the first of `params_ema`, `params`,
            `state_dict`, ... that exists is used, else the file itself.
        must_have: a file that lacks `param_key` is an error.
        role: which network of a released model.
    """
    return _read_group(path, param_key, must_have, role)[:2]


def _read_group(
    path: Path, param_key: str | None, must_have: bool = False, role: str = "g"
) -> tuple[StateDict, dict[str, Any], str]:
    """As `read_weights`, and the name of the entry that was used."""
    content = read_file(path, role)
    keys = [key for key in PARAM_KEYS if isinstance(content.get(key), dict)]
    if param_key is not None and not isinstance(content.get(param_key), dict):
        if must_have:
            raise CheckpointError(f"{path}: has no '{param_key}'; it has {', '.join(keys) or 'a plain state dict'}")
        logger.info("%s has no '%s'; %s is used", path, param_key, f"'{keys[0]}'" if keys else "the file itself")
    elif param_key is not None:
        keys = [param_key]
    card = content.get("card") if isinstance(content.get("card"), dict) else {}
    taken = "the file itself"
    while keys:  # an entry may hold a mapping with such an entry itself
        taken = keys[0] if taken == "the file itself" else f"{taken}.{keys[0]}"
        content = content[keys[0]]
        keys = [key for key in PARAM_KEYS if isinstance(content.get(key), dict)]
    state = {key: value for key, value in content.items() if isinstance(value, Tensor)}
    if not state:
        raise CheckpointError(f"{path}: contains no tensors (keys: {', '.join(map(str, list(content)[:10]))})")
    nameless = [key for key in state if not isinstance(key, str)]
    if nameless:
        raise CheckpointError(f"{path}: expected the names of weights as keys, got {nameless[0]!r}; save a state dict")
    return _unwrapped(state), dict(card or {}), taken


def _unwrapped(state: StateDict, own: Iterable[str] | None = None) -> StateDict:
    """A state dict without what wrappers add to the keys, in any order; `net.` stays where the network has it too.

    Args:
        state: as a file holds it.
        own: keys of the network. Without them `net.` stays.
    """
    state = {
        key.replace("_orig_mod.", ""): value
        for key, value in state.items()
        if key.rpartition(".")[2] not in NOT_WEIGHTS
    }
    kept = WRAPPERS[1:] if own is None else tuple(w for w in WRAPPERS if any(key.startswith(w) for key in own))
    while state:
        outer = next((w for w in WRAPPERS if w not in kept and all(key.startswith(w) for key in state)), None)
        if outer is None:
            break
        state = {key.removeprefix(outer): value for key, value in state.items()}
    return state


def load_weights(network: nn.Module, path: Path, param_key: str | None = None, strict: bool = True) -> str:
    """Load a file into a network; published key variants that its class knows (`convert_state_dict`) are renamed.

    Returns:
        The name of the entry of the file that was used, such as `params`.

    Raises:
        CheckpointError: keys or shapes do not fit (with `strict`), or no key fits; the message lists the first
            differences.
    """
    state, card, taken = _read_group(path, param_key)
    fit_state(network, state, str(path), strict, card)
    return taken


def fit_state(
    network: nn.Module, state: StateDict, source: str, strict: bool = True, card: Mapping[str, Any] | None = None
) -> None:
    """Load a state dict into a network, as `load_weights` does with a file.

    A network may have `check_state_dict(state)`. It sees the keys of the file and raises a ValueError if loading would
    lose what the weights mean. The network's class may have `convert_state_dict(state)`, which then renames published
    key variants and drops what the network does not need. `check_arch(arch)` works like `check_state_dict`, but sees
    the mapping that describes the network in the file's card, for what the keys do not show. At last `fitted_state`
    of the network, if it has one, gives weights the form of the network's own, such as one network's for all experts.

    Raises:
        CheckpointError: keys, shapes or kinds of numbers do not fit, or a weight is not finite.
    """
    own = network.state_dict()
    state = _unwrapped(state, own)
    described = (card or {}).get("arch")
    for method, checked_value in (("check_arch", described), ("check_state_dict", state)):
        check = getattr(network, method, None)
        if check is not None and isinstance(checked_value, Mapping):
            try:
                check(checked_value)
            except ValueError as error:
                raise CheckpointError(f"{source}: {error}") from None
    convert = getattr(type(network), "convert_state_dict", None)
    if convert is not None:
        state = convert(state)
    fit = getattr(network, "fitted_state", None)
    if fit is not None:
        state = fit(state)
    for key, value in state.items():
        if key in own:
            _check_layout(source, key, value)
    missing = [key for key in own if key not in state]
    unexpected = [key for key in state if key not in own]
    reshaped = [key for key in own if key in state and own[key].shape != state[key].shape]
    fitting = {key: value for key, value in state.items() if key in own and own[key].shape == value.shape}
    if (strict and (missing or unexpected or reshaped)) or (own and not fitting):
        lines = [f"{source}: these weights do not fit {type(network).__name__}:"]
        lines += [f"  missing    {key}" for key in missing[:10]]
        lines += [f"  unexpected {key}" for key in unexpected[:10]]
        lines += [f"  shape      {key}: {tuple(state[k].shape)} in the file, {tuple(own[k].shape)} in the network"
                  for key in reshaped[:10] for k in (key,)]  # fmt: skip
        total = len(missing) + len(unexpected) + len(reshaped)
        lines.append(f"  {total} differences; is the network built with the arguments it was trained with?")
        raise CheckpointError("\n".join(lines))
    for kind, keys in (("missing", missing), ("unexpected", unexpected), ("another shape", reshaped)):
        if keys:
            shown = ", ".join(keys[:5]) + (", ..." if len(keys) > 5 else "")
            logger.warning("%s: %d weights are left out, %s: %s", source, len(keys), kind, shown)
    parameters = {name for name, _ in network.named_parameters(remove_duplicate=False)}
    for key, value in fitting.items():
        _check_values(source, key, value, own[key], key in parameters)
    network.load_state_dict(fitting, strict=False)


def _check_layout(source: str, key: str, value: Tensor) -> None:
    """Make sure that a tensor of a file is an ordinary one."""
    plain = value.layout == torch.strided and not (value.is_nested or value.is_meta or value.is_quantized)
    if not plain:
        what = (
            "nested" if value.is_nested
            else "without values" if value.is_meta
            else "quantised" if value.is_quantized
            else "sparse"
        )  # fmt: skip
        raise CheckpointError(f"{source}: {key} is a tensor that is {what}; save it as a plain one")


def _check_values(source: str, key: str, value: Tensor, own: Tensor, is_parameter: bool) -> None:
    """Make sure that a tensor of a file holds numbers that can stand in the network's.

    A buffer may hold infinity, which masks use; no tensor may hold NaN.
    """
    if (value.is_floating_point(), value.is_complex()) != (own.is_floating_point(), own.is_complex()):
        kinds = (str(tensor.dtype).removeprefix("torch.") for tensor in (value, own))
        raise CheckpointError("{}: {} holds {}, the network expects {}".format(source, key, *kinds))
    if value.is_floating_point():
        value = value.float() if value.element_size() == 1 else value  # torch looks for NaN in no 8-bit type
        bad = ~value.isfinite() if is_parameter else value.isnan()
        if bad.any():
            raise CheckpointError(
                f"{source}: these weights are not usable: {key} holds {int(bad.sum())} values that are NaN or "
                "infinity; take an earlier checkpoint"
            )
