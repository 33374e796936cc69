"""The kernels' twins in NumPy: obviously right, a few lines each; a fast kernel is only ever judged against its twin.

Shapes: x, out, dout, dx, y_pred, y_true are (B, O) or, where a kernel is element-wise, any one shape; row is (O,).
A twin computes in the precision of its arguments: give it float64 for float32 kernels, long double for float64 ones.
"""

import math

import numpy as np

# element-wise: x and out of any one shape


def linear(x):
    return x.copy()


def relu(x):
    return np.where(x <= 0, 0, x)  # NaN <= 0 is false, so NaN stays


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def add(x, y):
    return x + y


def add_row(x, row):
    """x (B, O), row (O,)"""
    return x + row[None, :]


exp, log, tanh = np.exp, np.log, np.tanh


# by row: x and out (B, O)


def softmax(x):
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


# backward: dx from out = f(x) and dout, all of one shape


def linear_backward(out, dout):
    return dout.copy()


def relu_backward(out, dout):
    return np.where(out > 0, dout, 0)


def sigmoid_backward(out, dout):
    return dout * out * (1 - out)


def tanh_backward(out, dout):
    return dout * (1 - out * out)


def softmax_backward(out, dout):
    return out * (dout - (out * dout).sum(axis=1, keepdims=True))


ACTIVATIONS = {
    "linear": (linear, linear_backward),
    "relu": (relu, relu_backward),
    "sigmoid": (sigmoid, sigmoid_backward),
    "tanh": (tanh, tanh_backward),
    "softmax": (softmax, softmax_backward),
}


# reductions and products


def dot(x, y):
    """x (n,), y (n,) -> ()"""
    return (x * y).sum()


def sum(x):
    """x of any shape -> ()"""
    return x.sum()


def matvec(x, y):
    """x (B, n), y (n,) -> (B,)"""
    return (x * y[None, :]).sum(axis=1)


def matmul(x, y, transpose_x=False, transpose_y=False):
    """x (m, k) or transposed (k, m), y (k, n) or transposed (n, k) -> (m, n)"""
    return (x.T if transpose_x else x) @ (y.T if transpose_y else y)


# the order of rounding in float32: float64 holds a product of two exactly, and its sum to well below a rounding


def fma_chains(x, y):
    """x (m, k), y (k, n), float32 -> (m, n): each element one FMA chain in increasing k (N1)"""
    out = np.zeros((len(x), y.shape[1]), "float32")
    for column, row in zip(x.T.astype("float64"), y.astype("float64"), strict=True):
        out = (out + np.outer(column, row)).astype("float32")
    return out + 0


