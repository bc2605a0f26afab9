"""Where a session may be: the policy's scope of a project, from the paths of this runtime."""

from __future__ import annotations

import os
from pathlib import Path

from localgpt.config import Paths
from localgpt.config.schema import SandboxConfig
from localgpt.monitor.project import Project, own_places
from localgpt.policy import Places, Scope, make_scope


def session_scope(project: Project, sandbox: SandboxConfig, paths: Paths) -> Scope:
    """The scope of a session in `project`. What the sandbox's plan can read beyond it is not known here."""
    places = Places(
        home=str(paths.home),
        workspace=str(paths.workspace),
        private=(str(paths.device_key), str(paths.audit_dir), *_of_earlier_keys(paths)),
        own=tuple(str(place) for place in own_places(paths) if place != Path("/usr")),
    )
    extra = (*map(str, project.extra), *sandbox.write) if project.trusted else ()
    return make_scope(
        places, str(project.path), trusted=project.trusted, extra_write_roots=extra, resolve=os.path.realpath
    )


def _of_earlier_keys(paths: Paths) -> tuple[str, ...]:
    """Retired device keys, and the logs that they vouch for."""
    key, log = paths.device_key, paths.audit_dir
    found = [*key.parent.glob(f"{key.name}.*"), *log.parent.glob(f"{log.name}.*")]
    return tuple(map(str, sorted(found)))
