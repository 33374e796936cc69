/* out (units) = x (inputs) . weight (inputs, units) + bias, one chain of FMAs an element in increasing input */
static void dense(const real *x, const real *weight, const real *bias, real *out, isize inputs, isize units) {
    for (isize u = 0; u < units; u++) out[u] = bias ? bias[u] : 0;
    for (isize i = 0; i < inputs; i++, weight += units)
        for (isize u = 0; u < units; u++) out[u] = v_fma(x[i], weight[u], out[u]);
    for (isize u = 0; u < units; u++) out[u] += 0;
}

/* out (units) = the same where only some connections are there.  Groups of units see the same inputs: group holds how many
 * units there are and how many inputs, and one after the other follow their indices, and the weights unit by unit. */
static void sparse_dense(const real *x, const real *weight, const place *index, const place *group, const real *bias,
                         real *out, isize units) {
    for (isize u = 0; u < units; index += group[1], group += 2)
        for (isize end = u + group[0]; u < end; u++) {
            real sum = bias ? bias[u] : 0;
            for (isize i = 0; i < group[1]; i++) sum = v_fma(x[index[i]], *weight++, sum);
            out[u] = sum + 0;
        }
}
