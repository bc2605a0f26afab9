"""Questions at the start of a session: trust this folder? use this model?"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from localgpt.cli.terminal.argv import quote
from localgpt.cli.terminal.choose import Chooser, How, Option
from localgpt.cli.terminal.escape import escape, escape_line
from localgpt.cli.terminal.keys import Keyboard
from localgpt.cli.terminal.panels import Edge
from localgpt.cli.terminal.screen import Ink, Looks, Screen
from localgpt.monitor.events import ModelOffer

_YES_NO: Final = (Option("y", "yes"), Option("n", "no", safe=True))
_YES_NO_SAFE: Final = (Option("y", "yes", safe=True), Option("n", "no", safe=True))
_PATIENCE_S: Final = 300.0


class TerminalConfirmer:
    """`ModelConfirmer` for a terminal."""

    def __init__(self, screen: Screen, keyboard: Keyboard, clock: Callable[[], float] = time.monotonic) -> None:
        self._screen, self._keyboard, self._clock = screen, keyboard, clock

    def confirm_model(self, offer: ModelOffer) -> bool:
        return ask_model(offer, self._screen, self._keyboard, self._clock)


class DecliningConfirmer:
    """`ModelConfirmer` for runs without a terminal: takes no offer."""

    def confirm_model(self, offer: ModelOffer) -> bool:  # noqa: ARG002 -- the Protocol's parameter
        return False


def ask_trust(path: str, screen: Screen, keyboard: Keyboard, clock: Callable[[], float] = time.monotonic) -> bool:
    """Ask whether the folder `path` is trusted; no is the default, and the answer to a time-out."""
    return _yes(lambda width: trust_rows(path, screen.looks, width), screen, keyboard, clock)


def ask_model(
    offer: ModelOffer, screen: Screen, keyboard: Keyboard, clock: Callable[[], float] = time.monotonic
) -> bool:
    """Ask whether the offered model may be used; no is the default."""
    return _yes(lambda width: model_rows(offer, screen.looks, width), screen, keyboard, clock)


def ask_sign(
    path: str, digest: str, screen: Screen, keyboard: Keyboard, clock: Callable[[], float] = time.monotonic
) -> bool:
    """Ask whether the shipped starter policy shall be signed. Yes is the default: it allows nothing that is not built
    in. A time-out or an interrupt is a no."""
    try:
        with keyboard.raw():
            chooser = Chooser(
                screen,
                keyboard,
                lambda width: sign_rows(path, digest, screen.looks, width),
                _YES_NO_SAFE,
                default="y",
                expires_s=_PATIENCE_S,
                clock=clock,
            )
            chosen = chooser.ask()
            yes = chosen.key == "y" and chosen.how is How.KEY
    except EOFError:
        yes = False
    screen.print("yes" if yes else "no: the built-in rules alone apply until `localgpt sign`")
    return yes


def _yes(page: Callable[[int], list[str]], screen: Screen, keyboard: Keyboard, clock: Callable[[], float]) -> bool:
    try:
        with keyboard.raw():
            chooser = Chooser(screen, keyboard, page, _YES_NO, default="n", expires_s=_PATIENCE_S, clock=clock)
            yes = chooser.ask().key == "y"
    except EOFError:
        yes = False
    screen.print("yes" if yes else "no")
    return yes


def trust_rows(path: str, looks: Looks, width: int) -> list[str]:
    """What trust means, and for which folder."""
    edge = Edge(looks, width, exact=True)
    return [
        f"{edge.top} {looks.ink('Trust this folder?', Ink.WARN)}",
        *edge.text(quote(path), Ink.STRONG),
        *edge.text("yes: files here can be changed, and commands can write here"),
        *edge.text("no: read-only, and whatever is read here counts as untrusted"),
        edge.bottom,
    ]


def sign_rows(path: str, digest: str, looks: Looks, width: int) -> list[str]:
    """What would be signed, and what that means."""
    edge = Edge(looks, width, exact=True)
    return [
        f"{edge.top} {looks.ink('Sign the starter policy?', Ink.WARN)}",
        *edge.text(quote(path), Ink.STRONG),
        *edge.text(f"sha256: {digest[:16]} (as shipped: comments and two sentences for the model)"),
        *edge.text("yes: from now on every change to it is noticed, and counts only when you sign it"),
        edge.bottom,
    ]


def model_rows(offer: ModelOffer, looks: Looks, width: int) -> list[str]:
    """Who would get what."""
    edge = Edge(looks, width, exact=True)
    return [
        f"{edge.top} {looks.ink('Use this model?', Ink.WARN)}",
        *edge.text(f"model: {quote(offer.model)}", Ink.STRONG),
        *edge.text(f"at: {quote(offer.host)} ({escape_line(offer.provider)})", Ink.STRONG),
        *edge.text(f"why it is offered: {escape_line(offer.origin)}"),
        *edge.text(f"what is sent there: {escape(offer.sends)}"),
        edge.bottom,
    ]
