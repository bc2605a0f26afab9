"""Collect benign text from this machine for the training of the injection classifier: documentation, code, messages.

    python scripts/injection/collect.py OUT.jsonl [--packages LIST.tsv] [DIR…]

What it finds depends on what is installed, so the model card records the digest of what was used. A directory on the
command line is searched for documentation as well (unpacked wheels of security tools, for texts *about* attacks).
"""

from __future__ import annotations

import argparse
import ast
import gettext
import gzip
import hashlib
import json
import os
import random
import re
import sys
from collections.abc import Iterator
from pathlib import Path

SEED = 20261128
CHUNK = 1500
LIMITS = {"man": 9000, "readme": 9000, "code": 9000, "docstring": 4000, "comment": 5000, "licence": 500,
          "changelog": 2500, "catalogue": 9000, "summary": 22000, "about": 9000, "table": 2500}  # fmt: skip
ABOUT = re.compile(
    r"inject|jailbreak|guardrail|red.?team|prompt|llm|agent|mcp|security|firewall|sandbox", re.IGNORECASE
)
_SKIP = ("/proc/", "/sys/", "/tmp/")


def chunks(text: str, chance: random.Random, most: int = 3) -> Iterator[str]:
    """At most `most` windows of a text, of varied length, beginning anywhere."""
    text = text.strip()
    if len(text) < 40:
        return
    for _ in range(min(most, 1 + len(text) // (2 * CHUNK))):
        size = chance.choice((200, 500, 900, CHUNK, CHUNK))
        start = chance.randrange(max(1, len(text) - size)) if len(text) > size else 0
        yield text[start : start + size]


def read(path: Path) -> str:
    """Text of a file, unpacked; "" when it is none."""
    try:
        data = gzip.open(path).read(400_000) if path.suffix == ".gz" else path.open("rb").read(400_000)
    except (OSError, EOFError):
        return ""
    return "" if b"\0" in data[:4000] else data.decode("utf-8", "replace")


def roff(text: str) -> str:
    """A manual page's words, roughly as `man` shows them."""
    text = re.sub(r'^[.\'](\\"|if|ie|el|de|ds|nr|\.).*$', "", text, flags=re.MULTILINE)
    text = re.sub(r"^[.'][A-Za-z]{1,3}[ ]?", "", text, flags=re.MULTILINE)
    return re.sub(r"\\f[A-Z]|\\f\(..|\\f\[\w*\]|\\[&|^e/,]|\\\((..)", "", text).replace("\\-", "-")


def python_parts(text: str) -> Iterator[tuple[str, str]]:
    """Docstrings, and comments with their code."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError):
        return
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and (doc := ast.get_docstring(node)):
            yield "docstring", doc
    if comments := "\n".join(re.findall(r"^\s*# ?(.*)$", text, re.MULTILINE)):
        yield "comment", comments


def files(roots: list[str]) -> Iterator[Path]:
    for root in roots:
        for folder, _, names in os.walk(root):
            if not folder.startswith(_SKIP):
                yield from (Path(folder, name) for name in names)


def classify(path: Path) -> str:
    """The kind of text that a file holds, "" for none that is wanted."""
    name, whole = path.name.lower(), str(path)
    if "/man/" in whole and re.search(r"\.[1-8]\w*(\.gz)?$", name):
        return "man"
    if name.endswith(".mo"):
        return "catalogue"
    if re.match(r"(copyright|licen[cs]e|copying|notice)", name):
        return "licence"
    if re.match(r"(changelog|changes|news|history|release)", name):
        return "changelog"
    if name.endswith((".md", ".rst", ".markdown", ".adoc")) or name in {"metadata", "readme", "readme.gz"}:
        return "readme"
    if name.endswith((".csv", ".tsv", ".json", ".yaml", ".yml", ".toml", ".ini", ".conf", ".html", ".xml", ".txt")):
        return "table"
    if name.endswith((".py", ".js", ".ts", ".c", ".h", ".sh", ".go", ".rs", ".rb", ".pl", ".java", ".lua", ".sql")):
        return "code"
    return ""


def catalogue(path: Path, chance: random.Random) -> Iterator[str]:
    """Runs of translated messages, as a page of a program's texts."""
    try:
        with path.open("rb") as file:
            messages = gettext.GNUTranslations(file)._catalog  # type: ignore[attr-defined]
    except Exception:  # noqa: BLE001 -- any damaged catalogue is skipped
        return
    texts = [text for key, text in messages.items() if key and isinstance(text, str) and len(text) > 12]
    for _ in range(min(6, len(texts) // 8)):
        start = chance.randrange(len(texts))
        yield "\n".join(texts[start : start + chance.choice((2, 5, 12))])[:CHUNK]


def samples(path: Path, kind: str, about: bool, chance: random.Random) -> Iterator[tuple[str, str]]:
    if kind == "catalogue":
        yield from (("catalogue", text) for text in catalogue(path, chance))
        return
    text = roff(read(path)) if kind == "man" else read(path)
    if about and kind in {"readme", "changelog", "code"}:
        yield from (("about", part) for part in chunks(text, chance, 12 if kind == "readme" else 2))
        return
    if kind == "code" and path.suffix == ".py" and chance.random() < 0.5:
        for part_kind, part in python_parts(text):
            yield from ((part_kind, piece) for piece in chunks(part, chance, 1))
        return
    yield from ((kind, part) for part in chunks(text, chance))


def summaries(path: Path, chance: random.Random) -> Iterator[tuple[str, str]]:
    """One-line descriptions of packages; those about agents and attacks in full number."""
    for line in path.read_text("utf-8", "replace").splitlines()[1:]:
        text = line.rsplit("\t", 1)[-1].strip()
        if len(text) > 25 and (chance.random() < 0.012 or (ABOUT.search(text) and chance.random() < 0.25)):
            yield "summary", text


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--packages", type=Path)
    parser.add_argument("roots", nargs="*")
    options = parser.parse_args()
    chance = random.Random(SEED)
    seen, count, digest = set(), dict.fromkeys(LIMITS, 0), hashlib.sha256()
    system = ["/usr/share/doc", "/usr/share/man", "/usr/share/locale", "/usr/lib/python3", "/usr/lib/node_modules",
              "/usr/local/lib", "/usr/share/perl", "/etc", "/usr/include", "/usr/share", *sys.path]  # fmt: skip
    everything = [(path, False) for path in files(sorted({os.path.realpath(p) for p in system if os.path.isdir(p)}))]
    chance.shuffle(everything)
    everything = [(path, True) for path in files(options.roots)] + everything
    with options.out.open("w", encoding="utf-8") as out:

        def keep(kind: str, text: str, where: str) -> None:
            key = hashlib.sha1(" ".join(text.split()).encode("utf-8", "replace")).digest()
            if count[kind] >= LIMITS[kind] or key in seen or len(text) < 25:
                return
            seen.add(key)
            count[kind] += 1
            row = json.dumps({"text": text, "label": 0, "source": f"own-{where}", "kind": kind}) + "\n"
            digest.update(row.encode())
            out.write(row)

        if options.packages:
            for kind, text in summaries(options.packages, chance):
                keep(kind, text, "summaries")
        for path, about in everything:
            kind = classify(path)
            if kind and count[kind] < LIMITS[kind]:
                for each, text in samples(path, kind, about, chance):
                    keep(each, text, "about" if about else f"{each}-{hash_of(path) % 5}")
    print(count, "sha256", digest.hexdigest())
    return 0


def hash_of(path: Path) -> int:
    """The same number for all files of one package, so that folds do not share packages."""
    return int.from_bytes(hashlib.sha1(str(path.parent).encode()).digest()[:4], "big")


if __name__ == "__main__":
    sys.exit(main())
