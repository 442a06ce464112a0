/* In and out of the translation cache: between two of its instructions stands the guest, with an RIP of its own.
 *
 * The monitor never sees an address of the cache. Each hook of the engine begins with pv_cache_leave, which makes of the
 * processor's state the guest's, and ends with pv_cache_enter, which finds where the guest's RIP goes on: in the cache (its
 * kernel), at its own address for one instruction (step.c), or there for good (its user code, which runs untranslated).
 *
 * What the guest's kernel believes of its interrupt flag stands in BND0 while it runs, where CLI and STI of the cache put it:
 * a register that no other instruction of the cache touches and no load or store reaches. BND1 says whether an interrupt
 * waits: STI compares, and leaves by #BR where one does. */
#include "cache.h"

enum { FLAG_TF = 1 << 8, FLAG_IF = 1 << 9, FLAG_IOPL = 3 << 12, VEC_BR = 5, TRIES = 16 };
enum { DENY_KEY_1 = 3 << 2, LDT_FLAGS = 0x8200 /* present, a table */, TSS_FLAGS = 0x8b00 /* present, a busy TSS */, CS_BAKED = 32 };
#define UPPER(bound) (~(uint64_t)(bound)) /* as BNDMK keeps it: the one's complement (SDM vol. 2) */

static bool interrupt_waits(struct pv_vcpu *c) { return c->interrupt_pending && !c->call; }

struct pv_point *pv_cache_point(struct pv_block *b, uint32_t at)
{
    int low = 0, high = b->points - 1;
    while (low < high) {
        int middle = (low + high + 1) / 2;
        if (b->point[middle].at <= at - b->at)
            low = middle;
        else
            high = middle - 1;
    }
    return &b->point[low];
}

struct pv_link *pv_cache_stub(struct pv_block *b, uint32_t at)
{
    for (uint32_t i = 0; i < b->links; i++)
        if (b->at + b->link[i].stub == at)
            return &b->link[i];
    return NULL;
}

bool pv_cache_runs(const struct pv_vcpu *c) { return c->cache && c->cache->where == PV_IN_CACHE; }

/* Whether the guest is to run one instruction only: SYSCALL, which looks at TF when its hook is done, is no way there. */
bool pv_cache_steps(const struct pv_vcpu *c)
{
    const struct pv_cache *k = c->cache;
    if (!k || k->where != PV_OUTSIDE)
        return false;
    if ((ENV32(c->env, ENV_HFLAGS) & HF_CPL) == 3)
        return ENV64(c->env, ENV_EFLAGS) & FLAG_TF;
    return ((k->step && ENV64(c->env, ENV_RIP) == k->step_rip) || ENV64(c->env, ENV_EFLAGS) & FLAG_TF || ENV32(c->env, ENV_HFLAGS) & HF_INHIBIT_IRQ);
}

/* The guest stands at an address of its own, where nothing of it may run. */
bool pv_cache_out(const struct pv_vcpu *c) { return c->cache && c->cache->where == PV_OUTSIDE; }

bool pv_cache_in_place(const struct pv_vcpu *c) { return c->cache && c->cache->where == PV_IN_PLACE; }

static bool resumes(const struct pv_vcpu *c, const struct pv_cache *k)
{
    const struct pv_context *x = k->context;
    return k->resumable && ENV64(c->env, ENV_RIP) == k->resume_rip && k->resume_generation == k->generation && x && x->root == c->shadow.root
        && x->epoch == c->shadow.epoch;
}

/* Whether the guest's kernel, which has left the cache inside a block, cannot go on with it. */
bool pv_cache_astray(const struct pv_vcpu *c)
{
    const struct pv_cache *k = c->cache;
    return k && k->where == PV_OUTSIDE && (ENV32(c->env, ENV_HFLAGS) & HF_CPL) != 3 && !resumes(c, k);
}

bool pv_cache_has_code(const struct pv_vcpu *c, uint64_t gfn) { return c->cache && c->cache->guard[gfn] != PV_UNGUARDED; }

bool pv_cache_guards(const struct pv_vcpu *c, uint64_t gfn) { return c->cache && c->cache->guard[gfn] == PV_GUARDED; }

/* The guest's instruction at RIP has just lost its page's translations by its own store: it is to be done before there are new
 * ones, or they would go the same way. */
void pv_cache_store(struct pv_vcpu *c)
{
    c->cache->step = true;
    c->cache->step_rip = ENV64(c->env, ENV_RIP);
}

/* ---- out ---- */

