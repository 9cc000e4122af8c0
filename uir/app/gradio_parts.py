"""gradio without a network: no statistics are sent, no fonts are fetched, and no client makes the page download."""

from __future__ import annotations

import os
from typing import Any

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read when gradio is imported
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
try:
    import gradio as gr
except ImportError as error:
    raise ImportError(f"the web page needs gradio: pip install 'uir[app]' ({error})") from None

__all__ = ["THEME", "Page", "gr"]

THEME = gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"])
"""Fonts of the reader's own system; gradio's own theme names fonts on Google's servers."""


class Page(gr.Blocks):
    """A page whose inputs are values and uploaded files; gradio alone would also download what a client names."""

    async def preprocess_data(self, block_fn: Any, inputs: list[Any], *args: Any, **kwargs: Any) -> Any:
        """The inputs in the form for an event.

        Raises:
            gr.Error: an input names an address.
        """
        if any(_names_address(value) for value in inputs):
            raise gr.Error("Files are uploaded; addresses are not read.", print_exception=False)
        return await super().preprocess_data(block_fn, inputs, *args, **kwargs)


def _names_address(value: Any) -> bool:
    """Whether a value, or a part of it, is the description of a file that is elsewhere."""
    if isinstance(value, dict):
        path = value.get("path")
        if isinstance(path, str) and "://" in path:
            return True
        return any(_names_address(part) for part in value.values())
    return isinstance(value, list | tuple) and any(_names_address(part) for part in value)
