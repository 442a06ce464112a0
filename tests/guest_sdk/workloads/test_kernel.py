"""A paravirtual workload's kernel: set-up runs first, then the job, then its result is printed."""

from __future__ import annotations

import pytest

from guest_sdk.workloads.kernel import begin, finish
from tests.guest_sdk.workloads.checks import run


def test_set_up_comes_before_the_job() -> None:
    guest = begin("order", 40).asm("mov ebx, 2")
    image = finish(guest, 40, "work:\nlea eax, [rbx + OPERATIONS]\njmp print_result")
    assert run(image, "paravirt").console == "result 42\n"


def test_a_bad_number_is_refused_before_anything_is_built() -> None:
    with pytest.raises(ValueError, match="operations: 0 is not a whole number from 1 to 1000000000"):
        begin("none", 0)