/* Where the last x87 instruction ran, which FNSTENV and the like store (they are steps): at the guest's own address. */
static void leave_fpu(struct pv_vcpu *c, struct pv_cache *k)
{
    uint64_t at = ENV64(c->env, ENV_FPU_IP) - k->linear;
    struct pv_block *b = at < (uint64_t)k->pages * PV_PAGE ? pv_block_at(k, (uint32_t)at) : NULL;
    if (!b)
        return;
    ENV64(c->env, ENV_FPU_IP) = b->rip + (uint64_t)pv_cache_point(b, (uint32_t)at)->guest;
    ENV16(c->env, ENV_FPU_CS) = pv_seen_selector(c, PV_CS);
}

static void shut(struct pv_vcpu *c, struct pv_cache *k)
{
    k->where = PV_OUTSIDE;
    k->resumable = false;
    *pv_cache_root_entry(c) = 0;
    ENV32(c->env, ENV_HFLAGS) &= ~(uint32_t)HF_BOUNDS;
    ENV64(c->env, ENV_CR + 32) &= ~CR4_PKE;
    c->v.interrupt_flag = ENV64(c->env, ENV_BND0) == UPPER(1);
    leave_fpu(c, k);
}

/* Out of the cache with the guest at `rip`, wherever its last instruction stood. */
void pv_cache_leave_to(struct pv_vcpu *c, uint64_t rip)
{
    shut(c, c->cache);
    ENV64(c->env, ENV_RIP) = rip;
}

static void leave_cache(struct pv_vcpu *c, struct pv_cache *k)
{
    uint32_t at = (uint32_t)(ENV64(c->env, ENV_RIP) - k->linear);
    struct pv_block *b = pv_block_at(k, at);
    shut(c, k);
    if (!b) {
        pv_stop(c, PV_ENGINE_ERROR, 0, "the translated code that runs is not in the cache: its address is %#x there", at);
        return;
    }
    struct pv_point *p = pv_cache_point(b, at);
    struct pv_link *link = p->guest == PV_CACHE_LINK ? pv_cache_stub(b, b->at + p->at) : NULL;
    uint32_t behind = at - b->at - p->at; /* INT n alone is reported with RIP behind it */
    ENV64(c->env, ENV_RIP) = link ? link->target : b->rip + (uint64_t)p->guest + behind;
    *pv_register(c, PV_RSP) += p->undo;
    k->resumable = !p->undo && !b->checked && !behind;
    k->resume_rip = ENV64(c->env, ENV_RIP);
    k->resume_at = at;
    k->resume_generation = k->generation;
}

static void leave_place(struct pv_vcpu *c, struct pv_cache *k)
{
    bool on = ENV64(c->env, ENV_RIP) == k->step_rip && !k->stepped;
    if (k->own_flag)
        ENV64(c->env, ENV_EFLAGS) &= ~(uint64_t)FLAG_TF;
    if (k->shadow && on)
        ENV32(c->env, ENV_HFLAGS) |= HF_INHIBIT_IRQ; /* it is still the instruction in the shadow that is to be done */
    k->shadow = false;
    k->step &= on;
}

static void leave_user(struct pv_vcpu *c)
{
    c->v.interrupt_flag = ENV64(c->env, ENV_EFLAGS) >> 9 & 1;
    ENV64(c->env, ENV_EFLAGS) = (ENV64(c->env, ENV_EFLAGS) & ~(uint64_t)FLAG_IOPL) | FLAG_IF;
    *(struct pv_segment *)(c->env + ENV_TR) = c->cache->tr;
    *(struct pv_segment *)(c->env + ENV_GDT) = (struct pv_segment){ 0 };
    *(struct pv_segment *)(c->env + ENV_LDT) = (struct pv_segment){ 0 };
    pv_close_window(c);
}

void pv_cache_leave(struct pv_vcpu *c)
{
    struct pv_cache *k = c->cache;
    if (!k || k->where == PV_OUTSIDE)
        return;
    enum pv_where where = k->where;
    k->where = PV_OUTSIDE;
    if (where == PV_IN_CACHE)
        leave_cache(c, k);
    else if (where == PV_IN_PLACE)
        leave_place(c, k);
    else
        leave_user(c);
}

