/* Vectors of one instruction set and one element type: the only file with intrinsics.
 *
 * A kernel file is compiled once with -DREAL=float and once with -DREAL=double; its part for integers also with int32_t,
 * int64_t and uint8_t, for which a vector is one element and the compiler makes the vectors of a plain loop.  `vec` holds LANES reals, `ivec` the
 * same number of integers as wide; + - * / and comparisons are the compiler's own on vectors, a comparison giving
 * all ones or all zeros.  v_fma rounds once wherever the set has FMA (N1); the baseline rounds twice.
 */
#ifndef FASTNN_SIMD_H
#define FASTNN_SIMD_H

#include "fastnn.h"
#include <math.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))
#define SHARED static __attribute__((noinline, unused))     /* once in the file, however many call it */
#if defined(__clang__)
#define SINGLE SHARED
#else
#define SINGLE SHARED __attribute__((noclone))              /* and no second time for constant arguments */
#endif
#define UNROLL _Pragma("GCC unroll 16")

#define float_BITS 32
#define double_BITS 64
#define PASTE_(a, b) a##b
#define PASTE(a, b) PASTE_(a, b)
#define REAL_BITS PASTE(REAL, _BITS)        /* 0 for integers */

typedef REAL real;
#if REAL_BITS == 0
typedef real vec;
enum { LANES = 1 };
INLINE vec v_set(real x) { return x; }
INLINE vec v_load(const real *p) { return *p; }
INLINE void v_store(real *p, vec x) { *p = x; }
INLINE vec v_load_part(const real *p, isize n) { (void)n; return *p; }     /* never used: there is no tail */
INLINE void v_store_part(real *p, vec x, isize n) { (void)n; *p = x; }
#else
#if REAL_BITS == 32
typedef int32_t whole;
typedef uint32_t unsigned_whole;
#define BY_REAL(single, pair) single
#else
typedef int64_t whole;
typedef uint64_t unsigned_whole;
#define BY_REAL(single, pair) pair
#endif

/* Written out, because the compiler builds a vector that a loop fills lane by lane at run time. */
#define NUMBERS_2 0, 1
#define NUMBERS_4 NUMBERS_2, 2, 3
#define NUMBERS_8 NUMBERS_4, 4, 5, 6, 7
#define NUMBERS_16 NUMBERS_8, 8, 9, 10, 11, 12, 13, 14, 15

#if defined(__AVX512F__)
#include <immintrin.h>
#define LANE_NUMBERS BY_REAL(NUMBERS_16, NUMBERS_8)
enum { VECTOR_BYTES = 64, TILE_ROWS = 6, TILE_VECS = 4, LIST_VECS = 8 };
#elif defined(__AVX2__)
#include <immintrin.h>
#define LANE_NUMBERS BY_REAL(NUMBERS_8, NUMBERS_4)
enum { VECTOR_BYTES = 32, TILE_ROWS = 4, TILE_VECS = 3, LIST_VECS = 4 };
#elif defined(__aarch64__)
#include <arm_neon.h>
#define LANE_NUMBERS BY_REAL(NUMBERS_4, NUMBERS_2)
enum { VECTOR_BYTES = 16, TILE_ROWS = 6, TILE_VECS = 4, LIST_VECS = 8 };
#else
#define LANE_NUMBERS BY_REAL(NUMBERS_4, NUMBERS_2)
enum { VECTOR_BYTES = 16, TILE_ROWS = 4, TILE_VECS = 2, LIST_VECS = 4 };
#endif
enum { LANES = VECTOR_BYTES / sizeof(real) };

typedef real vec __attribute__((vector_size(VECTOR_BYTES)));
typedef whole ivec __attribute__((vector_size(VECTOR_BYTES)));
typedef unsigned_whole uvec __attribute__((vector_size(VECTOR_BYTES)));
typedef real unaligned __attribute__((vector_size(VECTOR_BYTES), aligned(sizeof(real)), may_alias));

INLINE vec v_set(real x) { return x - (vec){0}; }
INLINE ivec v_iset(whole x) { return x - (ivec){0}; }
INLINE vec v_load(const real *p) { return *(const unaligned *)p; }
INLINE void v_store(real *p, vec x) { *(unaligned *)p = x; }
INLINE ivec as_whole(vec x) { return (ivec)x; }                 /* the bits of reals as integers, and back */
INLINE vec as_real(ivec x) { return (vec)x; }
INLINE real v_first_lane(vec x) { return x[0]; }
INLINE vec v_where(ivec mask, vec yes, vec no) { return (vec)(((ivec)yes & mask) | ((ivec)no & ~mask)); }
INLINE ivec v_iwhere(ivec mask, ivec yes, ivec no) { return (yes & mask) | (no & ~mask); }
INLINE vec v_unless(ivec mask, vec x) { return (vec)((ivec)x & ~mask); }        /* x, but 0 where the mask is set */
INLINE vec v_abs(vec x) { return (vec)((ivec)x & ~(ivec)v_set((real)-0.0)); }

