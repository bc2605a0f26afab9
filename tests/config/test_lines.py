"""Line numbers of keys, for messages."""

from __future__ import annotations

import tomllib

from hypothesis import given
from hypothesis import strategies as st

from localgpt.config.lines import key_lines

DOCUMENT = '''\
top = 1  # [not.a.table]
text = """
fake = 2
[fake.table]
"""
list = [
  "a", # ]
  "b=c",
]
after = 3
[one]
"quoted key" = 1
'single' = 2
a.b = 3
inline = { x = 1, y = { z = "q, w = 3" } }
[ spaced . name ]
k = 1
[[many]]
n = 1
[[many]]
n = 2
[many.sub]
deep = 1
'''


def test_every_kind_of_key_has_its_line():
    tomllib.loads(DOCUMENT)
    lines = key_lines(DOCUMENT)
    expected = {
        "top": 1,
        "text": 2,
        "list": 6,
        "after": 10,
        "one": 11,
        "one.quoted key": 12,
        "one.single": 13,
        "one.a.b": 14,
        "one.inline": 15,
        "one.inline.x": 15,
        "spaced.name": 16,
        "spaced.name.k": 17,
        "many.0": 18,
        "many.0.n": 19,
        "many.1": 20,
        "many.1.n": 21,
        "many.sub.deep": 23,
    }
    assert {name: lines.get(name) for name in expected} == expected
    assert not any(name.startswith("fake") for name in lines)


@given(st.text(alphabet="ab.=[]{}\"'#\\\n ,1", max_size=60))
def test_no_text_makes_it_fail(text):
    assert all(1 <= line <= text.count("\n") + 1 for line in key_lines(text).values())
