"""Filling a session's `Scope` from the shipped lists. Pure: resolving links is the caller's function."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from localgpt.policy.builtin import builtin_policy
from localgpt.policy.model import Scope, Table
from localgpt.policy.paths import has_name


@dataclass(frozen=True, slots=True)
class Places:
    """Where the runtime keeps its own things. All absolute.

    `private`: files no tool may read (device key, credentials). `own`: files and directories no tool may change
    (configuration, state, audit log, the program itself).
    """

    home: str
    workspace: str
    private: tuple[str, ...] = ()
    own: tuple[str, ...] = ()


def make_scope(
    places: Places,
    project: str,
    *,
    trusted: bool,
    read_roots: Iterable[str] = (),
    extra_write_roots: Iterable[str] = (),
    resolve: Callable[[str], str],
    table: Table | None = None,
) -> Scope:
    """The scope of one session. `resolve` is `os.path.realpath` or a stand-in; lists keep both spellings of a link."""
    table = table or builtin_policy().table
    home, root, workspace = resolve(places.home), resolve(project), resolve(places.workspace)
    protected = [
        *places.own,
        *_beneath(places.home, table.home_protected),
        *_beneath(root, table.project_protected),
        *_beneath(workspace, table.workspace_protected),
    ]
    extra = tuple(resolve(path) for path in extra_write_roots)
    return Scope(
        project=root,
        project_trusted=trusted,
        write_roots=((root, *extra) if trusted else extra),
        read_roots=_both((root, workspace, *read_roots, *extra), resolve),
        workspace=workspace,
        protected=_both(protected, resolve),
        secrets=_both((*places.private, *_beneath(places.home, table.home_secret)), resolve),
        home=home,
    )


def is_secret_name(relative: str, table: Table | None = None) -> bool:
    """Whether a path inside a project is a secret by its name, as `.env`; the table's exceptions are not."""
    table = table or builtin_policy().table
    return has_name(relative, table.secret_names, but_not=table.not_secret_names)


def _beneath(root: str, names: Iterable[str]) -> list[str]:
    return [f"{root.rstrip('/')}/{name}" for name in names]


def _both(spellings: Iterable[str], resolve: Callable[[str], str]) -> tuple[str, ...]:
    """Each path as written and with links resolved, once each, in order."""
    return tuple(dict.fromkeys(spelling for path in spellings for spelling in (path, resolve(path))))
