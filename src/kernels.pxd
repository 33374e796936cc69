"""The C interface of fastnn.h, as Cython sees it."""
from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t

cdef extern from "fastnn.h" nogil:
    ctypedef Py_ssize_t isize

    enum:
        FLOAT32, FLOAT64, DTYPES, INT32, INT64, UINT8, ELEMENTS
        LINEAR, RELU, SIGMOID, TANH, ACTIVATIONS
        EXP, LOG, SQRT, NEGATIVE, ABSOLUTE, SQUARE, SIGN, UNARIES
        RAMP, ELU, GELU, SILU, SOFTPLUS, SOFTSIGN, HARD_SIGMOID, HARD_SILU, EXPONENTIAL, MISH, CURVES
        ADD, SUBTRACT, MULTIPLY, DIVIDE, MAXIMUM, MINIMUM, BINARIES
        SGD, MOMENTUM, NESTEROV, RMSPROP, ADAGRAD, ADAM, AMSGRAD, RULES
        MSE, MAE, MAPE, MSLE, HUBER, LOG_COSH, KL_DIVERGENCE, POISSON, HINGE, SQUARED_HINGE, CATEGORICAL_HINGE
        COSINE_SIMILARITY, BINARY_CROSSENTROPY, CATEGORICAL_CROSSENTROPY, SIGMOID_CROSSENTROPY, SOFTMAX_CROSSENTROPY
        BINARY_ACCURACY, CATEGORICAL_ACCURACY, LOSSES
        FROM_UINT8, FROM_FLOAT32, FROM_FLOAT64, SOURCES
        REDUCE_SUM, REDUCE_MAX, REDUCE_MIN, REDUCE_ARGMAX, REDUCE_ARGMIN, REDUCE_MEAN, REDUCTIONS
        SKIP_ROWS, STEPS_MARGIN, MARK, FASTNN_MAX_THREADS, FASTNN_SCRATCH_BYTES

    ctypedef struct fastnn_steps:
        isize pitch, marks
        int32_t *index
        int32_t *count
        int32_t *mark
        void *value

    ctypedef struct fastnn_entries:
        int64_t *start
        int32_t *index
        void *value

    ctypedef struct fastnn_connections:
        const int64_t *start
        const int32_t *index
        const uint8_t *alike
        const void *value

    ctypedef struct fastnn_product:
        const void *a
        const void *b
        const void *init
        void *out
        isize a_row, a_step, b_row, init_row, out_row
        isize rows, cols, k
        const fastnn_steps *steps
        const fastnn_entries *entries

    ctypedef struct fastnn_rule:
        int kind
        double learning_rate, momentum, rho, beta_1, beta_2, epsilon, scale, clipvalue, decay

    ctypedef struct fastnn_parameter:
        void *weight
        void *slot[3]
        double l1, l2
        int lasting

    ctypedef struct fastnn_loss:
        void *y_pred
        const void *y_true
        void *loss
        void *dout
        void *match
        double scale, number
        isize rows, cols

    ctypedef void (*unary_kernel)(const void *x, void *out, isize n) noexcept nogil
    ctypedef void (*binary_kernel)(const void *x, const void *y, void *out, isize n) noexcept nogil

    ctypedef struct fastnn_rows:
        const void *x
        const void *y
        void *out
        isize rows, cols, x_row, y_row, out_row, x_step, y_step

    ctypedef struct fastnn_normalization:
        const void *x
        const void *dout
        const void *gamma
        const void *beta
        void *out
        void *dx
        void *mean
        void *variance
        void *dgamma
        void *dbeta
        isize rows, cols, n
        double epsilon

    ctypedef void (*normalization_kernel)(const fastnn_normalization *p) noexcept nogil

    ctypedef struct fastnn_elementwise:
        unary_kernel unary[UNARIES]
        void (*binary[BINARIES])(const fastnn_rows *p) noexcept nogil
        void (*convert[ELEMENTS])(const void *x, isize step, void *out, isize n) noexcept nogil
        void (*scatter)(const void *x, void *out, isize step, isize n) noexcept nogil

    ctypedef struct fastnn_kernels:
        unary_kernel sum
        void (*sizes)(const void *x, double *out, isize n) noexcept nogil
        int (*has_zero)(const void *x, isize n) noexcept nogil
        unary_kernel activate[ACTIVATIONS]
        binary_kernel activate_backward[ACTIVATIONS]
        void (*curve)(int kind, const double *numbers, const void *x, const void *dout, void *out,
                      isize n) noexcept nogil
        void (*log_softmax_backward)(const void *out, const void *dout, void *dx, isize rows, isize cols) noexcept nogil
        void (*dropout)(uint64_t key, double rate, isize first, const void *x, void *out, isize n) noexcept nogil
        normalization_kernel column_moments, normalize_columns, column_gradients, columns_backward
        normalization_kernel normalize_rows, rows_backward
        void (*blend)(const void *batch, double momentum, void *moving, isize n) noexcept nogil
        void (*softmax)(const void *x, void *out, isize rows, isize cols) noexcept nogil
        void (*log_softmax)(const void *x, void *out, isize rows, isize cols) noexcept nogil
        void (*softmax_backward)(const void *out, const void *dout, void *dx, isize rows, isize cols) noexcept nogil
        void (*matvec)(const void *x, isize x_row, const void *y, isize y_row, void *out, isize rows,
                       isize n) noexcept nogil
        void (*matvec_transposed)(const void *x, isize x_row, const void *y, void *out, isize rows,
                                  isize n) noexcept nogil
        isize panel, list_panel, update_panel
        void (*product)(const fastnn_product *p) noexcept nogil
        void (*vecmat)(const fastnn_product *p) noexcept nogil
        void (*vecmat_transposed)(const fastnn_product *p) noexcept nogil
        void (*product_whole)(const fastnn_product *p) noexcept nogil
        void (*matvec_whole)(const void *x, isize x_row, const void *y, void *out, isize rows,
                             isize n) noexcept nogil
        void (*product_update)(const fastnn_product *p, const fastnn_rule *rule,
                               const fastnn_parameter *parameter) noexcept nogil
        void (*transpose)(const void *x, isize x_row, void *out, isize out_row, isize rows, isize cols) noexcept nogil
        void (*row_steps)(const void *x, isize rows, isize cols, const fastnn_steps *out) noexcept nogil
        void (*column_steps)(const void *x, isize rows, isize cols, isize first, isize last,
                             const fastnn_steps *out) noexcept nogil
        void (*column_entries)(const fastnn_entries *x, isize rows, isize cols,
                               const fastnn_entries *out) noexcept nogil
        void (*connect)(const fastnn_connections *w, const void *x, const void *bias, void *out, isize width,
                        isize first, isize last) noexcept nogil
        void (*connect_back)(const fastnn_connections *w, const void *dout, void *dx, isize width,
                             isize units) noexcept nogil
        void (*turn_rows)(const void *x, isize width, const int32_t *index, isize count, void *out,
                          isize out_row) noexcept nogil
        void (*loss[LOSSES])(const fastnn_loss *p) noexcept nogil
        void (*prepare)(const fastnn_rule *rule, const fastnn_parameter *parameter, void *gradient,
                        isize n) noexcept nogil
        void (*update)(const fastnn_rule *rule, const fastnn_parameter *parameter, const void *gradient,
                       isize n) noexcept nogil
        void (*gather[SOURCES])(const void *x, const int64_t *index, void *out, double scale,
                                isize rows, isize cols) noexcept nogil
        void (*one_hot)(const int64_t *label, void *out, isize rows, isize cols) noexcept nogil

    ctypedef void (*reduction_kernel)(const void *x, isize x_row, void *out, isize step,
                                      isize rows, isize cols) noexcept nogil

    ctypedef struct fastnn_reduction:
        reduction_kernel rows, columns
        void (*join)(const void *partial, isize chunks, void *out, isize step, isize n) noexcept nogil

    ctypedef struct fastnn_reductions:
        fastnn_reduction of[REDUCTIONS]
        void (*divide)(void *out, isize step, isize n, isize count) noexcept nogil

    int fastnn_isa_count()
    const char *fastnn_isa_name(int isa)
    int fastnn_isa_supported(int isa)
    int fastnn_isa_best()
    const fastnn_kernels *fastnn_table(int isa, int dtype)
    const fastnn_reductions *fastnn_reduction_table(int isa, int element_type)
    const fastnn_elementwise *fastnn_elementwise_table(int isa, int element)

    ctypedef void (*fastnn_task)(void *context, isize block, int worker) noexcept nogil
    void fastnn_parallel(fastnn_task fn, void *context, isize blocks)
    int fastnn_threads()
    void fastnn_set_threads(int threads)
    int fastnn_default_threads()
    double fastnn_seconds()
    void *fastnn_scratch()

    void fastnn_transpose_bytes(const void *x, isize x_row, void *out, isize out_row, isize rows, isize cols)
    unsigned char fastnn_dot_bytes(const unsigned char *x, const unsigned char *y, isize n)
    const reduction_kernel fastnn_boolean_rows[REDUCTIONS]

    uint64_t fastnn_random_key(uint64_t seed, uint64_t stream, uint64_t position)
    void fastnn_random_uniform(uint64_t key, double low, double high, double *out, isize n)
    void fastnn_random_normal(uint64_t key, int truncated, double *out, isize n)
    void fastnn_permutation(uint64_t key, int64_t *out, isize n)
    void fastnn_deal(uint64_t seed, isize cards, isize hands, isize count, int32_t *out, int64_t *work)
