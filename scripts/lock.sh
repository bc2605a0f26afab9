#!/bin/sh
# Resolve every dependency afresh and write the hash-locked requirement files that set-up installs from.
# Universal: one file serves every supported Python and platform.
set -eu
cd "$(dirname "$0")/.."
lock() { uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --custom-compile-command scripts/lock.sh "$@"; }
lock pyproject.toml -o requirements/core.txt
lock pyproject.toml --extra embedded -c requirements/core.txt -o requirements/embedded.txt
lock pyproject.toml --extra embedded --group dev -c requirements/core.txt -o requirements/dev.txt
lock --group pyproject.toml:build -c requirements/dev.txt -o requirements/build.txt
lock requirements/bench.in pyproject.toml -c requirements/core.txt -o requirements/bench.txt
