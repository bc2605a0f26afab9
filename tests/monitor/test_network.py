"""Hosts of commands: asked for with the call, asked about while it runs, in the log before anything is connected."""

from __future__ import annotations

import http.server
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from localgpt.audit import read_entries
from localgpt.errors import AuditError
from localgpt.monitor.events import Answer, Choice
from localgpt.monitor.hosts import hosts_of, parse_host
from localgpt.policy import Connect
from localgpt.sandbox import Rung
from localgpt.wire import ToolOutcome
from tests.monitor.desk import Desk

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
_ONCE = Answer(Choice.ONCE)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    opened = Desk(tmp_path)
    if opened.confinement.rung != "A":
        pytest.skip("needs namespaces")
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "5")
            self.end_headers()
            self.wfile.write(b"page\n")

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{running.server_address[1]}"
        running.shutdown()


def connections(desk: Desk) -> list[tuple[object, object]]:
    return [(entry["verdict"], entry["code"]) for entry in desk.entries("connection")]


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("pypi.org", "pypi.org", 443),
        ("PyPI.org:80", "pypi.org", 80),
        ("[::1]:8080", "::1", 8080),
        ("2606:2800::1", "2606:2800::1", 443),
        ("[2606:2800::1]", "2606:2800::1", 443),
        ("10.0.0.1:5432", "10.0.0.1", 5432),
    ],
)
def test_hosts_are_parsed_into_one_spelling(text, host, port):
    assert parse_host(text) == Connect(host, port)
    again = hosts_of((Connect(host, port),))[0]
    assert parse_host(again) == Connect(host, port)


@pytest.mark.parametrize("text", ["", "*", "*.pypi.org", "http://x", "127.1", "a@b", "x:0", "x:y", "0.0.0.0:1"])
def test_what_is_no_host_is_none(text):
    assert parse_host(text) is None


def test_a_host_is_asked_for_reached_and_logged_in_order(desk, server):
    desk.user.answers = [_ONCE]
    result = desk.call("shell", command=f"curl -sS http://{server}/", hosts=server)
    assert result.outcome is ToolOutcome.DONE, result
    assert "page" in result.text
    (question,) = desk.user.asked
    assert f"It could send everything that it can read to {server}." in question.sentence
    kinds = [entry.kind for entry in read_entries(desk.paths.audit_dir)]
    assert kinds[-5:] == ["decision", "approval", "connection", "connection", "outcome"]
    assert connections(desk) == [("allow", "listed"), ("allow", "net.closed")]
    assert desk.entries("connection")[-1]["bytes_in"] > 0


def test_without_a_yes_nothing_runs(desk, server):
    result = desk.call("shell", command="touch ran", hosts=server)
    assert result.outcome is ToolOutcome.DENIED
    assert not (desk.project / "ran").exists()


def test_a_command_without_hosts_has_no_network_and_asks_for_none(desk, server):
    result = desk.call("shell", command=f"curl -sS -m 3 http://{server}/")
    assert result.outcome is ToolOutcome.FAILED
    assert desk.user.asked == []
    assert f'denied: connect {server}: this command has no network; name it in "hosts"' in result.text


def test_another_host_is_a_question_while_the_command_runs(desk, server):
    desk.user.answers = [_ONCE, Answer(Choice.DENY, "no")]
    command = f"curl -sS http://{server}/; curl -sS http://other.example/; curl -sS http://other.example/; echo on"
    result = desk.call("shell", command=command, hosts=server)
    assert "on" in result.text
    assert [question.tool for question in desk.user.asked] == ["shell", "network"]
    assert desk.user.asked[1].argv[:2] == ("connect", "other.example:80")
    assert ("deny", "user.denied") in connections(desk)


def test_nobody_is_asked_about_what_is_near(desk, server):
    desk.user.answers = [_ONCE]
    desk.call("shell", command="curl -sS http://127.0.0.1:1/; curl -sS http://169.254.169.254/", hosts=server)
    assert len(desk.user.asked) == 1
    assert connections(desk) == [("deny", "net.private"), ("deny", "net.metadata")]


