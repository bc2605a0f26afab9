# mypy: disable-error-code="no-untyped-call"
"""A second, naive decision on calls of declared tools, written from docs/spec/flow.md: slow, and sharing nothing.

It takes the session's record and the user's words as given (their own tests cover how they are read) and decides again.
"""

import math
import re
import unicodedata

from localgpt.policy.authority import Act
from localgpt.policy.model import Flow, Policy

ORDER = ["allow", "ask", "deny"]
LEVELS = ["public", "private", "secret"]
NONE, UNTRUSTED, ATTESTED, POINTED, INTERNAL, SELECTED, DIRECTORY, POLICY, USER = range(9)
ZONE = "the own zone"


def fold(text):
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def typed(value):
    """The type of a value and its canonical spelling; None for what names nothing."""
    if value is None or isinstance(value, bool) or not str(value).strip():
        return None
    text = str(value).strip()
    if not isinstance(value, str) or re.fullmatch(r"-?\d+(\.\d+)?", text):
        number = float(value)
        return "number", str(int(number)) if number == int(number) else repr(number)
    if re.fullmatch(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d)?", text):
        return "day", text[:10]
    if re.fullmatch(r"[\w.+-]+@[\w-]+(\.[\w-]+)+", text):
        return "mail", text.casefold()
    if re.fullmatch(r"(https?://|www\.)\S+|([\w-]+\.)+(?!txt$)[a-z]{2,}(/\S*)?", text):
        host, slash, path = re.sub(r"^https?://", "", text).partition("/")
        return "url", host.casefold().removeprefix("www.") + (slash + path if path else "")
    return "text", fold(text)


def stands(needle, text):
    """Whole words only, and not inside an address."""
    joined = r"[@._/\\+#~%&=:-]"
    return bool(re.search(rf"(?<!\w)(?<!\w{joined}){re.escape(needle)}(?!\w|{joined}\w)", text))


