"""From options to a running session: set-up if it is the first time, project, trust, model, runtime.

Shared by `chat` and `ask`. Asks nothing by itself: a `Front` does, and one without a terminal answers no.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from localgpt.cli.init import prepare
from localgpt.cli.state import State
from localgpt.config.models import ModelRef
from localgpt.monitor.events import Approver, Level, ModelConfirmer
from localgpt.monitor.models import EMBEDDED_NAME, ChosenModel, Selection
from localgpt.monitor.project import Project, Trust, TrustStore, check_project
from localgpt.monitor.runtime import Runtime, Setup
from localgpt.monitor.session import Session


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line said. `trust` None: ask, or for a known folder what was said before."""

    model: str | None = None
    add_dirs: tuple[Path, ...] = ()
    trust: bool | None = None
    folder: Path = Path()


class Front(Approver, Protocol):
    """Whoever can be asked and told."""

    @property
    def confirmer(self) -> ModelConfirmer | None:
        """Who confirms the first use of a model; None without a terminal."""
        ...

    def trust(self, folder: Path) -> bool | None:
        """Ask whether `folder` is the user's own; None when nobody can be asked."""
        ...

    def sign(self, document: Path, digest: str) -> bool:
        """Ask whether the starter policy, which is as it was shipped, shall be signed; no when nobody can be asked."""
        ...

    def tell(self, level: Level, text: str) -> None:
        """Show one sentence of the runtime's own."""
        ...

    def progress(self, done_bytes: int, total_bytes: int) -> None:
        """Show how far the download of the model is."""
        ...


class Started:
    """A runtime with its first model chosen; opens sessions on it."""

    def __init__(self, state: State, runtime: Runtime, front: Front, model: ChosenModel) -> None:
        self._state = state
        self._runtime = runtime
        self._front = front
        self._model = model

    def open(self, session_id: str | None = None) -> Session:
        """Begin a session or resume the one named.

        Raises:
            NoSuchSession: there is none of that name.
        """
        return self._runtime.session(self._model, resume=session_id, find_model=self._find)

    def models(self) -> Sequence[str]:
        """Names that can be switched to."""
        from localgpt.cli.catalogue import model_names

        return model_names(self._state)

    def _find(self, name: str) -> ChosenModel:
        selection = self._runtime.choose_model(name, self._front.confirmer)
        self._model = use(self._state, self._runtime, selection, self._front.progress)
        return self._model


@contextlib.contextmanager
def start(state: State, options: Options, front: Front) -> Iterator[Started]:
    """Open everything that a conversation needs.

    Raises:
        ProjectRefused: the folder cannot be a project.
        DeviceKeyError, PolicyError, ConfigError, ModelError: each names its cure.
    """
    folder = check_project(options.folder, state.paths)
    extra = tuple(check_project(each, state.paths) for each in options.add_dirs)
    made = {what: path for what, path, is_new in prepare(state) if is_new}
    for what, path in made.items():
        front.tell(Level.INFO, f"made the {what}: {path}")
    project = Project(folder, _trusted(state, folder, options.trust, front), extra)
    if "starter policy" in made:
        _sign_starter(state, front)
    setup = Setup(state.paths, state.config, state.environ, project, state.agent)
    with Runtime(setup, front) as runtime:
        selection = runtime.choose_model(options.model, front.confirmer)
        for notice in (*runtime.warnings(), *selection.notices):
            front.tell(Level.WARNING, notice)
        yield Started(state, runtime, front, use(state, runtime, selection, front.progress))


def use(state: State, runtime: Runtime, selection: Selection, progress: Callable[[int, int], None]) -> ChosenModel:
    """Make a selection usable: the weights of an embedded model are fetched once, or are a file of the user's."""
    if not selection.embedded:
        return runtime.use_model(selection, None)
    return runtime.use_model(selection, weights_of(state, selection.ref, progress))


def weights_of(state: State, ref: ModelRef, progress: Callable[[int, int], None]) -> Path:
    """The file of an embedded model.

    Raises:
        WeightsError: it is not there and cannot be fetched, or is not what was pinned.
        NotAModel: no model of that name was added.
    """
    from localgpt.gateway import weights

    directory = state.paths.models_dir
    if ref.name == EMBEDDED_NAME:
        return weights.ensure_builtin(directory, progress=progress)
    return Path(weights.find_model(directory, ref.name).path)


def _sign_starter(state: State, front: Front) -> None:
    """Offer to sign the policy that this very start has written: a first conversation runs under a signed one."""
    from localgpt.cli.signing import log_signature
    from localgpt.cli.trust import open_store
    from localgpt.crypto import sha256_hex
    from localgpt.policy.starter import starter_document

    store, digest = open_store(state), sha256_hex(starter_document())
    if store.public_key is None and front.sign(store.document_path, digest):  # a private key is read by `sign` alone
        manifest = store.sign(shown_digest=digest)  # refused when another text stands there by now
        log_signature(state, manifest, str(store.document_path))


def _trusted(state: State, folder: Path, said: bool | None, front: Front) -> bool:
    store = TrustStore(state.paths.state_dir / "trusted-folders.json")
    known = store.look_up(folder)
    if said is None:
        said = known is Trust.TRUSTED if known is not Trust.UNKNOWN else front.trust(folder)
    if said is None:
        return False
    answer = Trust.TRUSTED if said else Trust.UNTRUSTED
    try:
        if answer is not known:
            store.remember(folder, answer)
    except OSError as error:
        front.tell(Level.WARNING, f"your answer counts for this session only, because it cannot be kept: {error}")
    return said
