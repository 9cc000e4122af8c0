"""Losses: one family per file; each is a registered module that returns a scalar for images in [0, 1]."""
