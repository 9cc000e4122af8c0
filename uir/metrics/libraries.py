"""The packages of the extra `metrics`, imported when a metric is built that they compute."""

from __future__ import annotations

import importlib
from typing import Any


def library(module: str, metric: str, install: str = "'uir[metrics]'") -> Any:
    """A module of a package that is optional.

    Args:
        module: its dotted name, such as `torchmetrics.functional.image`.
        metric: the metric that needs it, for the message.
        install: what `pip install` needs to be called with.

    Raises:
        ValueError: the package is not installed; the message says how to install it.
    """
    package = module.partition(".")[0]
    try:
        return importlib.import_module(module)
    except ImportError as error:
        if error.name is not None and error.name.partition(".")[0] != package:
            raise ValueError(f"{metric}: {package} cannot be imported: {error}") from None
        raise ValueError(f"{metric} needs {package}, which is not installed: pip install {install}") from None
