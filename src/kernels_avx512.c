/* The kernels for x86-64 with AVX-512. */
#define ISA avx512
#include "kernels.inc"
