/* Included before every source: what a guest may be compiled for. The engine runs the scalar and 128-bit instructions of
 * AVX as if they were SSE's, with wrong results, and has no 256-bit ones: better no guest than one that computes nonsense. */
#if defined __AVX__
#error "a guest cannot use AVX: the engine runs SSE2; leave out -mavx and -march=native"
#endif
