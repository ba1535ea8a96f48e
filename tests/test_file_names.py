from __future__ import annotations

import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kanjo.file_names import ERROR_HANDLER, decode_name, encode_name, escape_text

_NAMES = st.binary().map(os.fsdecode) | st.text(st.sampled_from(["%", "2", "5", "8", "E", "9", "é", "\udce9", "\n"]))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a b.wav", "a b.wav"),
        ("声/é.wav", "声/é.wav"),
        ("caf\udce9.wav", "caf%E9.wav"),
        ("a\nb\x7f.wav", "a%0Ab%7F.wav"),
        ("100%.wav", "100%.wav"),
        ("my%20file%zz.wav", "my%20file%zz.wav"),  # no byte that is escaped: the name of a download stays readable
        ("%E9.wav", "%25E9.wav"),
        ("%25.wav", "%2525.wav"),
    ],
)
def test_encode_name_escapes_only_what_text_cannot_contain(name: str, text: str) -> None:
    assert encode_name(name) == text
    assert decode_name(text) == name


@given(_NAMES)
def test_encode_name_of_any_bytes_is_reversible_text_on_one_line(name: str) -> None:
    text = encode_name(name)
    text.encode()
    assert "\n" not in text and "\0" not in text
    assert decode_name(text) == name


def test_escape_text_keeps_percent_signs() -> None:
    assert escape_text("%E9: a\udce9\n") == "%E9: a%E9%0A"


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "cp949", "utf-8"])
def test_error_handler_keeps_json_valid(encoding: str) -> None:
    text = json.dumps("ż 声 😀 \udce9", ensure_ascii=False)
    assert json.loads(text.encode(encoding, ERROR_HANDLER).decode(encoding)) == "ż 声 😀 %E9"
