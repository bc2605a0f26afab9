"""A model's call is refused with a sentence that says what to write instead, or becomes a value without surprises."""

from __future__ import annotations

import json
from contextlib import nullcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localgpt.tools import (
    DECLARATIONS,
    EditFileCall,
    ListFilesCall,
    ReadFileCall,
    SearchTextCall,
    ShellCall,
    ToolArgumentError,
    WriteFileCall,
    call_schema,
    parse_call,
    shown_argv,
)
from localgpt.tools.calls import TOOLS
from localgpt.tools.declarations import signatures

GOOD = [
    ("shell", {"command": "ls"}, ShellCall("ls")),
    ("shell", {"command": "ls", "timeout_s": 3.0}, ShellCall("ls", 3)),
    ("shell", {"command": "ls", "timeout_s": None}, ShellCall("ls")),
    ("read_file", {"path": "a"}, ReadFileCall("a")),
    ("read_file", {"path": "a", "offset": 5, "limit": 2}, ReadFileCall("a", 5, 2)),
    ("write_file", {"path": "a", "content": ""}, WriteFileCall("a", "")),
    ("edit_file", {"path": "a", "old_text": "x", "new_text": ""}, EditFileCall("a", "x", "")),
    (
        "edit_file",
        {"path": "a", "old_text": "x", "new_text": "y", "replace_all": True},
        EditFileCall("a", "x", "y", True),
    ),
    ("list_files", {}, ListFilesCall()),
    ("search_text", {"pattern": "x", "glob": "*.py"}, SearchTextCall("x", glob="*.py")),
]

BAD = [
    ("shell", {}, '"command" is missing'),
    ("shell", {"command": 5}, "must be a string, not the number 5"),
    ("shell", {"command": ["ls", "-l"]}, "must be a string, not a list"),
    ("shell", {"command": ""}, "must not be empty"),
    ("shell", {"command": None}, "must be a string, not null"),
    ("shell", {"command": "a\0b"}, "NUL"),
    ("shell", {"command": "a\ud800"}, "surrogate"),
    ("shell", {"command": "x" * 40_000}, "at most 32768"),
    ("shell", {"command": "ls", "timeout_s": True}, "must be a whole number, not true or false"),
    ("shell", {"command": "ls", "timeout_s": "10"}, 'must be a whole number, not the string "10"'),
    ("shell", {"command": "ls", "timeout_s": 1.5}, "must be a whole number"),
    ("shell", {"command": "ls", "timeout_s": -1}, "from 1 to 120"),
    ("shell", {"command": "ls", "timeout_s": 10**400}, "a much larger number"),
    ("shell", {"command": "ls", "cwd": "/"}, 'no argument "cwd"'),
    ("read_file", {"path": "a", "offset": 0}, "from 1"),
    ("edit_file", {"path": "a", "old_text": "", "new_text": "x"}, '"old_text" must not be empty'),
    ("edit_file", {"path": "a", "old_text": "x", "new_text": "y", "replace_all": 1}, "must be true or false"),
    ("delete_file", {}, 'no tool "delete_file"; the tools are shell, read_file'),
]

TEXTS = [
    ("[]", "one JSON object"),
    ("{", "not valid JSON"),
    ('{"command": "a", "command": "b"}', "given twice"),
    ('{"command": "a", "timeout_s": NaN}', "NaN is not a JSON number"),
    ("[" * 100_000, "nested too deeply"),
    ('"ls"', "one JSON object"),
]


@pytest.mark.parametrize(("name", "arguments", "expected"), GOOD)
def test_good_call_becomes_a_value(name, arguments, expected):
    assert parse_call(name, json.dumps(arguments)) == expected


@pytest.mark.parametrize(("name", "arguments", "said"), BAD)
def test_bad_call_is_refused_with_a_cure(name, arguments, said):
    with pytest.raises(ToolArgumentError) as caught:
        parse_call(name, json.dumps(arguments))
    assert said in str(caught.value)
    assert caught.value.code == "tool.argument"


@pytest.mark.parametrize(("text", "said"), TEXTS)
def test_text_that_is_no_object_is_refused(text, said):
    with pytest.raises(ToolArgumentError, match=said):
        parse_call("shell", text)


def test_refusal_shows_the_arguments_that_the_tool_takes():
    with pytest.raises(ToolArgumentError) as caught:
        parse_call("edit_file", "{}")
    assert '{"path": string, "old_text": string, "new_text": string, "replace_all"?: boolean}' in str(caught.value)


@given(st.sampled_from([tool.name for tool in TOOLS]), st.text(max_size=60))
def test_any_text_is_a_call_or_a_refusal(name, text):
    try:
        parse_call(name, text)
    except ToolArgumentError:
        return


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@given(st.sampled_from(TOOLS), st.data())
def test_fields_of_a_call_have_the_declared_types(tool, data):
    arguments = {f.name: data.draw(json_values) for f in tool.fields if data.draw(st.booleans())}
    try:
        call = parse_call(tool.name, json.dumps(arguments))
    except ToolArgumentError:
        return
    for field in tool.fields:
        value = getattr(call, field.name)
        assert field.check(value) == value


def test_declarations_are_lean():
    size = sum(len(d.name) + len(d.description) + len(d.schema_json) for d in DECLARATIONS)
    assert size / 4 < 500


def test_declared_schema_and_parser_agree_on_what_is_required():
    for declaration, tool in zip(DECLARATIONS, TOOLS, strict=True):
        schema = json.loads(declaration.schema_json)
        with pytest.raises(ToolArgumentError) if schema["required"] else nullcontext():
            parse_call(tool.name, "{}")
        assert set(schema["properties"]) == {f.name for f in tool.fields}


def test_call_schema_has_one_branch_a_tool_and_one_for_the_answer():
    branches = json.loads(json.dumps(call_schema(DECLARATIONS, longest=300)))["anyOf"]
    names = [b["properties"]["tool"]["const"] for b in branches]
    assert names == ["answer", *(d.name for d in DECLARATIONS)]
    assert list(branches[1]["properties"]) == ["tool", "args"]
    text = json.dumps(call_schema(DECLARATIONS, longest=300))
    lengths = [int(part.split("}")[0].split(",")[0]) for part in text.split('"maxLength": ')[1:]]
    assert lengths
    assert max(lengths) == 300


def test_call_schema_becomes_a_grammar_of_the_embedded_engine():
    engine = pytest.importorskip("xllamacpp", reason="the embedded engine is an extra")
    assert engine.json_schema_to_grammar(json.dumps(call_schema(DECLARATIONS, longest=300)))


def test_signatures_name_every_tool_in_a_line():
    assert len(signatures(DECLARATIONS).splitlines()) == len(DECLARATIONS)


def test_shown_argv_leaves_out_defaults():
    assert shown_argv("read_file", ReadFileCall("a b")) == ("read_file", "path=a b", "offset=1", "limit=1000")
    assert shown_argv("list_files", ListFilesCall()) == ("list_files", "path=.", "depth=1")
