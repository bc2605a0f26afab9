"""What the files of a project are worth, and what was written under a stranger's influence: per file, kept on disk.

A trusted project is the user's own; what was cloned, downloaded or received into it is not, nor what the agent wrote
after it had heard strangers, until somebody replaces it. Whoever reads such a file has heard that stranger.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from localgpt.labels import Confidentiality, Integrity
from localgpt.monitor.requests import Prepared
from localgpt.policy import Flow, Scope, WritePath
from localgpt.tools import HostedCall, ShellCall
from localgpt.wire import Label

_VERSION: Final = 1
_MAX_ENTRIES: Final = 20_000
EVERYTHING: Final = "/"  #: the entry of a record that was damaged
#: Folders that hold what others wrote, wherever they lie in a project.
FOREIGN: Final = frozenset({
    "node_modules", "vendor", "third_party", "site-packages", ".venv", "venv", "bower_components", "Downloads",
    "downloads", ".cargo", ".git",
})  # fmt: skip


class Origins:
    """The labels of files, in one file of JSON. Without a place on disk they last as long as this object."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._files: dict[str, dict[str, str]] = _load(path)

    def label(self, prepared: Prepared, scope: Scope) -> Label:
        """The label of what a built-in tool returned."""
        origin = (prepared.path or prepared.tool)[-200:]
        if isinstance(prepared.call, (ShellCall, HostedCall)):
            return Label(Integrity.UNTRUSTED, Confidentiality.PRIVATE, origin)
        influenced = self.influence(prepared.path)
        if influenced is not None:
            return influenced
        own = scope.project_trusted and _beneath(prepared.path, (scope.project, *scope.write_roots, scope.workspace))
        parts = set(Path(os.path.relpath(prepared.path, scope.project)).parts) if own else set()
        integrity = Integrity.INTERNAL if own and not parts & FOREIGN else Integrity.UNTRUSTED
        return Label(integrity, Confidentiality.PRIVATE, origin)

    def influence(self, path: str) -> Label | None:
        """The label of a file that was written under influence, or of a folder that holds one."""
        below = path.rstrip("/") + "/"
        found = self._files.get(path) or self._files.get(EVERYTHING)
        found = found or next((entry for name, entry in self._files.items() if name.startswith(below)), None)
        if found is None:
            return None
        return Label(Integrity.UNTRUSTED, Confidentiality(found["confidentiality"]), found["origin"])

    def wrote(self, path: str, flow: Flow) -> str:
        """Keep what a file was written under; the sentence that the diff says of it, or ""."""
        if not flow.tainted:
            if self._files.pop(path, None) is not None:
                self._save()
            return ""
        origin = (flow.stranger or "a stranger's words")[-200:]
        self._files[path] = {"confidentiality": flow.confidentiality.value, "origin": origin}
        self._save()
        return f"written under the influence of: {origin}"

    def _save(self) -> None:
        if self._path is None:
            return
        kept = dict(list(self._files.items())[-_MAX_ENTRIES:])
        data = json.dumps({"version": _VERSION, "files": kept}, sort_keys=True).encode()
        temporary = self._path.with_suffix(".new")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            os.write(descriptor, data)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        temporary.replace(self._path)


def _load(path: Path | None) -> dict[str, dict[str, str]]:
    """The labels kept so far. A damaged record is not believed: then everything counts as influenced."""
    if path is None or not path.exists():
        return {}
    try:
        found = json.loads(path.read_bytes())
        files: dict[str, dict[str, str]] = found["files"]
        if found["version"] != _VERSION or not all(_is_entry(entry) for entry in files.values()):
            raise ValueError("another version or form")  # noqa: TRY301 -- one way out for all damage
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {EVERYTHING: {"confidentiality": Confidentiality.PRIVATE.value, "origin": "a damaged record of labels"}}
    return files


def _is_entry(entry: Mapping[str, object]) -> bool:
    return isinstance(entry["origin"], str) and entry["confidentiality"] in set(Confidentiality)


def _beneath(path: str, roots: tuple[str, ...]) -> bool:
    return any(path == root or path.startswith(root.rstrip("/") + "/") for root in roots)


def changed_path(prepared: Prepared) -> str:
    """The file that a call changes, "" when it changes none by name."""
    return next((effect.path for effect in prepared.effects if isinstance(effect, WritePath)), "")
