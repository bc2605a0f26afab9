"""The policy's prose goes to the model on every call, outside the transcript that the agent keeps."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from localgpt.wire import ChatMessage, Role

_HEADING: Final = "\n\n## Policy of this machine's owner\n\n"


def with_policy(messages: tuple[ChatMessage, ...], prose: str) -> tuple[ChatMessage, ...]:
    """Append `prose` to the first system message, or put one before the rest."""
    if not prose:
        return messages
    if messages and messages[0].role is Role.SYSTEM:
        return (replace(messages[0], text=messages[0].text + _HEADING + prose), *messages[1:])
    return (ChatMessage(Role.SYSTEM, _HEADING.lstrip() + prose), *messages)
