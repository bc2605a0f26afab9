"""What one session knows of flows: the user's words, the record of values, answers, and what was spent.

The policy engine is pure; this is the one place that moves a session from one `Flow` to the next.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from localgpt.labels import Confidentiality, Integrity
from localgpt.policy import Decision, Flow
from localgpt.policy.acts import endorsed, heard, refused, returned
from localgpt.policy.authority import Act, FlowRules, Json
from localgpt.policy.declarations import Declarations
from localgpt.policy.words import read_words
from localgpt.wire import Label

MAX_REFUSALS: Final = 20  #: of one turn; whoever causes more is wearing the user down


class Ledger:
    """The flow of one session, and how it changes."""

    def __init__(self, declarations: Declarations, *, resumed: bool = False) -> None:
        self._declared = declarations
        self._turns: list[str] = []
        self._refusals: dict[str, int] = {}
        self._refused_now = 0
        # A resumed transcript may hold anything that an earlier turn has read.
        tainted = Flow(Integrity.UNTRUSTED, Confidentiality.PRIVATE, stranger="the resumed conversation")
        self.flow = replace(tainted if resumed else Flow(), zone=declarations.zone)

    @property
    def exhausted(self) -> bool:
        """Whether the user refused so often that the turn must end."""
        return self._refused_now >= MAX_REFUSALS

    def begin_turn(self, text: str) -> None:
        """The user typed something: a new request, with a new budget for what fetches may tell."""
        self._turns.append(text)
        self._refused_now = 0
        words = read_words(tuple(self._turns), self._declared.words)
        self.flow = replace(self.flow, words=words, bits=0.0, done=frozenset(), granted=frozenset())

    def belong(self, members: frozenset[str]) -> None:
        """Who belongs to the own zone, from now to the end of the session."""
        self.flow = replace(self.flow, zone=replace(self.flow.zone, members=members | self.flow.zone.members))

    def heard(self, label: Label) -> None:
        """Something of this label came into the context."""
        self.flow = heard(self.flow, label.integrity, label.confidentiality, label.origin)

    def returned(self, rules: FlowRules, act: Act, value: Json) -> Label:
        """A call was carried out; the label of what it returned."""
        before = self.flow
        alone = replace(before, integrity=Integrity.USER, confidentiality=Confidentiality.PUBLIC)
        after = returned(rules, before, act, value)
        label = returned(rules, alone, act, value)
        self.flow = after
        return Label(label.integrity, label.confidentiality, act.spec.name[-200:])

    def approved(self, act: Act, decision: Decision) -> None:
        """The user approved for the session: exactly these values for these roles."""
        self.flow = endorsed(self.flow, act, decision)

    def refused(self, decision: Decision) -> None:
        """The user refused; the second time its source is asked about no more."""
        self._refused_now += 1
        self.flow, self._refusals = refused(self.flow, decision, self._refusals)