def test_metadata_is_denied_whatever_anybody_says(desk):
    desk.user.answers = [_ONCE]
    result = desk.call("shell", command="true", hosts="169.254.169.254:80")
    assert result.outcome is ToolOutcome.DENIED
    assert desk.user.asked == []


def test_a_host_of_many_tenants_is_called_that(desk):
    desk.call("shell", command="git fetch", hosts="github.com example.org")
    (question,) = desk.user.asked
    assert "Many share github.com" in question.sentence
    assert "example.org:443" in question.sentence


def test_an_answer_for_the_session_holds_for_the_same_command_and_hosts_only(desk, server):
    desk.user.answers = [Answer(Choice.SESSION)]
    for _ in range(2):
        assert "page" in desk.call("shell", command=f"curl -sS http://{server}/", hosts=server).text
    assert len(desk.user.asked) == 1
    desk.call("shell", command=f"curl -sS http://{server}/", hosts=f"{server} other.example")
    assert len(desk.user.asked) == 2


def test_rules_of_the_policy_decide_about_hosts(tmp_path, server):
    document = (
        "# P\n\n```toml policy\n[[allow]]\nconnect = ['" + server + "']\nreason = 'mine'\n\n"
        "[[deny]]\nconnect = ['evil.example']\nreason = 'never'\n```\n"
    )
    desk = Desk(tmp_path, document=document.encode())
    try:
        command = f"curl -sS http://{server}/; curl -sS http://evil.example/"
        assert "page" in desk.call("shell", command=command, hosts=server).text
        assert desk.user.asked == []
        assert connections(desk)[0] == ("allow", "rule.allow")
        assert ("deny", "rule.deny") in connections(desk)
        denied = desk.call("shell", command="true", hosts="evil.example:80")
        assert denied.outcome is ToolOutcome.DENIED
    finally:
        desk.close()


def test_a_profile_with_the_network_asks_about_every_host(tmp_path, server):
    desk = Desk(tmp_path, config='[sandbox]\nprofile = "network"\n')
    try:
        desk.user.answers = [_ONCE]
        result = desk.call("shell", command=f"curl -sS http://other.example/; curl -sS http://{server}/")
        assert [question.tool for question in desk.user.asked] == ["network"]
        assert "leads to" in result.text  # what is near is not asked about
        assert connections(desk)[0] == ("allow", "user.allowed")
        assert desk.call("list_files", path=".").outcome is ToolOutcome.DONE
    finally:
        desk.close()


def test_bad_hosts_are_told_to_the_model(desk):
    for hosts in ("http://x", "a.example; rm", " ".join(f"h{n}.example" for n in range(17))):
        assert "hosts" in desk.call("shell", command="true", hosts=hosts).notice


def test_without_a_namespace_a_command_with_hosts_does_not_run(tmp_path, server):
    desk = Desk(tmp_path, rung=Rung.B)
    try:
        desk.user.answers = [_ONCE]
        result = desk.call("shell", command="touch ran", hosts=server)
        assert result.outcome is ToolOutcome.FAILED
        assert "sandbox.plan.hosts" in result.notice
        assert not (desk.project / "ran").exists()
    finally:
        desk.close()


def test_a_connection_that_cannot_be_logged_is_not_made(desk, server, monkeypatch):
    desk.user.answers = [_ONCE]
    append = desk.log.append

    def broken(kind, **fields):
        if kind == "connection":
            raise AuditError("the disk is full", cure="make room")
        return append(kind, **fields)

    monkeypatch.setattr(desk.log, "append", broken)
    result = desk.call("shell", command=f"curl -sS http://{server}/ > got; echo on > on", hosts=server)
    assert result.outcome is ToolOutcome.FAILED
    assert not (desk.project / "on").exists()
    assert (desk.project / "got").read_bytes() == b""
