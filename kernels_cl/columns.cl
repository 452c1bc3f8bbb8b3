// columns.cl: sums over the rows of matrices (RUN, INNER) and what is around them, column by column.
//
// A batch norm needs the mean of each column, then the deviations from it, then the mean of their squares, then
// all of them once more. No column needs another, so one launch does it: a work-item keeps what a column has one
// of in registers, and walks down the rows as often as there are sums that need each other:
//
//     EACH_ROW(r) { ... ADD(T, mean, lost, ...) }   mean = TOTAL(at, 0, mean);
//     EACH_ROW(r) { ... }                           and so on; what it read is in the cache then
//
// host/cl/codegen.c writes such a function for each step, and puts this text behind it, each time with
// other values of
//     NAME, PARAMETERS  the kernel's name and its buffers
//     BODY(at)          calls the function
//     RUN, INNER        the sizes; VECTOR columns to a work-item, which divides INNER
//     T, STORE(v, p)    the type of VECTOR elements; stores them at p
// What is stored for each row is stored in the loops, what is stored for a column by STORE_COLUMN at the end:
// it may replace what the loops read. ADD is reduce.cl's.
//
// CPU devices: local size 1, INNER / VECTOR work-items.
//
// GPU devices, VECTOR = 1: some neighbouring columns by a few lanes, which share the rows and add up in local
// memory. NDRange (INNER rounded up to columns, lanes), local (columns, lanes); there are at most 8 lanes, and
// columns * lanes is at most GROUP. Work-items right of the last column do what those of the last column do, since all
// must come to the barriers, and store nothing.

#ifndef EACH_ROW

#ifndef GROUP // the most work-items of a work-group on GPU devices
#define GROUP 256
#endif

typedef struct {
    uint column; // the first of the work-item's
#ifdef GANC_GPU
    uint inside; // is it one?
    uint lane, lanes;
    local float *part; // for the work-group's sums, two times GROUP
#endif
} place;

#ifdef GANC_GPU
#define EACH_ROW(r)               for (uint r = at.lane; r < RUN; r += at.lanes)
#define STORE_ROW(at, v, p)       if ((at).inside) STORE(v, p)
#define WAIT_FOR_READERS          barrier(CLK_LOCAL_MEM_FENCE | CLK_GLOBAL_MEM_FENCE)
#define STORE_COLUMN(at, v, p)    if ((at).inside && (at).lane == 0) STORE(v, p)

// The sum of the lanes' values, for each of them, who all add up all, by halves. Lane by lane less would be added,
// but with as many barriers more, which cost more, and PoCL minutes to compile. One is enough where `turn` is 0, 1,
// 0, 1, ... from call to call: all who read a half meet in the next call, before it is written again.
#define PART(lane) ((lane) < at.lanes ? part[(lane) * columns] : 0.0f)

static float TOTAL(const place at, const uint turn, float own) {
    const uint columns = get_local_size(0);
    local float *part = at.part + turn * GROUP + get_local_id(0);
    part[at.lane * columns] = own;
    barrier(CLK_LOCAL_MEM_FENCE);
    return ((PART(0) + PART(4)) + (PART(2) + PART(6))) + ((PART(1) + PART(5)) + (PART(3) + PART(7)));
}
#else
#define EACH_ROW(r)            for (uint r = 0; r < RUN; r++)
#define STORE_ROW(at, v, p)    STORE(v, p)
#define WAIT_FOR_READERS
#define STORE_COLUMN(at, v, p) STORE(v, p)
#define TOTAL(at, turn, own)   (own)
#endif
#endif

#ifndef NAME // alone: y = x less the mean of its column
#define NAME        columns
#define PARAMETERS  global const float *x, global float *y
#define BODY(at)    subtract_mean(at, x, y)
#define RUN         64
#define INNER       512
#define VECTOR      1
#define STORE(v, p) *(p) = (v)
static void subtract_mean(const place at, PARAMETERS) {
    float mean = 0.0f;
    EACH_ROW(r) mean += x[r * INNER + at.column] / RUN;
    mean = TOTAL(at, 0, mean);
    EACH_ROW(r) STORE_ROW(at, x[r * INNER + at.column] - mean, y + r * INNER + at.column);
}
#endif

kernel void NAME(PARAMETERS) {
#ifdef GANC_GPU
    local float part[2 * GROUP];
    const uint c = get_global_id(0);
    const place at = {min(c, (uint)INNER - 1), c < INNER, get_local_id(1), get_local_size(1), part};
#else
    const place at = {get_global_id(0) * VECTOR};
#endif
    BODY(at);
}