INLINE ivec v_lanes(void) { return (ivec){LANE_NUMBERS}; }      /* 0, 1, 2, ... */

/* All ones in the first n lanes. */
INLINE ivec v_first(isize n) { return v_lanes() < v_iset((whole)n); }

/* Lane i takes what lane i + n (mod LANES) has. */
INLINE vec v_down(vec x, int n) {
#if defined(__clang__)
    vec y;
    for (int i = 0; i < LANES; i++) y[i] = x[(i + n) % LANES];
    return y;
#else
    return __builtin_shuffle(x, (v_lanes() + n) & (LANES - 1));
#endif
}

/* Of each run of 2 * half lanes of x, then of y, the first half from lane `from` of the run; the second as often as fits. */
INLINE vec v_pairs(vec x, vec y, int half, int from) {
    enum { BOTH = 2 * LANES };
#if defined(__clang__)
    vec z;
    for (int i = 0; i < LANES; i++) {
        int at = (i / half * 2 * half + i % half + from) % BOTH;
        z[i] = at < LANES ? x[at] : y[at - LANES];
    }
    return z;
#else
    ivec lane = v_lanes();
    return __builtin_shuffle(x, y, (((lane & -half) << 1) + (lane & (half - 1)) + from) & (BOTH - 1));
#endif
}

enum { PIECE_LANES = 16 / sizeof(real), PIECES = LANES / PIECE_LANES };     /* a piece is 16 bytes */

/* In each piece: x takes the first halves of both, y the second, element by element in turns. */
INLINE void v_zip(vec *x, vec *y) {
    vec a = *x, b = *y;
#if defined(__clang__)
    for (int i = 0; i < LANES; i++) {
        int at = i / PIECE_LANES * PIECE_LANES + i % PIECE_LANES / 2;
        (*x)[i] = i % 2 ? b[at] : a[at];
        (*y)[i] = i % 2 ? b[at + PIECE_LANES / 2] : a[at + PIECE_LANES / 2];
    }
#else
    ivec lane = v_lanes(), at = (lane & -PIECE_LANES) + (lane & (PIECE_LANES - 1)) / 2 + (lane & 1) * LANES;
    *x = __builtin_shuffle(a, b, at);
    *y = __builtin_shuffle(a, b, at + PIECE_LANES / 2);
#endif
}

/* x takes the pieces of both that have an even number, y the odd ones. */
INLINE void v_deal(vec *x, vec *y) {
    vec a = *x, b = *y;
    *x = v_pairs(a, b, PIECE_LANES, 0);
    *y = v_pairs(a, b, PIECE_LANES, PIECE_LANES);
}

/* The square in each piece of PIECE_LANES vectors, transposed. */
INLINE void v_turn_pieces(vec *v) {
    UNROLL for (int half = PIECE_LANES / 2; half; half /= 2)
        UNROLL for (int i = 0; i < PIECE_LANES; i++)
            if (!(i & half)) v_zip(&v[i], &v[i + half]);
}

/* Pieces from[0] to from[PIECES - 1], one after the other in a vector. */
INLINE vec v_load_pieces(const real *const *from) {
#if defined(__AVX512F__)
#define V_QUARTER(i) (*(const __m128_u *)from[i])
    __m256 low = _mm256_insertf128_ps(_mm256_castps128_ps256(V_QUARTER(0)), V_QUARTER(1), 1);
    __m256 high = _mm256_insertf128_ps(_mm256_castps128_ps256(V_QUARTER(2)), V_QUARTER(3), 1);
    return (vec)_mm512_insertf32x8(_mm512_castps256_ps512(low), high, 1);
#undef V_QUARTER
#elif defined(__AVX2__)
    return (vec)_mm256_insertf128_ps(_mm256_castps128_ps256(*(const __m128_u *)from[0]), *(const __m128_u *)from[1], 1);
#else
    return v_load(from[0]);
#endif
}

/* The larger, the smaller of each lane; y where they are equal or either is NaN. */
#if defined(__AVX512F__)
INLINE vec v_max(vec x, vec y) { return BY_REAL(_mm512_max_ps, _mm512_max_pd)(x, y); }
INLINE vec v_min(vec x, vec y) { return BY_REAL(_mm512_min_ps, _mm512_min_pd)(x, y); }
#elif defined(__AVX2__)
INLINE vec v_max(vec x, vec y) { return BY_REAL(_mm256_max_ps, _mm256_max_pd)(x, y); }
INLINE vec v_min(vec x, vec y) { return BY_REAL(_mm256_min_ps, _mm256_min_pd)(x, y); }
#else
INLINE vec v_max(vec x, vec y) { return v_where(x > y, x, y); }
INLINE vec v_min(vec x, vec y) { return v_where(x < y, x, y); }
#endif

