"""Many calls in one exit, from C."""

from __future__ import annotations

from tests.guest_sdk.c.conftest import RunC


def test_a_batch_is_one_exit(run_c: RunC) -> None:
    found = run_c("""
        #include <pvkit.h>
        int main(void)
        {
            struct pvkit_multicall_entry entries[3];
            struct pvkit_batch batch = pvkit_batch_in(entries, 3);
            pvkit_assert(pvkit_batch_call(&batch, PVKIT_CALL_ABI_VERSION));
            pvkit_assert(pvkit_batch_call(&batch, PVKIT_CALL_CONSOLE_WRITE, (uint64_t)"hi\\n", 3));
            pvkit_assert(pvkit_batch_call(&batch, PVKIT_CALL_EXIT, 5));
            pvkit_assert(!pvkit_batch_call(&batch, PVKIT_CALL_ABI_VERSION));
            pvkit_assert(pvkit_batch_run(&batch) == 3 && batch.count == 0);
            pvkit_assert(entries[0].result == PVKIT_ABI_VERSION && entries[1].result == 3);
            pvkit_assert((int64_t)entries[2].result == -PVKIT_EINVAL); /* exit stands in no batch */
            return 0;
        }""")
    assert (found.console, found.summary) == ("hi\n", "exited with status 0")
    assert found.exits["VMCALL"] == 2
    assert found.calls == {"multicall": 1, "abi_version": 1, "console_write": 1, "exit": 1}
