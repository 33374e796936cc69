/* The thread pool.  One job at a time: blocks [0, blocks) are cut into one share a thread; a thread claims blocks of
 * its own share first, so that the data of a block stays in one core's cache, and then helps with the others'.  So a
 * preempted thread delays only the block that it holds.  Workers start on first use, spin a little for the next job,
 * then sleep.  A caller that finds the pool busy runs its blocks itself.
 *
 * A claim is one compare-and-swap on (job number << 32 | next block): a worker that comes late, with the number of a
 * job that has ended, fails it.  A job ends when `left` reaches zero, so what a successful claim has read of the job
 * is that job's.
 */
#define _GNU_SOURCE
#include "fastnn.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sched.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

enum { CACHE_LINE = 64 };
static const double SPIN_SECONDS = 50e-6;

typedef struct {
    _Alignas(CACHE_LINE) _Atomic uint64_t next;     /* job number << 32 | next block */
    _Atomic isize end;
} share;

static struct {
    pthread_mutex_t busy, lock;                     /* held by the job's caller; guards sleeping and starting */
    pthread_cond_t wake;
    int threads, started;                           /* callers and workers wanted; workers running */
    _Atomic int sleeping;
    _Alignas(CACHE_LINE) _Atomic uint32_t job;
    _Atomic(fastnn_task) fn;
    _Atomic(void *) context;
    _Atomic int members;                            /* threads that take part in this job */
    _Atomic int caller;                             /* the processor of the job's caller, or -1 */
    _Alignas(CACHE_LINE) _Atomic isize left;        /* blocks not yet done */
    share shares[FASTNN_MAX_THREADS];
} pool = {.busy = PTHREAD_MUTEX_INITIALIZER, .lock = PTHREAD_MUTEX_INITIALIZER, .wake = PTHREAD_COND_INITIALIZER, .threads = 1};

