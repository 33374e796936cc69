/* The kernels for x86-64 with AVX2 and FMA. */
#define ISA avx2
#include "kernels.inc"
