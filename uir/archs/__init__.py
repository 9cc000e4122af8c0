"""Backbones: one network family a file (`*_arch.py`), registered in `ARCH_REGISTRY`."""
