/* The C interface of fastnn: one table of kernels for each instruction set and element type.
 *
 * Arrays are C-contiguous unless a row stride is given; strides count elements.  x, y, out have n elements or
 * the shape in brackets.  Kernels never allocate, check or touch Python: the binding does.  The same table type
 * serves float and double, so array pointers are void; a kernel's file is compiled once for each element type.
 * N1 to N10 in the comments are the numeric rules of docs/adr/0002-numeric-rules.md.
 */
#ifndef FASTNN_H
#define FASTNN_H

#include <stddef.h>
#include <stdint.h>

typedef ptrdiff_t isize;

enum { FLOAT32, FLOAT64, DTYPES, INT32 = DTYPES, INT64, UINT8, ELEMENTS };   /* networks are of the first two */
enum { LINEAR, RELU, SIGMOID, TANH, ACTIVATIONS, EXP = ACTIVATIONS, LOG, SQRT, NEGATIVE, ABSOLUTE, SQUARE, SIGN, UNARIES };
enum { RAMP, ELU, GELU, SILU, SOFTPLUS, SOFTSIGN, HARD_SIGMOID, HARD_SILU, EXPONENTIAL, MISH, CURVES };
enum { ADD, SUBTRACT, MULTIPLY, DIVIDE, MAXIMUM, MINIMUM, BINARIES };
enum { SGD, MOMENTUM, NESTEROV, RMSPROP, ADAGRAD, ADAM, AMSGRAD, RULES };
enum { MSE, MAE, MAPE, MSLE, HUBER, LOG_COSH, KL_DIVERGENCE, POISSON, HINGE, SQUARED_HINGE, CATEGORICAL_HINGE, COSINE_SIMILARITY,
       BINARY_CROSSENTROPY, CATEGORICAL_CROSSENTROPY, SIGMOID_CROSSENTROPY, SOFTMAX_CROSSENTROPY,
       BINARY_ACCURACY, CATEGORICAL_ACCURACY, LOSSES };      /* the last two measure only, and give no gradient */
enum { FROM_UINT8, FROM_FLOAT32, FROM_FLOAT64, SOURCES };
enum { REDUCE_SUM, REDUCE_MAX, REDUCE_MIN, REDUCE_ARGMAX, REDUCE_ARGMIN, REDUCE_MEAN, REDUCTIONS };

/* Rows of a block that share one list of steps; a list names the steps where any row of its block is not zero.
 * What writes a list may write STEPS_MARGIN elements past its end.  MARK: steps between the marks of a list. */
enum { SKIP_ROWS = 2, STEPS_MARGIN = 16, MARK = 16 };

typedef struct {
    isize pitch, marks;
    int32_t *index, *count;     /* list j is index[j * pitch] to index[j * pitch + count[j] - 1] */
    int32_t *mark;              /* unless NULL: mark[j * marks + i] of list j come before step i * MARK */
    void *value;                /* row r has its values of the listed steps from value[r * pitch] on */
} fastnn_steps;

/* The elements of a sparse matrix that are stored, row by row: row r has index[i] and value[i] for i from start[r] to
 * start[r + 1] - 1, in increasing index. */
typedef struct {
    int64_t *start;
    int32_t *index;
    void *value;
} fastnn_entries;

/* The connections of a sparse layer, unit by unit: unit u has the weight value[i] from input index[i] for i from start[u]
 * to start[u + 1] - 1, in increasing index.  alike[u] units from u on, itself among them, see the same inputs. */
typedef struct {
    const int64_t *start;
    const int32_t *index;
    const uint8_t *alike;
    const void *value;
} fastnn_connections;

/* out (rows, cols) = init + a . b, over k in increasing order; one FMA chain an element (N1).
 * a (rows, k) is read at a[r * a_row + s * a_step], which covers a transposed a; b (k, cols) has contiguous rows.
 * init is NULL for zero, a row (init_row 0) for a bias (N4), or out itself to resume a sum (N2).
 * steps, where it is not NULL, lists the k worth visiting for each SKIP_ROWS rows of a, of which a holds those values
 * alone, a_row apart (N8); entries, where it is not NULL, is a itself. */
