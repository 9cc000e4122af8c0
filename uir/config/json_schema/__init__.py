"""A JSON Schema of option files, so that an editor completes their keys, explains them and underlines mistakes.

It checks keys and types as `uir check` does: it describes the typed sections of `uir.config.schema`, and every
registered class with its constructor's arguments and their docstrings. Only `uir check` checks rules between keys.
basicsr is not imported: the schema has its classes by name, with any arguments.

Many editors do not support the newest draft, so the rules for keys use only words that draft 7 has too.
"""

from uir.config.json_schema.option_files import option_schema

__all__ = ["option_schema"]
