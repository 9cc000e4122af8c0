"""The packages of the extra `analysis`; they are imported only when they are used."""

from __future__ import annotations

from importlib import import_module
from typing import Any


def sklearn_part(name: str) -> Any:
    """The module `sklearn.<name>`.

    Raises:
        ImportError: scikit-learn is not installed.
    """
    return _part("sklearn", name, "scikit-learn")


def matplotlib_part(name: str) -> Any:
    """The module `matplotlib.<name>`; pyplot is not used, because it has global state.

    Raises:
        ImportError: matplotlib is not installed.
    """
    return _part("matplotlib", name, "matplotlib")


def _part(package: str, name: str, distribution: str) -> Any:
    try:
        return import_module(f"{package}.{name}")
    except ImportError as error:
        raise ImportError(f"this needs {distribution}: pip install 'uir[analysis]'") from error
