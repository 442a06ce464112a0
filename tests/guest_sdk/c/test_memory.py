"""Page tables in C: lists of updates, rights of the guest's own pages, and spaces."""

from __future__ import annotations

from pv.exits import StopWhy
from tests.guest_sdk.c.conftest import RunC

HEAD = "#include <pvkit.h>\n#include <stdlib.h>\n#include <string.h>\n"


def test_a_list_of_updates_is_an_exit_for_64(run_c: RunC) -> None:
    found = run_c(
        HEAD
        + """
        int main(void)
        {
            static struct pvkit_updates updates;
            uint64_t at = 1ull << 32;
            char *page = aligned_alloc(4096, 4096);
            strcpy(page, "here");
            for (int i = 0; i < 100; i++)
                pvkit_updates_map(&updates, 0, at + (uint64_t)i * 4096, (uint64_t)page, 1, PVKIT_MAP_WRITE);
            pvkit_must(pvkit_updates_make(&updates));
            for (int i = 0; i < 100; i++)
                pvkit_assert(!strcmp((char *)at + i * 4096, "here"));
            pvkit_updates_unmap(&updates, 0, at, 100);
            pvkit_must(pvkit_updates_make(&updates));
            pvkit_assert(pvkit_updates_make(&updates) == 0); /* nothing: no exit */
            pvkit_updates_map(&updates, 77, at, (uint64_t)page, 1, 0);
            pvkit_assert(pvkit_updates_make(&updates) == -PVKIT_EINVAL);
            return 0;
        }""".replace('strcpy(page, "here")', 'memcpy(page, "here", 5)')
    )
    assert found.summary == "exited with status 0"
    assert found.calls["page_update"] == 4


def test_a_page_that_is_protected_cannot_be_written(run_c: RunC) -> None:
    found = run_c(
        HEAD
        + """
        int main(void)
        {
            volatile char *page = aligned_alloc(4096, 4096);
            *page = 'a';
            pvkit_must(pvkit_protect((void *)page, 100, PVKIT_MAP_PRESENT));
            pvkit_assert(*page == 'a');
            *page = 'b';
            return 0;
        }"""
    )
    assert found.why is StopWhy.SHUTDOWN


def test_spaces_have_their_own_pages(run_c: RunC) -> None:
    found = run_c(
        HEAD
        + """
        int main(void)
        {
            static struct pvkit_updates updates;
            volatile char *at = (char *)(1ull << 40);
            char *one = aligned_alloc(4096, 4096), *two = aligned_alloc(4096, 4096);
            uint32_t space = (uint32_t)pvkit_must(pvkit_space_create());
            *one = '1';
            *two = '2';
            pvkit_updates_map(&updates, 0, (uint64_t)at, (uint64_t)one, 1, 0);
            pvkit_updates_map(&updates, space, (uint64_t)at, (uint64_t)two, 1, 0);
            pvkit_must(pvkit_updates_make(&updates));
            pvkit_assert(*at == '1');
            pvkit_must(pvkit_space_switch(space));
            pvkit_assert(*at == '2');
            pvkit_must(pvkit_space_switch(0));
            pvkit_must(pvkit_space_destroy(space));
            return *at == '1' ? 0 : 1;
        }"""
    )
    assert found.summary == "exited with status 0"


def test_the_reason_of_an_update_is_told_wherever_it_stands(run_c: RunC) -> None:
    found = run_c(
        HEAD
        + """
        int main(void)
        {
            static struct pvkit_updates updates;
            uint64_t at = 1ull << 32;
            for (int bad = 0; bad < 3; bad++) {
                for (int i = 0; i < bad; i++)
                    pvkit_updates_map(&updates, 0, at, 1 << 20, 1, 0);
                pvkit_updates_map(&updates, 0, at, 1ull << 40, 1, 0); /* no memory is there */
                pvkit_updates_map(&updates, 77, at, 1 << 20, 1, 0);   /* and no such space, of which nobody hears */
                pvkit_assert(pvkit_updates_make(&updates) == -PVKIT_EFAULT);
            }
            return 0;
        }"""
    )
    assert found.summary == "exited with status 0"
    assert found.calls["page_update"] == 5


def test_no_bytes_are_no_pages(run_c: RunC) -> None:
    found = run_c(
        HEAD
        + """
        int main(void)
        {
            volatile char *page = aligned_alloc(4096, 4096);
            pvkit_must(pvkit_protect((char *)page + 8, 0, PVKIT_MAP_PRESENT));
            *page = 'b';
            return *page == 'b' ? 0 : 1;
        }"""
    )
    assert found.summary == "exited with status 0"
    assert "map" not in found.calls
