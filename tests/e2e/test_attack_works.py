"""The attack of the end-to-end tests succeeds where nothing confines it: a test that cannot fail proves nothing."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path

from tests.e2e.house import ATTACK, SECRET, House


def test_unconfined_the_attack_reads_and_connects(tmp_path: Path):
    house = House(tmp_path / "home")
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        command = ATTACK.format(home=house.home, port=server.getsockname()[1])
        done = subprocess.run(["sh", "-c", command], env=house.environment, capture_output=True, text=True, check=False)
    assert SECRET in done.stdout
    assert "LEAKED" in done.stdout
    assert "CONNECTED" in done.stdout
