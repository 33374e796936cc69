/* The kernels for 64-bit ARM. */
#define ISA neon
#include "kernels.inc"
