"""The names that an option file can use, by kind."""

from __future__ import annotations

from dataclasses import replace

from uir.registry import PROTOCOLS, REGISTRIES, TABLES, Entry, first_line

KINDS = (*TABLES, "encoders", "optimizers", "protocols", "schedulers", "test_sets", "weights")


def entries_of(kind: str) -> list[Entry]:
    """Every name of a kind.

    Args:
        kind: a registry or table (`archs`, `predictors`, ...); `encoders`, the archs that give a degradation code or
            classify; `optimizers` and `schedulers`, torch's and uir's; `protocols`, fixed choices for metrics;
            `test_sets`, several degradations of the same images, for `uir degrade --recipe`; `weights`, the trained
            weights that ship with uir.

    Raises:
        ValueError: there is no such kind.
    """
    if kind == "metrics":
        return [_with_direction(entry) for entry in TABLES["metrics"].entries()]
    if kind in TABLES:
        return TABLES[kind].entries()
    if kind == "encoders":
        return [entry for entry in TABLES["archs"].entries() if _is_encoder(entry)]
    if kind in ("optimizers", "schedulers"):
        from uir.config.optimizers import optimizer_names, scheduler_names

        classes = optimizer_names() if kind == "optimizers" else scheduler_names()
        return [Entry(name, "uir", cls.__module__, first_line(cls)) for name, cls in sorted(classes.items())]
    if kind == "protocols":
        rows = [(name, protocol) for name, protocol in PROTOCOLS if name == protocol.name]
        return [Entry(name, "uir", "uir.metrics.published_protocols", each.description) for name, each in rows]
    if kind == "test_sets":
        from uir.degradations.test_sets import TEST_SETS

        sets = sorted(TEST_SETS.items())
        return [Entry(name, "uir", make.__module__, first_line(make)) for name, make in sets]
    if kind == "weights":
        from uir.weights import shipped_weights

        return [Entry(name, "uir", "uir.weights", str(file)) for name, file in shipped_weights().items()]
    raise ValueError(f"list: there is no kind '{kind}'; there are {', '.join(KINDS)}")


def shown_with(kind: str | None) -> list[str]:
    """The kinds that `uir list KIND` shows: test sets too for degradations; without a kind every registry."""
    kinds = [kind] if kind else list(REGISTRIES)
    return [name for own in kinds for name in ((own, "test_sets") if own == "degradations" else (own,))]


def list_names(kind: str) -> list[str]:
    """The names of a kind ("archs", "losses", ...), sorted. basicsr's names are included if it is installed.

    Raises:
        ValueError: there is no such kind.
    """
    return [entry.name for entry in entries_of(kind)]


def _with_direction(entry: Entry) -> Entry:
    """A metric whose summary says which scores are good; basicsr's own are not imported for this."""
    if entry.origin == "basicsr":
        return entry
    from uir.metrics.building import better_of

    better = better_of(TABLES["metrics"].get(entry.name))
    return replace(entry, summary=f"{entry.summary.rstrip('.')} ({better} is better).")


def _is_encoder(entry: Entry) -> bool:
    """Whether an arch is one of uir's encoders, or a plugin's class whose `forward` is annotated to return a code."""
    if entry.origin != "plugin":
        return entry.module.startswith("uir.encoders.")
    forward = getattr(TABLES["archs"].get(entry.name), "forward", None)
    return_type = getattr(forward, "__annotations__", {}).get("return")
    return getattr(return_type, "__name__", return_type) == "DegradationCode"
