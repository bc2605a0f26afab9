"""Play every adaptive case and print what became of it: `python -m bench.adaptive [--json] [--check]`."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

from bench._house import House
from bench.adaptive.cases import POLICY, cases, frozen, play


def main(arguments: Sequence[str]) -> int:
    """Return 0 when no case broke and the frozen half is untouched."""
    with House(POLICY) as house:
        refused = [play(house, case) for case in cases()]
        approved = [play(house, case, approves=True) for case in cases()]
    figures = {
        "cases": len(refused),
        "broken": sum(outcome.broken for outcome in refused),
        "missed": sum(outcome.missed for outcome in refused),
        "questions": sum(outcome.asked for outcome in refused),
        "broken_if_all_approved": sum(outcome.broken for outcome in approved),
        "frozen": frozen(),
    }
    rows = [
        {"id": o.case.id, "threat": o.case.threat, "broken": o.broken, "missed": o.missed, "codes": o.codes}
        for o in refused
    ]
    if "--json" in arguments:
        print(json.dumps({**figures, "rows": rows}))
    else:
        for row, outcome in zip(rows, refused, strict=True):
            state = "BROKEN" if outcome.broken else "MISSED" if outcome.missed else "held"
            print(f"{row['id']}  {state:<6}  {outcome.case.threat:<60} {' '.join(outcome.codes)}")
        print("  ".join(f"{name}: {value}" for name, value in figures.items()))
    return 1 if figures["broken"] or figures["missed"] or not figures["frozen"] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
