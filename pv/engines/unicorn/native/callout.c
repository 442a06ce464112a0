/* What translated code asks of the monitor, and how: by SYSCALL, whose entry is the monitor's (SDM vol. 3, 5.8.8), with bytes
 * behind it that say what is wanted (pv.translate.callouts). No exception, nothing to decode: the cheapest way there is.
 *
 * A return, an indirect branch and a branch to code not translated yet end in the cache again as soon as it has been looked up;
 * those, and what concerns flags alone, are no exits. What a handler is asked for is. */
#include "cache.h"

enum callout { LINK, RETURN, BRANCH, INSTRUCTION, STEP, PUSH_FLAGS, POP_FLAGS, CHECK, CALLOUTS };
enum { SYSCALL_BYTES = 2, CALLS = 1, IN_REGISTER = 2, SHORT_ADDRESS = 4, SOUND = 4096 };
struct __attribute__((packed)) branch { uint8_t flags; int8_t base, index, segment; uint8_t scale, length; int64_t displacement; };

/* RIP such that the engine, which adds the length of SYSCALL, ends at `rip`. */
static void go(struct pv_vcpu *c, uint64_t rip) { ENV64(c->env, ENV_RIP) = rip - SYSCALL_BYTES; }

/* The block at `rip`, if the way to it is the one that the processor has: finding it may have changed the shadow, and where the
 * cache stands. */
static struct pv_block *find(struct pv_vcpu *c, uint64_t rip)
{
    struct pv_cache *k = c->cache;
    uint64_t linear = k->linear;
    uint32_t root = c->shadow.root;
    const struct pv_context *context = k->context;
    struct pv_block *b = pv_cache_find(c, rip);
    return k->linear == linear && c->shadow.root == root && k->context == context && context->epoch == c->shadow.epoch ? b : NULL;
}

/* In the cache, without leaving it: to the block at `rip`. False: it is not there. */
static bool jump(struct pv_vcpu *c, uint64_t rip)
{
    struct pv_cache *k = c->cache;
    struct pv_block *b = find(c, rip);
    k->counts.lookups++;
    if (!b)
        return false;
    k->counts.hits++;
    go(c, k->linear + b->at);
    return true;
}

/* Let the processor do it, at the guest's own address: with whatever fault comes of it. */
static void in_place(struct pv_vcpu *c)
{
    pv_cache_leave(c);
    c->cache->step = true;
    c->cache->step_rip = ENV64(c->env, ENV_RIP);
}

/* A word of the stack. The page is remembered as long as a processor's TLB might: until the guest says that it changed. */
static bool read_stack(struct pv_vcpu *c, uint64_t at, uint64_t *word)
{
    struct pv_cache *k = c->cache;
    uint64_t page = at & ~(PV_PAGE - 1), inside = at & (PV_PAGE - 1);
    struct pv_mapping to;
    if (k->stack_page != page || k->stack_loads != c->shadow.loads || inside > PV_PAGE - sizeof *word) {
        if (inside <= PV_PAGE - sizeof *word && pv_guest_walk(c, page, 0, &to).vector < 0 && pv_gpa(c, to.gpa, PV_PAGE) && !pv_is_device(c, to.gpa)) {
            k->stack_page = page;
            k->stack_loads = c->shadow.loads;
            k->stack = c->ram + to.gpa;
        } else {
            return pv_linear(c, at, word, sizeof *word, false, false).vector < 0;
        }
    }
    memcpy(word, k->stack + inside, sizeof *word);
    return true;
}

static void near_return(struct pv_vcpu *c, const uint8_t *payload)
{
    uint64_t rsp = *pv_register(c, PV_RSP), target;
    uint16_t released;
    memcpy(&released, payload, sizeof released);
    if (!read_stack(c, rsp, &target)) {
        in_place(c);
        return;
    }
    *pv_register(c, PV_RSP) = rsp + sizeof target + released;
    if (!jump(c, target))
        pv_cache_leave_to(c, target);
}

