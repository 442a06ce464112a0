/* A guest alone on an engine: what bare.c needs and tells. */
#ifndef PV_BARE_H
#define PV_BARE_H
#include "engine.h"

enum { PV_BARE_CONSOLE = 256 };
struct pv_bare {
    uc_engine *uc;
    uint8_t *cpu, *env;
    uint64_t events, star, lstar, fmask; /* the MSRs are read at the first SYSCALL: a guest here sets them once */
    uint32_t console_bytes, status;
    bool ended;
    uint16_t exit_port;
    uint8_t console[PV_BARE_CONSOLE];
};
const char *pv_bare_open(struct pv_bare *b, uint8_t *ram, uint64_t ram_size, uint32_t translation_buffer_bytes);
const char *pv_bare_start(struct pv_bare *b, uint64_t rip, uint64_t rsp, uint64_t cr3, uint64_t gdt_base, uint32_t gdt_limit);
const char *pv_bare_run(struct pv_bare *b);
#endif
