"""Write `src/localgpt/injection/data/skeleton.txt`: what each character looks like, for matching only.

    python scripts/injection/skeleton.py   (needs confusable-homoglyphs 3.3.1, for Unicode's confusables.txt)

One line an entry: the character, then what it becomes ("" takes it out). Built from NFKD without combining marks, then
the confusables whose target is one ASCII letter or digit, in lower case. A file rather than `unicodedata` at run time,
so that every Python gives the same skeleton, and with it the classifier the same score.
"""

from __future__ import annotations

import json
import sys
import unicodedata
from pathlib import Path

from localgpt.injection.folding import table
from localgpt.injection.visible import strip_invisible

TARGET = Path(__file__).resolve().parents[2] / "src/localgpt/injection/data/skeleton.txt"
LAST = 0x1FBFF
#: Read as themselves: vowel signs that Indic and Thai words need to stay apart are marks too, and are kept.
_KEPT_MARKS = ("DEVANAGARI", "BENGALI", "GURMUKHI", "GUJARATI", "TAMIL", "TELUGU", "KANNADA", "MALAYALAM", "THAI", "LAO", "KHMER", "MYANMAR", "SINHALA", "KATAKANA-HIRAGANA")  # fmt: skip


def confusables() -> dict[str, str]:
    """Characters that look like one ASCII letter or digit."""
    import confusable_homoglyphs

    path = Path(confusable_homoglyphs.__file__).with_name("confusables.json")
    found: dict[str, str] = {}
    for char, alike in json.loads(path.read_text("utf-8")).items():
        for entry in alike:
            target = entry["c"]
            if len(char) == 1 and not char.isascii() and len(target) == 1 and target.isascii() and target.isalpha():
                found.setdefault(char, target.lower())
    return found


def shape(char: str, alike: dict[str, str]) -> str:
    """What one lower-case character becomes."""
    if not strip_invisible(char):
        return ""
    name = unicodedata.name(char, "")
    if unicodedata.category(char) in {"Mn", "Me"}:
        return char if name.startswith(_KEPT_MARKS) else ""
    plain = unicodedata.normalize("NFKD", char)
    bare = "".join(
        c
        for c in plain
        if unicodedata.category(c) not in {"Mn", "Me"} or unicodedata.name(c, "").startswith(_KEPT_MARKS)
    )
    out = unicodedata.normalize("NFC", bare)
    folded = "".join(chr(t) if isinstance(t := table().get(ord(c), ord(c)), int) else c for c in out)
    return "".join(alike.get(c, c) for c in folded).lower()


def main() -> int:
    alike = confusables()
    lines = []
    for code in range(0x80, LAST + 1):
        char = chr(code)
        if 0xD800 <= code < 0xE000 or char in "\x85\u2028\u2029":
            continue
        shown = shape(char, alike)
        if shown != char and "\n" not in shown:
            lines.append(char + shown)
    TARGET.write_text("\n".join(lines) + "\n", "utf-8")
    print(len(lines), "entries", TARGET.stat().st_size, "bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
