"""Network files: BasicSR's form (`{params, params_ema}`) with a card. All usual forms can be read."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from uir import __version__
from uir.core.files import replacing

logger = logging.getLogger("uir")
StateDict = dict[str, Tensor]
PARAM_KEYS = ("params_ema", "params", "state_dict", "model", "net", "ema_model")


class CheckpointError(ValueError):
    """A file of weights cannot be read, or does not fit the network."""


def digest(state: Mapping[str, Tensor]) -> str:
    """The sha256 of the tensors' bytes in key order."""
    total = hashlib.sha256()
    for key in sorted(state):
        total.update(key.encode())
        total.update(state[key].detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return total.hexdigest()


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
    """
    on_cpu = {key: {name: tensor.detach().cpu() for name, tensor in state.items()} for key, state in params.items()}
    full_card = {**card, "uir_version": __version__, "sha256": {key: digest(state) for key, state in on_cpu.items()}}
    with replacing(path) as temporary:
        torch.save({**on_cpu, "card": full_card}, temporary)


def read_file(path: Path) -> dict[str, Any]:
    """The content of a `.pth` or `.safetensors` file; only plain data is unpickled.

    Raises:
        CheckpointError: the file is missing, damaged, or contains more than plain data.
    """
    if not path.is_file():
        raise CheckpointError(f"{path}: there is no such file")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return dict(load_file(path))
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise CheckpointError(
            f"{path}: cannot be read as weights ({reason}); a file that contains more than tensors and plain values is "
            "refused, because reading it could run code: save only its state dict, or save it as .safetensors"
        ) from None
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: expected a mapping of weights, got {type(content).__name__}")
    return content


def read_weights(path: Path, param_key: str | None = None, must_have: bool = False) -> tuple[StateDict, dict[str, Any]]:
    """The weights in a file, and its card (empty if it has none).

    Args:
        path: a file of basicsr, of uir, a raw state dict, or `.safetensors`.
        param_key: the entry to use. If the file lacks it, and by default, the first of `params_ema`, `params`,
            `state_dict`, ... that exists is used, else the file itself.
        must_have: a file that lacks `param_key` is an error.
    """
    content = read_file(path)
    if param_key is not None and not isinstance(content.get(param_key), dict):
        keys = [key for key in PARAM_KEYS if isinstance(content.get(key), dict)]
        if must_have:
            raise CheckpointError(f"{path}: has no '{param_key}'; it has {', '.join(keys) or 'a plain state dict'}")
        logger.info("%s has no '%s'; %s is used", path, param_key, f"'{keys[0]}'" if keys else "the file itself")
    card = content.get("card") if isinstance(content.get("card"), dict) else {}
    for key in (param_key, *PARAM_KEYS):
        if key is not None and isinstance(content.get(key), dict):
            content = content[key]
            break
    state = {key: value for key, value in content.items() if isinstance(value, Tensor)}
    if not state:
        raise CheckpointError(f"{path}: contains no tensors (keys: {', '.join(map(str, list(content)[:10]))})")
    for prefix in ("module.", "_orig_mod."):
        if all(key.startswith(prefix) for key in state):
            state = {key[len(prefix) :]: value for key, value in state.items()}
    return state, dict(card or {})


def load_weights(network: nn.Module, path: Path, param_key: str | None = None, strict: bool = True) -> dict[str, Any]:
    """Load a file into a network; published key variants that its class knows (`convert_state_dict`) are renamed.

    Returns:
        The file's card.

    Raises:
        CheckpointError: keys or shapes do not fit (with `strict`), or no key fits; the message lists the first
            differences.
    """
    state, card = read_weights(path, param_key)
    fit_state(network, state, str(path), strict, card)
    return card


def fit_state(
    network: nn.Module, state: StateDict, source: str, strict: bool = True, card: Mapping[str, Any] | None = None
) -> None:
    """Load a state dict into a network, as `load_weights` does with a file.

    A network may have `check_state_dict(state)`. It sees the keys of the file and raises a ValueError if loading would
    lose what the weights mean. The network's class may have `convert_state_dict(state)`, which then renames published
    key variants and drops what the network does not need. `check_arch(arch)` works like `check_state_dict`, but sees
    the mapping that describes the network in the file's card, for what the keys do not show.
    """
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
    own = network.state_dict()
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
    network.load_state_dict(fitting, strict=False)