/* An exception of the processor's that is the cache's affair and nobody else's. True: it is dealt with, but for pv_cache_enter. */
bool pv_cache_exception(struct pv_vcpu *c, int vector)
{
    struct pv_cache *k = c->cache;
    uint64_t rip = ENV64(c->env, ENV_RIP), address = ENV64(c->env, ENV_CR + 16);
    if (!k)
        return false;
    if (k->where == PV_IN_CACHE && vector == VEC_PF && ENV32(c->env, ENV_ERROR_CODE) & PF_FETCH && address == rip) {
        /* a jump to a page of the cache that this address space does not map: whether it may is found out on the way back */
        k->counts.faults++;
        pv_cache_leave(c);
        k->resumable = false;
        return true;
    }
    if (k->where == PV_IN_CACHE && vector == VEC_BR) {
        pv_cache_leave(c);
        k->counts.windows++;
        pv_take(c, R_INTERRUPT_WINDOW, 0, 0);
        if (interrupt_waits(c)) /* behind the next instruction (SDM vol. 2, STI) */
            ENV32(c->env, ENV_HFLAGS) |= HF_INHIBIT_IRQ;
        return true;
    }
    if (k->where == PV_IN_PLACE && vector == VEC_DB && k->own_flag) {
        uint8_t code[15];
        int have = rip == k->step_rip ? pv_fetch(c, rip, code) : 0, at = pv_prefixes(code, have);
        bool string = at < have && code[at] >= 0x6c && (code[at] <= 0x6f || (code[at] >= 0xa4 && code[at] <= 0xaf));
        k->stepped = !(string && rip == k->step_rip); /* else one element is done, and more are to come */
        pv_cache_leave(c);
        return true;
    }
    pv_cache_leave(c);
    return false;
}

/* ---- in ---- */

static void enter_user(struct pv_vcpu *c, struct pv_cache *k)
{
    struct pv_segment *gdt = (struct pv_segment *)(c->env + ENV_GDT), *ldt = (struct pv_segment *)(c->env + ENV_LDT),
                      *tr = (struct pv_segment *)(c->env + ENV_TR);
    *gdt = (struct pv_segment){ 0, 0, c->v.gdt_base, c->v.gdt_limit, 0 };
    *ldt = (struct pv_segment){ c->v.ldt_selector, 0, c->v.ldt_base, c->v.ldt_selector & ~3u ? c->v.ldt_limit : 0, LDT_FLAGS };
    k->tr = *tr;
    tr->limit = 0; /* a call gate inward finds no stack: #TS, as they are not offered */
    tr->flags = TSS_FLAGS;
    ENV64(c->env, ENV_EFLAGS) = (ENV64(c->env, ENV_EFLAGS) & ~(uint64_t)(FLAG_IF | FLAG_IOPL)) | (c->v.interrupt_flag ? FLAG_IF : 0) | (uint64_t)c->v.iopl << 12;
    k->where = PV_IN_USER;
    k->step = k->resumable = false;
    if (interrupt_waits(c))
        pv_open_window(c);
}

/* What the guest's tables say of its next instruction is a fault of the guest's, or the end of it. */
static void fetch_faults(struct pv_vcpu *c, uint64_t gva, struct pv_fault fault)
{
    if (fault.vector == VEC_GP) {
        pv_happens(c, fault);
        return;
    }
    ENV32(c->env, ENV_ERROR_CODE) = fault.vector >= 0 ? fault.error : PF_FETCH;
    c->exit.address = gva;
    if (pv_device_access(c))
        return;
    struct pv_entry *entry = pv_take(c, R_EXCEPTION, 0, VEC_PF);
    c->exit.error_code = fault.vector >= 0 ? fault.error : PF_FETCH;
    c->exit.address = gva;
    pv_answer(c, entry);
}

/* The source of a block: up to the end of its page, or over it for the one instruction that stands there (`over`). 0: an exit
 * was taken. */
static uint32_t source_at(struct pv_vcpu *c, uint64_t rip, bool over, uint8_t *source, uint64_t *gfn)
{
    uint32_t have = 0, left = (uint32_t)(PV_PAGE - (rip & (PV_PAGE - 1))), wanted = over ? 15 : left;
    while (have < wanted) {
        struct pv_mapping to;
        uint64_t gva = rip + have;
        struct pv_fault fault = pv_guest_walk(c, gva, PF_I, &to);
        uint32_t part = have ? wanted - have : left < wanted ? left : wanted;
        if (fault.vector >= 0 || !pv_gpa(c, to.gpa, part) || pv_is_device(c, to.gpa)) {
            fetch_faults(c, gva, fault);
            return 0;
        }
        if (!have)
            *gfn = to.gpa / PV_PAGE;
        memcpy(source + have, c->ram + to.gpa, part);
        have += part;
    }
    return have;
}

