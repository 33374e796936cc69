/* Single bytes, eight at a time in a whole number: their transposition, and the reductions of rows of booleans, which
 * stop where the result is known, as NumPy's do. */
#include "fastnn.h"
#include <string.h>

#define WORDS 8
#define UNROLL _Pragma("GCC unroll 8")

static uint64_t load_word(const uint8_t *x) {
    uint64_t word;
    memcpy(&word, x, sizeof word);
    return word;
}

/* Where lane j of word i is its byte j, from the lowest on: swaps the upper half of the lanes of x with the lower of y. */
static inline void swap(uint64_t *x, uint64_t *y, int half, uint64_t lower) {
    uint64_t other = (*x >> 8 * half ^ *y) & lower;
    *x ^= other << 8 * half;
    *y ^= other;
}

static void transpose_block(const uint8_t *x, isize x_row, uint8_t *out, isize out_row) {
    uint64_t w[WORDS];
    UNROLL for (int i = 0; i < WORDS; i++) {
        w[i] = load_word(x + i * x_row);
        __builtin_prefetch(x + i * x_row + 128);
    }
    UNROLL for (int i = 0; i < WORDS; i++) if (!(i & 4)) swap(&w[i], &w[i + 4], 4, UINT32_MAX);
    UNROLL for (int i = 0; i < WORDS; i++) if (!(i & 2)) swap(&w[i], &w[i + 2], 2, UINT64_MAX / 65537);
    UNROLL for (int i = 0; i < WORDS; i++) if (!(i & 1)) swap(&w[i], &w[i + 1], 1, UINT64_MAX / 257);
    UNROLL for (int i = 0; i < WORDS; i++) memcpy(out + i * out_row, &w[i], WORDS);
}

void fastnn_transpose_bytes(const void *x_, isize x_row, void *out_, isize out_row, isize rows, isize cols) {
    const uint8_t *x = x_;
    uint8_t *out = out_;
    for (isize r = 0; r < rows; r += WORDS) {
        const isize end = rows - r < WORDS ? rows : r + WORDS;
        isize c = 0;
        for (; __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ && end - r == WORDS && c + WORDS <= cols; c += WORDS)
            transpose_block(x + r * x_row + c, x_row, out + c * out_row + r, out_row);
        for (; c < cols; c++)
            for (isize i = r; i < end; i++) out[c * out_row + i] = x[i * x_row + c];
    }
}

uint8_t fastnn_dot_bytes(const uint8_t *x, const uint8_t *y, isize n) {
    unsigned total = 0;
    UNROLL for (isize i = 0; i < n; i++) total += (unsigned)x[i] * y[i];
    return (uint8_t)total;
}

/* The place of the first byte that is not 0, or n. */
static isize first_true(const uint8_t *x, isize n) {
    isize i = 0;
    for (; i + 64 <= n; i += 64) {
        uint64_t any = 0;
        UNROLL for (int j = 0; j < 64; j += 8) any |= load_word(x + i + j);
        if (any) break;
    }
    while (i + 8 <= n && !load_word(x + i)) i += 8;
    while (i < n && !x[i]) i++;
    return i;
}

/* The place of the first byte that is 0, or n. */
static isize first_false(const uint8_t *x, isize n) {
    const uint8_t *found = n && x[0] ? memchr(x, 0, (size_t)n) : x;
    return found ? found - x : n;
}

static void any_rows(const void *x, isize x_row, void *out, isize step, isize rows, isize cols) {
    for (isize r = 0; r < rows; r++)
        ((uint8_t *)out)[r * step] = first_true((const uint8_t *)x + r * x_row, cols) < cols;
}
static void all_rows(const void *x, isize x_row, void *out, isize step, isize rows, isize cols) {
    for (isize r = 0; r < rows; r++)
        ((uint8_t *)out)[r * step] = first_false((const uint8_t *)x + r * x_row, cols) == cols;
}
static void argmax_rows(const void *x, isize x_row, void *out, isize step, isize rows, isize cols) {
    for (isize r = 0; r < rows; r++) {
        isize at = first_true((const uint8_t *)x + r * x_row, cols);
        ((int64_t *)out)[r * step] = at < cols ? at : 0;
    }
}
static void argmin_rows(const void *x, isize x_row, void *out, isize step, isize rows, isize cols) {
    for (isize r = 0; r < rows; r++) {
        isize at = first_false((const uint8_t *)x + r * x_row, cols);
        ((int64_t *)out)[r * step] = at < cols ? at : 0;
    }
}

const reduction_kernel fastnn_boolean_rows[REDUCTIONS] = {
    [REDUCE_MAX] = any_rows, [REDUCE_MIN] = all_rows, [REDUCE_ARGMAX] = argmax_rows, [REDUCE_ARGMIN] = argmin_rows};

#define PLACE(m, i) ((m) >> (i) & 1 ? (uint64_t)(i) << 8 * __builtin_popcount((m) & ((1u << (i)) - 1)) : 0)
#define SET_BITS(m) \
    (PLACE(m, 0) | PLACE(m, 1) | PLACE(m, 2) | PLACE(m, 3) | PLACE(m, 4) | PLACE(m, 5) | PLACE(m, 6) | PLACE(m, 7))
#define SET_BITS_4(m) SET_BITS(m), SET_BITS((m) + 1), SET_BITS((m) + 2), SET_BITS((m) + 3)
#define SET_BITS_16(m) SET_BITS_4(m), SET_BITS_4((m) + 4), SET_BITS_4((m) + 8), SET_BITS_4((m) + 12)
#define SET_BITS_64(m) SET_BITS_16(m), SET_BITS_16((m) + 16), SET_BITS_16((m) + 32), SET_BITS_16((m) + 48)

const uint64_t fastnn_set_bits[256] = {SET_BITS_64(0u), SET_BITS_64(64u), SET_BITS_64(128u), SET_BITS_64(192u)};
