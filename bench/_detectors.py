"""Other detectors from the package index, each called as its own documentation says, in the interpreter they are in.

    python _detectors.py NAME < texts.jsonl     one line of JSON a text in, one 0 or 1 a line out

Nothing of this project is imported here: the interpreter is that of a virtual environment of their own.
"""

import json
import sys
from collections.abc import Callable

Judge = Callable[[str], bool]


def nukon() -> Judge:
    """nukon-pi-detect 0.1 (Apache-2.0): its verdict "malicious"."""
    import nukon_pi_detect  # type: ignore[import-not-found]  # noqa: PLC0415

    return lambda text: bool(nukon_pi_detect.scan(text).decision == nukon_pi_detect.DECISION_MALICIOUS)


def bastion() -> Judge:
    """agentbastion 0.14 (MIT and BUSL): a blocked input."""
    import agentbastion  # type: ignore[import-not-found]  # noqa: PLC0415

    firewall = agentbastion.Firewall()
    return lambda text: not firewall.check_input(text).allowed


def plumb() -> Judge:
    """plumblint 0.1 (PolyForm Noncommercial): an injection."""
    import plumblint  # type: ignore[import-not-found]  # noqa: PLC0415

    return lambda text: bool(plumblint.is_injection(text))


DETECTORS = {"nukon-pi-detect": nukon, "agentbastion": bastion, "plumblint": plumb}


def main() -> int:
    """Answer for every text on standard input."""
    flagged = DETECTORS[sys.argv[1]]()
    for line in sys.stdin:
        print(int(bool(flagged(json.loads(line)))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
