"""The decision: the shipped table case by case, the algebra of rules, and agreement with the naive second engine."""

import tomllib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from localgpt.policy import (
    CallModel,
    Code,
    Connect,
    Decision,
    Effect,
    Flow,
    Reach,
    ReadPath,
    Request,
    Rule,
    Run,
    UnknownTool,
    Verdict,
    WritePath,
    builtin_policy,
    decide,
    decide_all,
)
from localgpt.policy.builtin import shipped
from localgpt.policy.check import locked_policy
from localgpt.policy.model import strictness
from tests.policy.oracle import oracle
from tests.policy.support import (
    SCOPE,
    SECRET,
    TAINTED,
    flows,
    policies,
    policy,
    request,
    requests,
    rule,
    rules,
)

CASES = tomllib.loads(shipped("cases/builtin.toml").decode())["case"]


def effects_of(case: dict[str, Any]) -> tuple[Effect, ...]:
    if "read" in case:
        return (ReadPath(case["read"]),)
    if "write" in case:
        return (WritePath(case["write"], case.get("replaces", False)),)
    if "run" in case:
        return (Run(tuple(case["run"])),)
    if "connect" in case:
        return (Connect(case["connect"], case.get("port")),)
    if "model" in case:
        return (CallModel(case["model"], "api.example.com", Reach(case["reach"]), case.get("confirmed", False)),)
    return (UnknownTool(case["tool"]),) if "tool" in case else ()


@pytest.mark.parametrize("case", CASES, ids=lambda case: " ".join(f"{k}={v}" for k, v in case.items())[:70])
def test_the_builtin_table(case):
    flow = SECRET if case.get("secret") else TAINTED if case.get("tainted") else Flow()
    decision = decide(builtin_policy(), flow, request(*effects_of(case), trusted=not case.get("untrusted")))
    assert decision.code == case["code"]
    assert decision.verdict is builtin_policy().table.verdict(Code(case["code"]))
    assert decision.sentence
    assert decision.rule == "built-in"


def test_every_builtin_code_has_a_case():
    known = {code.value for code, _ in builtin_policy().table.verdicts} - {"run.not-understood"}
    flows = tomllib.loads(shipped("cases/flow.toml").decode())["case"]
    assert known == {case["code"] for case in (*CASES, *flows)}


# --- the user's rules -------------------------------------------------------------------------------------------


def decided(found: Sequence[Rule], effect: Effect, flow: Flow | None = None, tool: str = "shell") -> Decision:
    return decide(policy(*found), flow or Flow(), request(effect, tool=tool))


def test_a_deny_raises_an_allow_and_says_why():
    no = replace(rule("deny", "read", "**/customers/**"), reason="personal data")
    decision = decided([no], ReadPath("/home/u/p/customers/x"))
    assert (decision.verdict, decision.code, decision.rule) == (Verdict.DENY, "rule.deny", "deny read (line 7)")
    assert "personal data" in decision.sentence


def test_an_ask_raises_an_allow():
    assert decided([rule("ask", "write", "migrations/**")], WritePath("/home/u/p/migrations/1")).code == "rule.ask"
    assert decided([rule("ask", "write", "migrations/**")], WritePath("/home/u/p/src")).code == "write.project"


def test_an_allow_lowers_an_ask_and_never_a_deny():
    everything = [rule("allow", subject, "**/*" if subject in {"read", "write"} else "*") for subject in
                  ("read", "write", "connect", "model", "tool")]  # fmt: skip
    assert decided(everything, WritePath("/home/u/documents/x")).code == "rule.allow"
    assert decided(everything, Connect("example.org")).code == "rule.allow"
    assert decided(everything, CallModel("x", "h.example", Reach.HOSTED, False)).code == "rule.allow"
    assert decided(everything, UnknownTool("x")).code == "rule.allow"
    for effect in (
        ReadPath("/home/u/.ssh/id_rsa"),
        WritePath("/home/u/.bashrc"),
        WritePath("/home/u/p/.git/hooks/x"),
        Connect("169.254.169.254"),
        Connect("127.1"),
    ):
        assert decided(everything, effect).verdict is Verdict.DENY
    assert decide(policy(*everything), SECRET, request(Connect("example.org"))).code == "connect.clearance"
    assert decide(policy(*everything), Flow(), request()).code == "request.no-effect"
    untrusted = request(WritePath("/home/u/p/x"), trusted=False)
    assert decide(policy(*everything), Flow(), untrusted).code == "write.untrusted-project"


