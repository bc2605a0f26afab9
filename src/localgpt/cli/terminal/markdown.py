"""Render one block of Markdown to coloured rows. The only module that loads rich (some 70 ms): import it late.

Foreign text is escaped before it is parsed, again in the parsed tokens (``&#x202e;`` is a character only after
parsing), and once more in what rich gives back. No hyperlink is ever emitted: a link shows where it leads. HTML is
text. Only a closed list of languages is highlighted, in bounded pieces.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import ClassVar, Final
from urllib.parse import unquote_to_bytes, urlsplit

from markdown_it import MarkdownIt
from markdown_it.token import Token
from rich.color import ColorSystem
from rich.console import Console, ConsoleOptions, RenderResult
from rich.markdown import CodeBlock, Heading, Markdown, MarkdownElement
from rich.padding import Padding
from rich.segment import Segment
from rich.style import Style
from rich.syntax import Syntax
from rich.theme import Theme

from localgpt.cli.terminal.blocks import Block, Kind
from localgpt.cli.terminal.escape import escape, escape_line
from localgpt.cli.terminal.layout import cells, rows
from localgpt.cli.terminal.screen import Looks

_LANGUAGES: Final = {
    name: lexer
    for lexer, names in {
        "bash": "bash sh shell zsh console",
        "c": "c h",
        "cpp": "cpp c++ cc hpp",
        "css": "css",
        "diff": "diff patch",
        "go": "go golang",
        "html": "html xml",
        "ini": "ini cfg conf",
        "java": "java",
        "javascript": "javascript js jsx",
        "json": "json jsonc",
        "make": "make makefile",
        "python": "python py python3",
        "rust": "rust rs",
        "sql": "sql",
        "toml": "toml",
        "typescript": "typescript ts tsx",
        "yaml": "yaml yml",
    }.items()
    for name in names.split()
}
_MAX_HIGHLIGHT_LINE: Final = 500
_MAX_URL_CHARS: Final = 72
_THEME: Final = Theme(
    {
        "markdown.code": "cyan",
        "markdown.code_block": "none",
        "markdown.h1": "bold underline",
        "markdown.h2": "bold",
        "markdown.h3": "bold",
        "markdown.item.number": "dim",
        "markdown.item.bullet": "dim",
        "markdown.hr": "dim",
        "markdown.block_quote": "dim",
        "markdown.table.border": "dim",
        "markdown.table.header": "bold",
    }
)


class _Code(CodeBlock):
    """A code block without background, indented by two, in the terminal's own colours."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        code = str(self.text).rstrip("\n")
        lexer = _LANGUAGES.get(self.lexer_name.lower(), "text")
        if any(len(line) > _MAX_HIGHLIGHT_LINE for line in code.split("\n")):
            lexer = "text"
        syntax = Syntax(code, lexer, theme="ansi_dark", background_color="default", word_wrap=True, tab_size=4)
        yield Padding(syntax, (0, 0, 0, 2))


class _Heading(Heading):
    """A heading at the left margin, without a box."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        self.text.justify = "left"
        yield self.text


class _SafeMarkdown(Markdown):
    """rich's Markdown over tokens that have been made safe."""

    elements: ClassVar[dict[str, type[MarkdownElement]]] = {
        **Markdown.elements,
        "fence": _Code,
        "code_block": _Code,
        "heading_open": _Heading,
    }

    def __init__(self, source: str) -> None:
        super().__init__("", hyperlinks=False)
        parser = MarkdownIt("commonmark", {"html": False}).enable(["strikethrough", "table"])
        self.markup = source
        self.parsed = [_made_safe(token) for token in parser.parse(source)]


class MarkdownRenderer:
    """Renders blocks for one kind of terminal."""

    def __init__(self, looks: Looks) -> None:
        self._console = Console(
            file=None,
            force_terminal=looks.moves,
            color_system="standard" if looks.colour else None,
            no_color=not looks.colour,
            markup=False,
            emoji=False,
            highlight=False,
            legacy_windows=False,
            theme=_THEME,
            safe_box=not looks.unicode,
            _environ={},
        )

    def rows(self, block: Block, width: int) -> list[tuple[str, int]]:
        """Rows of `block`, each with colours, and the cells it takes. Text is taken as foreign, escaped or not."""
        if block.kind is Kind.RAW:
            return [(row, cells(row)) for row in rows(escape(block.source), width)]
        options = self._console.options.update(width=width, height=None)
        segments = self._console.render(_SafeMarkdown(escape(block.source)), options)
        return [self._row(line) for line in _trimmed(Segment.split_lines(_checked(segments)))]

    def _row(self, line: list[Segment]) -> tuple[str, int]:
        system = ColorSystem.STANDARD if self._console.color_system else None
        parts = [(_painted(segment, system), cells(segment.text)) for segment in _right_trimmed(line)]
        return "".join(text for text, _ in parts), sum(size for _, size in parts)


