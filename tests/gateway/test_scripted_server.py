"""The scripted server as a program, as end-to-end tests start it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.gateway.conversation import Conversation, endpoint_of, wait_until

ROOT = Path(__file__).parents[2]


def test_a_script_file_is_served_in_order_and_requests_are_logged(talk: Conversation, tmp_path: Path) -> None:
    script, port_file, log = tmp_path / "script.json", tmp_path / "port", tmp_path / "log"
    script.write_text(json.dumps([{"text": "first"}, {"text": "second"}]))
    argv = ["--script", str(script), "--port-file", str(port_file), "--log-file", str(log), "--model", "m"]
    with subprocess.Popen([sys.executable, "-m", "tests.gateway.scripted_server", *argv], cwd=ROOT) as server:
        try:
            wait_until(port_file.exists)
            endpoint = endpoint_of(f"http://127.0.0.1:{port_file.read_text()}/v1")
            assert [talk.ask(endpoint, question).done.text for question in ("a", "b")] == ["first", "second"]
            assert "the script has ended" in talk.ask(endpoint).failed.message
        finally:
            server.kill()
    asked = [json.loads(line)["body"]["messages"][-1]["content"] for line in log.read_text().splitlines()]
    assert asked == ["a", "b", "hello"]
