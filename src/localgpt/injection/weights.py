"""What each kind of evidence is worth, in thousandths of a logit; the classifier's threshold is zero.

Fixed on the training data (scripts/injection/train.py prints what they do there), never on what is measured last.
"""

from __future__ import annotations

from typing import Final

from localgpt.injection.patterns import Family

FAMILY: Final = {Family.OVERRIDE: 1500, Family.REVEAL: 1000, Family.SECRECY: 800, Family.TASK: 700, Family.ROLE: 0}
#: Where the classifier cannot read what is around a phrase, this stands for its opinion.
UNMARKED: Final = -1200
OBFUSCATED: Final = 3000  #: nobody writes like that by chance
ENCODED: Final = 1500
NOT_PROSE: Final = -2500
HIDDEN_IN_HTML: Final = 1200
NOT_READ: Final = -500
#: Encoded text that comes to less is everyday data, and no finding.
NOTED: Final = -500
