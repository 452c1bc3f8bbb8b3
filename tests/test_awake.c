// Threads that stay awake: no signal is lost, and PoCL's threads are among them.
#include "cl/awake.h"
#include "cl/device.h"
#include "ganc.h"
#include "test.h"

#include <pthread.h>
#include <unistd.h>

// ---- Signals -----------------------------------------------------------------------------------------

// A turn that goes round `PLAYERS` threads, each of which waits for its own.
enum { PLAYERS = 3, ROUNDS = 3000 };

typedef struct {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    int turn;
    int pause;    // microseconds before a turn is passed on
    bool outside; // is the mutex free when it is signalled?
} ring;

typedef struct {
    ring *ring;
    int number;
} player;

static void *play(void *argument) {
    const player *me = argument;
    ring *r = me->ring;
    for (int i = 0; i < ROUNDS; i++) {
        pthread_mutex_lock(&r->mutex);
        while (r->turn % PLAYERS != me->number)
            pthread_cond_wait(&r->changed, &r->mutex);
        if (r->pause)
            usleep((useconds_t)r->pause);
        r->turn++;
        if (r->outside)
            pthread_mutex_unlock(&r->mutex);
        pthread_cond_broadcast(&r->changed);
        if (!r->outside)
            pthread_mutex_unlock(&r->mutex);
    }
    return NULL;
}

// A signal that is lost leaves all of them waiting, until Check's time is over.
static void check_ring(int pause, bool outside) {
    ring r = {.mutex = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
    r.pause = pause;
    r.outside = outside;
    pthread_t threads[PLAYERS];
    player players[PLAYERS];
    for (int i = 0; i < PLAYERS; i++) {
        players[i] = (player){&r, i};
        ck_assert_int_eq(pthread_create(&threads[i], NULL, play, &players[i]), 0);
    }
    for (int i = 0; i < PLAYERS; i++)
        pthread_join(threads[i], NULL);
    ck_assert_int_eq(r.turn, PLAYERS * ROUNDS);
}

START_TEST(no_signal_is_lost) {
    threads_stay_awake(true);
    unsigned before = threads_found_awake();
    for (int outside = 0; outside < 2; outside++) {
        check_ring(0, outside);
        check_ring(50, outside); // as long as they look out: some are just about to fall asleep
    }
    ck_assert_uint_gt(threads_found_awake(), before);
}
END_TEST

START_TEST(they_sleep_where_it_is_off) {
    threads_stay_awake(false);
    check_ring(0, false);
    ck_assert_uint_eq(threads_found_awake(), 0);
}
END_TEST

// ---- PoCL --------------------------------------------------------------------------------------------

// Opens the device and runs a small program until a thread was found awake, at most so often.
static unsigned found_in_runs(int most, bool *pocl) {
    gn_state *state = gn_state_new(0);
    gn_graph *graph = gn_graph_new(state);
    gn_variable *x = gn_state_add(state, "x", GN_F32, gn_shape_of(2, 64, 64), NULL);
    gn_node *value = gn_read(graph, x);
    gn_assign(graph, x, gn_add(value, value));
    gn_device *device = gn_device_open("cpu", NULL);
    *pocl = device && device_is_pocl(&device->info);
    if (*pocl) {
        gn_program *program = gn_program_new(device, graph);
        for (int i = 0; i < most && threads_found_awake() == 0; i++)
            ck_assert_msg(gn_program_run(program) && gn_device_wait(device), "%s", gn_error());
        gn_program_free(program);
    }
    gn_device_free(device);
    gn_graph_free(graph);
    gn_state_free(state);
    return threads_found_awake();
}

START_TEST(threads_of_pocl_stay_awake) {
    bool pocl;
    unsigned found = found_in_runs(10000, &pocl);
    if (pocl)
        ck_assert_uint_gt(found, 0);
}
END_TEST

START_TEST(the_switch_lets_them_sleep) {
    bool pocl;
    setenv("GANC_OFF", "awake", 1);
    ck_assert_uint_eq(found_in_runs(100, &pocl), 0);
}
END_TEST

Suite *test_suite(void) {
    Suite *suite = suite_create("awake");
    TCase *signals = tcase_create("signals"), *driver = tcase_create("pocl");
    tcase_add_test(signals, no_signal_is_lost);
    tcase_add_test(signals, they_sleep_where_it_is_off);
    tcase_add_test(driver, threads_of_pocl_stay_awake);
    tcase_add_test(driver, the_switch_lets_them_sleep);
    suite_add_tcase(suite, signals);
    suite_add_tcase(suite, driver);
    return suite;
}
