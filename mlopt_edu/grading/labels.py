"""Names for results that every file system takes, and no two alike.

A name from a stranger may hold control characters, turn the writing direction, be no
UTF-8, be too long, or differ from another only in case. What must be changed gets six
digits of the original's hash behind it, so that a name is the same in every run and
nobody can hand in a name that becomes another's.
"""

import hashlib
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence

MAX_BYTES = 150  # of one part; with a suffix and a temporary name below 255

_WINDOWS = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
_OURS = re.compile(r".*(\.(json|html|csv)|~[0-9a-f]{6})", re.IGNORECASE)


def safe(name: str) -> str:
    r"""Return a name that is one part of a path on every system.

    Example:
        >>> safe("ada"), safe("a\nb:c")
        ('ada', 'a_b_c~0813a4')
    """
    whole = unicodedata.normalize("NFC", name)
    text = "".join("_" if _is_odd(letter) else letter for letter in whole)
    while len(text.encode()) > MAX_BYTES:
        text = text[:-1]
    text = text.strip(" ").rstrip(".") or "_"
    if text.startswith("."):
        text = f"_{text[1:]}"
    # No folder of results has the name of a result, and no name ends in a false hash.
    if text == whole and not _WINDOWS.fullmatch(text) and not _OURS.fullmatch(text):
        return text
    return f"{text}~{_hash(name)}"


def unique(labels: Sequence[str], originals: Sequence[str]) -> list[str]:
    """Return labels of which no two are the same where case does not count.

    Args:
        labels: What `safe` made.
        originals: For each label what it stands for; no two alike.

    Example:
        >>> unique(["ada", "Ada", "bob"], ["ada.ipynb", "Ada.ipynb", "bob.ipynb"])
        ['ada~e3a41a', 'Ada~0cf7ad', 'bob']
    """
    folded = [unicodedata.normalize("NFC", label.casefold()) for label in labels]
    count = Counter(folded)
    return [
        label if count[fold] == 1 else f"{label}~{_hash(original)}"
        for label, fold, original in zip(labels, folded, originals, strict=True)
    ]


def _is_odd(letter: str) -> bool:
    return letter in '<>:"|?*\\/' or unicodedata.category(letter)[0] == "C"


def _hash(name: str) -> str:
    return hashlib.sha256(os.fsencode(name)).hexdigest()[:6]
