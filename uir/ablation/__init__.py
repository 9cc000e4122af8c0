"""A grid of option overrides and seeds: trained run by run, reported as one table."""
