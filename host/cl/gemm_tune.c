// Which way to make a product is fastest on a device, by measuring.
//
// The ways take turns within each round, so that whatever else the machine does slows all alike, each on
// several sets of matrices, which are written anew before it: operands then come from where a training step
// finds them, the outer caches and those of other cores. What is only read again and again comes from nearer,
// where on a Xeon other ways are the fastest: wgan-gp's step took 3% longer by those. The first way is
// compared with the host, the others with the first, bit by bit.
//
// What the ways are is left to the engine.
#include "base/clock.h"
#include "base/error.h"
#include "base/numbers.h"
#include "cl/gemm_engines.h"
#include "cl/kernels.h"
#include "cl/memory.h"
#include "cl/profile.h"

#include <math.h>
#include <string.h>

enum {
    MAX_SETS = 64,
    SETS_BYTES = 24 << 20,
    WARM_UP = 1,
    TRIALS = 5,             // rounds after which ways that are far behind are measured no more
    OPERATIONS = 100000000, // of one time at least, lest the wait for it weighs more
    MAX_REPEATS = 16
};

#define WORTH_IT   0.03 // what another way must gain, lest it wins by chance
#define FAR_BEHIND 0.1  // that of the best, and the gain that is missing

typedef struct {
    gemm *products;
    gemm_shape shape;
    gemm_ways ways;
    cl_mem a[MAX_SETS], b[MAX_SETS], c[MAX_SETS];
    cl_mem original_a, original_b;
    int sets, repeats;
    gemm_call *calls[MAX_WAYS][MAX_SETS];
    float *first, *other;   // C as the first way makes it, and another
    double *seconds;        // by way and round
    int measured[MAX_WAYS]; // rounds
    bool dropped[MAX_WAYS];
} tuner;

static size_t elements(int rows, int columns) {
    return (size_t)rows * (size_t)columns;
}

static bool make_buffers(tuner *t, int most_sets) {
    static const char what[] = "tuning matrix products";
    gemm_shape s = t->shape;
    size_t na = elements(s.m, s.k), nb = elements(s.k, s.n), nc = elements(s.m, s.n);
    size_t bytes = sizeof(float) * (na + nb + nc);
    t->sets = bytes < SETS_BYTES ? (int)(SETS_BYTES / bytes) : 1;
    t->sets = t->sets < most_sets ? t->sets : most_sets;
    double operations = 2.0 * s.m * s.n * s.k * t->sets, repeats = ceil(OPERATIONS / operations);
    t->repeats = repeats < MAX_REPEATS ? (int)repeats : MAX_REPEATS;
    t->first = gn_calloc(nc, sizeof(float));
    t->other = gn_calloc(nc, sizeof(float));
    float *a = gemm_random_values(na, 1), *b = gemm_random_values(nb, 2);
    const gn_device *device = t->products->device;
    bool made = true;
    for (int i = 0; i < t->sets && made; i++) {
        made = (t->a[i] = memory_buffer(device, na * sizeof *a, what, a)) &&
               (t->b[i] = memory_buffer(device, nb * sizeof *b, what, b)) &&
               (t->c[i] = memory_buffer(device, nc * sizeof(float), what, NULL));
    }
    made = made && (t->original_a = memory_buffer(device, na * sizeof *a, what, a)) &&
           (t->original_b = memory_buffer(device, nb * sizeof *b, what, b));
    free(a);
    free(b);
    return made;
}

// Writes the operands of all sets, so that no core has read them since.
static bool write_operands(const tuner *t) {
    cl_command_queue queue = t->products->device->queue;
    size_t a = sizeof(float) * elements(t->shape.m, t->shape.k),
           b = sizeof(float) * elements(t->shape.k, t->shape.n);
    cl_int status = CL_SUCCESS;
    for (int i = 0; i < t->sets && status == CL_SUCCESS; i++) {
        status = clEnqueueCopyBuffer(queue, t->original_a, t->a[i], 0, 0, a, 0, NULL, NULL);
        if (status == CL_SUCCESS) {
            status = clEnqueueCopyBuffer(queue, t->original_b, t->b[i], 0, 0, b, 0, NULL, NULL);
        }
    }
    return status == CL_SUCCESS || gn_fail("clEnqueueCopyBuffer: %s", cl_error_name(status));
}

// Computes the first set this way.
static bool compute(tuner *t, int way, float *c) {
    cl_command_queue queue = t->products->device->queue;
    size_t bytes = sizeof(float) * elements(t->shape.m, t->shape.n);
    if (!gemm_call_enqueue(t->calls[way][0], NULL)) {
        return false;
    }
    cl_int status = clEnqueueReadBuffer(queue, t->c[0], CL_TRUE, 0, bytes, c, 0, NULL, NULL);
    return status == CL_SUCCESS || gn_fail("clEnqueueReadBuffer: %s", cl_error_name(status));
}

