"""The kernels' twins in NumPy: obviously right, a few lines each; a fast kernel is only ever judged against its twin.

Shapes: x, out, dout, dx, y_pred, y_true are (B, O) or, where a kernel is element-wise, any one shape; row is (O,).
A twin computes in the precision of its arguments: give it float64 for float32 kernels, long double for float64 ones.
"""

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


LOSSES = {
    f.__name__: f
    for f in (mse, mae, binary_crossentropy, categorical_crossentropy, sigmoid_crossentropy, softmax_crossentropy)
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


def nadam(g, step, weight, m, v, *, learning_rate, beta_1, beta_2, epsilon):
    u = beta_1 * (1 - 0.5 * 0.96 ** np.arange(1, step + 2))
    m = beta_1 * m + (1 - beta_1) * g
    v = beta_2 * v + (1 - beta_2) * g * g
    m_hat = u[-1] * m / (1 - u.prod()) + (1 - u[-2]) * g / (1 - u[:-1].prod())
    return weight - learning_rate * m_hat / (np.sqrt(v / (1 - beta_2**step)) + epsilon), m, v


RULES = {f.__name__: f for f in (sgd, momentum, nesterov, rmsprop, adagrad, adam, nadam)}


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