double fastnn_seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void relax(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* Claims and runs blocks of one share until none is left or the job is over. */
static void drain(share *s, uint32_t job, fastnn_task fn, void *context, int worker) {
    uint64_t next = atomic_load(&s->next);
    while ((uint32_t)(next >> 32) == job && (isize)(uint32_t)next < atomic_load(&s->end)) {
        if (!atomic_compare_exchange_weak(&s->next, &next, next + 1)) continue;
        fn(context, (isize)(uint32_t)next, worker);
        atomic_fetch_sub(&pool.left, 1);
        next = atomic_load(&s->next);
    }
}

static void take_part(uint32_t job, int worker) {
    fastnn_task fn = atomic_load(&pool.fn);
    void *context = atomic_load(&pool.context);
    int members = atomic_load(&pool.members);
    for (int i = 0; worker < members && i < members; i++)
        drain(&pool.shares[(worker + i) % members], job, fn, context, worker);
}

static int processor(void) {
#if defined(__linux__)
    return sched_getcpu();
#else
    return -1;
#endif
}

/* Keeps a worker off the processor of its caller: woken there, as systems like to do, it would wait for its turn while
 * others idle, until the load is balanced many milliseconds later.  *off is the processor that it was kept off before. */
static void keep_off(int caller, int *off) {
#if defined(__linux__)
    cpu_set_t allowed;
    if (caller < 0 || caller == *off || sched_getaffinity(0, sizeof allowed, &allowed)) return;
    if (*off >= 0) CPU_SET((unsigned)*off, &allowed);
    if (CPU_ISSET((unsigned)caller, &allowed)) CPU_CLR((unsigned)caller, &allowed);
    else caller = -1;
    if (CPU_COUNT(&allowed) && !sched_setaffinity(0, sizeof allowed, &allowed)) *off = caller;
#else
    (void)caller, (void)off;
#endif
}

static void *work(void *argument) {
    int worker = (int)(isize)argument, off = -1;
    uint32_t seen = 0;
    for (;;) {
        double until = fastnn_seconds() + SPIN_SECONDS;
        while (atomic_load(&pool.job) == seen && fastnn_seconds() < until)
            for (int i = 0; i < 32 && atomic_load(&pool.job) == seen; i++) relax();
        if (atomic_load(&pool.job) == seen) {
            pthread_mutex_lock(&pool.lock);
            atomic_fetch_add(&pool.sleeping, 1);
            while (atomic_load(&pool.job) == seen) pthread_cond_wait(&pool.wake, &pool.lock);
            atomic_fetch_sub(&pool.sleeping, 1);
            pthread_mutex_unlock(&pool.lock);
        }
        seen = atomic_load(&pool.job);
        keep_off(atomic_load(&pool.caller), &off);
        take_part(seen, worker);
    }
    return NULL;
}

static void before_fork(void) {
    pthread_mutex_lock(&pool.busy);
    pthread_mutex_lock(&pool.lock);
}

static void after_fork_in_parent(void) {
    pthread_mutex_unlock(&pool.lock);
    pthread_mutex_unlock(&pool.busy);
}

/* The child has no workers; they start again on first use. */
static void after_fork_in_child(void) {
    pool.started = 0;
    atomic_store(&pool.sleeping, 0);
    pthread_cond_init(&pool.wake, NULL);
    pthread_mutex_init(&pool.lock, NULL);
    pthread_mutex_init(&pool.busy, NULL);
}

/* Starts the workers that are missing; where the system refuses, the threads that there are do the work. */
static void start_workers(int members) {
    static int registered;
    if (!registered) {
        pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
        registered = 1;
    }
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    for (pthread_t id; pool.started < members - 1; pool.started++)
        if (pthread_create(&id, &attributes, work, (void *)(isize)(pool.started + 1))) break;
    pthread_attr_destroy(&attributes);
}

void fastnn_parallel(fastnn_task fn, void *context, isize blocks) {
    int members = pool.threads;
    if (members > blocks) members = (int)blocks;
    if (members < 2 || blocks > INT32_MAX || pthread_mutex_trylock(&pool.busy)) {
        for (isize i = 0; i < blocks; i++) fn(context, i, 0);
        return;
    }
    if (pool.started < members - 1) start_workers(members);
    uint32_t job = atomic_load(&pool.job) + 1;
    atomic_store(&pool.fn, fn);
    atomic_store(&pool.context, context);
    atomic_store(&pool.members, members);
    atomic_store(&pool.caller, processor());
    atomic_store(&pool.left, blocks);
    for (int i = 0; i < members; i++) {         /* `next` first: it locks late workers out before `end` grows */
        atomic_store(&pool.shares[i].next, (uint64_t)job << 32 | (uint64_t)(blocks * i / members));
        atomic_store(&pool.shares[i].end, blocks * (i + 1) / members);
    }
    atomic_store(&pool.job, job);
    if (atomic_load(&pool.sleeping)) {
        pthread_mutex_lock(&pool.lock);
        pthread_cond_broadcast(&pool.wake);
        pthread_mutex_unlock(&pool.lock);
    }
    take_part(job, 0);
    for (double until = fastnn_seconds() + SPIN_SECONDS; atomic_load(&pool.left);) {
        for (int i = 0; i < 32 && atomic_load(&pool.left); i++) relax();
        if (fastnn_seconds() > until) sched_yield();       /* the block's holder may need this very core */
    }
    pthread_mutex_unlock(&pool.busy);
}

int fastnn_threads(void) { return pool.threads; }

void fastnn_set_threads(int threads) {
    pthread_mutex_lock(&pool.busy);
    pool.threads = threads < 1 ? 1 : threads > FASTNN_MAX_THREADS ? FASTNN_MAX_THREADS : threads;
    pthread_mutex_unlock(&pool.busy);
}

/* The processors that this process may run on, or its container's share of them if that is less. */
int fastnn_default_threads(void) {
    long threads = sysconf(_SC_NPROCESSORS_ONLN);
#if defined(__linux__)
    cpu_set_t allowed;
    if (!sched_getaffinity(0, sizeof allowed, &allowed)) threads = CPU_COUNT(&allowed);
    FILE *quota = fopen("/sys/fs/cgroup/cpu.max", "r");
    if (quota) {
        double used, period;
        if (fscanf(quota, "%lf %lf", &used, &period) == 2 && used < threads * period)
            threads = (long)((used + period - 1) / period);
        fclose(quota);
    }
#endif
    return threads < 1 ? 1 : threads > FASTNN_MAX_THREADS ? FASTNN_MAX_THREADS : (int)threads;
}

void *fastnn_scratch(void) {
    static _Thread_local _Alignas(CACHE_LINE) char scratch[FASTNN_SCRATCH_BYTES];
    return scratch;
}
