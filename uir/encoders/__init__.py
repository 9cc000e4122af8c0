"""Degradation encoders, classifiers and predictors: one family a file (`*_encoder.py`), in `ARCH_REGISTRY`."""