static bool branch_target(struct pv_vcpu *c, const struct branch *b, uint64_t *target)
{
    if (b->flags & IN_REGISTER) {
        *target = *pv_register(c, b->base);
        return true;
    }
    uint64_t at = (uint64_t)b->displacement + (b->base >= 0 ? *pv_register(c, b->base) : 0) + (b->index >= 0 ? *pv_register(c, b->index) * b->scale : 0);
    at = b->flags & SHORT_ADDRESS ? (uint32_t)at : at;
    at += b->segment >= 0 ? pv_segment(c, b->segment)->base : 0;
    return pv_linear(c, at, target, sizeof *target, false, false).vector < 0;
}

static void near_branch(struct pv_vcpu *c, struct pv_block *from, struct pv_point *p, const uint8_t *payload)
{
    struct branch b;
    uint64_t target, back;
    memcpy(&b, payload, sizeof b);
    back = from->rip + (uint64_t)p->guest + b.length;
    if (!branch_target(c, &b, &target)
        || (b.flags & CALLS && pv_linear(c, *pv_register(c, PV_RSP) - sizeof back, &back, sizeof back, true, false).vector >= 0)) {
        in_place(c);
        return;
    }
    if (b.flags & CALLS)
        *pv_register(c, PV_RSP) -= sizeof back;
    if (!jump(c, target)) /* the push may have dropped this block */
        pv_cache_leave_to(c, target);
}

/* A direct branch, for the first time: chained, where its target is or can be translated. */
static void follow(struct pv_vcpu *c, struct pv_block *from, uint32_t at)
{
    struct pv_cache *k = c->cache;
    struct pv_link *link = pv_cache_stub(from, at);
    uint32_t serial = from->serial;
    if (!link) {
        pv_stop(c, PV_ENGINE_ERROR, 0, "no branch of a block of the cache begins at %#x there", at);
        return;
    }
    uint64_t target = link->target;
    struct pv_block *to = find(c, target);
    if (to) {
        if (!link->chained)
            pv_cache_chain(c, from, (uint32_t)(link - from->link), to, false);
        k->counts.lookups++;
        k->counts.hits++;
        go(c, k->linear + to->at);
        return;
    }
    pv_cache_leave_to(c, target);
    to = pv_cache_block(c, target);
    if (to && from->serial == serial && !link->chained)
        pv_cache_chain(c, from, (uint32_t)(link - from->link), to, false);
}

/* Whether the bytes that a block was made of still stand there. */
static void check(struct pv_vcpu *c, struct pv_block *b, const struct pv_point *next)
{
    struct pv_cache *k = c->cache;
    struct pv_group *g = &k->groups[b->group];
    uint64_t gfn = g->gfn;
    uint32_t done = 0;
    k->counts.checks++;
    while (done < b->source_bytes) {
        struct pv_mapping to;
        uint32_t part = (uint32_t)(PV_PAGE - ((b->rip + done) & (PV_PAGE - 1)));
        if (part > b->source_bytes - done)
            part = b->source_bytes - done;
        if (pv_guest_walk(c, b->rip + done, PF_I, &to).vector >= 0 || !pv_gpa(c, to.gpa, part) || memcmp(c->ram + to.gpa, b->source + done, part))
            break;
        done += part;
    }
    if (done == b->source_bytes) {
        if (k->guard[gfn] == PV_CHECKED && ++k->sound[gfn] >= SOUND) { /* it has been left alone: guard it again */
            k->sound[gfn] = 0;
            k->writes[gfn] = 0;
            k->guard[gfn] = PV_UNGUARDED;
            pv_cache_leave_to(c, b->rip);
            pv_cache_drop(c, g);
            return;
        }
        go(c, k->linear + b->at + next->at);
        return;
    }
    k->sound[gfn] = 0;
    pv_cache_leave_to(c, b->rip);
    pv_cache_drop(c, g);
}