typedef struct {
    const void *a, *b, *init;
    void *out;
    isize a_row, a_step, b_row, init_row, out_row;
    isize rows, cols, k;
    const fastnn_steps *steps;
    const fastnn_entries *entries;
} fastnn_product;

/* An optimizer's rule with this step's numbers.  Before it, a gradient is multiplied by scale and clipped to +-clipvalue
 * (0 for not), and its weight loses the share decay of itself. */
typedef struct {
    int kind;
    double learning_rate, momentum, rho, beta_1, beta_2, epsilon, scale, clipvalue, decay;
} fastnn_rule;

/* A weight with the slots that a rule keeps for it, the factors of its penalty l1 sum|w| + l2 sum(w^2), whose gradient
 * joins the weight's own before all else, and whether decay leaves it alone. */
typedef struct {
    void *weight, *slot[3];
    double l1, l2;
    int lasting;
} fastnn_parameter;

/* For each row of y_pred, y_true (rows, cols) its loss (rows) and, unless dout (rows, cols) is NULL, the gradient of
 * scale * sum(loss).  dout may be y_true.  number: HUBER's delta, BINARY_ACCURACY's threshold, COSINE_SIMILARITY's sign.
 * The two on logits (SIGMOID_, SOFTMAX_) also turn y_pred from logits into probabilities; SOFTMAX_ fills match (rows),
 * where it is not NULL and dout is not y_true, on the way as CATEGORICAL_ACCURACY does. */
typedef struct {
    void *y_pred;
    const void *y_true;
    void *loss, *dout, *match;
    double scale, number;
    isize rows, cols;
} fastnn_loss;

typedef void (*unary_kernel)(const void *x, void *out, isize n);
typedef void (*binary_kernel)(const void *x, const void *y, void *out, isize n);

/* out[r][c] = f(x[r][c], y[r][c]) for rows of cols elements: row r of x begins at x + r * x_row and steps by x_step, which
 * is 1, or 0 where one number serves the row; y likewise, and not both 0. */
typedef struct {
    const void *x, *y;
    void *out;
    isize rows, cols, x_row, y_row, out_row, x_step, y_step;
} fastnn_rows;

/* Normalization of the columns, or of the rows, of x (rows, cols); the others are (cols), gamma and beta NULL for 1 and 0.
 * The kernels of columns take n of them, which begin where the pointers are. */
typedef struct {
    const void *x, *dout, *gamma, *beta;
    void *out, *dx, *mean, *variance, *dgamma, *dbeta;
    isize rows, cols, n;
    double epsilon;
} fastnn_normalization;

typedef void (*normalization_kernel)(const fastnn_normalization *p);

/* Element-wise operations of one element type; NULL where the type has none.  out may be x or y itself. */
typedef struct {
    /* RELU: max(x, 0), NaN stays NaN, -0.0 gives +0.0; SIGMOID, TANH, EXP, LOG: <= 2 ulp (N7); SIGN of NaN is NaN */
    unary_kernel unary[UNARIES];
    void (*binary[BINARIES])(const fastnn_rows *p);             /* MAXIMUM and MINIMUM are NaN where either is */
    void (*convert[ELEMENTS])(const void *x, isize step, void *out, isize n);   /* out[i] = x[i * step], x of that type */
    void (*scatter)(const void *x, void *out, isize step, isize n);             /* out[i * step] = x[i] */
} fastnn_elementwise;

