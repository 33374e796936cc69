# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The compiled floor of fastnn: bindings that check their arguments, and drivers that cut work into blocks."""
cimport numpy as np
from cpython.exc cimport PyErr_CheckSignals
from cpython.float cimport PyFloat_AS_DOUBLE, PyFloat_CheckExact
from cpython.long cimport PyLong_CheckExact
from libc.math cimport isfinite
from libc.math cimport sqrt as root
from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcmp, memcpy, memset

from kernels cimport *

cdef extern from "Python.h":
    long long PyLong_AsLongLongAndOverflow(object value, int *overflow) except? -1

cdef extern from "stdlib.h" nogil:
    void *aligned_alloc(size_t alignment, size_t size)

import math
import operator
import os

import numpy
from numpy.exceptions import AxisError

np.import_array()

include "runtime.pxi"
include "arrays.pxi"
include "product.pxi"
include "elementwise.pxi"
include "rows.pxi"
include "shapes.pxi"
include "batches.pxi"
include "products.pxi"
include "losses.pxi"
include "reductions.pxi"
include "rule.pxi"
include "stages.pxi"
include "activations.pxi"
include "normalization.pxi"
include "sparse_dense.pxi"
include "function.pxi"
include "network.pxi"
include "sparse.pxi"
include "backward.pxi"