/* Where the guest goes on behind an instruction: the next in the block, if that is where it stands and the block is there. */
static void behind(struct pv_vcpu *c, const struct pv_block *b, uint32_t serial, const struct pv_point *next)
{
    struct pv_cache *k = c->cache;
    if (b->serial != serial || b->checked || next->guest < 0 || ENV64(c->env, ENV_RIP) != b->rip + (uint64_t)next->guest)
        return;
    k->resumable = true;
    k->resume_rip = ENV64(c->env, ENV_RIP);
    k->resume_at = b->at + next->at;
    k->resume_generation = k->generation;
}

/* An instruction that the monitor emulates, from the bytes that were translated. No block ends with one. */
static void instruction(struct pv_vcpu *c, struct pv_block *b, const struct pv_point *p)
{
    uint8_t code[16] = { 0 };
    uint32_t serial = b->serial, left = b->source_bytes - (uint32_t)p->guest;
    int have = left < 15 ? (int)left : 15;
    memcpy(code, b->source + p->guest, (size_t)have);
    pv_cache_leave(c);
    c->cache->resumable = false;
    struct pv_decoded *slot = pv_decode(c, code, have);
    if (!slot)
        return;
    if (!slot->insn || (slot->reason == R_MMIO && !pv_device_operand(c, slot))) {
        c->cache->step = true;
        c->cache->step_rip = ENV64(c->env, ENV_RIP);
        return;
    }
    if (slot->reason != R_MMIO)
        pv_service(c, slot, code, have);
    behind(c, b, serial, p + 1);
}

/* In place, but for strings of ports, which are done here. */
static void step(struct pv_vcpu *c, struct pv_block *b, const struct pv_point *p)
{
    uint8_t code[16] = { 0 };
    uint32_t serial = b->serial, left = b->source_bytes - (uint32_t)p->guest;
    int have = left < 15 ? (int)left : 15;
    memcpy(code, b->source + p->guest, (size_t)have);
    in_place(c);
    c->cache->step = false; /* or each element would be a step */
    c->cache->step = !pv_string_port(c, code, have);
    if (!c->cache->step)
        behind(c, b, serial, p + 1);
}

static void flags(struct pv_vcpu *c, struct pv_block *b, const struct pv_point *p, int bytes, bool push)
{
    uint32_t serial = b->serial;
    uint64_t next = b->rip + (uint64_t)(p->guest + pv_prefixes(b->source + p->guest, b->source_bytes - p->guest) + 1);
    pv_cache_leave(c);
    c->cache->resumable = false;
    if ((push ? pv_push_flags : pv_pop_flags)(c, bytes, next))
        behind(c, b, serial, p + 1);
}

/* The hook of SYSCALL, where it is the cache's. */
void pv_callout(struct pv_vcpu *c)
{
    struct pv_cache *k = c->cache;
    uint32_t at = (uint32_t)(ENV64(c->env, ENV_RIP) - k->linear);
    if (at >= k->pages * PV_PAGE) { /* behind its pages stand the tables: a payload is within the mapping */
        pv_cache_leave(c); /* which says that this is not in the cache */
        return;
    }
    const uint8_t *payload = k->base + at + SYSCALL_BYTES + 1;
    enum callout what = (enum callout)payload[-1];
    k->counts.callouts[what < CALLOUTS ? what : 0]++;
    if (what == RETURN) { /* of which there are many */
        near_return(c, payload);
        return;
    }
    struct pv_block *b = pv_block_at(k, at);
    if (!b) {
        pv_cache_leave(c);
        return;
    }
    struct pv_point *p = pv_cache_point(b, at);
    switch (what) {
    case LINK:
        follow(c, b, at);
        break;
    case BRANCH:
        near_branch(c, b, p, payload);
        break;
    case INSTRUCTION:
        instruction(c, b, p);
        break;
    case STEP:
        step(c, b, p);
        break;
    case PUSH_FLAGS:
    case POP_FLAGS:
        flags(c, b, p, payload[0], what == PUSH_FLAGS);
        break;
    case CHECK:
        check(c, b, p + 1);
        break;
    default:
        pv_stop(c, PV_ENGINE_ERROR, 0, "callout %d in the cache at %#x is none", (int)what, at);
    }
}
