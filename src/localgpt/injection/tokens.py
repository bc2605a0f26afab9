"""The control tokens of chat templates, and how to write them so that no tokenizer takes them for one.

A token is not deleted: its brackets become look-alikes (`<|im_start|>` is shown as `‹¦im_start¦›`), so that a reader
and a model still see what the text says. Those look-alikes are in no table of `folding`, so a second pass changes
nothing.

Source: the tokenizer configurations of the model families named below.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import chain, islice
from typing import Final

from localgpt.injection.folding import fold, lower, table
from localgpt.injection.places import Cut
from localgpt.injection.visible import Edit, invisible_runs, strip_invisible

_ANGLE: Final = (
    "s|unk|pad|bos|eos|mask"  # Llama 1 and 2, Mistral, T5 and most SentencePiece vocabularies
    "|start_of_turn|end_of_turn|start_of_image|end_of_image|image_soft_token|unused[0-9]{1,4}"  # Gemma
    "|bos_token|eos_token|pad_token|unk_token"  # Command
    "|sop|eop"  # GLM
    "|think|tool_call|tool_calls|tool_response"  # Qwen, DeepSeek, Hermes
    "|function_calls|function_results|antml:[a-z_]{1,32}"  # Claude
    "|extra_id_[0-9]{1,4}|special_[0-9]{1,5}|seed:[a-z_]{1,32}"  # T5, Nemotron, Seed
    "|system"  # no family's token, but the first LocalGPT stripped it
)
_HALF: Final = "turn|tool|tool_call|tool_response|channel|image|audio|video|think"  # Gemma 4: <|turn> and <turn|>
_SQUARE: Final = (
    "/?INST|/?inst|/?SYSTEM_PROMPT|/?AVAILABLE_TOOLS|/?TOOL_CALLS|/?TOOL_RESULTS|/?TOOL_CONTENT"  # Mistral
    "|/?MODEL_SETTINGS|/?THINK|ARGS|CALL_ID|IMG|IMG_BREAK|IMG_END|PREFIX|SUFFIX|MIDDLE|BEGIN_AUDIO|AUDIO|TRANSCRIBE"
    "|CONTROL_[0-9]{1,4}|BOS|EOS|PAD|UNK|gMASK|sMASK|MASK"  # Mistral, Kimi, GLM
    r"|\|[A-Za-z_]{1,32}\|"  # EXAONE
)

#: Looked for in folded text. Each begins with literal characters, for which `re` searches fast: 1 MB of `<` costs what
#: one failed attempt per character costs, and nothing is looked at twice.
_CASED: Final = (
    re.compile(rf"\[(?=[/|A-Zgsi])(?:{_SQUARE})\]"),
    re.compile(r"\n\n(?:Human|Assistant):"),  # Claude's turns before 2023
    re.compile(r"\A\n?(?:Human|Assistant):"),
    re.compile(r"\]~!?b[\[\]]"),  # MiniMax
    re.compile(r"\[e~\["),
)
_NEUTRAL_SIGNS: Final = "‹›⟦⟧¦꞉"
_LOWER: Final = re.compile(
    # ChatML, Llama 3 and 4, Phi, Qwen, DeepSeek, Harmony, Command, Granite, …; a name with our own signs in it is none
    rf"<(?=[|/a-z]|<[/s])(?:\|(?:[^\s<>|{_NEUTRAL_SIGNS}]{{1,64}}+\|>|(?:{_HALF})>|\"\|>)"
    rf"|(?=[/a-z])(?:/?(?:{_ANGLE})>|(?:{_HALF})\|>)|<(?:/?sys)>>)"
)
#: This program's own wrappers, by their names; what stands before a name decides.
_NAMES: Final = (
    re.compile(r"external[_\- ]?content"),
    re.compile(r"tool[_\- ]?output"),
    re.compile(r"memory[_\- ]?context"),
)
_OPENER: Final = re.compile(r"(?:<|&(?:amp;){0,4}(?:lt|#0{0,6}60|#x0{0,6}3c);?)[\s\\]{0,8}/?[\s\\]{0,8}\Z")
_OPENER_CHARS: Final = 52

_SHOWN: Final = {"<": "‹", ">": "›", "[": "⟦", "]": "⟧", "|": "¦", ":": "꞉"}
_NEUTRAL: Final = {
    **{ord(sign): shown for sign, shown in _SHOWN.items()},
    **{code: _SHOWN[chr(plain)] for code, plain in table().items() if chr(plain) in _SHOWN},
}
_ENTITY: Final = re.compile(r"[&＆][^<＜]{0,30}?(?:lt|60|3c)[;；]?", re.IGNORECASE)


MOST_OF: Final = 64  #: one token in so many characters, and all brackets of a text are written with look-alikes
_LEAST: Final = 2000
_BRACKETS: Final = re.compile("[" + re.escape("".join(map(chr, _NEUTRAL))) + "]")


def control_tokens(folded: str) -> Iterator[tuple[int, int]]:
    """Spans of control tokens in text that was folded."""
    if "<" in folded:
        yield from (match.span() for match in _LOWER.finditer(lower(folded)))
    for pattern in _CASED:
        yield from (match.span() for match in pattern.finditer(folded))


def wrapper_tags(folded: str) -> Iterator[tuple[int, int]]:
    """Spans where folded text opens or closes one of this program's wrappers, or seems to."""
    if "<" not in folded and "&" not in folded:
        return
    lowered = lower(folded)
    for name in _NAMES:
        for match in name.finditer(lowered):
            before = lowered[max(0, match.start() - _OPENER_CHARS) : match.start()]
            if opener := _OPENER.search(before):
                yield match.start() - len(before) + opener.start(), match.end()


def neutralise(text: str) -> tuple[str, int]:
    """Write control tokens and wrapper tags so that they are none; return the text and how many there were."""
    count = 0
    while edits := neutral_edits(text):
        parts, end = [], 0
        for start, stop, new in edits:
            parts += [text[end:start], new]
            end = stop
        text, count = "".join((*parts, text[end:])), count + len(edits)
    return text, count


def neutral_edits(text: str) -> list[Edit]:
    """The edits of one pass: each token with look-alikes for its brackets, invisible characters inside it gone.

    A token that overlaps another waits for the next pass. A text that is full of tokens is nobody's prose: all its
    brackets are rewritten at once, so that its length cannot be used to buy time.
    """
    bare = strip_invisible(text)
    folded = fold(bare)
    most = max(_LEAST, len(text) // MOST_OF)
    spans = sorted(islice(chain(control_tokens(folded), wrapper_tags(folded)), most))
    if len(spans) == most:
        return _all_brackets(text)
    places = Cut(list(invisible_runs(text))) if spans and len(bare) != len(text) else None
    edits: list[Edit] = []
    end = 0
    for start, stop in spans:
        if start >= end:
            place = (start, stop) if places is None else places.span(start, stop)
            edits.append((*place, _neutral(bare[start:stop])))
            end = stop
    return edits


def _all_brackets(text: str) -> list[Edit]:
    return [(match.start(), match.end(), _NEUTRAL[ord(match[0])]) for match in _BRACKETS.finditer(text)]


def _neutral(token: str) -> str:
    if entity := _ENTITY.match(token):
        token = "‹" + token[entity.end() :]
    return token.translate(_NEUTRAL)
