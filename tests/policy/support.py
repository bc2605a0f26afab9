"""Sessions, keys and strategies that the policy tests share."""

from dataclasses import replace

from hypothesis import strategies as st

from localgpt.crypto import DeviceKey
from localgpt.policy import (
    CallModel,
    Connect,
    Effect,
    Flow,
    Places,
    Policy,
    Reach,
    ReadPath,
    Request,
    Rule,
    Run,
    Scope,
    UnknownTool,
    Verdict,
    WritePath,
    builtin_policy,
    make_scope,
)
from localgpt.policy.model import Subject
from localgpt.wire import Confidentiality, Integrity

KEY = DeviceKey(bytes(range(32)))
PLACES = Places(
    "/home/u",
    "/home/u/ws",
    private=("/home/u/data/localgpt.device.key",),
    own=("/home/u/state", "/home/u/config/config.toml", "/home/u/data/localgpt.device.key"),
)


def scope(trusted: bool = True) -> Scope:
    return make_scope(PLACES, "/home/u/p", trusted=trusted, read_roots=("/usr",), resolve=str)


SCOPE = scope()
SECRET = Flow(confidentiality=Confidentiality.SECRET)
TAINTED = Flow(integrity=Integrity.UNTRUSTED)


def request(*effects: Effect, tool: str = "shell", trusted: bool = True) -> Request:
    return Request(tool, effects, scope(trusted))


def policy(*rules: Rule) -> Policy:
    return replace(builtin_policy(), rules=rules, digest="test")


def rule(verdict: str, subject: str, *patterns: str, tainted: bool = False) -> Rule:
    return Rule(Verdict(verdict), Subject(subject), patterns, line=7, even_when_tainted=tainted)


# --- strategies: small alphabets, so that rules and effects meet often ------------------------------------------

_parts = st.sampled_from(
    ["p", "ws", "src", "a.py", ".env", ".ssh", "SOUL.md", "AGENTS.md", ".git", "hooks", "LocalGPT.md"]
)
paths = st.lists(_parts, min_size=1, max_size=4).map(lambda parts: "/home/u/" + "/".join(parts)) | st.sampled_from(
    ["/", "/etc/passwd", "relative", "/home/u/p/../x", "/usr/lib/x", "/home/u/.BASHRC"]
)
words = st.lists(
    st.sampled_from(["git", "push", "rm", "-rf", "-r", "-f", "sudo", "sh", "-c", "$x", "ls", "git push"]), max_size=4
)
commands = (
    words
    | words.map(lambda items: ["/bin/sh", "-c", " ".join(items)])
    | st.text(max_size=20).map(lambda text: ["sh", "-c", text])
)
hosts = st.sampled_from(["example.org", "files.example.net", "localhost", "10.0.0.1", "169.254.169.254", "127.1", ""])
ports = st.none() | st.sampled_from([0, 80, 443, 70000])
tools = st.sampled_from(["shell", "read_file", "send_email"])
effects = st.one_of(
    paths.map(ReadPath),
    st.builds(WritePath, paths, st.booleans()),
    commands.map(lambda argv: Run(tuple(argv))),
    st.builds(Connect, hosts, ports),
    st.builds(CallModel, st.sampled_from(["openai", "ollama"]), hosts, st.sampled_from(Reach), st.booleans()),
    tools.map(UnknownTool),
)
requests = st.builds(
    Request, tools, st.lists(effects, max_size=3).map(tuple), st.sampled_from([scope(True), scope(False)])
)
flows = st.builds(Flow, st.sampled_from(Integrity), st.sampled_from(Confidentiality))

_path_patterns = st.sampled_from(["**/*", "~/p/**", "src/*.py", "/home/u/p", "**/.git/**", "~/**/a.py", "*", "/**"])
_patterns = {
    Subject.READ: st.lists(_path_patterns, min_size=1, max_size=2),
    Subject.WRITE: st.lists(_path_patterns, min_size=1, max_size=2),
    Subject.ARGV: st.lists(st.sampled_from(["git", "push", "rm", "-rf", "-f"]), min_size=1, max_size=3),
    Subject.CONNECT: st.lists(
        st.sampled_from(["*", "example.org", "example.org:443", "*.example.net", "10.0.0.1"]), min_size=1, max_size=2
    ),
    Subject.MODEL: st.lists(st.sampled_from(["*", "openai", "example.org"]), min_size=1, max_size=2),
    Subject.TOOL: st.lists(st.sampled_from(["*", "shell", "send_*"]), min_size=1, max_size=2),
}


@st.composite
def rules(draw, verdicts=tuple(Verdict)):
    verdict = draw(st.sampled_from(verdicts))
    subject = draw(st.sampled_from(Subject))
    tainted = verdict is Verdict.ALLOW and draw(st.booleans())
    return Rule(
        verdict, subject, tuple(draw(_patterns[subject])), line=draw(st.integers(1, 99)), even_when_tainted=tainted
    )


policies = st.lists(rules(), max_size=5).map(lambda found: policy(*found))