/* The lanes where x or y is NaN, and where they are equal, as masks that may be joined by |. */
#if defined(__AVX512F__)
typedef BY_REAL(__mmask16, __mmask8) v_mask;
INLINE v_mask v_unordered(vec x, vec y) {
    return BY_REAL(_mm512_cmp_ps_mask, _mm512_cmp_pd_mask)(x, y, _CMP_UNORD_Q);
}
INLINE v_mask v_equal(vec x, vec y) { return BY_REAL(_mm512_cmp_ps_mask, _mm512_cmp_pd_mask)(x, y, _CMP_EQ_OQ); }
INLINE v_mask v_iequal(ivec x, ivec y) {
    return BY_REAL(_mm512_cmpeq_epi32_mask, _mm512_cmpeq_epi64_mask)((__m512i)x, (__m512i)y);
}
INLINE int v_any(v_mask mask) { return mask != 0; }
#else
typedef ivec v_mask;
INLINE v_mask v_unordered(vec x, vec y) { return (x != x) | (y != y); }
INLINE v_mask v_equal(vec x, vec y) { return x == y; }
INLINE v_mask v_iequal(ivec x, ivec y) { return x == y; }
INLINE int v_any(v_mask mask) {
#if defined(__AVX2__)
    return !_mm256_testz_si256((__m256i)mask, (__m256i)mask);
#else
    whole any = 0;
    for (int i = 0; i < LANES; i++) any |= mask[i];
    return any != 0;
#endif
}
#endif

/* v_bits: bit i is set where lane i of a comparison holds.  v_all_less: x < y in every lane.
 * Parts: the first n < LANES elements; the rest read as zero and are not written. */
#if defined(__AVX512F__)
#define V_MASK(n) (BY_REAL(__mmask16, __mmask8))((1u << (n)) - 1)
INLINE vec v_load_part(const real *p, isize n) {
    return BY_REAL(_mm512_maskz_loadu_ps, _mm512_maskz_loadu_pd)(V_MASK(n), p);
}
INLINE void v_store_part(real *p, vec x, isize n) {
    BY_REAL(_mm512_mask_storeu_ps, _mm512_mask_storeu_pd)(p, V_MASK(n), x);
}
INLINE vec v_fma(vec a, vec b, vec c) { return BY_REAL(_mm512_fmadd_ps, _mm512_fmadd_pd)(a, b, c); }
INLINE vec v_sqrt(vec x) { return BY_REAL(_mm512_sqrt_ps, _mm512_sqrt_pd)(x); }
/* v_fma in the first half of the lanes, at half its price; the others are undefined. */
#define HAS_FMA_HALF 1
#define V_LOW(x) BY_REAL(_mm512_castps512_ps256, _mm512_castpd512_pd256)(x)
INLINE vec v_fma_half(vec a, vec b, vec c) {
    return BY_REAL(_mm512_castps256_ps512, _mm512_castpd256_pd512)(
        BY_REAL(_mm256_fmadd_ps, _mm256_fmadd_pd)(V_LOW(a), V_LOW(b), V_LOW(c)));
}
INLINE unsigned v_bits(ivec mask) { return BY_REAL(_mm512_movepi32_mask, _mm512_movepi64_mask)((__m512i)mask); }
INLINE int v_all_less(vec x, vec y) {
    return BY_REAL(_mm512_cmp_ps_mask, _mm512_cmp_pd_mask)(x, y, _CMP_LT_OQ) == BY_REAL(0xffff, 0xff);
}
#elif defined(__AVX2__)
INLINE vec v_load_part(const real *p, isize n) {
    return BY_REAL(_mm256_maskload_ps, _mm256_maskload_pd)(p, (__m256i)v_first(n));
}
INLINE void v_store_part(real *p, vec x, isize n) {
    BY_REAL(_mm256_maskstore_ps, _mm256_maskstore_pd)(p, (__m256i)v_first(n), x);
}
INLINE vec v_fma(vec a, vec b, vec c) { return BY_REAL(_mm256_fmadd_ps, _mm256_fmadd_pd)(a, b, c); }
INLINE vec v_sqrt(vec x) { return BY_REAL(_mm256_sqrt_ps, _mm256_sqrt_pd)(x); }
INLINE unsigned v_bits(ivec mask) { return (unsigned)BY_REAL(_mm256_movemask_ps, _mm256_movemask_pd)((vec)mask); }
INLINE int v_all_less(vec x, vec y) { return v_bits(x < y) == (1u << LANES) - 1; }
#else
INLINE vec v_load_part(const real *p, isize n) {
    vec x = {0};
    memcpy(&x, p, (size_t)n * sizeof(real));
    return x;
}
INLINE void v_store_part(real *p, vec x, isize n) { memcpy(p, &x, (size_t)n * sizeof(real)); }
#if defined(__aarch64__)
INLINE vec v_fma(vec a, vec b, vec c) { return (vec)BY_REAL(vfmaq_f32, vfmaq_f64)(c, a, b); }
INLINE vec v_sqrt(vec x) { return (vec)BY_REAL(vsqrtq_f32, vsqrtq_f64)(x); }
#else
INLINE vec v_fma(vec a, vec b, vec c) { return a * b + c; }
INLINE vec v_sqrt(vec x) {
    for (int i = 0; i < LANES; i++) x[i] = BY_REAL(__builtin_sqrtf, __builtin_sqrt)(x[i]);
    return x;
}
#endif
INLINE unsigned v_bits(ivec mask) {
    unsigned bits = 0;
    for (int i = 0; i < LANES; i++) bits |= (unsigned)(mask[i] & 1) << i;
    return bits;
}
INLINE int v_all_less(vec x, vec y) {
    ivec less = x < y;
    whole all = less[0];
    for (int i = 1; i < LANES; i++) all &= less[i];
    return all != 0;
}
#endif