def test_a_builtin_deny_keeps_its_code_when_a_rule_denies_too():
    assert decided([rule("deny", "read", "**/*")], ReadPath("/home/u/.ssh/id_rsa")).code == "read.secret"


def test_a_deny_beats_an_allow_in_any_order():
    both = [rule("allow", "connect", "*"), rule("deny", "connect", "example.org")]
    assert decided(both, Connect("example.org")).code == "rule.deny"
    assert decided(both[::-1], Connect("example.org")).code == "rule.deny"
    assert decided(both, Connect("example.com")).code == "rule.allow"


def test_after_a_strangers_words_an_allow_counts_only_when_it_says_so():
    plain, sticky = rule("allow", "connect", "example.org"), rule("allow", "connect", "example.org", tainted=True)
    assert decided([plain], Connect("example.org"), TAINTED).code == "connect.host"
    assert decided([plain], Connect("example.org")).code == "rule.allow"
    assert decided([sticky], Connect("example.org"), TAINTED).code == "rule.allow"


def test_denies_ignore_case_and_allows_do_not():
    assert decided([rule("deny", "read", "Secret/**")], ReadPath("/home/u/p/sEcReT/x")).code == "rule.deny"
    assert decided([rule("allow", "write", "~/Notes/**")], WritePath("/home/u/notes/x")).code == "write.outside"


def test_path_patterns():
    for pattern, path, matches in [
        ("src/*.py", "/home/u/p/src/a.py", True),
        ("src/*.py", "/home/u/p/src/a/b.py", False),
        ("src/**/b.py", "/home/u/p/src/b.py", True),
        ("src", "/home/u/p/src/deep/x", True),
        ("src", "/home/u/p/srcs", False),
        ("**/b.py", "/etc/b.py", True),
        ("~/x", "/home/u/x", True),
        ("~", "/home/u/x", True),
        ("/**", "/etc", True),
        ("?", "/home/u/p/ab", False),
    ]:
        decision = decided([rule("deny", "read", pattern)], ReadPath(path))
        assert (decision.code == "rule.deny") is matches, (pattern, path)


def test_tool_rules():
    assert decided([rule("deny", "tool", "write_*")], WritePath("/home/u/p/x"), tool="write_file").code == "rule.deny"
    assert decided([rule("deny", "tool", "mail")], UnknownTool("mail"), tool="x").code == "rule.deny"
    assert decided([rule("deny", "tool", "mail")], WritePath("/home/u/p/x")).code == "write.project"


def test_argv_rules_see_commands_inside_a_shell():
    push = [rule("deny", "argv", "git", "push")]
    assert decided(push, Run(("/bin/sh", "-c", "make && git push"))).code == "rule.deny"
    assert decided(push, Run(("git", "push"))).code == "rule.deny"
    assert decided(push, Run(("/bin/sh", "-c", "git status"))).code == "run.confined"
    unsure = decided(push, Run(("/bin/sh", "-c", "$GIT push")))
    assert (unsure.verdict, unsure.code, unsure.rule) == (Verdict.ASK, "run.not-understood", "deny argv (line 7)")
    assert decided([], Run(("/bin/sh", "-c", "$GIT push"))).code == "run.confined"


def test_the_strictest_effect_decides_and_the_first_among_equals_speaks():
    ask, deny = WritePath("/home/u/documents/x"), WritePath("/home/u/.bashrc")
    assert decide(builtin_policy(), Flow(), request(ReadPath("/home/u/p"), ask, deny, ask)).code == "write.protected"
    assert decide(builtin_policy(), Flow(), request(ask, Connect("example.org"))).code == "write.outside"


