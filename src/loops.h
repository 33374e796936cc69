/* The walkers, written once: a kernel is a formula on vectors handed to one of these.  The tail takes the same
 * instructions as the main loop (N9). */
#ifndef FASTNN_LOOPS_H
#define FASTNN_LOOPS_H

#include "simd.h"

INLINE vec load(const real *p, isize i, isize n) { return n - i >= LANES ? v_load(p + i) : v_load_part(p + i, n - i); }

INLINE void store(real *p, isize i, isize n, vec x) {
    if (n - i >= LANES) v_store(p + i, x);
    else v_store_part(p + i, x, n - i);
}

/* The elements before the first of a long array that begins a vector's width of memory: stores from there on cross no
 * cache line, which memory beyond L2 takes faster. */
INLINE isize before_line(const real *out, isize n) {
    enum { LONG = 16384 / sizeof(real), WIDTH = LANES * sizeof(real) };
    return LANES == 1 || n < LONG ? 0 : (isize)(-(size_t)out % WIDTH / sizeof(real));
}

/* out[i] = f(x[i]); two vectors at a time, whose chains of operations run side by side */
INLINE void map(const real *x, real *out, isize n, vec (*f)(vec)) {
    isize i = 0, part = before_line(out, n);
    for (;;) {
        if (part) v_store_part(out + i, f(v_load_part(x + i, part)), part);
        i += part;
        for (; LANES > 1 && i + 2 * LANES <= n; i += 2 * LANES) {
            vec first = f(v_load(x + i)), second = f(v_load(x + i + LANES));
            v_store(out + i, first);
            v_store(out + i + LANES, second);
        }
        _Pragma("GCC ivdep") for (; i + LANES <= n; i += LANES) v_store(out + i, f(v_load(x + i)));
        if (LANES == 1 || i == n) return;
        part = n - i;
    }
}

/* out[i] = f(x[i], y[i]), where a step of 0 takes the first element of x or y for all */
INLINE void map_steps(const real *x, int x_step, const real *y, int y_step, real *out, isize n, vec (*f)(vec, vec)) {
    vec first_x = v_set(*x), first_y = v_set(*y);
    isize i = 0, part = before_line(out, n);
    for (;;) {
        if (part)
            v_store_part(out + i, f(x_step ? v_load_part(x + i, part) : first_x,
                                    y_step ? v_load_part(y + i, part) : first_y), part);
        i += part;
        for (; LANES > 1 && i + 2 * LANES <= n; i += 2 * LANES) {
            vec first = f(x_step ? v_load(x + i) : first_x, y_step ? v_load(y + i) : first_y);
            vec second = f(x_step ? v_load(x + i + LANES) : first_x, y_step ? v_load(y + i + LANES) : first_y);
            v_store(out + i, first);
            v_store(out + i + LANES, second);
        }
        _Pragma("GCC ivdep") for (; i + LANES <= n; i += LANES)
            v_store(out + i, f(x_step ? v_load(x + i) : first_x, y_step ? v_load(y + i) : first_y));
        if (LANES == 1 || i == n) return;
        part = n - i;
    }
}

/* out[i] = f(x[i], y[i]) */
INLINE void map2(const real *x, const real *y, real *out, isize n, vec (*f)(vec, vec)) {
    if (n > 0) map_steps(x, 1, y, 1, out, n, f);
}

/* out[r][c] = f(x[r][c], y[r][c]) */
INLINE void map_rows(const fastnn_rows *p, vec (*f)(vec, vec)) {
    const real *x = p->x, *y = p->y;
    real *out = p->out;
    for (isize r = 0; r < p->rows; r++, x += p->x_row, y += p->y_row, out += p->out_row)
        if (!p->y_step) map_steps(x, 1, y, 0, out, p->cols, f);
        else if (!p->x_step) map_steps(x, 0, y, 1, out, p->cols, f);
        else map_steps(x, 1, y, 1, out, p->cols, f);
}

#if REAL_BITS
/* Reductions run in 32 virtual lanes, lane = i mod 32, and end in one halving tree (N6): the same sums in the same
 * order whatever LANES is. */
enum { SUM_LANES = 32, SUM_CHUNK = 4096 };
typedef struct { vec v[SUM_LANES / LANES]; } lanes;

/* The halving tree, lane i joined with lane i + half: whole vectors first, then the lanes of the last one. */
INLINE real fold(lanes acc, vec (*join)(vec, vec, vec)) {
    UNROLL for (int half = SUM_LANES / LANES / 2; half; half /= 2)
        UNROLL for (int j = 0; j < half; j++) acc.v[j] = join(acc.v[j], acc.v[j + half], acc.v[j]);
    vec last = acc.v[0];
    UNROLL for (int half = LANES / 2; half; half /= 2) last = join(last, v_down(last, half), last);
    return v_first_lane(last);
}

/* start, then acc[lane] = f(acc[lane], x[i], y[i]) in order, then folded with `join`. */
INLINE real reduce(const real *x, const real *y, isize n, real start, vec (*f)(vec, vec, vec),
                 vec (*join)(vec, vec, vec)) {
    lanes acc;
    for (int j = 0; j < SUM_LANES / LANES; j++) acc.v[j] = v_set(start);
    isize i = 0;
    for (; i + SUM_LANES <= n; i += SUM_LANES)
        UNROLL for (int j = 0; j < SUM_LANES / LANES; j++)
            acc.v[j] = f(acc.v[j], v_load(x + i + j * LANES), v_load(y + i + j * LANES));
    UNROLL for (int j = 0; j < SUM_LANES / LANES; j++, i += LANES) {
        if (i >= n) break;
        vec next = f(acc.v[j], load(x, i, n), load(y, i, n));
        if (n - i < LANES) next = v_where(v_first(n - i), next, acc.v[j]);  /* lanes past the end stay */
        acc.v[j] = next;
    }
    return fold(acc, join);
}

/* Up to LANES rows of up to SUM_LANES columns side by side, so that no lane is idle: lane r of v[c] is x[r][c].  A
 * row's columns are its virtual lanes.  Lanes past `rows` repeat the last row. */
typedef struct { vec v[SUM_LANES]; } columns;

SHARED void stand(const real *x, isize rows, isize cols, columns *out) {
    for (isize c = 0; c < cols; c++)
        for (isize r = 0; r < LANES; r++) ((real *)&out->v[c])[r] = x[(r < rows ? r : rows - 1) * cols + c];
}

SHARED void lie(const columns *x, isize rows, isize cols, real *out) {
    for (isize c = 0; c < cols; c++)
        for (isize r = 0; r < rows; r++) out[r * cols + c] = ((const real *)&x->v[c])[r];
}

/* For each lane the tree of fold(), where lanes past `cols` hold nothing that a join would change. */
INLINE vec fold_columns(columns acc, isize cols, vec (*join)(vec, vec, vec)) {
    for (isize half = SUM_LANES / 2; half; half /= 2)
        for (isize c = 0; c < half && c + half < cols; c++) acc.v[c] = join(acc.v[c], acc.v[c + half], acc.v[c]);
    return acc.v[0];
}

#endif
#endif
