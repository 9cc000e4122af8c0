"""Losses: one family a file, each a registered module that returns a scalar for images in [0, 1]."""
