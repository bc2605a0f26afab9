"""Entry point of the ``localgpt`` command. ``--version`` is answered before anything else is imported."""

import gc
import sys


def main() -> int:
    """Run the command line in ``sys.argv`` and give its exit status."""
    arguments = sys.argv[1:]
    if arguments in (
        ["--version"],
        ["-V"],
    ):  # the two most frequent calls of scripts; Typer answers all other spellings
        from localgpt import __version__  # noqa: PLC0415 -- start-up time is a promise

        sys.stdout.write(f"localgpt {__version__}\n")
        return 0
    if sys.platform in {"win32", "cygwin"}:  # most of what follows would not even load
        sys.stderr.write("error: LocalGPT does not run on Windows itself\ncure: use it in WSL 2: wsl --install\n")
        return 3
    gc.disable()  # importing makes no garbage, and looking for it costs milliseconds
    from localgpt.cli.app import run  # noqa: PLC0415 -- as above

    gc.enable()
    return run(arguments)


if __name__ == "__main__":
    sys.exit(main())
