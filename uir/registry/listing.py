"""The names that an option file may use, kind by kind."""

from __future__ import annotations

from uir.registry import REGISTRIES, Entry

KINDS = (*REGISTRIES, "encoders", "weights")


def entries_of(kind: str) -> list[Entry]:
    """Everything that can be named, of a kind: a registry, or `encoders` (the archs that give a degradation code or
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
    """The names of a kind ("archs", "losses", ...), sorted; basicsr's, where it is installed, are among them.

    Raises:
        ValueError: there is no such kind.
    """
    return [entry.name for entry in entries_of(kind)]


def _is_encoder(entry: Entry) -> bool:
    """Whether an arch lies among uir's encoders, or is a plugin's whose `forward` says that it gives a code."""
    if entry.origin != "plugin":
        return entry.module.startswith("uir.encoders.")
    forward = getattr(REGISTRIES["archs"].get(entry.name), "forward", None)
    given = getattr(forward, "__annotations__", {}).get("return")
    return getattr(given, "__name__", given) == "DegradationCode"
