"""A small configuration of every registered backbone; one without an entry fails tests/archs/test_every_arch.py."""

from typing import Any

NAFNET = {"width": 4, "middle_blk_num": 1, "enc_blk_nums": [1, 2], "dec_blk_nums": [2, 1]}

ARCH_CONFIGS: dict[str, dict[str, Any]] = {
    "Baseline": NAFNET,
    "Bicubic": {"scale": 2},
    "Identity": {},
    "NAFNet": NAFNET,
    "NAFNetLocal": {**NAFNET, "train_size": [1, 3, 16, 16]},
}
