# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""How do two processes pass a few numbers fast? By a page that both map: a box of words each way.

The reader looks at its box for some microseconds, since an answer mostly comes at once, and then sleeps on a socket,
which it says first in the box: the writer finds the word and rings. Beside the boxes the page holds words that one
side sets and the other reads at its leisure (`Mailbox.word`), and room for bytes (`Mailbox.room`).
"""

from libc.stdint cimport uint64_t
from libc.string cimport memset

cdef extern from *:
    """
    #include <stdbool.h>
    #include <stdint.h>
    #include <time.h>

    enum { PV_WORDS = 13 };
    /* Two pairs of cache lines, since lines are fetched in pairs. */
    typedef struct { uint64_t sequence, sleeping, count, words[PV_WORDS], spare[16]; } pv_box;

    static inline uint64_t pv_read(const uint64_t *at) { return __atomic_load_n(at, __ATOMIC_SEQ_CST); }
    static inline void pv_set(uint64_t *at, uint64_t value) { __atomic_store_n(at, value, __ATOMIC_SEQ_CST); }

    static uint64_t pv_now(void)
    {
        struct timespec t;
        clock_gettime(CLOCK_MONOTONIC, &t);
        return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
    }

    /* Whether the word left `old` within so many ns. */
    static bool pv_watch(const uint64_t *at, uint64_t old, uint64_t ns)
    {
        uint64_t end = pv_now() + ns;
        do {
            for (int i = 0; i < 64; i++) {
                if (pv_read(at) != old)
                    return true;
    #if defined(__x86_64__)
                __builtin_ia32_pause();
    #endif
            }
        } while (pv_now() < end);
        return false;
    }
    """
    enum:
        PV_WORDS
    ctypedef struct pv_box:
        uint64_t sequence
        uint64_t sleeping
        uint64_t count
        uint64_t words[13]
    uint64_t pv_read(const uint64_t *) noexcept nogil
    void pv_set(uint64_t *, uint64_t) noexcept nogil
    bint pv_watch(const uint64_t *, uint64_t, uint64_t) noexcept nogil

cdef extern from "Python.h":
    uint64_t PyLong_AsUnsignedLongLongMask(object) except? <uint64_t>-1

PAGE_BYTES = 1 << 16
DEF WORDS_AT = 1024  # after the two boxes
DEF ROOM_AT = 4096
DEF PROBE = 64
DEF SHORTER = 32
MOST_WORDS = PV_WORDS


cdef class Mailbox:
    """One side's view of `page`, a writable buffer of PAGE_BYTES, zeroed before either side looks at it.

    asks: whether this is the side that asks (the worker); the other answers.
    """

    cdef unsigned char[::1] page
    cdef pv_box *inbox
    cdef pv_box *outbox
    cdef uint64_t *spare
    cdef uint64_t taken
    cdef uint64_t takes
    cdef bint in_vain  # the last watch was: the other side is slow, or shares the processor with this one

    def __init__(self, page, bint asks):
        self.page = page
        if self.page.shape[0] != PAGE_BYTES:
            raise ValueError(f"a mailbox is {PAGE_BYTES} bytes, not {self.page.shape[0]}")
        self.outbox = <pv_box *>&self.page[0 if asks else sizeof(pv_box)]
        self.inbox = <pv_box *>&self.page[sizeof(pv_box) if asks else 0]
        self.spare = <uint64_t *>&self.page[WORDS_AT]
        self.taken = pv_read(&self.inbox.sequence)

    cdef int check(self) except -1:
        if self.page is None:
            raise ValueError("the mailbox is closed")
        return 0

    def put(self, tuple words):
        """Put up to MOST_WORDS integers, each modulo 2**64, into the other side's box. Whether that side must be rung.

        The other side must have taken what was put before: a box holds one message.
        """
        cdef pv_box *box = self.outbox
        cdef Py_ssize_t i, count = len(words)
        self.check()
        if count > PV_WORDS:
            raise ValueError(f"{count} words where a box holds {PV_WORDS}")
        for i in range(count):
            box.words[i] = PyLong_AsUnsignedLongLongMask(words[i])
        box.count = <uint64_t>count
        pv_set(&box.sequence, box.sequence + 1)
        return pv_read(&box.sleeping) != 0

    def take(self, uint64_t watch_ns):
        """The message in the own box, or None where none comes within so many ns. The GIL is free meanwhile.

        Where the last watch was in vain the next are short, but one in 64 that finds out whether things have changed.
        """
        cdef pv_box *box = self.inbox
        cdef uint64_t count
        cdef bint found
        self.check()
        if pv_read(&box.sequence) == self.taken:
            self.takes += 1
            if self.in_vain and self.takes % PROBE:
                watch_ns //= SHORTER
            with nogil:
                found = pv_watch(&box.sequence, self.taken, watch_ns)
            self.in_vain = not found
            if not found:
                return None
        self.taken = pv_read(&box.sequence)
        count = pv_read(&box.count)
        return tuple([box.words[i] for i in range(min(count, PV_WORDS))])  # the count is the other side's word

    def sleep(self):
        """Say that this side is about to sleep. False where a message came: it must not."""
        self.check()
        pv_set(&self.inbox.sleeping, 1)
        if pv_read(&self.inbox.sequence) == self.taken:
            return True
        pv_set(&self.inbox.sleeping, 0)
        return False

    def wake(self):
        """Say that this side is awake."""
        self.check()
        pv_set(&self.inbox.sleeping, 0)

    def word(self, unsigned int number):
        """Word `number` (0-7) of those that both sides may read at any time."""
        self.check()
        return pv_read(&self.spare[number & 7])

    def set_word(self, unsigned int number, value):
        self.check()
        pv_set(&self.spare[number & 7], PyLong_AsUnsignedLongLongMask(value))

    @property
    def room(self):
        """The bytes of the page that are neither boxes nor words, as a memoryview."""
        self.check()
        return memoryview(self.page.base)[ROOM_AT:]

    def close(self):
        """Let go of the page. Each verb raises ValueError from then on."""
        self.page = None
