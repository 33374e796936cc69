/* The kernels for any CPU, without FMA. */
#define ISA baseline
#include "kernels.inc"
