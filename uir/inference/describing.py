"""Says what a file of weights is."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from uir.core.checkpoint import CheckpointError, read_file, read_weights, roles_in
from uir.inference.recognition import recognised

_LEFT_OUT = ("sha256", "arch")  # of a card: the former is checked while reading, the latter stands apart


def described_file(path: Path) -> dict[str, Any]:
    """What a file is, as plain data: its sha256, and for each role the network, its weights and its card.

    Raises:
        CheckpointError: the file is missing or damaged, or holds no weights.
    """
    roles = roles_in(path)
    networks = {role: _network(path, role) for role in roles or ("g",)}
    if not roles:  # the card of a single network says its role
        own = networks["g"]
        networks = {str(own["card"].get("role", "g")): own}
    return {"file": str(path), "sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "networks": networks}


def _network(path: Path, role: str) -> dict[str, Any]:
    content = read_file(path, role)
    state, card = read_weights(path, role=role)
    described: dict[str, Any] = {"arch": card.get("arch")}
    if described["arch"] is None:
        try:
            described["arch"] = recognised(state, path)
        except CheckpointError as error:
            described["missing"] = str(error).removeprefix(f"{path}: ")
    entries = [key for key, value in content.items() if isinstance(value, Mapping) and key != "card"]
    return {
        **described,
        "has_card": bool(card),
        "tensors": len(state),
        "weights": sum(value.numel() for value in state.values() if isinstance(value, Tensor)),
        "entries": list(map(str, entries)),
        "card": {key: value for key, value in card.items() if key not in _LEFT_OUT},
    }


def shown(described: Mapping[str, Any]) -> str:
    """The same as text."""
    lines = [described["file"], f"  sha256  {described['sha256']}"]
    for role, network in described["networks"].items():
        arch = network["arch"] or {"type": "of an unknown class"}
        how = "" if network["has_card"] else " (recognised by its weights)" if network["arch"] else ""
        arguments = ", ".join(f"{key}: {value}" for key, value in arch.items() if key != "type")
        lines.append(
            f"network_{role}: {arch['type']}{how}, {network['weights']:,} weights in {network['tensors']} tensors"
        )
        lines += [f"  arguments  {arguments}"] if arguments else []
        lines += [f"  missing  {network['missing']}"] if "missing" in network else []
        lines += [f"  entries  {', '.join(network['entries'])}"] if network["entries"] else []
        for key, value in network["card"].items():
            text = ", ".join(map(str, value)) if isinstance(value, list | tuple) and key == "labels" else str(value)
            lines += [f"  {key}  {text}"] if value not in ([], {}, None) else []
    return "\n".join(lines)
