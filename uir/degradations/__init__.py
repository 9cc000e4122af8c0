"""Degradations: registered ops and pipelines, the records of what they did, and recipes that name them in YAML."""
