/* Random numbers by counter: SplitMix64 (Steele, Lea and Flood 2014), whose n-th output is a hash of key + n * GOLDEN,
 * so a stream is its key and nothing is lost on resume (N10).  Integers and one product: the same on every CPU. */
#include "fastnn.h"

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
