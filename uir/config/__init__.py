"""Option files: reading, inheriting, overriding, stages, checking, and the schema that all of this uses."""
