"""The main job in a real terminal: ask, run confined, resume, verify."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.house import ATTACK, SECRET, House, Terminal
from tests.gateway.model_fixture import model_file
from tests.gateway.scripted_dialects import Answer
from tests.gateway.scripted_server import running

pytestmark = pytest.mark.e2e
__all__ = ["model_file"]

PROMPT = r"❯ |> "


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path / "home")


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """Somebody on loopback who must never be called."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        server.setblocking(False)
        yield server
        with pytest.raises(BlockingIOError):
            server.accept()


def attack(house: House, listener: socket.socket) -> str:
    return ATTACK.format(home=house.home, port=listener.getsockname()[1])


def start(terminal: Terminal) -> None:
    terminal.wait_for(r"confinement: rung [AB] proven")


def scripted(house: House, base_url: str) -> None:
    house.configure(
        '[agent]\ndefault_model = "openai-compat/scripted"\n'
        f'[providers.openai_compatible]\nbase_url = "{base_url}"\napi_key = "sk-scripted"\n'
    )


def calls(*commands: str) -> list[Answer]:
    """A script in which the model calls the shell, once for each command, and then says so."""
    asked: list[Answer] = [
        {"tool_calls": [{"name": "shell", "arguments": {"command": command}}]} for command in commands
    ]
    return [*asked, {"text": "That is all I know."}]


@pytest.mark.model
def test_a_question_is_answered_and_the_session_resumed(house: House, model_file: Path):
    house.plant_model(model_file)
    with house.first_chat() as terminal:
        start(terminal)
        assert "demo" in terminal.text()
        before = terminal.type("Say hello in one short sentence.")
        terminal.wait_for(r"\w+[.!?]", after=before)
        terminal.type("/quit")
        assert terminal.end() == 0
    assert house.run("verify").returncode == 0
    states = [entry["state"] for entry in house.entries() if entry["kind"] == "policy.state"]
    assert states == ["valid"], "the first conversation runs under a signed policy"
    (session,) = (house.state / "agents/main/sessions").glob("*.jsonl")
    roles = [json.loads(line).get("message", {}).get("role") for line in session.read_text().splitlines()]
    assert roles.count("user") == 1
    assert "assistant" in roles
    with house.terminal("chat", "--continue") as terminal:
        start(terminal)
        before = terminal.type("Say goodbye in one short sentence.")
        terminal.wait_for(r"\w+[.!?]", after=before)
        terminal.type("/quit")
        assert terminal.end() == 0
    assert len(list((house.state / "agents/main/sessions").glob("*.jsonl"))) == 1
    roles = [json.loads(line).get("message", {}).get("role") for line in session.read_text().splitlines()]
    assert roles.count("user") == 2
    assert house.run("audit", "verify").returncode == 0


@pytest.mark.model
def test_a_typed_command_is_confined(house: House, model_file: Path, listener: socket.socket):
    house.plant_model(model_file)
    with house.first_chat() as terminal:
        start(terminal)
        before = terminal.type("!" + attack(house, listener))
        terminal.wait_for(r"\ntried|│ tried|  tried", after=before)
        terminal.wait_for(r"exit (status )?0", after=before)
        for word in (SECRET, "LEAKED", "CONNECTED"):
            assert word not in terminal.text()
        terminal.type("/quit")
        assert terminal.end() == 0
    assert [entry["verdict"] for entry in house.entries() if entry["kind"] == "decision"] == ["allow"]


@pytest.mark.model
def test_the_embedded_model_calls_a_tool_under_its_schema_and_is_confined(house: House, model_file: Path):
    house.plant_model(model_file)
    with house.first_chat() as terminal:
        start(terminal)
        terminal.type("/tools on")
        terminal.type(f"Use the shell tool to run: cat {house.home}/.ssh/id_rsa")
        terminal.wait_for(r"exit (status )?\d|denied|refused", timeout_s=120)
        terminal.press("\x03")
        terminal.type("/quit")
        terminal.end()
    decisions = [e for e in house.entries() if e["kind"] == "decision" and e["tool"] != "model"]
    assert decisions, "the model called no tool"
    assert SECRET.encode() not in terminal.raw


def test_calls_of_a_scripted_model_are_confined(house: House, listener: socket.socket):
    with running(calls(attack(house, listener))) as server:
        scripted(house, server.base_url)
        with house.first_chat() as terminal:
            start(terminal)
            before = terminal.type("go")
            terminal.wait_for("That is all I know", after=before)
            terminal.type("/quit")
            assert terminal.end() == 0
        told = json.dumps([seen.body for seen in server.script.requests])
    assert "tried" in told
    for word in (SECRET, "LEAKED", "CONNECTED"):
        assert word not in told
    outcomes = [entry for entry in house.entries() if entry["kind"] == "outcome"]
    assert [entry["exit_status"] for entry in outcomes] == [0]


def test_ctrl_c_stops_the_turn_and_not_the_program(house: House):
    with running([*calls("sleep 60")[:1], {"text": "Still here."}, {"text": "Still here."}]) as server:
        scripted(house, server.base_url)
        with house.first_chat() as terminal:
            start(terminal)
            terminal.type("go")
            terminal.wait_for("sleep 60.*\n")
            terminal.press("\x03")
            before = len(terminal.text())
            terminal.type("are you there?")
            terminal.wait_for("Still here", after=before - 200)
            terminal.type("/quit")
            assert terminal.end() == 0
    outcome = next(entry for entry in house.entries() if entry["kind"] == "outcome")
    assert outcome["duration_ms"] < 30_000


def test_one_flipped_byte_in_the_log_is_detected(house: House):
    with running([{"text": "Hello."}]) as server:
        scripted(house, server.base_url)
        assert house.run("ask", "hello").returncode == 0
    assert house.run("audit", "verify").returncode == 0
    whole = house.log.read_bytes()
    for position in range(0, len(whole), max(1, len(whole) // 7)):
        house.log.write_bytes(whole[:position] + bytes([whole[position] ^ 1]) + whole[position + 1 :])
        done = house.run("audit", "verify")
        assert done.returncode == 3, (position, done.stdout, done.stderr)
    house.log.write_bytes(whole)
    assert house.run("audit", "verify").returncode == 0


def test_one_flipped_byte_in_the_policy_is_detected(house: House):
    assert house.run("init").returncode == 0
    assert house.run("sign", "--yes").returncode == 0
    assert house.run("verify").returncode == 0
    whole = house.policy.read_bytes()
    house.policy.write_bytes(whole[:50] + bytes([whole[50] ^ 1]) + whole[51:])
    assert house.run("verify").returncode == 3
    house.policy.write_bytes(whole)
    assert house.run("verify").returncode == 0