#if defined(__FMA__) || defined(__aarch64__)
#define HAS_FMA 1
#else
#define HAS_FMA 0
#endif

#ifndef HAS_FMA_HALF
#define HAS_FMA_HALF 0
INLINE vec v_fma_half(vec a, vec b, vec c) { return v_fma(a, b, c); }
#endif

/* The first lane that holds in four vectors, of which one does. */
INLINE isize first_of(const v_mask *same) {
    uint64_t bits = 0;
#if defined(__AVX512F__)
    UNROLL for (int j = 0; j < 4; j++) bits |= (uint64_t)same[j] << j * LANES;
#else
    UNROLL for (int j = 0; j < 4; j++) bits |= (uint64_t)v_bits(same[j]) << j * LANES;
#endif
    return __builtin_ctzll(bits);
}
enum { FIND = 4 * LANES };

#if defined(__AVX2__) && !defined(__AVX512F__)
/* Lane j is the number of the j-th bit that is set of 8. */
INLINE __m256i set_bits(unsigned bits) {
    return _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)&fastnn_set_bits[bits & 0xff]));
}
#endif

/* out[0], out[1], ... = x[i] for each bit i that is set of 16; x has n elements.  May write 16. */
INLINE void list_values(real *out, const real *x, isize n, unsigned bits) {
#if defined(__AVX512F__) || (defined(__AVX2__) && REAL_BITS == 32)
    UNROLL for (int i = 0; i < 16; i += LANES, bits >>= LANES) {
        if (i >= n) break;
        vec v = n - i < LANES ? v_load_part(x + i, n - i) : v_load(x + i);
#if defined(__AVX512F__)
        v = BY_REAL(_mm512_maskz_compress_ps, _mm512_maskz_compress_pd)((BY_REAL(__mmask16, __mmask8))bits, v);
#else
        v = _mm256_permutevar8x32_ps(v, set_bits(bits));
#endif
        v_store(out, v);
        out += __builtin_popcount(bits & ((1u << LANES) - 1));
    }
#else
    (void)n;
    for (; bits; bits &= bits - 1) *out++ = x[__builtin_ctz(bits)];
#endif
}

/* out[0], out[1], ... = first + i for each bit i that is set of 16; returns how many.  Writes 16 elements. */
INLINE isize list_bits(int32_t *out, int32_t first, unsigned bits) {
#if defined(__AVX512F__)
    const __m512i lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    __m512i all = _mm512_add_epi32(_mm512_set1_epi32(first), lane);
    _mm512_storeu_si512(out, _mm512_maskz_compress_epi32((__mmask16)bits, all));
    return __builtin_popcount(bits);
#elif defined(__AVX2__)
    const isize half = __builtin_popcount(bits & 0xff);
    _mm256_storeu_si256((__m256i *)out, _mm256_add_epi32(_mm256_set1_epi32(first), set_bits(bits)));
    _mm256_storeu_si256((__m256i *)(out + half), _mm256_add_epi32(_mm256_set1_epi32(first + 8), set_bits(bits >> 8)));
    return __builtin_popcount(bits);
#else
    isize count = 0;
    UNROLL for (int i = 0; i < 16; i++) {       /* written always, kept where the bit is set */
        out[count] = first + i;
        count += bits >> i & 1;
    }
    return count;
#endif
}

#endif
#endif
