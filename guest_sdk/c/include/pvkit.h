/* The guest library: hypercalls as functions (pvkit_calls.h), and a room for each thing that a guest does with them.
 * The standard names are in stdio.h, stdlib.h, string.h and assert.h. */
#ifndef PVKIT_H
#define PVKIT_H
#include <pvkit_calls.h>
#include <pvkit/batch.h>
#include <pvkit/disk.h>
#include <pvkit/errors.h>
#include <pvkit/events.h>
#include <pvkit/heap.h>
#include <pvkit/memory.h>
#include <pvkit/pack.h>
#include <pvkit/panic.h>
#include <pvkit/ring.h>
#include <pvkit/timer.h>
#include <pvkit/unpack.h>
#endif
