"""Rendering of one block: safe, linkless, complete."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from localgpt.cli.terminal.blocks import Block, Kind
from localgpt.cli.terminal.markdown import MarkdownRenderer, show_url
from tests.cli.terminal_sim import COLOUR, MONO, harmless

SGR = re.compile(r"\x1b\[[0-9;]*m")
PIECES = [
    *'ab\n*_`[]()<>!#|-~&;1.: \\/@"日\x1b\x9b\u202e',
    *("&#x1b;", "&#27;", "&#x202e;", "https://x.y/", "%1b", "```", "](https://", "| a |\n|---|\n", "\n\n"),
]
RENDER, RENDER_MONO = MarkdownRenderer(COLOUR), MarkdownRenderer(MONO)


def plain(source: str, width: int = 60, kind: Kind = Kind.TEXT) -> str:
    return "\n".join(text for text, _ in RENDER_MONO.rows(Block(kind, source), width))


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ("Some **bold**, *slanted*, `code` and ~~struck~~.", "Some bold, slanted, code and struck."),
        ("# Title", "Title"),
        ("- a\n- b", " • a\n • b"),
        ("3. c\n4. d", " 3 c\n 4 d"),
        ("```python\nx = 1\n\ny = 2\n```", "  x = 1\n\n  y = 2"),
        ("```nosuchlanguage\n[bold]x[/bold]\n```", "  [bold]x[/bold]"),
        ("[red]markup[/red] :smile:", "[red]markup[/red] :smile:"),
        ("a <b>tag</b> and Vec<T> <!-- kept -->", "a <b>tag</b> and Vec<T> <!-- kept -->"),
        ("<script>x</script>", "<script>x</script>"),
        ("[label](https://a.example/x)", "label (https://a.example/x)"),
        ("<https://a.example/x>", "https://a.example/x"),
        ("[https://bank.example](https://evil.example/)", "https://bank.example (https://evil.example/)"),
        ("![cat](https://a.example/cat.png)", "[image: cat] (https://a.example/cat.png)"),
        ("&#x202e;&#x200b;&zwj;&lt;", "\\u{202e}\\u{200b}\\u{200d}<"),
    ],
)
def test_what_is_shown(source: str, shown: str) -> None:
    assert plain(source) == shown


def test_colours_and_their_absence() -> None:
    block = Block(Kind.FENCE, "```python\ndef f(): pass\n```")
    assert SGR.search(RENDER.rows(block, 40)[0][0])
    assert "\x1b" not in RENDER_MONO.rows(block, 40)[0][0]


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://a.example/path?q=1", "https://a.example/path?q=1"),
        ("https://user:pw@evil.example/", "https://user@evil.example/"),
        ("https://bank.example@evil.example/x", "https://user@evil.example/x"),
        ("https://p\u0430ypal.com/", "https://xn--pypal-4ve.com/"),
        ("https://[::1", "not an address: https://[::1"),
        ("javascript:alert(1)", "javascript:alert(1)"),
        ("relative/file.md", "relative/file.md"),
        ("https://a.example/" + "x" * 200, "https://a.example/" + "x" * 54 + "…"),
    ],
)
def test_where_a_link_leads(url: str, shown: str) -> None:
    assert show_url(url) == shown


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.sampled_from(PIECES), max_size=60).map("".join),
    st.integers(20, 100),
)
def test_output_holds_only_colours_and_printable_text(source: str, width: int) -> None:
    for text, size in RENDER.rows(Block(Kind.TEXT, source), width):
        bare = SGR.sub("", text)
        assert harmless(bare)
        assert "\x1b]8" not in text
        assert size <= width


def test_the_host_survives_a_long_one() -> None:
    host = "a." * 60 + "evil.example"
    assert "evil.example" in show_url(f"https://{host}/path")
