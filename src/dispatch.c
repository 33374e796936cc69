/* The instruction sets of this build, the plainest first, and which of them this CPU has. */
#include "fastnn.h"
#include <unistd.h>

enum { LEAST_CLOSE = 32768 };       /* where the system does not say */

#define TYPES(prefix) prefix##_float, prefix##_double, prefix##_int32_t, prefix##_int64_t, prefix##_uint8_t
#define TABLES(isa) \
    extern const fastnn_kernels fastnn_##isa##_float, fastnn_##isa##_double; \
    extern const fastnn_elementwise TYPES(elementwise_##isa); \
    extern const fastnn_reductions TYPES(fastnn_reductions_##isa);
/* narrow: the set whose reductions of int32 and uint8 serve this one too */
#define ROW(isa, narrow, supported) \
    {#isa, {&fastnn_##isa##_float, &fastnn_##isa##_double}, {TYPES(&elementwise_##isa)}, \
     {&fastnn_reductions_##isa##_float, &fastnn_reductions_##isa##_double, &fastnn_reductions_##narrow##_int32_t, \
      &fastnn_reductions_##isa##_int64_t, &fastnn_reductions_##narrow##_uint8_t}, supported}

TABLES(baseline)
static int always(void) { return 1; }

#if defined(__x86_64__)
TABLES(avx2)
TABLES(avx512)
static int has_avx2(void) { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }
static int has_avx512(void) {
    return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw")
           && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}
#elif defined(__aarch64__)
TABLES(neon)
#endif

static const struct {
    const char *name;
    const fastnn_kernels *table[DTYPES];
    const fastnn_elementwise *elementwise[ELEMENTS];
    const fastnn_reductions *reductions[ELEMENTS];
    int (*supported)(void);
} sets[] = {
    ROW(baseline, baseline, always),
#if defined(__x86_64__)
    ROW(avx2, avx2, has_avx2), ROW(avx512, avx2, has_avx512),
#elif defined(__aarch64__)
    ROW(neon, neon, always),
#endif
};

int fastnn_isa_count(void) { return sizeof sets / sizeof *sets; }
const char *fastnn_isa_name(int isa) { return sets[isa].name; }
int fastnn_isa_supported(int isa) { return sets[isa].supported(); }
const fastnn_kernels *fastnn_table(int isa, int dtype) { return sets[isa].table[dtype]; }
const fastnn_reductions *fastnn_reduction_table(int isa, int element_type) { return sets[isa].reductions[element_type]; }
const fastnn_elementwise *fastnn_elementwise_table(int isa, int element) { return sets[isa].elementwise[element]; }

int fastnn_isa_best(void) {
    int best = fastnn_isa_count() - 1;
    while (!fastnn_isa_supported(best)) best--;
    return best;
}

isize fastnn_close_bytes(void) {
    static _Atomic isize bytes;
    if (!bytes) {
        isize found = 0;
#if defined(_SC_LEVEL1_DCACHE_SIZE)
        found = sysconf(_SC_LEVEL1_DCACHE_SIZE);
#endif
        bytes = found >= LEAST_CLOSE ? found : LEAST_CLOSE;
    }
    return bytes;
}