def test_sentences_escape_and_bound_foreign_text():
    decision = decided([], Run(("sh", "-c", "\x1b]0;evil\x07" + "\u202e" + "x" * 10_000)))
    assert decision.sentence.isprintable()
    assert len(decision.sentence) < 400


def test_a_locked_policy_reads_and_talks_locally_and_nothing_else():
    locked = locked_policy()
    assert decide(locked, Flow(), request(ReadPath("/home/u/p/x"))).verdict is Verdict.ALLOW
    assert decide(locked, Flow(), request(CallModel("e", "", Reach.EMBEDDED, False))).verdict is Verdict.ALLOW
    for effect in (WritePath("/home/u/p/x"), Run(("ls",)), Connect("example.org"), ReadPath("/etc/hosts")):
        assert decide(locked, Flow(), request(effect)).code == "policy.locked"
    assert decide(locked, Flow(), request(WritePath("/home/u/.bashrc"))).code == "write.protected"
    assert decide(locked, Flow(), request()).code == "policy.locked"


# --- properties -------------------------------------------------------------------------------------------------


def level(decision: Decision) -> int:
    return strictness(decision.verdict)


@given(policies, flows, requests)
@settings(max_examples=1500)
def test_the_oracle_agrees(found, flow, asked):
    assert str(decide(found, flow, asked).verdict) == oracle(found, flow, asked)
    locked = replace(found, locked=True, rules=())
    assert str(decide(locked, flow, asked).verdict) == oracle(locked, flow, asked)


@given(policies, rules((Verdict.DENY, Verdict.ASK)), st.integers(0, 5), flows, requests)
@settings(max_examples=400)
def test_adding_a_deny_or_an_ask_never_allows_more(found, extra, at, flow, asked):
    more = replace(found, rules=(*found.rules[:at], extra, *found.rules[at:]))
    assert level(decide(more, flow, asked)) >= level(decide(found, flow, asked))


@given(policies, flows, requests)
@settings(max_examples=300)
def test_no_user_rule_opens_what_is_built_in_as_denied(found, flow, asked):
    if decide(builtin_policy(), flow, asked).verdict is Verdict.DENY:
        assert decide(found, flow, asked).verdict is Verdict.DENY


@given(st.lists(policies, min_size=1, max_size=3), flows, requests)
@settings(max_examples=300)
def test_the_meet_is_never_looser_than_any_of_its_parts(found, flow, asked):
    together = decide_all(found, flow, asked)
    parts = [decide(each, flow, asked) for each in found]
    assert level(together) == max(map(level, parts))
    assert together in parts


@given(policies, flows, requests)
@settings(max_examples=300)
def test_lowering_a_label_never_allows_more(found, flow, asked):
    lowest = Flow(TAINTED.integrity, SECRET.confidentiality)
    assert level(decide(found, lowest, asked)) >= level(decide(found, flow, asked))


@given(policies, flows, requests)
@settings(max_examples=200)
def test_untrusting_the_project_never_allows_more(found, flow, asked):
    trusted = replace(asked, scope=SCOPE)
    untrusted = replace(asked, scope=replace(SCOPE, project_trusted=False, write_roots=()))
    assert level(decide(found, flow, untrusted)) >= level(decide(found, flow, trusted))


@given(policies, flows, requests)
@settings(max_examples=200)
def test_it_is_deterministic_and_always_speaks(found, flow, asked):
    decision = decide(found, flow, asked)
    assert decision == decide(found, flow, asked)
    assert decision.code in set(Code)
    assert decision.sentence.isprintable()


@given(policies, flows, st.text(max_size=30), st.text(max_size=30))
@settings(max_examples=300)
def test_it_is_total_for_any_text(found, flow, one, two):
    for effect in (
        ReadPath(one),
        WritePath("/" + one),
        Run((one, two)),
        Run(("sh", "-c", two)),
        Connect(one),
        UnknownTool(two),
    ):
        decide(found, flow, Request(two, (effect,), SCOPE))
