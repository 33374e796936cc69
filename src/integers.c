/* The reductions of the integer types: compiled once for each instruction set (-DISA=avx2) and type (-DELEMENT=int32_t). */
#define REAL float          /* for simd.h, of which only the width of a vector is used */
#include "simd.h"

#define int32_t_INDEX int32_t
#define int64_t_INDEX int64_t
#define uint8_t_INDEX uint8_t
#define int32_t_LOWEST INT32_MIN
#define int64_t_LOWEST INT64_MIN
#define uint8_t_LOWEST 0
#define int32_t_HIGHEST INT32_MAX
#define int64_t_HIGHEST INT64_MAX
#define uint8_t_HIGHEST UINT8_MAX
#define int32_t_PARTIAL int64_t
#define int64_t_PARTIAL uint64_t
#define uint8_t_PARTIAL uint32_t

#define TOTAL uint64_t      /* wraps, and holds an int64 as well */
#define SIGNED_TOTAL int64_t
#define MEAN double
#define WIDER_TOTAL
#define INDEX PASTE(ELEMENT, _INDEX)
#define LOWEST PASTE(ELEMENT, _LOWEST)
#define UP_TO(x, y) ((x) <= (y))
#define IS_NAN(x) 0
#define HIGHEST PASTE(ELEMENT, _HIGHEST)

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

#include "reductions.inc"