static bool make_calls(tuner *t, int way) {
    for (int i = 0; i < t->sets; i++) {
        if (!(t->calls[way][i] =
                  gemm_call_by(t->products, t->shape, t->ways.ids[way], t->a[i], t->b[i], t->c[i], NULL))) {
            return false;
        }
    }
    return true;
}

// Only the first way must be right; another that is not, or that the device refuses, is out.
static bool check_ways(tuner *t, gemm_tuning *out) {
    if (!gemm_is_right(t->products, t->shape, t->ways.ids[0]) || !make_calls(t, 0) ||
        !compute(t, 0, t->first)) {
        return false;
    }
    size_t bytes = sizeof(float) * elements(t->shape.m, t->shape.n);
    for (int w = 0; w < t->ways.count; w++) {
        bool made = w == 0 || (make_calls(t, w) && compute(t, w, t->other));
        out->candidates[w].right = made && (w == 0 || !memcmp(t->first, t->other, bytes));
        if (out->candidates[w].right) {
            gemm_way_is_right(t->products, t->ways.names[w]);
        }
    }
    return true;
}

static bool time_way(tuner *t, int way, double *seconds) {
    gn_device *device = t->products->device;
    if (!gn_device_wait(device)) {
        return false;
    }
    double began = seconds_now();
    for (int i = 0; i < t->sets * t->repeats; i++) {
        if (!gemm_call_enqueue(t->calls[way][i % t->sets], NULL)) {
            return false;
        }
    }
    bool done = gn_device_wait(device);
    *seconds = (seconds_now() - began) / (t->sets * t->repeats);
    return done;
}

// Ways are compared within a round: what else the machine does then slows them alike.
static void judge(const tuner *t, int rounds, gemm_tuning *out) {
    double operations = 2e-9 * t->shape.m * t->shape.n * t->shape.k;
    double *sample = gn_calloc((size_t)rounds, sizeof *sample);
    for (int way = 0; way < t->ways.count; way++) {
        gemm_candidate *c = &out->candidates[way];
        const double *seconds = &t->seconds[way * rounds];
        int measured = t->measured[way];
        if (!c->right) {
            c->gain = -1;
            continue;
        }
        for (int r = 0; r < measured; r++) {
            sample[r] = t->seconds[r] / seconds[r] - 1;
        }
        c->gain = median(sample, measured);
        memcpy(sample, seconds, (size_t)measured * sizeof *sample);
        c->gflops = operations / median(sample, measured);
    }
    free(sample);
}

// Drops the ways that are far behind, but for the first, with which all are compared.
static void drop_slow_ways(tuner *t, const gemm_tuning *out) {
    double best = 0;
    for (int way = 0; way < t->ways.count; way++) {
        best = fmax(best, out->candidates[way].gain);
    }
    for (int way = 1; way < t->ways.count; way++) {
        if (out->candidates[way].gain < best - FAR_BEHIND) {
            t->dropped[way] = true;
        }
    }
}

// Every other round goes backwards: whoever comes behind a slow one has its turn before it as well.
static bool measure(tuner *t, int rounds, gemm_tuning *out) {
    t->seconds = gn_calloc((size_t)t->ways.count * (size_t)rounds, sizeof(double));
    for (int way = 0; way < t->ways.count; way++) {
        t->dropped[way] = !out->candidates[way].right;
    }
    for (int r = -WARM_UP; r < rounds; r++) {
        for (int i = 0; i < t->ways.count; i++) {
            int way = r % 2 ? t->ways.count - 1 - i : i;
            double seconds;
            if (t->dropped[way]) {
                continue;
            }
            if (!write_operands(t) || !time_way(t, way, &seconds)) {
                return false;
            }
            if (r >= 0) {
                t->seconds[way * rounds + r] = seconds;
                t->measured[way]++;
            }
        }
        if (r == TRIALS - 1) {
            judge(t, rounds, out);
            drop_slow_ways(t, out);
        }
    }
    judge(t, rounds, out);
    return true;
}

static void choose(tuner *t, gemm_tuning *out) {
    for (int way = 1; way < out->count; way++) {
        double rival = out->candidates[out->chosen].gain;
        if (out->candidates[way].gain > (out->chosen ? rival : WORTH_IT)) {
            out->chosen = way;
        }
    }
    gemm_record *record = &t->products->record;
    json_object_set_new(record->chosen, gemm_shape_words(t->shape).text,
                        json_string(t->ways.names[out->chosen]));
    out->kept = gemm_record_write(record);
}

