"""The command line as a whole: which commands there are, the global options, and what happens to errors."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path
from typing import Annotated, Final

import typer
from typer._click.exceptions import ClickException, NoArgsIsHelpError, UsageError
from typer.main import get_command

from localgpt import __version__
from localgpt.cli.lazy import Entry, LazyGroup, new_app
from localgpt.cli.output import print_error, safe
from localgpt.cli.state import State
from localgpt.errors import ExitStatus, LocalGptError

_TALK, _TRUST, _LOOK, _SETUP = "Talk", "Trust", "Look", "Set up"

COMMANDS: Final[dict[str, Entry]] = {
    "chat": Entry("localgpt.cli.chat:chat", _TALK, "Talk to the agent in this folder."),
    "ask": Entry("localgpt.cli.ask:ask", _TALK, "Ask one question, from an argument or standard input."),
    "session": Entry("localgpt.cli.session:app", _TALK, "List and show past sessions."),
    "init": Entry("localgpt.cli.init:app", _TRUST, "Make directories, the device key, LocalGPT.md and config.toml."),
    "sign": Entry("localgpt.cli.sign:app", _TRUST, "Sign the policy in LocalGPT.md as it is now."),
    "verify": Entry("localgpt.cli.verify:app", _TRUST, "Say whether the policy is as it was signed."),
    "recover": Entry("localgpt.cli.recover:app", _TRUST, "Explain a policy that is not what was signed; sign it anew."),
    "policy": Entry("localgpt.cli.policy:app", _TRUST, "Check, test, compare, explain and edit policies."),
    "key": Entry("localgpt.cli.key:app", _TRUST, "The keys that sign: status, rotate, backup, restore."),
    "md": Entry("localgpt.cli.md:app", "", "Aliases: md sign, md verify, md status."),
    "sandbox": Entry("localgpt.cli.sandbox:app", _LOOK, "What confines commands here; test it; run one command in it."),
    "audit": Entry("localgpt.cli.audit:app", _LOOK, "Show and verify the log of every decision."),
    "scan": Entry("localgpt.cli.scan:app", _LOOK, "Look for text that tries to command a model."),
    "today": Entry("localgpt.cli.today:app", _LOOK, "What was done, asked, refused, spent and changed today."),
    "doctor": Entry("localgpt.cli.doctor:app", _LOOK, "Find what is wrong here, with a cure for each."),
    "paths": Entry("localgpt.cli.paths:app", _LOOK, "Where everything is kept."),
    "config": Entry("localgpt.cli.config:app", _SETUP, "Show and change the configuration."),
    "models": Entry("localgpt.cli.models:app", _SETUP, "List, add and test models."),
    "completion": Entry("localgpt.cli.completion:app", _SETUP, "Complete commands in bash, zsh or fish."),
}
LazyGroup.entries = COMMANDS

app = new_app(cls=LazyGroup, invoke_without_command=True, subcommand_metavar="COMMAND [ARGS]...")


@app.callback(
    epilog="""
\b
Start here:
  localgpt init        once
  localgpt chat        in a project's folder
  localgpt doctor      when something does not work