def _painted(segment: Segment, system: ColorSystem | None) -> str:
    if segment.style is None or system is None or not segment.text:
        return segment.text
    return segment.style.render(segment.text, color_system=system)


def _checked(segments: Iterable[Segment]) -> Iterator[Segment]:
    """Drop control segments, unlink styles, escape once more."""
    for segment in segments:
        if segment.control:
            continue
        style = segment.style
        if style is not None and style.link:
            style = style.update_link(None)
        yield Segment(escape(segment.text), style)


def _right_trimmed(line: list[Segment]) -> list[Segment]:
    """Without the padding that rich adds to the right."""
    out = list(line)
    while out and not out[-1].text.strip(" ") and not _is_drawn(out[-1].style):
        out.pop()
    if out and not _is_drawn(out[-1].style):
        out[-1] = Segment(out[-1].text.rstrip(" "), out[-1].style)
    return out


def _is_drawn(style: Style | None) -> bool:
    """Whether spaces in this style can be seen."""
    return style is not None and bool(style.underline or style.reverse)


def _trimmed(lines: Iterable[list[Segment]]) -> list[list[Segment]]:
    """Without empty rows at both ends."""
    out = list(lines)
    while out and not "".join(segment.text for segment in out[-1]).strip():
        out.pop()
    while out and not "".join(segment.text for segment in out[0]).strip():
        out.pop(0)
    return out


def _made_safe(token: Token) -> Token:
    token.content = escape(token.content)
    token.info = escape_line(token.info)
    if token.children is not None:
        token.children = [_made_safe(child) for child in _unlinked(token.children)]
    return token


def _unlinked(tokens: list[Token]) -> Iterator[Token]:
    """Links and images as text: the label, then where it leads."""
    href, label = "", ""
    for token in tokens:
        if token.type == "link_open":
            href, label = str(token.attrs.get("href", "")), ""
        elif token.type == "link_close":
            target = show_url(href)
            if target != escape_line(label):
                yield Token("text", "", 0, content=f" ({target})")
        elif token.type == "image":
            target = show_url(str(token.attrs.get("src", "")))
            yield Token("text", "", 0, content=f"[image: {escape_line(token.content)}] ({target})")
        else:
            label += token.content
            yield token


def show_url(url: str) -> str:
    """Where a link leads, in ASCII: the whole address when it is short, else scheme and host and the rest cut.

    The host is what the browser will contact: what stands before an ``@`` is named as such, and letters of other
    scripts are shown in their wire form (``xn--``).
    """
    try:
        parts = urlsplit(unquote_to_bytes(url).decode("utf-8", "replace") if "%" in url[:200] else url)
        host = (parts.hostname or "").encode("idna").decode("ascii")
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return f"not an address: {_ascii(url)[:_MAX_URL_CHARS]}"
    if not host:
        return _cut(_ascii(url))
    user = "user@" if "@" in parts.netloc else ""
    path = _ascii(urlsplit(url).path + (f"?{parts.query}" if parts.query else ""))
    return _cut(f"{parts.scheme or 'link'}://{user}{host}{port}{path}", keep=len(parts.scheme + user + host + port) + 4)


def _ascii(text: str) -> str:
    return "".join(char if " " < char < "\x7f" else f"%{byte}" for char in text for byte in _hex(char))


def _hex(char: str) -> list[str]:
    if " " < char < "\x7f":
        return [""]
    return [f"{byte:02X}" for byte in char.encode("utf-8", "surrogatepass")]


def _cut(text: str, keep: int = 0) -> str:
    limit = max(_MAX_URL_CHARS, keep)
    return text if len(text) <= limit else f"{text[:limit]}…"
