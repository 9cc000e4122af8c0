"""The names that an option file can use, by kind."""

from __future__ import annotations

from uir.registry import REGISTRIES, Entry

KINDS = (*REGISTRIES, "encoders", "weights")


def entries_of(kind: str) -> list[Entry]:
    """Every name of a kind: a registry, or `encoders` (the archs that give a degradation code or
    classify) or `weights` (the trained weights that ship with uir).

    Raises:
        ValueError: there is no such kind.
    """
    if kind in REGISTRIES:
        return REGISTRIES[kind].entries()
    if kind == "encoders":
        return [entry for entry in REGISTRIES["archs"].entries() if _is_encoder(entry)]
    if kind == "weights":
        from uir.weights import shipped_weights

        return [Entry(name, "uir", "uir.weights", str(file)) for name, file in shipped_weights().items()]
    raise ValueError(f"list: there is no kind '{kind}'; there are {', '.join(KINDS)}")


def list_names(kind: str) -> list[str]:
    """The names of a kind ("archs", "losses", ...), sorted. basicsr's names are included if it is installed.

    Raises:
        ValueError: there is no such kind.
    """
    return [entry.name for entry in entries_of(kind)]


def _is_encoder(entry: Entry) -> bool:
    """Whether an arch is one of uir's encoders, or a plugin's class whose `forward` is annotated to return a code."""
    if entry.origin != "plugin":
        return entry.module.startswith("uir.encoders.")
    forward = getattr(REGISTRIES["archs"].get(entry.name), "forward", None)
    return_type = getattr(forward, "__annotations__", {}).get("return")
    return getattr(return_type, "__name__", return_type) == "DegradationCode"
