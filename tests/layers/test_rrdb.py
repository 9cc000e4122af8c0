"""The residual-in-residual dense block."""

import pytest
import torch

from uir.layers.rrdb import RRDB


def test_gives_what_basicsr_gives():
    prepare = pytest.importorskip("uir.compat").prepare
    prepare()
    reference = pytest.importorskip("basicsr.archs.rrdbnet_arch", exc_type=ImportError).RRDB(6, 3).double()
    block = RRDB(6, 3).double()
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.add_(0.1)
    renamed = {key.replace("RDB", "rdb"): value for key, value in block.state_dict().items()}
    reference.load_state_dict(renamed, strict=True)
    x = torch.randn(2, 6, 8, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(block(x), reference(x))
