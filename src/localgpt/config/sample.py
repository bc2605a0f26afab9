"""The configuration file that `localgpt init` writes: every line a comment, so that the defaults stay the defaults."""

from __future__ import annotations

from typing import Final

SAMPLE: Final = """\
# LocalGPT configuration. Everything here is optional; `localgpt config show` prints what applies.
# Rules about what the agent may do are written in LocalGPT.md, where they are signed; allow_paths below adds folders
# to every project, and commands and tools reach them as they reach the project.

# [agent]
# default_model = "ollama/qwen3"     # provider/name, or: opus, sonnet, gpt, glm, grok
# max_tokens = 4096
# turn_timeout = "10m"

# Keys are best taken from the environment: only "${VARIABLE}" as the whole value is expanded.
# [providers.anthropic]
# api_key = "${ANTHROPIC_API_KEY}"

# [providers.openai]
# api_key = "${OPENAI_API_KEY}"

# [providers.ollama]
# endpoint = "http://localhost:11434"

# Any other server that speaks the OpenAI protocol: default_model = "openai-compat/NAME"
# [providers.openai_compatible]
# base_url = "http://127.0.0.1:8000/v1"

# [embedded]                         # the model server inside this program
# threads = 3
# context_tokens = 8192

# [memory]
# workspace = "~/.local/share/localgpt/workspace"

# Whose signatures on LocalGPT.md count, when not this device's key signs: see `localgpt key new`.
# [security]
# policy_public_key = "NAME+KEYID+BASE64"

# Limits of every confined command. No setting can switch the sandbox off.
# [sandbox]
# profile = "build"                  # package caches of the project's own that last, and longer limits
# level = "full"                     # only with namespaces of their own (rung A), or not at all
# timeout_secs = 120
# max_output_bytes = 1048576
# max_file_size_bytes = 52428800
# max_processes = 64
# allow_paths = { read = [], write = [] }
"""
