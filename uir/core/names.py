"""Names that become folders or parts of file names."""

from __future__ import annotations

import os
import re
import unicodedata

_WINDOWS = os.name == "nt"
PLAIN_NAME = (
    "one plain folder name of 1 to 200 bytes: no control character, / or \\, no dot or space at its start or end"
    + (', none of : * ? " < > | and no reserved name such as nul' if _WINDOWS else "")
)
_RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE | re.DOTALL)


def is_plain_name(name: str, windows: bool = _WINDOWS) -> bool:
    """Whether a name is a single folder name that never means another place (see `PLAIN_NAME`).

    Args:
        name: the name.
        windows: also apply the rules of Windows.
    """
    if any(unicodedata.category(sign) in ("Cc", "Cs", "Zl", "Zp") or sign in "/\\" for sign in name):
        return False
    if windows and (_RESERVED.fullmatch(name) or any(sign in ':*?"<>|' for sign in name)):
        return False
    return 0 < len(name.encode()) <= 200 and name == name.strip(" .")