\b
Exit status: 0 done, 1 failed, 2 usage or configuration, 3 refused for integrity or policy,
4 model provider, 124 timed out, 130 interrupted.
"""
)
def root(
    ctx: typer.Context,
    *,
    config: Annotated[
        Path | None, typer.Option("--config", "-c", envvar="LOCALGPT_CONFIG", help="Configuration file to use.")
    ] = None,
    agent: Annotated[str, typer.Option("--agent", "-a", envvar="LOCALGPT_AGENT", help="Which agent.")] = "main",
    profile: Annotated[
        str | None,
        typer.Option("--profile", "-p", envvar="LOCALGPT_PROFILE", help="Separate directories under this name."),
    ] = None,
    verbose: Annotated[int, typer.Option("--verbose", "-v", count=True, help="Say more; twice for more.")] = 0,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks of errors.")] = False,
    version: Annotated[bool, typer.Option("--version", "-V", help="Print the version.")] = False,
) -> None:
    """A local-first agent whose every command is confined, under a policy you sign, in a log you can verify."""
    if version:
        sys.stdout.write(f"localgpt {__version__}\n")
        raise typer.Exit
    ctx.obj = State(
        os.environ, config_path=config, agent=agent, profile=profile or None, verbosity=verbose, debug=debug
    )
    if ctx.invoked_subcommand is None:
        sys.stdout.write(ctx.get_help() + "\n")


def run(arguments: list[str]) -> int:
    """Run one command line and give its exit status. Every error ends here, as `error:` and `cure:` lines."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # a text wrapper, always
    try:
        status = _dispatch(arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        _forget_stdout()
        return ExitStatus.FAILED
    except OSError as error:
        return _report(_of_os_error(error), error, arguments)
    return status


def _dispatch(arguments: list[str]) -> int:
    command = get_command(app)
    if "_LOCALGPT_COMPLETE" in os.environ:
        from typer._completion_classes import completion_init

        completion_init()
        command.main(arguments, prog_name="localgpt", complete_var="_LOCALGPT_COMPLETE")
    try:
        with command.make_context("localgpt", list(arguments)) as ctx:
            status = command.invoke(ctx)
    except typer.Exit as exit_:
        return exit_.exit_code
    except (KeyboardInterrupt, typer.Abort):
        sys.stderr.write("interrupted\n")
        return ExitStatus.INTERRUPTED
    except LocalGptError as error:
        return _report(error, error, arguments)
    except ClickException as error:
        return _usage(error)
    except OSError:
        raise
    except Exception as error:  # noqa: BLE001 -- the outermost handler
        cure = "this is a defect: run it again with --debug before the command, and report what it prints"
        return _report(LocalGptError(f"{type(error).__name__}: {error}", cure=cure), error, arguments)
    return status if isinstance(status, int) else ExitStatus.DONE


def _report(shown: LocalGptError, cause: BaseException, arguments: list[str]) -> int:
    own = arguments[: arguments.index("--")] if "--" in arguments else arguments
    if "--debug" in own:
        import traceback

        sys.stderr.write(safe("".join(traceback.format_exception(cause))))
    try:
        sys.stdout.flush()
    except OSError:  # standard output may be what failed
        _forget_stdout()
    print_error(shown)
    return shown.exit_status


def _of_os_error(error: OSError) -> LocalGptError:
    where = f"{error.filename}: " if error.filename else ""
    reason = (error.strerror or str(error)).lower()
    cures = {
        errno.ENOSPC: "the disk is full: free some space (localgpt paths says what lies where)",
        errno.EROFS: "the file system is read-only: use another place, see localgpt paths --help",
        errno.EACCES: "give yourself the right, or use another place: see localgpt paths --help",
    }
    return LocalGptError(f"{where}{reason}", cure=cures.get(error.errno or 0, "localgpt doctor"))


def _usage(error: ClickException) -> int:
    if isinstance(error, NoArgsIsHelpError):
        sys.stderr.write(error.format_message() + "\n")
        return ExitStatus.USAGE
    ctx = error.ctx if isinstance(error, UsageError) else None
    path = "localgpt" if ctx is None else ctx.command_path
    message = error.format_message().rstrip(".")
    sys.stderr.write(f"error: {safe(message[:1].lower() + message[1:])}\n")
    if any(f" {option}" in message for option in ("--config", "--agent", "--profile", "--verbose", "--debug")):
        sys.stderr.write("cure: global options come before the command: localgpt --profile NAME COMMAND\n")
    else:
        sys.stderr.write(f"cure: {path} --help\n")
    return ExitStatus.USAGE


def _forget_stdout() -> None:
    """Point standard output at nothing, so that the interpreter's last flush cannot fail again."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)
