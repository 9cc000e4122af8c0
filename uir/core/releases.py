"""Released models: one or several networks with their cards in one `.safetensors` file.

The tensors of a single network have their own names, so that other tools load the file; those of several are
`<role>.<name>`. The cards are JSON in the file's metadata, under the key `uir`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from uir.core.files import replacing

METADATA_KEY = "uir"


def write_safetensors(path: Path, networks: Mapping[str, tuple[Mapping[str, Tensor], Mapping[str, Any]]]) -> None:
    """Write networks to one file.

    Args:
        path: the file, `.safetensors`.
        networks: the state dict and the full card of each role (see `uir.core.checkpoint.full_card`).

    Raises:
        ValueError: there is no network, or a card holds more than plain data.
    """
    from safetensors.torch import save

    if not networks:
        raise ValueError(f"{path}: there is no network to write")
    tensors, described = {}, {}
    for role, (state, card) in networks.items():
        prefix = f"{role}." if len(networks) > 1 else ""
        tensors.update({f"{prefix}{key}": value.detach().cpu().contiguous().clone() for key, value in state.items()})
        described[role] = {"prefix": prefix, "card": card}
    try:
        text = json.dumps({"networks": described})
    except TypeError as error:
        raise ValueError(f"{path}: a card holds more than numbers, texts, lists and mappings ({error})") from None
    content = save(tensors, {METADATA_KEY: text, "format": "pt"})
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def read_safetensors(path: Path) -> dict[str, Any]:
    """The content of a file: `{networks: {role: {params: state dict, card: card}}}`, or its tensors if it has no card.

    Raises:
        Exception: whatever safetensors raises for a damaged file, and ValueError if its cards do not fit its tensors.
    """
    from safetensors import safe_open

    with safe_open(str(path), "pt") as file:
        names = list(file.keys())
        tensors = {name: file.get_tensor(name) for name in names}
        metadata = file.metadata() or {}
    if METADATA_KEY not in metadata:
        return tensors
    described = json.loads(metadata[METADATA_KEY])["networks"]
    networks = {}
    for role, entry in described.items():
        prefix = entry["prefix"]
        state = {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
        networks[role] = {"params": state, "card": dict(entry["card"])}
    return {"networks": networks}
