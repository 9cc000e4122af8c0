"""uir: the toolbox for universal image restoration.

`import uir` is light: torch is loaded by the first thing that needs it.
"""

__version__ = "0.1.0"

from uir.compat import lend

lend()
