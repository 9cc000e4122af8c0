"""Recognises the network of a checkpoint without a card by the keys and shapes of its weights.

A registered arch may have the static method `arch_of(state)`. It returns the mapping that builds the network of these
weights, or None if they are not its own. It raises a ValueError if they are, but do not show an argument.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from uir.core.checkpoint import CheckpointError, StateDict
from uir.registry import ARCH_REGISTRY


def recognised(state: StateDict, path: Path) -> dict[str, Any]:
    """The mapping `{type: Name, ...}` of the network that weights belong to.

    Args:
        state: the weights.
        path: their file, which spandrel reads if uir does not know the network.

    Raises:
        CheckpointError: nobody knows the network, or an argument does not follow from the weights.
    """
    for _, cls in ARCH_REGISTRY:
        arch_of = vars(cls).get("arch_of")
        if arch_of is None:
            continue
        try:
            arch = cls.arch_of(state)
        except ValueError as error:
            raise CheckpointError(
                f"{path}: {error}; give the option file it was trained with (-opt), or one whose network_g says it"
            ) from None
        if arch is not None:
            return dict(arch)
    if find_spec("spandrel") is not None:
        from uir.archs.spandrel_arch import described_by_spandrel

        try:
            described_by_spandrel(path)
        except CheckpointError:
            pass
        else:
            return {"type": "SpandrelNet", "file": str(path)}
    install = ", or install spandrel, which knows many networks (pip install 'uir[spandrel]')"
    hint = "" if find_spec("spandrel") else install
    raise CheckpointError(
        f"{path}: has no card that names its network, and its weights are of no network that uir recognises; give the "
        f"option file it was trained with (-opt){hint}"
    )