/* Translate what stands at `rip`. NULL: an exit was taken, or the guest stops. */
static struct pv_block *translate(struct pv_vcpu *c, uint64_t rip)
{
    struct pv_cache *k = c->cache;
    uint8_t source[PV_PAGE];
    uint64_t gfn = 0;
    bool over = false;
    for (;;) {
        uint32_t have = source_at(c, rip, over, source, &gfn);
        if (!have)
            return NULL;
        struct pv_group *g = pv_cache_group(c, rip / PV_PAGE, gfn);
        bool checked = over || k->guard[gfn] == PV_CHECKED || !(c->v.cr0 >> 16 & 1); /* CR0.WP: nothing can be guarded without */
        uint32_t room = pv_cache_room(c, g), generation = k->generation;
        pv_take_gil(c);
        if (!pv_python.translate(c, rip, source, have, room, checked, over ? 1 : PV_INSTRUCTIONS_MOST))
            return NULL;
        if (k->generation != generation) /* other code of Python's ran meanwhile, and told of memory that changed */
            return NULL;
        if (!k->draft.source_bytes && !over) {
            over = true;
            continue;
        }
        struct pv_block *b = pv_cache_add(c, g, rip, source, checked);
        if (!b || !pv_cache_map(c, g)) {
            if (!b)
                pv_stop(c, PV_ENGINE_ERROR, 0, "no memory for a translation of the code at RIP %#llx", (unsigned long long)rip);
            return NULL;
        }
        for (uint32_t i = 0; i < b->links; i++) {
            struct pv_block *to = pv_cache_find(c, b->link[i].target);
            if (to)
                pv_cache_chain(c, b, i, to, true);
        }
        return b;
    }
}

/* The block that the guest's kernel goes on in, translated if need be. NULL: not now. */
struct pv_block *pv_cache_block(struct pv_vcpu *c, uint64_t rip)
{
    pv_cache_select(c);
    struct pv_block *b = pv_cache_find(c, rip);
    c->cache->counts.lookups++;
    c->cache->counts.hits += b != NULL;
    return b ? b : translate(c, rip);
}

static void enter_cache(struct pv_vcpu *c, struct pv_cache *k, uint32_t at)
{
    uint64_t *root = pv_cache_root_entry(c), value = pv_cache_root_value(k);
    if (*root && *root != value)
        pv_uc.tlb_flush(c->cpu);
    *root = value;
    ENV64(c->env, ENV_RIP) = k->linear + at;
    ENV32(c->env, ENV_HFLAGS) |= HF_BOUNDS;
    ENV64(c->env, ENV_CR + 32) |= CR4_PKE;
    ENV32(c->env, ENV_PKRU) = DENY_KEY_1;
    ENV64(c->env, ENV_BND0) = UPPER(c->v.interrupt_flag ? 1 : 0);
    ENV64(c->env, ENV_BND1) = interrupt_waits(c) ? UPPER(0) : UPPER(UINT64_MAX);
    k->where = PV_IN_CACHE;
    k->resumable = false;
}

/* Afterwards the engine may go on at its RIP, unless pv_cache_out says otherwise. */
void pv_cache_enter(struct pv_vcpu *c)
{
    struct pv_cache *k = c->cache;
    if (!k || k->where != PV_OUTSIDE || c->waiting || (c->call && c->call->done))
        return;
    for (int tries = 0; c->why == PV_RUNNING && tries < TRIES; tries++) {
        if (pv_user(c)) {
            enter_user(c, k);
            return;
        }
        if (!k->slot)
            pv_cache_place(c);
        uint64_t rip = ENV64(c->env, ENV_RIP);
        k->step &= rip == k->step_rip;
        if (k->step || ENV64(c->env, ENV_EFLAGS) & FLAG_TF || ENV32(c->env, ENV_HFLAGS) & HF_INHIBIT_IRQ) {
            if (pv_step(c))
                return;
        } else {
            uint16_t cs = pv_seen_selector(c, PV_CS);
            if (cs != k->cs) {
                k->cs = cs;
                pv_cache_rebake(c, CS_BAKED);
            }
            if (resumes(c, k)) {
                enter_cache(c, k, k->resume_at);
                return;
            }
            struct pv_block *b = pv_cache_block(c, rip);
            if (b) {
                enter_cache(c, k, b->at);
                return;
            }
        }
        if (c->why == PV_RUNNING)
            pv_settle(c);
        if (c->waiting)
            return;
    }
    c->unsettled = c->why == PV_RUNNING; /* faults without end: so may a guest, but in slices */
    pv_uc.emu_stop(c->uc);
}
