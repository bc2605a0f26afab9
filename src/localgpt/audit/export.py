"""Entries for other programs: JSON lines as they are, RFC 5424 syslog, OTLP logs (JSON), OCSF.

Only what follows the chain is exported; each carries the log's name, the number and the leaf, so that a copy elsewhere
is a witness of its own.

Source: RFC 5424; OpenTelemetry protocol 1.x (opentelemetry-proto, logs); OCSF 1.3.
"""

from __future__ import annotations

import ipaddress
import json
import os
import re
import socket
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from localgpt import __version__
from localgpt.audit.entry import Entry
from localgpt.audit.query import Query, read_entries

_FACILITY: Final = 13  #: log audit
_INFO, _WARNING, _ALERT = 6, 4, 1
_ENTERPRISE: Final = "localgpt@32473"  #: RFC 5612's number for documentation: this project has none of its own
_HOSTNAME: Final = re.compile(r"([a-zA-Z0-9]([a-zA-Z0-9-]*[a-zA-Z0-9])?\.)*[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?")
_SD_ESCAPE: Final = re.compile(r'(["\\\]])')


def exported(directory: Path, name: str, query: Query) -> Iterator[str]:
    """One text a wanted entry.

    Raises:
        EntryCorrupted, LogUnopenable
    """
    origin = ""
    write = FORMATS[name]
    for entry in read_entries(directory):
        if entry.seq == 0:
            origin = str(entry.fields["origin"])
        if query.selects(entry):
            yield write(entry, origin)


def severity(entry: Entry) -> int:
    """Syslog's number: refusals and findings are warnings, what says that the log was in danger is an alert."""
    if entry.kind in {"log.full", "log.recovered", "auth.failure"}:
        return _ALERT if entry.kind != "auth.failure" else _WARNING
    denied = entry.fields.get("verdict") == "deny" or entry.kind in {"injection.finding", "repeated"}
    return _WARNING if denied else _INFO


def _jsonl(entry: Entry, origin: str) -> str:
    return json.dumps({"origin": origin, **entry.to_json()}, ensure_ascii=True)


def _time(entry: Entry) -> str:
    return datetime.fromtimestamp(entry.ts_us / 1e6, tz=UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _syslog(entry: Entry, origin: str) -> str:
    fields = {"origin": origin, "seq": entry.seq, "leaf": entry.leaf, "session": entry.session, **entry.fields}
    data = " ".join(f'{name}="{_SD_ESCAPE.sub(_escaped, _text(value))}"' for name, value in fields.items())
    host = re.sub(r"[^!-~]", "-", socket.gethostname())[:255] or "-"
    priority = _FACILITY * 8 + severity(entry)
    return f"<{priority}>1 {_time(entry)} {host} localgpt {os.getpid()} {entry.kind} [{_ENTERPRISE} {data}]"


def _escaped(found: re.Match[str]) -> str:
    return f"\\{found[1]}"


def _text(value: object) -> str:
    return (
        ",".join(map(str, value))
        if isinstance(value, list)
        else json.dumps(value).strip('"')
        if isinstance(value, bool)
        else str(value)
    )


_OTLP_SEVERITY: Final = {_INFO: (9, "INFO"), _WARNING: (13, "WARN"), _ALERT: (21, "FATAL")}


def _otlp(entry: Entry, origin: str) -> str:
    number, text = _OTLP_SEVERITY[severity(entry)]
    attributes = {"audit.origin": origin, "audit.seq": entry.seq, "audit.leaf": entry.leaf, "session.id": entry.session}
    attributes |= {f"audit.{name}": value for name, value in entry.fields.items()}
    record = {
        "timeUnixNano": str(entry.ts_us * 1000),
        "observedTimeUnixNano": str(entry.ts_us * 1000),
        "severityNumber": number,
        "severityText": text,
        "body": {"stringValue": entry.kind},
        "attributes": [{"key": key, "value": _any_value(value)} for key, value in attributes.items()],
        "eventName": f"localgpt.{entry.kind}",
    }
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "localgpt"}}]}
    scope = {"name": "localgpt.audit", "version": __version__}
    logs = {"resource": resource, "scopeLogs": [{"scope": scope, "logRecords": [record]}]}
    return json.dumps({"resourceLogs": [logs]})


