"""Exports, each judged by its format's own schema: OCSF's, OpenTelemetry's protocol buffers, RFC 5424's grammar.

An rsyslog daemon, where there is one, has to take every line apart again into the same fields.
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest
from google.protobuf import json_format
from jsonschema import Draft202012Validator
from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from localgpt.audit.export import FORMATS, exported
from localgpt.audit.grammar import spell
from localgpt.audit.kinds import KINDS, FieldType
from localgpt.audit.query import Query, read_entries
from localgpt.audit.writer import Writer
from localgpt.crypto import DeviceKey
from tests.audit.conftest import SimClock
from tests.crash.test_audit_power_loss import QuickDisk

VALUES: dict[FieldType, object] = {
    FieldType.TOKEN: 't]"\\x',
    FieldType.NAME: 'näme "q" ]\\',
    FieldType.PATH: '/a b/"ü]\u202e',
    FieldType.HEX: "ab" * 16,
    FieldType.COUNT: 7,
    FieldType.INTEGER: -3,
    FieldType.FLAG: True,
    FieldType.TOKENS: ["a", "b"],
}
OWN = {"log.create", "log.segment", "epoch.next"}
CLASSES = {
    1001: "file_activity", 1007: "process_activity", 2004: "detection_finding", 4001: "network_activity",
    6003: "api_activity",
}  # fmt: skip


@pytest.fixture(scope="module")
def log(tmp_path_factory) -> Path:
    """One entry of each kind, with every field and hostile text, denied where there is a verdict."""
    directory: Path = tmp_path_factory.mktemp("export") / "audit"
    writer = Writer(directory, DeviceKey(bytes(range(32))), SimClock(), QuickDisk())
    writer.open()
    for kind, known in KINDS.items():
        if kind not in OWN:
            fields = {name: "deny" if name == "verdict" else VALUES[kind_of] for name, kind_of in known.types.items()}
            writer.commit([spell(kind, "s", fields)])
    writer.commit([spell("connection", "s", {"role": "r", "host": "example.org", "verdict": "allow", "port": 443})])
    writer.commit([spell("connection", "s", {"role": "r", "host": "::1", "verdict": "allow"})])
    writer.close()
    return directory


def lines(log: Path, name: str) -> list[str]:
    return list(exported(log, name, Query()))


def test_every_entry_in_every_format(log):
    count = len(list(read_entries(log)))
    assert {name: len(lines(log, name)) for name in FORMATS} == dict.fromkeys(FORMATS, count)
    assert [json.loads(line)["seq"] for line in lines(log, "jsonl")] == list(range(count))
    assert len(list(exported(log, "jsonl", Query(kinds=frozenset({"decision"}))))) == 1


def test_ocsf_by_its_own_schema(log):
    schema = OcsfJsonSchemaEmbedded(get_ocsf_schema("1.3.0"))
    validators = {uid: Draft202012Validator(schema.get_class_schema(name)) for uid, name in CLASSES.items()}
    seen = set()
    for line in lines(log, "ocsf"):
        event = json.loads(line)
        seen.add(event["class_uid"])
        assert list(validators[event["class_uid"]].iter_errors(event)) == [], event
    assert seen == set(CLASSES)


def test_otlp_by_its_own_protocol_buffers(log):
    for line, entry in zip(lines(log, "otlp"), read_entries(log), strict=True):
        request = json_format.Parse(line, ExportLogsServiceRequest())
        (record,) = request.resource_logs[0].scope_logs[0].log_records
        assert record.body.string_value == entry.kind
        assert record.time_unix_nano == entry.ts_us * 1000
        found = {each.key: each.value for each in record.attributes}
        assert found["audit.leaf"].string_value == entry.leaf


_RFC_5424 = re.compile(
    r"<(\d{1,3})>1 (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z) ([!-~]{1,255}) ([!-~]{1,48}) (\d{1,128}) ([!-~]{1,32}) "
    r'\[([^ =\]"]{1,32})((?: [^ =\]"]{1,32}="(?:[^"\\\]]|\\["\\\]])*")*)\]'
)


def test_syslog_by_the_grammar_of_rfc_5424(log):
    for line, entry in zip(lines(log, "syslog"), read_entries(log), strict=True):
        match = _RFC_5424.fullmatch(line)
        assert match is not None, line
        assert match[6] == entry.kind
        assert int(match[1]) <= 191


CONF = """
module(load="imtcp" MaxSessions="2")
input(type="imtcp" port="{port}" address="127.0.0.1" ruleset="r" SupportOctetCountedFraming="on")
template(name="t" type="list") {{ property(name="pri") constant(value="|") property(name="msgid") constant(value="|")
  property(name="structured-data") constant(value="\\n") }}
global(workDirectory="{place}" maxMessageSize="64k")
ruleset(name="r") {{ action(type="omfile" file="{place}/got" template="t") }}
"""


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("rsyslogd", path="/usr/sbin:/usr/bin") is None, reason="rsyslog is not installed")
def test_rsyslog_takes_every_line_apart_again(log, tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (tmp_path / "conf").write_text(CONF.format(port=port, place=tmp_path))
    argv = ["/usr/sbin/rsyslogd", "-n", "-f", str(tmp_path / "conf"), "-i", str(tmp_path / "pid")]
    daemon = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    sent = lines(log, "syslog")
    try:
        end = time.monotonic() + 30
        stream = None
        while stream is None and time.monotonic() < end:
            with contextlib.suppress(OSError):
                stream = socket.create_connection(("127.0.0.1", port))
        assert stream is not None
        with stream:
            for line in sent:
                stream.sendall(f"{len(line.encode())} ".encode() + line.encode())
        got = tmp_path / "got"
        while time.monotonic() < end and not (got.exists() and got.read_bytes().count(b"\n") == len(sent)):
            time.sleep(0.05)  # another program writes the file, at its own time
    finally:
        daemon.terminate()
        daemon.wait(20)
    for line, found in zip(sent, got.read_text("utf-8").splitlines(), strict=True):
        priority, kind, data = found.split("|", 2)
        assert line.startswith(f"<{priority}>1 ")
        assert line.endswith(f" {kind} {data}")