typedef struct {
    /* element-wise, n elements */
    unary_kernel activate[ACTIVATIONS];
    binary_kernel activate_backward[ACTIVATIONS];               /* dx = dout * f'(x), from out = f(x) and dout */
    void (*softmax)(const void *x, void *out, isize rows, isize cols);      /* exp(x - max) / sum, by row */
    void (*log_softmax)(const void *x, void *out, isize rows, isize cols);  /* x - max - log(sum(exp(x - max))), by row */
    void (*softmax_backward)(const void *out, const void *dout, void *dx, isize rows, isize cols);

    /* out = f(x), or dout f'(x) where dout is not NULL, of the activation `kind` of CURVES with its numbers, 3 of them;
     * <= 3 ulp, GELU and MISH <= 4 (N7), SILU with numbers of its own more (activations.py).  out may be x or dout. */
    void (*curve)(int kind, const double *numbers, const void *x, const void *dout, void *out, isize n);
    void (*log_softmax_backward)(const void *out, const void *dout, void *dx, isize rows, isize cols);
    /* out[i] = x[i] / (1 - rate), or 0 with the probability `rate`: a function of key and first + i (N10) */
    void (*dropout)(uint64_t key, double rate, isize first, const void *x, void *out, isize n);

    /* normalization: moments of columns; out; dgamma and dbeta; dx, of moments that are x's own if dgamma is given */
    normalization_kernel column_moments, normalize_columns, column_gradients, columns_backward;
    void (*blend)(const void *batch, double momentum, void *moving, isize n);   /* momentum moving + (1 - momentum) batch */
    normalization_kernel normalize_rows, rows_backward;     /* dx unless NULL; out becomes the rows without gamma, beta */

    /* reductions to one number, in 32 virtual lanes and chunks of 4096 (N6) */
    unary_kernel sum;
    void (*sizes)(const void *x, double *out, isize n);     /* out[0] += sum|x|, out[1] += sum(x^2), of one chunk */
    int (*has_zero)(const void *x, isize n);                    /* whether one of n >= 1 elements is 0 */
    /* out[r] = x[r] . y[r] for rows of n elements; y_row is 0 where all rows meet one y */
    void (*matvec)(const void *x, isize x_row, const void *y, isize y_row, void *out, isize rows, isize n);
    /* the same with one y, of x given as its transpose (n, rows) */
    void (*matvec_transposed)(const void *x, isize x_row, const void *y, void *out, isize rows, isize n);

    /* products */
    /* columns of a register tile: of product without steps and with them, and of product_update with steps */
    isize panel, list_panel, update_panel;
    void (*product)(const fastnn_product *p);
    void (*vecmat)(const fastnn_product *p);                                /* product of one row, without steps */
    void (*vecmat_transposed)(const fastnn_product *p);     /* the same of b given as its transpose (cols, k), from zero */
    /* of integers as wide as this table's reals, which wrap */
    void (*product_whole)(const fastnn_product *p);
    void (*matvec_whole)(const void *x, isize x_row, const void *y, void *out, isize rows, isize n);
    /* the same, but parameter (rows, cols; stride out_row) takes a step of rule with the product as its gradient */
    void (*product_update)(const fastnn_product *p, const fastnn_rule *rule, const fastnn_parameter *parameter);
    void (*transpose)(const void *x, isize x_row, void *out, isize out_row, isize rows, isize cols);  /* out (cols, rows) */
    void (*row_steps)(const void *x, isize rows, isize cols, const fastnn_steps *out);      /* lists of columns */
    void (*column_steps)(const void *x, isize rows, isize cols, isize from, isize to, const fastnn_steps *out);
    void (*column_entries)(const fastnn_entries *x, isize rows, isize cols, const fastnn_entries *out); /* x transposed */

    /* sparse layers, on transposed strips of `width` rows of a batch: x (I, width), dout (O, width), dx (I, width) */
    /* out (last - first, width) = bias, where it is not NULL, + the connections of units first .. last - 1 times x */
    void (*connect)(const fastnn_connections *w, const void *x, const void *bias, void *out, isize width, isize first,
                    isize last);
    void (*connect_back)(const fastnn_connections *w, const void *dout, void *dx, isize width, isize units); /* dx += */
    /* out[c * out_row + i] = x[index[i]][c]; i goes to `count` rounded up to whole vectors */
    void (*turn_rows)(const void *x, isize width, const int32_t *index, isize count, void *out, isize out_row);

    void (*loss[LOSSES])(const fastnn_loss *p);

    /* gradient (n) and weight (n) in place: what comes before a rule */
    void (*prepare)(const fastnn_rule *rule, const fastnn_parameter *parameter, void *gradient, isize n);
    /* weight (n) takes a step of rule with its gradient (n), prepared first */
    void (*update)(const fastnn_rule *rule, const fastnn_parameter *parameter, const void *gradient, isize n);

    /* out[r] = x[index[r]] * scale for rows of cols elements; index NULL takes rows 0, 1, ... */
    void (*gather[SOURCES])(const void *x, const int64_t *index, void *out, double scale, isize rows, isize cols);
    /* out[r] is the row of the identity matrix that label r names */
    void (*one_hot)(const int64_t *label, void *out, isize rows, isize cols);
} fastnn_kernels;

