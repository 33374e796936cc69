/* The reductions of the integer types: compiled once for each instruction set (-DISA=avx2) and type (-DELEMENT=int32_t),
 * with -DREAL=float or double of the same width where there is one. */
#include "simd.h"

#define int32_t_INDEX int32_t
#define int64_t_INDEX int64_t
#define uint8_t_INDEX uint8_t
#define int32_t_PARTIAL int64_t
#define int64_t_PARTIAL uint64_t
#define uint8_t_PARTIAL uint32_t

#define TOTAL uint64_t      /* wraps, and holds an int64 as well */
#define SIGNED_TOTAL int64_t
#define MEAN double
#define WIDER_TOTAL
#define INDEX PASTE(ELEMENT, _INDEX)
#define UP_TO(x, y) ((x) <= (y))
#define IS_NAN(x) 0

/* Whole numbers add up to the same sum in any order; PARTIAL holds that of 4096. */
static TOTAL sum_row(const ELEMENT *x, isize n) {
    TOTAL total = 0;
    for (isize i = 0; i < n; i += 4096) {
        PASTE(ELEMENT, _PARTIAL) partial = 0;
        isize last = n - i < 4096 ? n : i + 4096;
        for (isize j = i; j < last; j++) partial += x[j];
        total += (TOTAL)partial;
    }
    return total;
}

INLINE ELEMENT larger(ELEMENT best, ELEMENT x) { return x > best ? x : best; }
INLINE ELEMENT smaller(ELEMENT best, ELEMENT x) { return x < best ? x : best; }

/* `width` running bests over n >= width elements; the last step takes elements a second time, which changes nothing */
INLINE ELEMENT best_by(const ELEMENT *x, isize n, int width, ELEMENT (*join)(ELEMENT, ELEMENT)) {
    ELEMENT best[VECTOR_BYTES * 8];
    for (int j = 0; j < width; j++) best[j] = x[j];
    for (isize i = width; i + width <= n; i += width)
        for (int j = 0; j < width; j++) best[j] = join(best[j], x[i + j]);
    for (int j = 0; j < width; j++) best[j] = join(best[j], x[n - width + j]);
    for (int half = width / 2; half; half /= 2)
        for (int j = 0; j < half; j++) best[j] = join(best[j], best[j + half]);
    return best[0];
}

INLINE ELEMENT best_of(const ELEMENT *x, isize n, ELEMENT (*join)(ELEMENT, ELEMENT)) {
    enum { ONE = VECTOR_BYTES / sizeof(ELEMENT) };
    if (n >= 8 * ONE) return best_by(x, n, 8 * ONE, join);
    if (n >= ONE) return best_by(x, n, ONE, join);
    ELEMENT best = x[0];
    for (isize i = 1; i < n; i++) best = join(best, x[i]);
    return best;
}

static ELEMENT max_row(const ELEMENT *x, isize n) { return best_of(x, n, larger); }
static ELEMENT min_row(const ELEMENT *x, isize n) { return best_of(x, n, smaller); }

INLINE ivec load_whole(const ELEMENT *x) {
    ivec loaded;
    memcpy(&loaded, x, sizeof loaded);
    return loaded;
}

/* The first of n elements that is the best; there is one. */
static isize find(const ELEMENT *x, isize n, ELEMENT best) {
    if (sizeof(ELEMENT) == 1) return (const ELEMENT *)memchr(x, (int)best, (size_t)n) - x;
    const ivec wanted = v_iset((whole)best);
    isize i = 0;
    for (; i + 4 * LANES <= n; i += 4 * LANES) {                        /* four vectors at a time, to the one with it */
        v_mask any = v_iequal(load_whole(x + i), wanted);
        UNROLL for (int j = 1; j < 4; j++) any |= v_iequal(load_whole(x + i + j * LANES), wanted);
        if (v_any(any)) break;
    }
    for (; i + LANES <= n; i += LANES) {
        unsigned bits = v_bits(load_whole(x + i) == wanted);
        if (bits) return i + __builtin_ctz(bits);
    }
    while (x[i] != best) i++;
    return i;
}

#include "reductions.inc"
