"""Machines of both techniques, closed after the test whatever came of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.pv.engines.unicorn.guests import ParavirtGuest, TrapGuest


@pytest.fixture
def closing() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def trap(closing: ExitStack) -> Callable[..., TrapGuest]:
    """trap(code, pieces) -> a guest whose every gate ends it with its vector."""

    def make(*arguments: Any, **options: Any) -> TrapGuest:
        guest = TrapGuest(*arguments, **options)
        closing.enter_context(guest)
        return guest

    return make


@pytest.fixture(params=["trap", "hardware"])
def unmodified(closing: ExitStack, request: pytest.FixtureRequest) -> Callable[..., TrapGuest]:
    """As trap, under each technique in turn: for what a guest sees, whoever carries it out."""

    def make(*arguments: Any, **options: Any) -> TrapGuest:
        guest = TrapGuest(*arguments, technique=request.param, **options)
        closing.enter_context(guest)
        return guest

    return make


@pytest.fixture
def paravirt(closing: ExitStack) -> Callable[..., ParavirtGuest]:
    """paravirt(code, pieces) -> a guest whose every trap-table entry ends it with its vector."""

    def make(*arguments: Any, **options: Any) -> ParavirtGuest:
        guest = ParavirtGuest(*arguments, **options)
        closing.enter_context(guest)
        return guest

    return make
