"""A grid of option overrides and seeds: each run is trained, and one table reports them all."""
