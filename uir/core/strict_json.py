"""JSON that every reader takes."""

from __future__ import annotations

import json
import math
from typing import Any


def strict_json(content: Any, indent: int | None = None) -> str:
    """JSON text of plain data, without the bare `NaN` and `Infinity` of Python's own, which the standard does not have.

    A number that is not finite becomes the text `NaN`, `Infinity` or `-Infinity`, which `float` and JavaScript's
    `Number` read.
    """
    return json.dumps(_plain(content), indent=indent, allow_nan=False)


def _plain(content: Any) -> Any:
    if isinstance(content, float) and not math.isfinite(content):
        return "NaN" if math.isnan(content) else f"{'-' if content < 0 else ''}Infinity"
    if isinstance(content, dict):
        return {key: _plain(value) for key, value in content.items()}
    return [_plain(value) for value in content] if isinstance(content, list | tuple) else content
