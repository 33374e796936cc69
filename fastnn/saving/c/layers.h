/* out (units) = x (inputs) . weight (inputs, units) + bias, one chain of FMAs an element in increasing input */
static void dense(const real *x, const real *weight, const real *bias, real *out, isize inputs, isize units) {
    for (isize u = 0; u < units; u++) out[u] = bias ? bias[u] : 0;
    for (isize i = 0; i < inputs; i++, weight += units)
        for (isize u = 0; u < units; u++) out[u] = v_fma(x[i], weight[u], out[u]);
    for (isize u = 0; u < units; u++) out[u] += 0;
}
