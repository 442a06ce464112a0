/* How long may a block be? Not as long as the engine lets it.
 *
 * Its translator keeps the temporaries of a block in an array of 512 and does not look whether it is full; some
 * instructions (FCMOVcc: two each) leave theirs behind. Some 250 of them in a row overwrite what lies behind the array,
 * in the host's memory. A block is at most 512 instructions; those of our guests are BLOCK_MOST.
 *
 * The function that translates a block is reached through the library's own table of addresses (the PLT's), where this
 * one stands in its place: it bounds the third argument, which says how many instructions there may be. */
#define _GNU_SOURCE
#include "vcpu.h"
#include <dlfcn.h>
#include <elf.h>
#include <link.h>
#include <string.h>

enum { BLOCK_MOST = 32 };
#define TRANSLATE "gen_intermediate_code_x86_64"

typedef void translate_fn(void *cpu, void *block, int instructions_most);
static translate_fn *translate;

static void translate_bounded(void *cpu, void *block, int instructions_most)
{
    translate(cpu, block, pv_guarded() && instructions_most > BLOCK_MOST ? BLOCK_MOST : instructions_most);
}

/* The dynamic section's value for `tag`, 0 where it has none. */
static ElfW(Addr) dynamic(const struct link_map *map, ElfW(Sxword) tag)
{
    for (const ElfW(Dyn) *entry = map->l_ld; entry->d_tag != DT_NULL; entry++)
        if (entry->d_tag == tag)
            return entry->d_un.d_ptr;
    return 0;
}

/* Whether blocks are bounded from now on. Nothing is changed where the library is not as it was when this was written. */
bool pv_bound_blocks(void *library)
{
    struct link_map *map;
    translate_fn *found = (translate_fn *)dlsym(library, TRANSLATE);
    if (translate)
        return true;
    if (!found || dlinfo(library, RTLD_DI_LINKMAP, &map))
        return false;
    const ElfW(Rela) *slots = (const ElfW(Rela) *)dynamic(map, DT_JMPREL);
    const ElfW(Sym) *symbols = (const ElfW(Sym) *)dynamic(map, DT_SYMTAB);
    const char *names = (const char *)dynamic(map, DT_STRTAB);
    size_t count = dynamic(map, DT_PLTRELSZ) / sizeof *slots;
    if (!slots || !symbols || !names)
        return false;
    for (size_t i = 0; i < count; i++) {
        if (ELF64_R_TYPE(slots[i].r_info) != R_X86_64_JUMP_SLOT || strcmp(names + symbols[ELF64_R_SYM(slots[i].r_info)].st_name, TRANSLATE))
            continue;
        translate_fn **slot = (translate_fn **)(map->l_addr + slots[i].r_offset);
        if (*slot != found)
            return false;
        translate = found;
        *slot = translate_bounded;
        return true;
    }
    return false;
}
