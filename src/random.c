/* Random numbers by counter: SplitMix64 (Steele, Lea and Flood 2014), whose n-th output is a hash of key + n * GOLDEN,
 * so a stream is its key and nothing is lost on resume (N10).  Integers and one product: the same on every CPU. */
#include "fastnn.h"
#include <string.h>

static const uint64_t GOLDEN = 0x9e3779b97f4a7c15u;

static uint64_t mix(uint64_t z) {
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

uint64_t fastnn_random_key(uint64_t seed, uint64_t stream, uint64_t position) {
    return mix(mix(mix(seed + GOLDEN) + stream + GOLDEN) + position + GOLDEN);
}

/* out[i] uniform in [low, high) */
void fastnn_random_uniform(uint64_t key, double low, double high, double *out, isize n) {
    for (isize i = 0; i < n; i++)
        out[i] = low + (high - low) * ((double)(mix(key + (uint64_t)(i + 1) * GOLDEN) >> 11) * 0x1p-53);
}

/* log(x) for normal x > 0: x = 2^k m, sqrt(1/2) <= m < sqrt(2), log(m) = 2 artanh(s), s = (m - 1) / (m + 1). */
static double natural_log(double x) {
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    int64_t k = (int64_t)(bits - 0x3fe6a09e667f3bcdu) >> 52;
    bits -= (uint64_t)k << 52;
    memcpy(&x, &bits, sizeof x);
    double s = (x - 1) / (x + 1), square = s * s, sum = 0;
    for (int i = 21; i > 0; i -= 2) sum = sum * square + 1.0 / i;
    return (double)k * 0x1.62e42fefa39efp-1 + 2 * s * sum;
}

/* p(x) / q(x), the coefficients from the highest power down, the last of q being 1 */
static double quotient(const double p[8], const double q[8], double x) {
    double above = 0, below = 0;
    for (int i = 0; i < 8; i++) {
        above = above * x + p[i];
        below = below * x + q[i];
    }
    return above / below;
}

/* The x below which a normal variable is with probability p, to 1e-16 (Wichura 1988, algorithm AS 241, PPND16): sums,
 * products, quotients and roots alone, the same on every CPU. */
static double normal_quantile(double p) {
    static const double middle[2][8] = {
        {2.5090809287301226727e3, 3.3430575583588128105e4, 6.7265770927008700853e4, 4.5921953931549871457e4,
         1.3731693765509461125e4, 1.9715909503065514427e3, 1.3314166789178437745e2, 3.3871328727963666080e0},
        {5.2264952788528545610e3, 2.8729085735721942674e4, 3.9307895800092710610e4, 2.1213794301586595867e4,
         5.3941960214247511077e3, 6.8718700749205790830e2, 4.2313330701600911252e1, 1.0}};
    static const double side[2][8] = {
        {7.74545014278341407640e-4, 2.27238449892691845833e-2, 2.41780725177450611770e-1, 1.27045825245236838258e0,
         3.64784832476320460504e0, 5.76949722146069140550e0, 4.63033784615654529590e0, 1.42343711074968357734e0},
        {1.05075007164441684324e-9, 5.47593808499534494600e-4, 1.51986665636164571966e-2, 1.48103976427480074590e-1,
         6.89767334985100004550e-1, 1.67638483018380384940e0, 2.05319162663775882187e0, 1.0}};
    static const double end[2][8] = {
        {2.01033439929228813265e-7, 2.71155556874348757815e-5, 1.24266094738807843860e-3, 2.65321895265761230930e-2,
         2.96560571828504891230e-1, 1.78482653991729133580e0, 5.46378491116411436990e0, 6.65790464350110377720e0},
        {2.04426310338993978564e-15, 1.42151175831644588870e-7, 1.84631831751005468180e-5, 7.86869131145613259100e-4,
         1.48753612908506148525e-2, 1.36929880922735805310e-1, 5.99832206555887937690e-1, 1.0}};
    double q = p - 0.5;
    if (q >= -0.425 && q <= 0.425) return q * quotient(middle[0], middle[1], 0.180625 - q * q);
    double r = __builtin_sqrt(-natural_log(q < 0 ? p : 1 - p));
    double x = r <= 5 ? quotient(side[0], side[1], r - 1.6) : quotient(end[0], end[1], r - 5);
    return q < 0 ? -x : x;
}

void fastnn_random_normal(uint64_t key, int truncated, double *out, isize n) {
    const double low = truncated ? 0.022750131948179207 : 0;        /* the probability of being below -2 */
    for (isize i = 0; i < n; i++) {
        double u = ((double)(mix(key + (uint64_t)(i + 1) * GOLDEN) >> 12) + 0.5) * 0x1p-52;
        double x = normal_quantile(low + (1 - 2 * low) * u);
        out[i] = truncated && x > 2 ? 2 : truncated && x < -2 ? -2 : x;
    }
}

/* 0 .. n-1 shuffled (Fisher and Yates) */
void fastnn_permutation(uint64_t key, int64_t *out, isize n) {
    for (isize i = 0; i < n; i++) out[i] = i;
    for (isize i = n - 1; i > 0; i--) {
        uint64_t bits = mix(key + (uint64_t)i * GOLDEN) >> 32;
        isize j = n <= (isize)1 << 31 ? (isize)(bits * (uint64_t)(i + 1) >> 32)
                                      : (isize)(mix(key + (uint64_t)i * GOLDEN) % (uint64_t)(i + 1));
        int64_t kept = out[i];
        out[i] = out[j];
        out[j] = kept;
    }
}

/* out (hands, count): for each hand `count` different cards of 0 .. cards-1.  Decks are shuffled and dealt to the last
 * card, so that each card is in as many hands as any other, or in one more; those that a hand has already when a new deck
 * is begun go to that deck's end.  work has room for 3 * cards. */
void fastnn_deal(uint64_t seed, isize cards, isize hands, isize count, int32_t *out, int64_t *work) {
    int64_t *deck = work, *shuffled = work + cards, *holder = work + 2 * cards;
    uint64_t decks = 0;
    isize at = cards;
    for (isize i = 0; i < cards; i++) holder[i] = -1;
    for (isize h = 0; h < hands; h++)
        for (isize c = 0; c < count; c++, at++) {
            if (at == cards) {
                isize first = 0, last = cards - c;
                fastnn_permutation(fastnn_random_key(seed, decks++, 2), shuffled, cards);
                for (isize i = 0; i < cards; i++) deck[holder[shuffled[i]] == h ? last++ : first++] = shuffled[i];
                at = 0;
            }
            holder[deck[at]] = h;
            out[h * count + c] = (int32_t)deck[at];
        }
}
