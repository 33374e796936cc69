/* The reductions of the integer types: compiled once for each instruction set (-DISA=avx2) and type (-DELEMENT=int32_t),
 * with -DREAL=float or double of the same width where there is one. */
#include "simd.h"

#define int32_t_INDEX int32_t
#define int64_t_INDEX int64_t
#define uint8_t_INDEX uint8_t
#define int32_t_PARTIAL int64_t
#define int64_t_PARTIAL uint64_t
#define uint8_t_PARTIAL uint32_t

#define int32_t_BITS 32
#define int64_t_BITS 64
#define uint8_t_BITS 8

#define TOTAL uint64_t      /* wraps, and holds an int64 as well */
#define SIGNED_TOTAL int64_t
#define MEAN double
#define WIDER_TOTAL
#define INDEX PASTE(ELEMENT, _INDEX)
#define UP_TO(x, y) ((x) <= (y))
#define IS_NAN(x) 0
#define PLAIN(x) (x)

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

enum { ONE = VECTOR_BYTES / sizeof(ELEMENT) };
typedef ELEMENT pack __attribute__((vector_size(VECTOR_BYTES)));
INLINE pack larger_pack(pack x, pack y) { pack more = (pack)(x > y); return (x & more) | (y & ~more); }
INLINE pack smaller_pack(pack x, pack y) { pack less = (pack)(x < y); return (x & less) | (y & ~less); }

/* The same, which becomes the instruction for it in a loop, and falls apart at its end. */
INLINE pack joined_pack(pack x, pack y, ELEMENT (*join)(ELEMENT, ELEMENT)) {
    pack z;
    for (int j = 0; j < ONE; j++) z[j] = join(x[j], y[j]);
    return z;
}

/* The best of a vector, in its first element and by halves, in registers */
INLINE ELEMENT best_of_pack(pack best, pack (*join)(pack, pack)) {
    UNROLL for (int half = VECTOR_BYTES / 2; half >= (int)sizeof(ELEMENT); half /= 2) {
        const int lanes = half / (int)sizeof(whole);
        best = join((pack)(lanes ? (uvec)v_down((vec)best, lanes) : (uvec)best >> 8 * half), best);
    }
    return best[0];
}

INLINE pack load_pack(const ELEMENT *x) {
    pack loaded;
    memcpy(&loaded, x, sizeof loaded);
    return loaded;
}

/* `ways` vectors of running bests over n elements; the last step takes some a second time, which changes nothing */
INLINE ELEMENT best_by(const ELEMENT *x, isize n, int ways, ELEMENT (*join)(ELEMENT, ELEMENT),
                       pack (*join_packs)(pack, pack)) {
    const isize step = ways * ONE;
    pack best[8];
    UNROLL for (int j = 0; j < ways; j++) best[j] = load_pack(x + j * ONE);
    for (isize i = step; i < n; i += step) {
        const ELEMENT *next = x + (i + step <= n ? i : n - step);
        UNROLL for (int j = 0; j < ways; j++) best[j] = joined_pack(load_pack(next + j * ONE), best[j], join);
    }
    UNROLL for (int half = ways / 2; half; half /= 2)
        UNROLL for (int j = 0; j < half; j++) best[j] = join_packs(best[j + half], best[j]);
    return best_of_pack(best[0], join_packs);
}

INLINE ELEMENT best_of(const ELEMENT *x, isize n, ELEMENT (*join)(ELEMENT, ELEMENT), pack (*join_packs)(pack, pack)) {
    if (n >= 8 * ONE) return best_by(x, n, 8, join, join_packs);
    if (n >= ONE) return best_by(x, n, 1, join, join_packs);
    ELEMENT best = x[0];
    for (isize i = 1; i < n; i++) best = join(best, x[i]);
    return best;
}

static ELEMENT max_row(const ELEMENT *x, isize n) { return best_of(x, n, larger, larger_pack); }
static ELEMENT min_row(const ELEMENT *x, isize n) { return best_of(x, n, smaller, smaller_pack); }

INLINE ivec load_whole(const ELEMENT *x) {
    ivec loaded;
    memcpy(&loaded, x, sizeof loaded);
    return loaded;
}

/* The first of n elements that is the best; there is one. */
static isize find(const ELEMENT *x, isize n, ELEMENT best) {
    if (sizeof(ELEMENT) == 1) return (const ELEMENT *)memchr(x, (int)best, (size_t)n) - x;
    const ivec wanted = v_iset((whole)best);
    for (isize i = 0; n >= FIND; i += FIND) {       /* the last step looks at some a second time */
        const ELEMENT *from = i + FIND <= n ? x + i : x + n - FIND;
        v_mask same[4];
        UNROLL for (int j = 0; j < 4; j++) same[j] = v_iequal(load_whole(from + j * LANES), wanted);
        if (v_any((same[0] | same[1]) | (same[2] | same[3]))) return from - x + first_of(same);
    }
    isize i = 0;
    while (x[i] != best) i++;
    return i;
}

#if PASTE(ELEMENT, _BITS) == 64
/* Means of numbers whose sum may need more than 64 bits: the halves of up to 4096 of them add up apart. */
#define EXACT_MEAN
INLINE __int128 joined(int64_t high, uint64_t low) { return ((__int128)high << 32) + low; }

static void mean_rows(const void *x_, isize x_row, void *out, isize step, isize rows, isize cols) {
    for (isize r = 0; r < rows; r++) {
        const ELEMENT *x = (const ELEMENT *)x_ + r * x_row;
        __int128 total = 0;
        for (isize first = 0; first < cols; first += 4096) {
            isize last = cols - first < 4096 ? cols : first + 4096;
            int64_t high = 0;
            uint64_t low = 0;
            for (isize i = first; i < last; i++) {
                high += x[i] >> 32;
                low += (uint32_t)x[i];
            }
            total += joined(high, low);
        }
        ((double *)out)[r * step] = (double)total / (double)cols;
    }
}

static void mean_columns(const void *x_, isize x_row, void *out, isize step, isize rows, isize cols) {
    enum { MEANS = 512 };
    int64_t high[MEANS];
    uint64_t low[MEANS];
    for (isize c = 0; c < cols; c += MEANS) {
        const isize n = cols - c < MEANS ? cols - c : MEANS;
        __int128 total[MEANS] = {0};
        for (isize first = 0; first < rows; first += 4096) {
            for (isize i = 0; i < n; i++) high[i] = 0, low[i] = 0;
            const isize last = rows - first < 4096 ? rows : first + 4096;
            for (isize r = first; r < last; r += 2) {       /* two rows at a time, the last one with itself half */
                const ELEMENT *x = (const ELEMENT *)x_ + r * x_row + c, *y = r + 1 < last ? x + x_row : x;
                const uint32_t some = r + 1 < last ? UINT32_MAX : 0;
                for (isize i = 0; i < n; i++) {
                    high[i] += (x[i] >> 32) + (y[i] >> 32 & (int64_t)(int32_t)some);
                    low[i] += (uint64_t)(uint32_t)x[i] + ((uint32_t)y[i] & some);
                }
            }
            for (isize i = 0; i < n; i++) total[i] += joined(high[i], low[i]);
        }
        for (isize i = 0; i < n; i++) ((double *)out)[(c + i) * step] = (double)total[i] / (double)rows;
    }
}
#endif

#include "reductions.inc"