def lanes(terms):
    """float64 terms (n,) -> (): 32 lanes in order and one halving tree, chunks of 4096 added in order (N6)"""
    total = np.float32(0)
    for first in range(0, len(terms), 4096):
        chunk, acc = terms[first : first + 4096], np.zeros(32, "float32")
        for row in np.pad(chunk, (0, -len(chunk) % 32)).reshape(-1, 32):
            acc = (acc + row).astype("float32")
        while len(acc) > 1:
            acc = acc[: len(acc) // 2] + acc[len(acc) // 2 :]
        total += acc[0]
    return total


# losses: y_pred, y_true (B, O) -> the loss of each row (B,), and the gradient (B, O) of their sum over y_pred


def clip(q, dtype):
    """To [1e-7, 1 - 1e-7] as Keras, both ends being numbers of the dtype, and which elements were inside."""
    low, high = (np.dtype(dtype).type(end) for end in (1e-7, 1 - 1e-7))
    return np.clip(q, low, high), (q >= low) & (q <= high)


def mse(y_pred, y_true, dtype="float64"):
    d = y_pred - y_true
    return (d * d).mean(axis=1), 2 * d / d.shape[1]


def mae(y_pred, y_true, dtype="float64"):
    d = y_pred - y_true
    return np.abs(d).mean(axis=1), np.sign(d) / d.shape[1]


def binary_crossentropy(y_pred, y_true, dtype="float64"):
    q, inside = clip(y_pred, dtype)
    loss = -(y_true * np.log(q) + (1 - y_true) * np.log(1 - q))
    return loss.mean(axis=1), np.where(inside, (q - y_true) / (q * (1 - q)), 0) / q.shape[1]


def categorical_crossentropy(y_pred, y_true, dtype="float64"):
    total = y_pred.sum(axis=1, keepdims=True)
    q, inside = clip(y_pred / total, dtype)
    kept = (y_true * inside).sum(axis=1, keepdims=True)
    return -(y_true * np.log(q)).sum(axis=1), (kept - np.where(inside, y_true / q, 0)) / total


def sigmoid_crossentropy(logits, y_true, dtype="float64"):
    loss = np.maximum(logits, 0) - logits * y_true + np.log1p(np.exp(-np.abs(logits)))
    return loss.mean(axis=1), (sigmoid(logits) - y_true) / logits.shape[1]


def softmax_crossentropy(logits, y_true, dtype="float64"):
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_softmax = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return -(y_true * log_softmax).sum(axis=1), softmax(logits) * y_true.sum(axis=1, keepdims=True) - y_true


def mape(y_pred, y_true, dtype="float64"):
    d, size = y_pred - y_true, np.maximum(np.abs(y_true), np.dtype(dtype).type(1e-7).astype("float64"))
    return 100 * np.abs(d / size).mean(axis=1), 100 * np.sign(d) / size / d.shape[1]


def msle(y_pred, y_true, dtype="float64"):
    q, t = np.maximum(y_pred, 1e-7) + 1, np.maximum(y_true, 1e-7) + 1
    d = np.log(q) - np.log(t)
    return (d * d).mean(axis=1), np.where(y_pred >= 1e-7, 2 * d / q, 0) / d.shape[1]


def huber(y_pred, y_true, dtype="float64"):
    d = y_pred - y_true
    far = np.abs(d) > 1
    return np.where(far, np.abs(d) - 0.5, d * d / 2).mean(axis=1), np.where(far, np.sign(d), d) / d.shape[1]


def log_cosh(y_pred, y_true, dtype="float64"):
    d = y_pred - y_true
    return (np.logaddexp(d, -d) - np.log(2)).mean(axis=1), np.tanh(d) / d.shape[1]


def kl_divergence(y_pred, y_true, dtype="float64"):
    low = np.dtype(dtype).type(1e-7).astype("float64")
    q, t = np.clip(y_pred, low, 1), np.clip(y_true, low, 1)
    return (t * np.log(t / q)).sum(axis=1), np.where((y_pred >= low) & (y_pred <= 1), -t / q, 0)


def poisson(y_pred, y_true, dtype="float64"):
    return (y_pred - y_true * np.log(y_pred + 1e-7)).mean(axis=1), (1 - y_true / (y_pred + 1e-7)) / y_pred.shape[1]


def signs(y_true):
    return 2 * y_true - 1 if np.isin(y_true, [0, 1]).all() else y_true


def hinge(y_pred, y_true, dtype="float64"):
    t = signs(y_true)
    margin = 1 - t * y_pred
    return np.maximum(margin, 0).mean(axis=1), np.where(margin > 0, -t, 0) / t.shape[1]


def squared_hinge(y_pred, y_true, dtype="float64"):
    t = signs(y_true)
    margin = np.maximum(1 - t * y_pred, 0)
    return (margin * margin).mean(axis=1), -2 * t * margin / t.shape[1]


def categorical_hinge(y_pred, y_true, dtype="float64"):
    wrong = (1 - y_true) * y_pred
    most = wrong.max(axis=1, keepdims=True)
    margin = most[:, 0] - (y_true * y_pred).sum(axis=1) + 1
    slope = (wrong == most) * (1 - y_true) / (wrong == most).sum(axis=1, keepdims=True) - y_true
    return np.maximum(margin, 0), np.where(margin[:, None] > 0, slope, 0)


def cosine_similarity(y_pred, y_true, dtype="float64"):
    with np.errstate(divide="ignore"):
        p, t = (np.minimum(1 / np.sqrt((x * x).sum(axis=1, keepdims=True)), 1e7) for x in (y_pred, y_true))
    inner = (y_pred * y_true).sum(axis=1, keepdims=True)
    return -(inner * p * t)[:, 0], -(y_true - y_pred * inner * np.where(p < 1e7, p * p, 0)) * p * t


LOSSES = {
    f.__name__: f
    for f in (mse, mae, mape, msle, huber, log_cosh, kl_divergence, poisson, hinge, squared_hinge, categorical_hinge,
              cosine_similarity, binary_crossentropy, categorical_crossentropy, sigmoid_crossentropy,
              softmax_crossentropy)
}


# matches: y_pred, y_true (B, O) -> (B,)


def binary_accuracy(y_pred, y_true):
    return ((y_pred > 0.5) == y_true).mean(axis=1)


def categorical_accuracy(y_pred, y_true):
    return (y_pred.argmax(axis=1) == y_true.argmax(axis=1)) & ~np.isnan(y_pred).any(axis=1)


# update rules as in Keras: g, weight and slots of any one shape; step counts from 1 -> the new weight and slots


def sgd(g, step, weight, *, learning_rate):
    return (weight - learning_rate * g,)


def momentum(g, step, weight, velocity, *, learning_rate, momentum):
    velocity = momentum * velocity - learning_rate * g
    return weight + velocity, velocity


def nesterov(g, step, weight, velocity, *, learning_rate, momentum):
    velocity = momentum * velocity - learning_rate * g
    return weight + momentum * velocity - learning_rate * g, velocity


def rmsprop(g, step, weight, mean_square, *, learning_rate, rho, epsilon):
    mean_square = rho * mean_square + (1 - rho) * g * g
    return weight - learning_rate * g / np.sqrt(mean_square + epsilon), mean_square


def adagrad(g, step, weight, accumulator, *, learning_rate, epsilon):
    accumulator = accumulator + g * g
    return weight - learning_rate * g / np.sqrt(accumulator + epsilon), accumulator


def adam(g, step, weight, m, v, *, learning_rate, beta_1, beta_2, epsilon):
    m = beta_1 * m + (1 - beta_1) * g
    v = beta_2 * v + (1 - beta_2) * g * g
    rate = learning_rate * np.sqrt(1 - beta_2**step) / (1 - beta_1**step)
    return weight - rate * m / (np.sqrt(v) + epsilon), m, v


def amsgrad(g, step, weight, m, v, v_hat, *, learning_rate, beta_1, beta_2, epsilon):
    m = beta_1 * m + (1 - beta_1) * g
    v = beta_2 * v + (1 - beta_2) * g * g
    v_hat = np.maximum(v_hat, v)
    rate = learning_rate * np.sqrt(1 - beta_2**step) / (1 - beta_1**step)
    return weight - rate * m / (np.sqrt(v_hat) + epsilon), m, v, v_hat


def nadam(g, step, weight, m, v, *, learning_rate, beta_1, beta_2, epsilon):
    u = beta_1 * (1 - 0.5 * 0.96 ** np.arange(1, step + 2))
    m = beta_1 * m + (1 - beta_1) * g
    v = beta_2 * v + (1 - beta_2) * g * g
    m_hat = u[-1] * m / (1 - u.prod()) + (1 - u[-2]) * g / (1 - u[:-1].prod())
    return weight - learning_rate * m_hat / (np.sqrt(v / (1 - beta_2**step)) + epsilon), m, v


RULES = {f.__name__: f for f in (sgd, momentum, nesterov, rmsprop, adagrad, adam, amsgrad, nadam)}


def prepared(g, weight, *, l1=0, l2=0, scale=1, clipvalue=0, decay=0):
    """What comes before a rule: the gradient and the weight that it takes."""
    g = (g + l1 * np.sign(weight) + 2 * l2 * weight) * scale
    return np.clip(g, -clipvalue, clipvalue) if clipvalue else g, weight - decay * weight


# batches: x (n, I), index (B,), labels (B,)


def gather(x, index, scale=1):
    return x[index].astype("float64") * scale


def one_hot(labels, classes):
    return np.eye(classes)[labels]


# random numbers: SplitMix64 (Steele, Lea and Flood 2014) on Python's integers

GOLDEN, MASK = 0x9E3779B97F4A7C15, 2**64 - 1


def mix(z):
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 & MASK
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB & MASK
    return z ^ (z >> 31)


def splitmix64(key, n):
    """The first n outputs of the generator whose state starts at key."""
    return [mix((key + i * GOLDEN) & MASK) for i in range(1, n + 1)]


def random_key(*numbers):
    """The key of stream (seed, stream, position)."""
    key = 0
    for number in numbers:
        key = mix((key + number + GOLDEN) & MASK)
    return key


def uniform(n, low, high, key):
    return [low + (high - low) * ((bits >> 11) / 2**53) for bits in splitmix64(key, n)]


def permutation(n, key):
    """Fisher and Yates from the end; step i takes output i, scaled from its upper 32 bits."""
    order, bits = list(range(n)), [0, *splitmix64(key, n)]
    for i in range(n - 1, 0, -1):
        j = (bits[i] >> 32) * (i + 1) >> 32
        order[i], order[j] = order[j], order[i]
    return order


# normal quantiles: Wichura's algorithm AS 241 (PPND16); for each range the coefficients above and below the line

QUANTILES = {
    "middle": ([2.5090809287301226727e3, 3.3430575583588128105e4, 6.7265770927008700853e4,
                4.5921953931549871457e4, 1.3731693765509461125e4, 1.9715909503065514427e3,
                1.3314166789178437745e2, 3.3871328727963666080],
               [5.2264952788528545610e3, 2.8729085735721942674e4, 3.9307895800092710610e4,
                2.1213794301586595867e4, 5.3941960214247511077e3, 6.8718700749205790830e2,
                4.2313330701600911252e1, 1.0]),
    "side": ([7.74545014278341407640e-4, 2.27238449892691845833e-2, 2.41780725177450611770e-1,
                1.27045825245236838258, 3.64784832476320460504, 5.76949722146069140550, 4.63033784615654529590,
                1.42343711074968357734],
               [1.05075007164441684324e-9, 5.47593808499534494600e-4, 1.51986665636164571966e-2,
                1.48103976427480074590e-1, 6.89767334985100004550e-1, 1.67638483018380384940,
                2.05319162663775882187, 1.0]),
    "end": ([2.01033439929228813265e-7, 2.71155556874348757815e-5, 1.24266094738807843860e-3,
                2.65321895265761230930e-2, 2.96560571828504891230e-1, 1.78482653991729133580,
                5.46378491116411436990, 6.65790464350110377720],
               [2.04426310338993978564e-15, 1.42151175831644588870e-7, 1.84631831751005468180e-5,
                7.86869131145613259100e-4, 1.48753612908506148525e-2, 1.36929880922735805310e-1,
                5.99832206555887937690e-1, 1.0]),
}


def natural_log(x):
    mantissa, exponent = math.frexp(x)
    if mantissa < math.sqrt(0.5):
        mantissa, exponent = 2 * mantissa, exponent - 1
    s = (mantissa - 1) / (mantissa + 1)
    total = 0.0
    for i in range(21, 0, -2):
        total = total * (s * s) + 1 / i
    return exponent * 0.6931471805599453 + 2 * s * total


def normal_quantile(p):
    def quotient(name, x):
        above = below = 0.0
        for a, b in zip(*QUANTILES[name], strict=True):
            above, below = above * x + a, below * x + b
        return above / below

    q = p - 0.5
    if abs(q) <= 0.425:
        return q * quotient("middle", 0.180625 - q * q)
    r = math.sqrt(-natural_log(p if q < 0 else 1 - p))
    x = quotient("side", r - 1.6) if r <= 5 else quotient("end", r - 5)
    return -x if q < 0 else x


def normal(n, truncated, key):
    low = 0.022750131948179207 if truncated else 0.0        # the normal probability of being below -2
    u = [((bits >> 12) + 0.5) / 2**52 for bits in splitmix64(key, n)]
    found = [normal_quantile(low + (1 - 2 * low) * each) for each in u]
    return [min(max(x, -2.0), 2.0) for x in found] if truncated else found


def dropout_keeps(n, rate, seed, number, step):
    """Whether each of n numbers passes the dropout that is stage `number`, from a 32-bit hash of its place."""
    at, low = random_key(seed, 65536 + number, step), 2**32 - 1
    kept = []
    for x in range(n):
        x = (x * 0x9E3779B9 + (at & low)) & low
        x = (x ^ x >> 16) * 0x7FEB352D & low
        x = (x ^ x >> 15) + (at >> 32) & low
        x = (x ^ x >> 13) * 0x846CA68B & low
        kept.append(x ^ x >> 16 >= int(rate * 2**32))
    return np.array(kept)


# normalization: x (B, C), the others (C,)


def batch_normalization(x, gamma, beta, mean=None, variance=None, epsilon=1e-3):
    """By the moments given, or else by those of x."""
    mean = x.mean(axis=0) if mean is None else mean
    variance = x.var(axis=0) if variance is None else variance
    return (x - mean) / np.sqrt(variance + epsilon) * gamma + beta


def layer_normalization(x, gamma, beta, epsilon=1e-3):
    x = x - x.mean(axis=1, keepdims=True)
    return x / np.sqrt((x * x).mean(axis=1, keepdims=True) + epsilon) * gamma + beta
