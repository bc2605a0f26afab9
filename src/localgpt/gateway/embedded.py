"""The embedded model server's process: ``python -I -m localgpt.gateway.embedded --fd 3``.

llama.cpp, in this process, on a unix socket in a private directory: no network at all, not even loopback. The key is
demanded as well, so that another process of the user cannot use the model by finding the socket. Slots, metrics and
changes of properties are off. The process ends when the monitor closes the channel.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import socket
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from localgpt.errors import LocalGptError
from localgpt.gateway.confinement import confine_embedded, harden
from localgpt.gateway.failures import excerpt
from localgpt.gateway.gguf import context_length
from localgpt.wire import Channel, EmbeddedFailed, EmbeddedReady, EmbeddedStart, PeerGone, WireError

if TYPE_CHECKING:
    import xllamacpp

DEFAULT_CONTEXT: Final = 8192
_MAX_SOCKET_PATH: Final = 107  #: sun_path holds 108 bytes with its end, unix(7)
_SUFFIX: Final = ".sock"  #: by which llama.cpp tells a socket's path from a host name
_HTTP_THREADS: Final = 4


class EngineFailed(LocalGptError):  # noqa: N818 -- named after the condition
    """The engine is not installed, does not like the model, or does not answer."""

    code = "model.embedded"


def main(argv: list[str]) -> int:
    """Serve one model until the monitor closes the channel; 1 when it could not be served."""
    parser = argparse.ArgumentParser(prog="localgpt.gateway.embedded")
    parser.add_argument("--fd", type=int, required=True, help="inherited socket to the monitor")
    sock = socket.socket(fileno=parser.parse_args(argv).fd)
    sock.set_inheritable(False)
    harden()
    channel = Channel(sock)
    try:
        return _serve(channel, _receive_start(channel))
    except PeerGone:
        return 0
    except WireError as error:
        sys.stderr.write(f"{error}\n")
        return 1


def _receive_start(channel: Channel) -> EmbeddedStart:
    start = channel.receive()
    if not isinstance(start, EmbeddedStart):
        raise WireError(f"the first message is a {type(start).__name__}, not EmbeddedStart")
    return start


def _serve(channel: Channel, start: EmbeddedStart) -> int:
    try:
        chatter = _divert_stderr()
        _prepare_socket(start.socket_path)
        confine_embedded(start.model_path, start.socket_path)
        server, ready = _start_engine(start, chatter)
        channel.send(ready)
        channel.receive()  # nothing is ever sent after the start: this waits for the end
    except LocalGptError as error:
        if isinstance(error, PeerGone):
            return 0
        channel.send(EmbeddedFailed(str(error)))
        return 1
    finally:
        _remove_socket(start.socket_path)
    del server
    return 0


def _start_engine(start: EmbeddedStart, chatter: int) -> tuple[xllamacpp.Server, EmbeddedReady]:
    began = time.monotonic()
    context = start.context_tokens if start.context_tokens > 0 else DEFAULT_CONTEXT
    context = min(context, _trained_context(start.model_path) or context)
    server = _load(start, context, chatter)
    load_ms = int((time.monotonic() - began) * 1000)
    base_url = "http://localhost/v1" if start.socket_path else f"{server.listening_address.rstrip('/')}/v1"
    return server, EmbeddedReady(base_url, start.socket_path, context, load_ms)


def _trained_context(path: str) -> int | None:
    try:
        return context_length(path)
    except OSError as error:
        raise EngineFailed(f"{path} cannot be read: {error.strerror}", cure="localgpt models list") from error


def _prepare_socket(path: str | None) -> None:
    """Check the socket's path and remove what a crash left there; only the user may connect to what comes."""
    if path is None:
        return
    if not path.endswith(_SUFFIX) or len(os.fsencode(path)) > _MAX_SOCKET_PATH:
        raise EngineFailed(
            f"{path!r} cannot be a model server's socket: it must end in {_SUFFIX} and have at most "
            f"{_MAX_SOCKET_PATH} bytes",
            cure="choose a shorter runtime directory (XDG_RUNTIME_DIR or TMPDIR)",
        )
    _remove_socket(path)
    os.umask(0o177)


def _remove_socket(path: str | None) -> None:
    if path is not None:
        with contextlib.suppress(OSError):
            Path(path).unlink()


def _divert_stderr() -> int:
    """Send what the engine writes to standard error into memory, for the reason when it fails; give its descriptor."""
    memory = os.memfd_create("chatter", os.MFD_CLOEXEC)
    os.dup2(memory, 2)
    return memory


def _last_words(chatter: int) -> str:
    size = os.fstat(chatter).st_size
    text = os.pread(chatter, 4096, max(0, size - 4096)).decode("utf-8", "replace")
    errors = [line.partition(" E ")[2] for line in text.splitlines() if " E " in line]
    return excerpt("; ".join(errors[:2]))


def _load(start: EmbeddedStart, context: int, chatter: int) -> xllamacpp.Server:
    """Load the model and listen."""
    try:
        import xllamacpp  # noqa: PLC0415 -- an extra; and only after confinement
    except ImportError as error:
        raise EngineFailed(
            "the embedded model's engine is not installed", cure="install the extra: localgpt-agent[embedded]"
        ) from error
    try:
        server = xllamacpp.Server(_parameters(xllamacpp, start, context))
    except (RuntimeError, MemoryError, ValueError) as error:
        raise EngineFailed(
            f"the engine cannot serve {start.model_path}: {_last_words(chatter) or error}",
            cure="check the file with localgpt models list; localgpt models add replaces it",
        ) from error
    null = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
    os.dup2(null, 2)  # from here on nobody reads the chatter, and it must not fill the memory
    return server


def _parameters(engine: Any, start: EmbeddedStart, context: int) -> Any:  # noqa: ANN401 -- the engine has no type information
    """Give llama.cpp's parameters.

    One slot and few threads: llama.cpp's threads wait for each other by spinning, so as many threads as cores collapse
    to a fiftieth of the speed as soon as anything else runs.
    """
    parameters = engine.CommonParams()
    parameters.model.path = start.model_path
    parameters.model_alias = {start.model_name}
    parameters.hostnames = [start.socket_path or "127.0.0.1"]
    parameters.port = 0
    parameters.api_keys = [start.api_key]
    parameters.n_ctx = context
    parameters.n_parallel = 1
    parameters.n_threads_http = _HTTP_THREADS
    threads = start.threads if start.threads > 0 else default_threads()
    parameters.cpuparams.n_threads = threads
    parameters.cpuparams_batch.n_threads = threads
    parameters.endpoint_slots = parameters.endpoint_props = parameters.endpoint_metrics = parameters.ui = False
    parameters.warmup = False  # the first prompt warms up as well, and somebody is waiting for the banner
    parameters.fit_params = False  # the context is what was asked for, or an error
    parameters.cache_ram_mib = 0  # the slot's own cache is enough for one conversation
    parameters.verbosity = 1  # errors only
    return parameters


def default_threads() -> int:
    """Give the usable cores less one, at least one."""
    return max(1, len(os.sched_getaffinity(0)) - 1)


if __name__ == "__main__":
    os._exit(main(sys.argv[1:]))  # no orderly end: the engine would first finish what it is generating
