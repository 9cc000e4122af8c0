"""Degradation encoders, classifiers and predictors: one family per file (`*_encoder.py`), in `ARCH_REGISTRY`."""
