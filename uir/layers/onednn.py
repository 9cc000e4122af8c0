"""oneDNN's linear layers, for blocks that pass through the cache part by part, and where these may be used.

torch uses these layers in compiled networks. They compute biases, GELU and residuals together with the product.
"""

from __future__ import annotations

import platform
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import _get_current_dispatch_mode

_FEWEST_CALLS = 8
"""Preparing a weight takes as long as some calls that order it themselves."""


def can_use(x: Tensor, parts: Iterable[nn.Module]) -> bool:
    """Whether a block may compute by `Linear` instead of calling its parts.

    Not where gradients, dropout, hooks on a part, or a tracer or counter that follows every operation need the parts.

    Args:
        x: the block's input.
        parts: the modules that would not be called.
    """
    return (
        not torch.is_grad_enabled()
        and x.device.type == "cpu"
        and x.dtype in (torch.float32, torch.bfloat16)
        and compute_dtype(x) in (torch.float32, torch.bfloat16)
        and not torch.compiler.is_compiling()
        and not torch.jit.is_tracing()
        and _get_current_dispatch_mode() is None
        and has_onednn(compute_dtype(x))
        and not any(map(_is_watched, parts))
    )


def compute_dtype(x: Tensor) -> torch.dtype:
    """The type in which convolutions and linear layers compute: autocast's, or the input's."""
    return torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype


def has_onednn(dtype: torch.dtype) -> bool:
    """Whether this torch has the fused layers, which it uses in compiled networks, for this processor."""
    if platform.machine().lower() not in ("x86_64", "amd64") or not torch.backends.mkldnn.is_available():
        return False
    names = ("_linear_pointwise", "_reorder_linear_weight", "_is_mkldnn_bf16_supported")
    if not all(hasattr(torch.ops.mkldnn, name) for name in names):
        return False
    return dtype == torch.float32 or bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def _is_watched(module: nn.Module) -> bool:
    """Whether a part of a block has dropout on, or a hook that must run."""
    return module.training or bool(module._forward_hooks or module._forward_pre_hooks)


class Linear:
    """A linear layer. Rows [N, in] to [N, out].

    The weight is prepared in each call of a block, a hundredth of the time, so that a change of it is always seen.

    Args:
        weight: [out, in].
        bias: [out].
        dtype: in which to compute.
        rows: number of rows that come at a time.
        calls: how often the layer is called; for a few calls the weight is not worth preparing.
    """

    def __init__(
        self, weight: Tensor, bias: Tensor | None, dtype: torch.dtype, rows: int, calls: int = _FEWEST_CALLS
    ) -> None:
        self.weight = weight.detach().to(dtype).contiguous()
        if calls >= _FEWEST_CALLS:
            self.weight = torch.ops.mkldnn._reorder_linear_weight(self.weight, rows)
        self.bias = None if bias is None else bias.detach().to(dtype).contiguous()

    def __call__(self, x: Tensor) -> Tensor:
        """The layer."""
        mapped: Tensor = torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, "none", [], "")
        return mapped

    def gelu(self, x: Tensor) -> Tensor:
        """The layer, then GELU."""
        mapped: Tensor = torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, "gelu", [], "none")
        return mapped

    def added_to(self, residual: Tensor, x: Tensor) -> Tensor:
        """The layer's output added to a residual, in the residual's type."""
        if residual.dtype != x.dtype:
            return residual + self(x)
        added: Tensor = torch.ops.mkldnn._linear_pointwise.binary(x, residual, self.weight, self.bias, "add")
        return added