/* out[r * step] = the reduction of row r of x (rows, cols), its elements one after the other, rows x_row apart. */
typedef void (*reduction_kernel)(const void *x, isize x_row, void *out, isize step, isize rows, isize cols);

/* Sums are float32 and float64 for these, and 64 bits wide for integers; places are int64.  N6 along every row and every
 * column: lanes of 32, chunks of 4096 elements, whose results are joined in index order. */
typedef struct {
    reduction_kernel rows;
    reduction_kernel columns;           /* out[c * step] = the reduction of column c */
    /* out[i * step] = the results of chunks, partial (chunks, n), joined; NULL for places */
    void (*join)(const void *partial, isize chunks, void *out, isize step, isize n);
} fastnn_reduction;

typedef struct {
    fastnn_reduction of[REDUCTIONS];        /* REDUCE_MEAN: of int64 alone, exact and in float64 */
    void (*divide)(void *out, isize step, isize n, isize count);    /* sums in out (n) to means; of integers in float64 */
} fastnn_reductions;

/* dispatch.c: the CPU is asked once; FASTNN_ISA forces one of the sets that are compiled and supported. */
int fastnn_isa_count(void);                         /* compiled sets, the plainest first */
const char *fastnn_isa_name(int isa);
int fastnn_isa_supported(int isa);
int fastnn_isa_best(void);
isize fastnn_close_bytes(void);                     /* of the first cache, L1, of which a panel may take most */
const fastnn_kernels *fastnn_table(int isa, int dtype);
const fastnn_reductions *fastnn_reduction_table(int isa, int element_type);
const fastnn_elementwise *fastnn_elementwise_table(int isa, int element);

/* threads.c: fn(context, block, worker) for every block in [0, blocks), on up to the pool's threads; returns when all
 * are done.  worker < fastnn_threads() numbers the thread.  Blocks may run in any order and on any thread. */
typedef void (*fastnn_task)(void *context, isize block, int worker);
void fastnn_parallel(fastnn_task fn, void *context, isize blocks);
int fastnn_threads(void);
void fastnn_set_threads(int threads);               /* 1 to FASTNN_MAX_THREADS */
int fastnn_default_threads(void);
double fastnn_seconds(void);                        /* a clock that only goes forward */
void *fastnn_scratch(void);                         /* FASTNN_SCRATCH_BYTES of the calling thread's own */
enum { FASTNN_MAX_THREADS = 256, FASTNN_SCRATCH_BYTES = 131072 };

/* bytes.c: out (cols, rows) = transposed x (rows, cols); the dot of two vectors, which wraps; the reductions of rows of
 * booleans, NULL for their sum; a table */
void fastnn_transpose_bytes(const void *x, isize x_row, void *out, isize out_row, isize rows, isize cols);
uint8_t fastnn_dot_bytes(const uint8_t *x, const uint8_t *y, isize n);
extern const reduction_kernel fastnn_boolean_rows[REDUCTIONS];
extern const uint64_t fastnn_set_bits[256];         /* byte j of entry m is the number of its j-th bit that is set */

/* random.c: the counter-based generator SplitMix64 (Steele, Lea and Flood 2014); a stream is named by its key (N10). */
uint64_t fastnn_random_key(uint64_t seed, uint64_t stream, uint64_t position);
void fastnn_random_uniform(uint64_t key, double low, double high, double *out, isize n);    /* [low, high) */
/* normal of mean 0 and deviation 1; truncated: given that it is within [-2, 2] */
void fastnn_random_normal(uint64_t key, int truncated, double *out, isize n);
void fastnn_permutation(uint64_t key, int64_t *out, isize n);
/* out (hands, count): different cards of 0 .. cards - 1 for each hand, each card as often as any other; work: 3 * cards */
void fastnn_deal(uint64_t seed, isize cards, isize hands, isize count, int32_t *out, int64_t *work);

#endif
