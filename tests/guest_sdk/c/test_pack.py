"""msgpack in C: documents are what Python's msgpack makes and reads; nothing outside a buffer is touched."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hypercalls import Document, hypercall
from hypercalls.document import ReplyDocument
from tests.guest_sdk.c.conftest import Host, RunC

INTEGERS = st.integers(-(1 << 63), (1 << 64) - 1) | st.integers(-200, 300)
SCALARS = (
    st.none() | st.booleans() | INTEGERS | st.floats(allow_nan=False) | st.text(max_size=300) | st.binary(max_size=300)
)
DOCUMENTS = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=20) | st.dictionaries(st.text(max_size=8), inner, max_size=20)
)


@settings(max_examples=400, deadline=None)
@given(DOCUMENTS)
@example([0] * 70_000)
@example("x" * 70_000)
@example(b"x" * 256)
@example({str(index): index for index in range(70_000)})
def test_documents_go_round(host: Host, document: Any) -> None:
    packed = msgpack.packb(document)
    assert host.ask(b"U", packed) == b"\1" + packed


@settings(max_examples=200, deadline=None)
@given(st.floats(width=32, allow_nan=False))
def test_narrow_floats_are_read(host: Host, value: float) -> None:
    narrow = msgpack.packb(value, use_single_float=True)
    assert host.ask(b"U", narrow) == b"\1" + msgpack.packb(value)


@settings(max_examples=1500, deadline=None)
@given(st.binary(max_size=40))
@example(b"")
@example(b"\xc1")
@example(b"\xdd\xff\xff\xff\xff")
@example(b"\xdb\xff\xff\xff\xffx")
@example(b"\xd4\x01\x02")
def test_any_bytes_are_judged_as_python_judges_them(host: Host, data: bytes) -> None:
    done, again = host.ask(b"U", data)[0], host.ask(b"U", data)[1:]
    try:
        found = msgpack.unpackb(data, raw=True, strict_map_key=False, max_ext_len=0, ext_hook=refuse)
    except TypeError:  # a key that Python cannot hash: well-formed all the same
        return
    except ValueError:
        assert done == 0
        return
    assert done == 1
    assert repr(msgpack.unpackb(again, raw=True, strict_map_key=False)) == repr(found)


def refuse(code: int, data: bytes) -> Any:
    raise ValueError(f"extension {code} of {len(data)} bytes")


@pytest.mark.parametrize(("depth", "done"), [(1, 1), (32, 1), (33, 0), (100_000, 0)])
def test_depth_is_bounded(host: Host, depth: int, done: int) -> None:
    assert host.ask(b"U", b"\x91" * (depth - 1) + b"\x90")[0] == done


def test_a_guest_and_a_handler_talk_in_documents(run_c: RunC) -> None:
    asked = []

    @hypercall(0x8001, "ask")
    def ask(machine: Any, question: Document, answer: ReplyDocument) -> int:  # noqa: ARG001 (a handler takes it)
        asked.append(question)
        return answer.send(
            {"sum": sum(question["numbers"]), "name": "Ålesund", "none": None, "half": 0.5, "raw": b"\xff"}
        )

    found = run_c(
        """
        #include <pvkit.h>
        #include <stdio.h>
        int main(void)
        {
            char question[100], answer[100];
            struct pvkit_pack pack = pvkit_pack_into(question, sizeof question);
            pvkit_pack_map(&pack, 2);
            pvkit_pack_text(&pack, "numbers");
            pvkit_pack_array(&pack, 3);
            pvkit_pack_int(&pack, -40);
            pvkit_pack_uint(&pack, 1ull << 40);
            pvkit_pack_int(&pack, 2);
            pvkit_pack_text(&pack, "deep");
            pvkit_pack_array(&pack, 1);
            pvkit_assert(!pvkit_pack_done(&pack));
            pvkit_pack_nil(&pack);
            pvkit_assert(pvkit_pack_done(&pack));
            int64_t bytes = pvkit_must(pvkit_ask(question, pvkit_pack_size(&pack), answer, sizeof answer));
            struct pvkit_unpack from = pvkit_unpack_from(answer, (size_t)bytes);
            struct pvkit_item key, value;
            pvkit_assert(pvkit_unpack_next(&from, &key) && key.kind == PVKIT_MAP && key.count == 5);
            while (pvkit_unpack_next(&from, &key) && pvkit_unpack_next(&from, &value))
                if (pvkit_item_is(&key, "sum"))
                    printf("%lu\\n", value.uint);
                else if (value.kind == PVKIT_STRING)
                    printf("%.*s\\n", (int)value.text.bytes, value.text.at);
                else if (value.kind == PVKIT_DOUBLE)
                    printf("%d/4\\n", (int)(value.real * 4));
            pvkit_assert(pvkit_unpack_done(&from));
            return 0;
        }""",
        machine={"hypercalls": [ask]},
        calls=[ask],
        writes={"ask": ["answer_gpa"]},
    )
    assert asked == [{"numbers": [-40, 1 << 40, 2], "deep": [None]}]
    assert (found.console, found.status) == (f"{(1 << 40) - 38}\nÅlesund\n2/4\n", 0)


def test_what_does_not_fit_is_said_and_not_written(run_c: RunC) -> None:
    found = run_c("""
        #include <pvkit.h>
        int main(void)
        {
            char buffer[8] = "1234567";
            struct pvkit_pack pack = pvkit_pack_into(buffer, 4);
            pvkit_pack_text(&pack, "four");
            pvkit_assert(!pvkit_pack_done(&pack) && buffer[4] == '5');
            pack = pvkit_pack_into(buffer, 4);
            pvkit_pack_nil(&pack);
            pvkit_pack_nil(&pack);
            pvkit_assert(!pvkit_pack_done(&pack)); /* two documents */
            return 0;
        }""")
    assert found.summary == "exited with status 0"
