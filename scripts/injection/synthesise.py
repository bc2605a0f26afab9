"""Write synthetic texts for training the injection classifier: everyday carriers, with and without an order in them.

    python scripts/injection/synthesise.py OUT.jsonl

The benign half matters most: mail asks people to send things, documents tell readers to run things, and neither is an
attack. Both halves are drawn from the same carriers, so that only the order tells them apart. Wordings are our own,
in `wordings.json` beside this file.
"""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path

SEED = 20261128
COUNT = 24_000
WORDINGS: dict[str, list[str]] = json.loads(Path(__file__).with_name("wordings.json").read_text("utf-8"))


class Writer:
    """Draws texts; everything random comes from one seed."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)

    def one(self, name: str) -> str:
        return self.chance.choice(WORDINGS[name])

    def fill(self, template: str, **given: str) -> str:
        """A template with its places filled; what fills them may hold places itself."""
        first = self.one("first")
        drawn = {
            "mail": f"{first.lower()}{self.chance.choice(['', '.', '_'])}{self.one('last').lower()}@{self.one('host')}",
            "name": f"{first} {self.one('last')}",
            "n": str(self.chance.randint(2, 999)),
            "n2": str(self.chance.randint(2, 23)),
            **{key: self.one(key) for key in ("thing", "day", "host", "secret", "word", "x", "lang")},
            **given,
        }
        for _ in range(3):
            for key, value in drawn.items():
                template = template.replace("{" + key + "}", value)
        return template

    def order(self) -> str:
        """One sentence or two that want to be obeyed."""
        draw = self.chance.random()
        if draw < 0.6:
            text = self.fill(self.one("order"), act=self.one("act"))
        elif draw < 0.75:
            text = self.fill(self.one("reveal"))
        else:
            text = self.fill(self.one("foreign"), w=self.fill(self.one("act")), s=self.one("secret"))
        return text if self.chance.random() < 0.85 else self.chance.choice([text.lower(), text.upper()])

    def sentences(self, most: int) -> list[str]:
        count = self.chance.randint(1, most)
        return [self.fill(self.one("ask" if self.chance.random() < 0.4 else "talk")) for _ in range(count)]

    def carrier(self, inside: list[str]) -> str:
        """A mail, a tool's output, a page or a list around some sentences."""
        body = self.chance.choice([" ", "\n"]).join(inside)
        match self.chance.randrange(9):
            case 0:
                head = "SUBJECT: {thing}|EMAIL_FROM: {name} <{mail}>|RECEIVED DATE: Tue, {n2} Feb 2022 07:11:09 +0000|CONTENT:"
                return self.fill(head) + "\n\n" + body
            case 1:
                return self.fill("Hi {name},\n\n") + body + self.fill("\n\nBest regards\n{name}")
            case 2:
                rows = [
                    {"id": self.chance.randint(1, 9999), "author": self.fill("{name}"), "content": t} for t in inside
                ]
                return json.dumps({"status": "ok", "reviews": rows}, indent=self.chance.choice([None, 2]))
            case 3:
                return self.fill("From: {mail}\nTo: {mail}\nSubject: {thing}\nDate: {day}\n\n") + body
            case 4:
                return (
                    f"<html><body><h1>{self.fill('{thing}')}</h1>"
                    + "".join(f"<p>{t}</p>" for t in inside)
                    + "</body></html>"
                )
            case 5:
                return "\n".join(f"{self.chance.randint(1, 99)}: {text}" for text in inside)
            case 6:
                event = {"title": self.fill("{thing}"), "description": body, "participants": [self.fill("{mail}")]}
                return json.dumps({**event, "start": self.fill("2024-05-{n2} 10:00")})
            case _:
                return body

    def benign(self) -> tuple[str, str]:
        draw = self.chance.random()
        if draw < 0.12:
            return "chat", self.fill(self.one("question"))
        if draw < 0.22:
            spoken = [self.fill(self.one("about"), order=self.order()) for _ in range(self.chance.randint(1, 4))]
            return "about", "\n".join(spoken)
        return "carrier", self.carrier(self.sentences(9))

    def attack(self) -> tuple[str, str]:
        order = self.order()
        if self.chance.random() < 0.3:
            return "direct", order
        around = self.sentences(8)
        at = self.chance.choice([0, len(around), self.chance.randint(0, len(around))])
        return "indirect", self.carrier([*around[:at], order, *around[at:]])


def main(out: Path) -> int:
    """Write the texts; the same ones every time."""
    writer = Writer(SEED)
    seen: set[str] = set()
    with out.open("w", encoding="utf-8") as file:
        for number in range(COUNT):
            label = int(number % 3 == 0)
            kind, text = writer.attack() if label else writer.benign()
            if text not in seen:
                seen.add(text)
                row = {"text": text, "label": label, "source": f"synthetic-{'attack' if label else kind}", "kind": kind}
                file.write(json.dumps(row) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
