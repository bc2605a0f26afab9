"""Encrypted details: under the log by their digest only, and erased without a trace in any verdict."""

import json

import pytest

from localgpt.audit import LogVerdict, read_entries, verify_log
from localgpt.audit.bodies import Bodies
from localgpt.audit.errors import EntryInvalid


def test_erasing_details_changes_no_verdict(directory, key, open_log):
    log = open_log()
    decision = {"call": "c", "tool": "shell", "verdict": "allow", "code": "x", "policy": "ab" * 32}
    for session in ("one", "two"):
        body = log.body(session, {"argv": ["/bin/echo", "a secret"]})
        log.append("decision", session=session, **decision, **body)
    log.close()
    bodies = Bodies(directory)
    assert bodies.sessions() == ["one", "two"]
    entries = {entry.session: entry for entry in read_entries(directory) if entry.kind == "decision"}
    (found,) = bodies.read("one")
    assert found == (entries["one"].fields["body"], {"argv": ["/bin/echo", "a secret"]})
    whole = b"".join(path.read_bytes() for path in directory.rglob("*") if path.is_file())
    assert b"a secret" not in whole
    before = verify_log(directory, key)
    count, size = bodies.erase("one")
    assert (count, size) == (1, entries["one"].fields["body_bytes"])
    assert list(bodies.read("one")) == []
    assert bodies.sessions() == ["two"]
    assert not (directory / "bodies" / "one.key").exists()
    after = verify_log(directory, key)
    assert (after.verdict, after.entries) == (LogVerdict.INTACT, before.entries)
    assert json.dumps(entries["one"].to_json())


def test_what_is_refused(directory, open_log):
    log = open_log()
    for session in ("", "../x", "a/b"):
        with pytest.raises(EntryInvalid):
            log.body(session, {"argv": []})
    with pytest.raises(EntryInvalid, match="256 KiB"):
        log.body("s", {"argv": ["x" * 300_000]})
    with pytest.raises(EntryInvalid, match="no details"):
        Bodies(directory).erase("s")
