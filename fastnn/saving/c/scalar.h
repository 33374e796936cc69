#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#elif defined(__GNUC__)
#pragma GCC optimize ("-ffp-contract=off")
#endif
#if defined(__FAST_MATH__) || FLT_EVAL_METHOD == 1 || FLT_EVAL_METHOD == 2
#error "Compile without -ffast-math, for arithmetic in the type itself (on 32-bit x86: -msse2 -mfpmath=sse)"
#endif

/* The functions that fastnn's kernels are written with, for vectors of one number.  A mask is 0 or 1. */
#define INLINE static inline
#define SHARED static
#define UNROLL
enum { LANES = 1, HAS_FMA = 1, VECTOR_BYTES = 16 };
typedef ptrdiff_t isize;
typedef real vec;
typedef whole ivec;
INLINE ivec as_whole(vec x) {
    ivec bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}
INLINE vec as_real(ivec bits) {
    vec x;
    memcpy(&x, &bits, sizeof x);
    return x;
}
INLINE vec v_set(real x) { return x; }
INLINE ivec v_iset(whole x) { return x; }
INLINE vec v_fma(vec a, vec b, vec c) { return BY_REAL(fmaf, fma)(a, b, c); }
INLINE vec v_sqrt(vec x) { return BY_REAL(sqrtf, sqrt)(x); }
INLINE vec v_abs(vec x) { return BY_REAL(fabsf, fabs)(x); }
INLINE vec v_max(vec x, vec y) { return x > y ? x : y; }
INLINE vec v_min(vec x, vec y) { return x < y ? x : y; }
INLINE vec v_where(ivec mask, vec yes, vec no) { return mask ? yes : no; }
INLINE ivec v_iwhere(ivec mask, ivec yes, ivec no) { return mask ? yes : no; }
INLINE vec v_unless(ivec mask, vec x) { return mask ? 0 : x; }
INLINE int v_all_less(vec x, vec y) { return x < y; }
INLINE real v_first_lane(vec x) { return x; }
INLINE ivec v_first(isize n) { return n > 0; }
INLINE vec v_down(vec x, int n) { (void)n; return x; }
INLINE vec v_load(const real *p) { return *p; }
INLINE vec v_load_part(const real *p, isize n) { (void)n; return *p; }
INLINE void v_store(real *p, vec x) { *p = x; }
INLINE void v_store_part(real *p, vec x, isize n) { (void)n; *p = x; }
