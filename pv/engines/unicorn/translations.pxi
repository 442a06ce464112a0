# What the translation cache holds, from Python and to Python. Included by core.pyx.


cdef take_draft(pv_draft *draft, translation, uint32_t room, uint32_t size):
    """What a translator answers becomes the core's draft. Raises ValueError where it is no translation of `size` bytes in `room`."""
    cdef bytes code = translation.code
    cdef uint32_t i = 0
    cdef int previous = -1
    points, links = translation.map, translation.links
    if len(code) > room or translation.source_bytes > size or len(points) > PV_POINTS_MOST or len(links) > PV_LINKS_MOST:
        raise ValueError(f"a translation of {translation.source_bytes} bytes to {len(code)} fits neither {size} nor {room}")
    if translation.source_bytes and not (points and points[0][0] == 0):
        raise ValueError("a translation whose first byte stands for no instruction of the guest")
    memcpy(draft.code, <const char *>code, len(code))
    for at, guest, undo in points:
        if not previous < at < len(code):
            raise ValueError(f"point {at} of a translation is not behind {previous} and within {len(code)} bytes")
        previous = at
        draft.point[i].at, draft.point[i].guest, draft.point[i].undo = at, guest, undo
        i += 1
    i = 0
    for stub, target, patch in links:
        if not (0 <= stub <= len(code) - 13 and -1 <= patch <= <int>len(code) - 4):
            raise ValueError(f"link {stub}, {patch} of a translation lies outside its {len(code)} bytes")
        draft.link[i].stub, draft.link[i].target, draft.link[i].patch, draft.link[i].chained = stub, target, patch, False
        i += 1
    draft.size = len(code)
    draft.source_bytes = translation.source_bytes
    draft.instructions = translation.instructions
    draft.points = len(points)
    draft.links = len(links)
    draft.bakes = translation.bakes


cdef frozenset trapping(pv_cache *k, uint64_t rip, uint32_t size):
    """Where the instructions stand, in these bytes, that have trapped for a device again and again."""
    cdef uint32_t i
    cdef list found = []
    for i in range(PV_HOT):
        if k.hot[i].count >= PV_HOT_AT and k.hot[i].rip - rip < size:
            found.append(k.hot[i].rip)
    return frozenset(found) if found else NONE_TRAPS


NONE_TRAPS = frozenset()
CALLOUTS = ("links followed", "returns", "indirect branches", "instructions emulated", "steps asked for", "PUSHF", "POPF", "checks of code")


cdef dict translation_statistics(pv_vcpu *c):
    """Counts of the cache by name; empty where there is none."""
    cdef pv_cache_counts *n
    cdef uint32_t i
    if c.cache == NULL:
        return {}
    n = &c.cache.counts
    counts = {
        "blocks translated": n.translations, "instructions translated": n.instructions, "guest bytes translated": n.source_bytes,
        "cache bytes written": n.cache_bytes, "branches chained": n.chained, "lookups": n.lookups, "lookups that hit": n.hits,
        "pages evicted": n.evicted, "pages retranslated": n.retranslated, "blocks dropped": n.invalidated, "writes to translated code": n.writes,
        "cache pages mapped by fault": n.faults, "cache moved": n.moved, "instructions stepped": n.steps, "interrupt windows": n.windows,
    }
    for i in range(len(CALLOUTS)):
        counts[f"callouts: {CALLOUTS[i]}"] = n.callouts[i]
    return counts


cdef list translations_of(pv_vcpu *c):
    """Every block of the cache: (rip, source, cache address, code, map, links, checked), by rip."""
    cdef pv_cache *k = c.cache
    cdef pv_block *b
    cdef uint32_t i, j
    found = []
    if k == NULL:
        return found
    for i in range(k.block_room):
        b = &k.blocks[i]
        if not b.live:
            continue
        points = [(b.point[j].at, b.point[j].guest, b.point[j].undo) for j in range(b.points)]
        links = [(b.link[j].stub, b.link[j].target, b.link[j].patch, bool(b.link[j].chained)) for j in range(b.links)]
        found.append((b.rip, b.source[:b.source_bytes], k.linear + b.at, (k.base + b.at)[:b.size], points, links, bool(b.checked)))
    return sorted(found)
