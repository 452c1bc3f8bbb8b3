// PoCL's threads wait on a condition variable whenever they find nothing to do, as one of two does for some
// 20 us after most kernels of a step. To be woken takes them 40 us in a virtual machine, as long as a small
// kernel, and then perhaps on another core, far from what lies in their caches. So they look out for a while
// before they really wait, as OpenMP's threads do. On a Xeon of two cores steps took 0.94 to 0.97 of the
// time, of dcgan 0.98.
//
// PoCL has no setting for it. But what a library calls is looked up in the program first, which exports these
// three functions (CMakeLists.txt): they stand before the C library's, and call them. POSIX lets a wait on a
// condition variable end without a reason, so whoever waits looks again what has become of it.
#define _GNU_SOURCE // RTLD_NEXT, dlvsym
#include "cl/awake.h"
#include "base/clock.h"

#include <dlfcn.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#define SECONDS 50e-6 // most pauses between the kernels of a step are shorter

static atomic_bool staying_awake;
static atomic_uint signals; // on any condition variable
static atomic_uint found_awake;
static _Thread_local bool is_host;
static _Thread_local bool is_tired;      // it looked out in vain,
static _Thread_local unsigned last_seen; // and there were so many signals before

void threads_stay_awake(bool awake) {
    is_host = true;
    atomic_store(&staying_awake, awake);
}

unsigned threads_found_awake(void) {
    return atomic_load(&found_awake);
}

// The C library's function. Of glibc's two on x86-64, dlsym() may find the one for programs of before 2003.
static void *library_function(const char *name) {
    void *function = NULL;
#ifdef __GLIBC__
    function = dlvsym(RTLD_NEXT, name, "GLIBC_2.3.2");
#endif
    return function ? function : dlsym(RTLD_NEXT, name);
}

// Declares `real`, the C library's function of this name, looked up once.
#define REAL(result, name, ...)                                                                              \
    static _Atomic(void *) found;                                                                            \
    if (!atomic_load(&found)) {                                                                              \
        atomic_store(&found, library_function(name));                                                        \
    }                                                                                                        \
    result (*real)(__VA_ARGS__) = (result(*)(__VA_ARGS__))atomic_load(&found)

int pthread_cond_signal(pthread_cond_t *condition) {
    REAL(int, "pthread_cond_signal", pthread_cond_t *);
    atomic_fetch_add(&signals, 1);
    return real(condition);
}

int pthread_cond_broadcast(pthread_cond_t *condition) {
    REAL(int, "pthread_cond_broadcast", pthread_cond_t *);
    atomic_fetch_add(&signals, 1);
    return real(condition);
}

// Until anybody signals something. Any other thread may have the core meanwhile.
static void look_out(unsigned seen) {
    double until = seconds_now() + SECONDS;
    while (atomic_load(&signals) == seen && seconds_now() < until) {
        sched_yield();
    }
}

// Having looked out it returns in any case, so that the caller looks whether what it waits for is there: that
// may have changed without a signal so far. Whoever then comes again, still without one, sleeps.
int pthread_cond_wait(pthread_cond_t *restrict condition, pthread_mutex_t *restrict mutex) {
    REAL(int, "pthread_cond_wait", pthread_cond_t *, pthread_mutex_t *);
    unsigned seen = atomic_load(&signals);
    if (!atomic_load(&staying_awake) || is_host || (is_tired && seen == last_seen)) {
        is_tired = false;
        return real(condition, mutex);
    }
    pthread_mutex_unlock(mutex);
    look_out(seen);
    pthread_mutex_lock(mutex);
    last_seen = seen;
    is_tired = atomic_load(&signals) == seen;
    atomic_fetch_add(&found_awake, !is_tired);
    return 0;
}
