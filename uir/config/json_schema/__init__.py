"""A JSON Schema of option files, so that an editor completes their keys, explains them and underlines mistakes.

It says what `uir check` says about keys and types: the typed sections of `uir.config.schema`, and every registered
class with its constructor's arguments and what their docstrings say. Rules between keys are left to `uir check`.
basicsr is not imported: its classes are offered by name, with open arguments.

Editors are behind the standard: only words that draft 7 has as well decide about keys.
"""

from uir.config.json_schema.option_files import option_schema

__all__ = ["option_schema"]
