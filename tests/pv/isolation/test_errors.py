"""An exception of the worker's is one of the same class here, where there is one, with the worker's traceback."""

from __future__ import annotations

import pytest

from pv.engines.base import GuestFault
from pv.engines.unicorn import EngineError
from pv.exits import GuestError
from pv.isolation.errors import WorkerError, error_parts, make_error
from pv.loaders import LoadError


class Strange(Exception):
    pass


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        (ValueError("no"), ValueError, "no"),
        (LoadError("no guest"), LoadError, "no guest"),
        (EngineError("gone"), EngineError, "gone"),
        (GuestError(14, "outside"), GuestError, "outside"),
        (GuestFault(13, 0), GuestFault, "vector 13"),
        (FileNotFoundError(2, "No such file", "x"), FileNotFoundError, "[Errno 2] No such file: 'x'"),
        (KeyError(), KeyError, "''"),
        (Strange("odd"), WorkerError, "Strange: odd"),
    ],
)
def test_an_exception_crosses(error: BaseException, kind: type[BaseException], text: str) -> None:
    try:
        raise error
    except BaseException as caught:
        made = make_error(error_parts(caught))
    assert type(made) is kind
    assert str(made) == text
    assert "in test_an_exception_crosses" in made.__notes__[0]


def test_what_the_guest_is_to_have_keeps_its_numbers() -> None:
    fault = make_error(error_parts(GuestFault(14, 2)))
    refusal = make_error(error_parts(GuestError(7)))
    assert isinstance(fault, GuestFault)
    assert (fault.vector, fault.error_code) == (14, 2)
    assert isinstance(refusal, GuestError)
    assert refusal.errno == 7
