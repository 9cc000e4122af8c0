"""Backbones: one network family per file (`*_arch.py`), registered in `ARCH_REGISTRY`."""