def _any_value(value: object) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, list):
        return {"arrayValue": {"values": [_any_value(each) for each in value]}}
    return {"stringValue": str(value)}


_OCSF_SEVERITY: Final = {_INFO: (1, "Informational"), _WARNING: (3, "Medium"), _ALERT: (5, "Critical")}
_ACTIVITIES: Final[Mapping[str, tuple[int, int, int]]] = {  # category, class, activity
    "process.start": (1, 1007, 1),
    "process.end": (1, 1007, 2),
    "outcome": (1, 1007, 2),
    "file.change": (1, 1001, 3),
    "memory.change": (1, 1001, 3),
    "connection": (4, 4001, 1),
    "injection.finding": (2, 2004, 1),
}
_API: Final = (6, 6003, 99)


def _ocsf(entry: Entry, origin: str) -> str:
    category, class_uid, activity = _ACTIVITIES.get(entry.kind, _API)
    number, text = _OCSF_SEVERITY[severity(entry)]
    denied = entry.fields.get("verdict") == "deny"
    event: dict[str, Any] = {
        "activity_id": activity,
        "category_uid": category,
        "class_uid": class_uid,
        "type_uid": class_uid * 100 + activity,
        "time": entry.ts_us // 1000,
        "severity_id": number,
        "severity": text,
        "status_id": 2 if denied else 1,
        "metadata": {
            "uid": f"{origin}/{entry.seq}",
            "version": "1.3.0",
            "product": {"name": "LocalGPT", "vendor_name": "LocalGPT", "version": __version__},
            "log_name": entry.kind,
            "correlation_uid": str(entry.fields.get("call", entry.session)),
        },
        "unmapped": {"kind": entry.kind, "leaf": entry.leaf, "session": entry.session, **entry.fields},
    }
    return json.dumps(event | _ocsf_class(entry, class_uid))


def _ocsf_class(entry: Entry, class_uid: int) -> dict[str, Any]:
    """What each class demands beyond the base event."""
    fields = entry.fields
    actor = {"app_name": "localgpt", "session": {"uid": entry.session or "-"}}
    device = {"type_id": 0, "hostname": socket.gethostname()}
    match class_uid:
        case 1007:
            name = str(fields.get("argv0") or fields.get("role") or fields.get("tool") or "-")
            return {"actor": actor, "device": device, "process": {"name": name, "pid": int(str(fields.get("pid", 0)))}}
        case 1001:
            path = str(fields["path"])
            return {
                "actor": actor,
                "device": device,
                "file": {"name": Path(path).name or path, "path": path, "type_id": 1},
            }
        case 4001:
            port = {"port": fields["port"]} if "port" in fields else {}
            return {"dst_endpoint": {**_endpoint(str(fields["host"])), **port}}
        case 2004:
            info = {"uid": f"{entry.seq}", "title": str(fields["finding"])}
            return {"finding_info": info, "evidences": [{"data": {"source": fields["source"]}}]}
        case _:
            operation = str(fields.get("tool") or entry.kind)
            return {"actor": actor, "api": {"operation": operation}, "src_endpoint": {"hostname": socket.gethostname()}}


def _endpoint(host: str) -> dict[str, str]:
    """A name where it is one, an address where it is one; anything else is only called so."""
    try:
        return {"ip": str(ipaddress.ip_address(host))}
    except ValueError:
        return {"hostname": host} if _HOSTNAME.fullmatch(host) else {"name": host}


FORMATS: Final[Mapping[str, Callable[[Entry, str], str]]] = {
    "jsonl": _jsonl,
    "syslog": _syslog,
    "otlp": _otlp,
    "ocsf": _ocsf,
}