static void release(tuner *t) {
    for (int i = 0; i < t->sets; i++) {
        for (int way = 0; way < t->ways.count; way++) {
            gemm_call_free(t->calls[way][i]);
        }
        const cl_mem buffers[] = {t->a[i], t->b[i], t->c[i]};
        for (int j = 0; j < 3 && buffers[j]; j++) {
            clReleaseMemObject(buffers[j]);
        }
    }
    const cl_mem originals[] = {t->original_a, t->original_b};
    for (int i = 0; i < 2 && originals[i]; i++) {
        clReleaseMemObject(originals[i]);
    }
    free(t->first);
    free(t->other);
    free(t->seconds);
}

bool gemm_tune(gemm *products, gemm_shape shape, int rounds, gemm_tuning *out) {
    tuner t = {.products = products, .shape = shape, .ways = gemm_ways_of(products, shape)};
    *out = (gemm_tuning){.shape = shape, .count = t.ways.count};
    for (int way = 0; way < t.ways.count; way++) {
        memcpy(out->candidates[way].name, t.ways.names[way], GEMM_WAY);
    }
    bool done = make_buffers(&t, MAX_SETS) && check_ways(&t, out) && measure(&t, rounds, out);
    if (done) {
        choose(&t, out);
        gemm_forget_plans(products);
    }
    release(&t);
    return done || gn_fail_within("tuning %s", gemm_shape_words(shape).text);
}

bool gemm_find_untuned(const gemm *products, gemm_shape *shape) {
    for (int i = 0; i < products->shape_count; i++) {
        if (gemm_wants_tuning(products, products->shapes[i])) {
            *shape = products->shapes[i];
            return true;
        }
    }
    return false;
}

// ---- Order -------------------------------------------------------------------------------------------

// Seconds for a product in the concurrent queue where each waits for the one before, and the host, as in
// training, for the other queue.
static bool time_chain(tuner *t, double *seconds) {
    gn_device *device = t->products->device;
    cl_event before = NULL;
    if (!gn_device_wait(device)) {
        return false;
    }
    double began = seconds_now();
    cl_int status = clEnqueueMarkerWithWaitList(device->queue, 0, NULL, &before);
    bool done = status == CL_SUCCESS || gn_fail("clEnqueueMarkerWithWaitList: %s", cl_error_name(status));
    clFlush(device->queue);
    for (int i = 0; i < t->sets * t->repeats && done; i++) {
        cl_event ended = NULL;
        done = gemm_call_enqueue(t->calls[0][i % t->sets], &(launch_order){&before, 1, &ended});
        clReleaseEvent(before);
        before = ended;
    }
    clFlush(device->concurrent);
    if (before) {
        clEnqueueBarrierWithWaitList(device->queue, 1, &before, NULL);
        clReleaseEvent(before);
    }
    done = gn_device_wait(device) && done;
    *seconds = (seconds_now() - began) / (t->sets * t->repeats);
    return done;
}

// A device that takes this long for a small product, as a simulator does, is not measured: a large one takes
// tens of seconds there.
static bool is_slow(gemm *products, bool *slow) {
    const double limit = 0.01;
    tuner t = {.products = products, .shape = {false, false, 64, 64, 64}};
    t.ways = gemm_ways_of(products, t.shape);
    double first, second = INFINITY; // the first may compile
    bool done =
        make_buffers(&t, 1) && make_calls(&t, 0) && time_way(&t, 0, &first) && time_way(&t, 0, &second);
    release(&t);
    *slow = second > limit;
    return done;
}

// Intel's CPU runtime 2026.2 takes up to twice as long there: who waits for a queue works for it, and for no
// other.
static bool measure_order(gemm *products, bool *cheap) {
    enum { ROUNDS = 15 };
    const double allowed = 1.25; // of the shortest times: where the queues are alike, noise makes less
    bool slow;
    *cheap = false;
    if (!is_slow(products, &slow)) {
        return gn_fail_within("measuring a product");
    }
    if (slow) {
        return true;
    }
    tuner t = {.products = products, .shape = {false, false, 64, 512, 784}};
    t.ways = gemm_ways_of(products, t.shape);
    double in_order = INFINITY, chain = INFINITY, seconds;
    bool done = make_buffers(&t, 1) && make_calls(&t, 0) && time_way(&t, 0, &seconds);
    for (int r = 0; r < ROUNDS && done; r++) {
        done = time_way(&t, 0, &seconds);
        in_order = fmin(in_order, seconds);
        done = done && time_chain(&t, &seconds);
        chain = fmin(chain, seconds);
    }
    release(&t);
    *cheap = chain <= allowed * in_order;
    return done || gn_fail_within("measuring launches out of order");
}

bool gemm_order_is_cheap(gemm *products, bool *cheap) {
    gemm_record *record = &products->record;
    if (!record->ordered) {
        if (!measure_order(products, cheap)) {
            return false;
        }
        record->ordered = json_boolean(*cheap);
        gemm_record_write(record);
    }
    *cheap = json_is_true(record->ordered);
    return true;
}