class Oracle:
    """One decision. `rows` are (argument, authority, origin)."""

    def __init__(self, policy, flow, act):
        self.policy, self.rules, self.flow, self.act, self.spec = policy, policy.flow, flow, act, act.spec
        self.tainted = flow.integrity == "untrusted"
        self.rows = [(a, *self.authority(a.role, a.value)) for a in act.arguments if a.role != "derived"]
        self.limit = self.rules.limits.get(self.spec.name) or self.rules.limits.get(self.spec.grant)

    def verdict(self):
        table = {str(code): str(verdict) for code, verdict in self.policy.table.verdicts}
        codes = list(self.codes()) or [("flow.act", None)]
        verdict = "deny" if self.policy.locked else max((table[code] for code, _ in codes), key=ORDER.index)
        if verdict == "ask" and self.tainted:
            asked = {row[1] or self.flow.stranger for code, row in codes if table[code] == "ask" and row}
            if (asked or {self.flow.stranger}) & self.flow.quarantined:
                return table["flow.quarantine"]
        return verdict

    # --- authority

    def says(self, name):
        words = self.flow.words
        plain = len(name) < 2 or all(part in words.common for part in name.split(" "))
        return name in words.quoted or (not plain and stands(name, words.text))

    def says_id(self, text):
        return text in self.flow.words.ids if text.isdigit() and len(text) <= 5 else self.says(text)

    def names_day(self, day):
        return any(f"{month:02}-{number:02}" == day[5:10] for _, month, number in self.flow.words.days)

    def is_said(self, role, kind, text, whole):
        words, clock = self.flow.words, whole[11:16]
        if kind in {"mail", "url"}:
            return (kind, text) in words.addresses or (kind == "url" and self.says(whole))
        if role == "ref" or (kind == "number" and role != "value"):
            return self.says_id(whole)
        if kind == "number":
            return text in words.numbers
        if kind == "day":
            return self.names_day(text) and (clock in {"", "00:00"} or clock in words.clocks)
        return self.says(whole)

    def authority(self, role, value):
        if typed(value) is None:
            return USER, "the user's words"
        kind, text = typed(value)
        whole = text if not isinstance(value, str) else fold(value)
        if (role, (kind, text)) in self.flow.endorsed:
            return USER, "the user's answer"
        if self.is_said(role, kind, text, whole):
            return USER, "the user's words"
        ours = (POLICY, "the signed policy") if whole in self.rules.own else (NONE, "")
        ours = (INTERNAL, ZONE) if ours[0] == NONE and self.is_inside(kind, text, whole) else ours
        found = self.recorded(role, kind, text, whole)
        return ours if ours[0] >= found[0] else found

    def is_inside(self, kind, text, whole):
        domain = {"mail": text.rpartition("@")[2], "url": text.partition("/")[0]}.get(kind)
        zones = (self.rules.zone, self.flow.zone)
        return any(whole in zone.members or (domain and domain in zone.domains) for zone in zones)

    def recorded(self, role, kind, text, whole):
        keys = [(kind, text), ("text", whole), ("moment", f"{whole[:10]} {whole[11:16]}")]
        keys += [("date", text[5:])] if kind == "day" and role == "value" else []
        if kind == "number":
            keys = {"ref": [], "value": keys[:2]}.get(role, [("text", whole)])
        keys += [("id", whole)] if role == "ref" else []
        marks = self.flow.record.marks
        best = max(((marks[key].authority, marks[key].origin) for key in keys if key in marks), default=(NONE, ""))
        pointed = [origin for said, origin in self.flow.record.pointed if kind != "number" and stands(whole, said)]
        if best[0] >= POINTED or not pointed:
            heard = re.findall(r"\w+", whole)
            strange = best[0] == NONE and heard and set(heard) <= self.flow.record.vocabulary
            return (UNTRUSTED, "") if strange else best
        return POINTED, min(pointed)

    # --- findings: (code, None) or (code, row with path and origin)

    def codes(self):
        if self.spec.kind == "read":
            return [("flow.read", None)]
        if self.spec.kind == "query":
            return self.query()
        if self.spec.kind == "fetch":
            return [found for row in self.rows for found in self.fetch(row)]
        after = [found for row in self.rows for found in (*self.role(row), *self.links(row))] if self.tainted else []
        return [*self.grant(), *self.limits(), *after, *self.clearance()]

    def about(self, row):
        return row[0].path, row[2]

    def grant(self):
        from localgpt.policy.lexicon import known_grants

        name, given, words = self.spec.grant, self.flow.granted, self.flow.words
        if not self.spec.declared:
            return [("flow.undeclared", None)]
        delegated = words.delegated and ("grant", "what the text says") in given
        if name and (name in words.grants or name in self.rules.grants):
            return []
        if ("grant", name or self.spec.name) in given or delegated:
            return []
        steering = [level for a, level, _ in self.rows if a.role in {"dest", "ref"}]
        meant = not words.clear or name not in known_grants() or words.delegated
        meant = meant or not self.tainted or (steering and min(steering) >= POLICY)
        return [("flow.grant" if meant else "flow.grant-missing", None)]

    def enough_dest(self, row):
        if row[1] == INTERNAL and typed(row[0].value)[0] == "url" and row[2] != ZONE:
            return self.spec.kind == "fetch"
        return row[1] >= INTERNAL

    def role(self, row):
        role, level = row[0].role, row[1]
        if role not in {"dest", "ref", "value"}:
            return []
        enough = {"dest": self.enough_dest, "ref": lambda row: row[1] >= SELECTED, "value": self.enough_value}[role](
            row
        )
        named = role == "dest" and level == POINTED and typed(row[0].value)[0] in self.flow.words.kinds
        foreign = "-foreign" if level == UNTRUSTED or named else ""
        return [] if enough else [(f"flow.{role}{foreign}", self.about(row))]

    def enough_value(self, row):
        (argument, level, _), (kind, text) = row, typed(row[0].value) or ("", "")
        if level >= SELECTED or (self.limit and kind == "number"):
            return True
        if self.spec.kind != "local" or level in {ATTESTED, INTERNAL}:
            return self.spec.kind == "local"
        if kind in {"day", "number"}:
            return level == POINTED or (kind == "day" and self.names_day(text))
        return isinstance(argument.value, str) and self.covered(fold(argument.value))

    def covered(self, text):
        """Greedy: at each word the longest attested run of at most ten is cut out; the rest must be the user's."""
        words, cut, marks = [m.span() for m in re.finditer(r"\S+", text)], [], self.flow.record.marks
        for first in range(len(words)):
            runs = [text[words[first][0] : end].strip(".,;:!?()\"'") for _, end in words[first : first + 10]]
            good = [
                r for r in runs if len(r) > 3 and ("text", r) in marks and marks[("text", r)].authority in {2, 5, 6}
            ]
            cut += good[-1:]
        for part in sorted(cut, key=len, reverse=True):
            text = text.replace(part, "\n")
        return set(re.findall(r"\w+", text)) <= self.flow.words.tokens | self.flow.words.common

    def links(self, row):
        argument = row[0]
        if argument.role != "content" or self.spec.kind != "external" or not isinstance(argument.value, str):
            return
        for word in argument.value.split():
            if typed(word) is None or typed(word)[0] not in {"mail", "url"}:
                continue
            level, origin = self.authority("dest", typed(word)[1])
            if level < INTERNAL and ("content", typed(word)) not in self.flow.endorsed:
                asked = level == ATTESTED or (level == POINTED and self.flow.words.links)
                yield "flow.link" if asked else "flow.link-foreign", (argument.path, origin)

    def limits(self):
        sums = self.spec.name if self.spec.name in self.rules.limits else self.spec.grant
        for row in self.rows if self.limit else ():
            if row[0].role == "value" and row[1] < USER and typed(row[0].value)[0] == "number":
                amount = abs(float(row[0].value))
                over = amount > self.limit.per_call or self.flow.spent.get(sums, 0) + amount > self.limit.per_day
                foreign = "-foreign" if row[1] == UNTRUSTED and self.tainted else ""
                yield from [(f"flow.limit{foreign}", self.about(row))] if over else []
        if self.limit and self.done() in self.flow.done:
            yield "flow.repeat", None

    def done(self):
        from localgpt.policy.flow import call_key  # its form is nobody's contract

        return call_key(self.act)

    def clearance(self):
        dests = [row for row in self.rows if row[0].role == "dest" and typed(row[0].value)]
        level = self.flow.confidentiality
        if (self.spec.kind != "external" and not dests) or level == "public" or all(map(self.is_users, self.rows)):
            return []
        if not dests:
            return self.service()
        return [found for row in dests for found in self.dest_clearance(row)]

    def is_users(self, row):
        text = fold(str(row[0].value))
        in_words = text in self.flow.words.quoted or f" {text} " in f" {self.flow.words.text} "
        return row[1] == USER or (isinstance(row[0].value, str) and row[0].role == "content" and in_words)

    def dest_clearance(self, row):
        (kind, text), whole, known = typed(row[0].value), fold(str(row[0].value)), row[1] >= INTERNAL
        readers, level = self.flow.readers, self.flow.confidentiality
        ours = whole in self.rules.own or whole in self.rules.zone.members | self.flow.zone.members
        ours = ours or (kind == "mail" and self.is_inside(kind, text, whole))
        if readers is not None and whole in readers:
            return []
        if level == "secret" or readers is not None:
            return [("flow.secret-named" if known else "flow.secret", self.about(row))]
        if (self.tainted and not known) or (row[2] == ZONE and self.rules.zone.clearance == "public"):
            return [("flow.clearance", self.about(row))]
        unasked = self.tainted and self.flow.unasked != "public" and not (ours or self.is_inside(kind, text, whole))
        return [("flow.unasked", self.about(row))] if unasked else []

    def service(self):
        name = self.spec.service or self.spec.name
        clearance = self.rules.clearances.get(name.casefold(), self.spec.clearance)
        if LEVELS.index(clearance) >= LEVELS.index(self.flow.confidentiality) or ("service", name) in self.flow.granted:
            return []
        code = "flow.secret" if self.flow.confidentiality == "secret" else "flow.clearance"
        return [(code, None)] if code == "flow.secret" or self.tainted else []

    def query(self):
        texts = [str(a.value) for a in self.act.arguments if a.role != "derived" and typed(a.value)]
        asked = {token for text in texts for token in re.findall(r"\w+(?:['’.-]\w+)*|[#$€£№]|n[°º]", fold(text))}
        own = asked <= self.flow.words.tokens | self.flow.words.common
        return [] if self.flow.confidentiality == "public" or own else self.service()

    def fetch(self, row):
        flow, level, secret = self.flow, row[1], self.flow.confidentiality == "secret"
        if row[0].role != "dest" or not typed(row[0].value):
            return []
        if not self.tainted and (not secret or level >= POLICY):
            return []
        if self.tainted and flow.quarantine and flow.confidentiality == "public":
            return []
        if not self.enough_dest(row):
            ((code, about),) = self.role(row)
            ungranted = self.spec.grant and self.spec.grant not in flow.words.grants and not flow.words.delegated
            return [("flow.dest-foreign" if ungranted and flow.words.clear else code, about)]
        if level == USER or flow.confidentiality == "public":
            return []
        known = flow.record.urls | {text for kind, text in flow.words.addresses if kind == "url"}
        bits, host = math.log2(len(known) + 1), typed(row[0].value)[1].partition("/")[0]
        day = flow.bits_by_origin.get(host, 0) + bits > self.rules.bits_per_origin_and_day
        over = flow.bits + bits > self.rules.bits_per_task or day
        return [("flow.leak-secret", None)] if secret else [("flow.leak", self.about(row))] if over else []


def flow_oracle(policy: Policy, flow: Flow, act: Act) -> str:
    """The verdict alone."""
    return str(Oracle(policy, flow, act).verdict())
