# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The compiled floor of fastnn: bindings that check their arguments, and drivers that cut work into blocks."""
cimport numpy as np
from cpython.exc cimport PyErr_CheckSignals
from libc.math cimport isfinite, sqrt
from libc.stdint cimport int32_t, int64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

from kernels cimport *

cdef extern from "stdlib.h" nogil:
    void *aligned_alloc(size_t alignment, size_t size)

import os

import numpy

np.import_array()

include "runtime.pxi"
include "arrays.pxi"
include "product.pxi"
include "ops.pxi"
include "stages.pxi"
include "function.pxi"
include "network.pxi"
include "sparse.pxi"
include "backward.pxi"
