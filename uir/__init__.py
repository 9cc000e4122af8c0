"""uir: the toolbox for universal image restoration.

    import uir

    restorer = uir.Restorer.from_pretrained("net_g_latest.pth")      # photograph in, photograph out
    network = uir.build_network({"type": "NAFNet", "width": 32})
    degraded, record = uir.load_degradation("realesrgan")(image, seed=7)

`import uir` is fast: torch is loaded only when something needs it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from uir.cli.listing import list_names
    from uir.config.options import load_options
    from uir.degradations.base import replay
    from uir.degradations.recipes import load_degradation
    from uir.inference.restorer import Restorer
    from uir.registry.components import build_network

__all__ = ["Restorer", "build_network", "list_names", "load_degradation", "load_options", "replay"]

_PLACES = {
    "Restorer": "uir.inference.restorer",
    "build_network": "uir.registry.components",
    "list_names": "uir.cli.listing",
    "load_degradation": "uir.degradations.recipes",
    "load_options": "uir.config.options",
    "replay": "uir.degradations.base",
}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"uir has no '{name}'; it has {', '.join(sorted(_PLACES))}")
    value = getattr(importlib.import_module(_PLACES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__", "__doc__", "__path__"])


from uir.compat import lend  # noqa: E402

lend()
del lend
