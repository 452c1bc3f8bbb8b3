// reduce.cl: sums over one run of neighbouring axes, the template of fused sums.
//
// A tensor (OUTER, RUN, INNER) becomes (OUTER, INNER):
//     sum[o * INNER + c] = sum over r of x[(o * RUN + r) * INNER + c]
// Sums over rows have OUTER = 1, sums along rows INNER = 1. As in pointwise.cl this text is put into the
// program once for each fused step, with other values of
//     NAME, WORK        the names of the kernel and, CPU devices, of what a work-item does
//     PARAMETERS, ARGUMENTS  its buffers; the results are among them
//     SUMS, RESULTS     how many sums over the same elements it makes, and their buffers, "a, b"
//     ELEMENT(i, term)  computes what is summed at i, VECTOR elements of type T into term[q] for each sum q, and
//                       stores what others need of what it comes by
//     OUTER, RUN, INNER the sizes; VECTOR divides INNER, or RUN where INNER is 1
//     SIDE              CPU devices, INNER > 1: vectors that a work-item takes side by side; SIDE * VECTOR divides
//                       INNER
//     FOLD(v), STORE(v, p)  fold1 .. fold16, for VECTOR elements; stores a T at p
// The order of summation is fixed, so the same device gives the same bits every time.
//
// CPU devices: a work-item takes SIDE vectors of columns and walks down the run; no local memory, no barrier. Best
// they are whole rows: what lies in one piece comes from memory up to twice as fast as a part of each row, even where
// there are more sums than registers. Local size 1, OUTER * INNER / (SIDE * VECTOR) work-items (OUTER where INNER is
// 1).
//
// GPU devices, VECTOR = 1: a work-group adds up in local memory, some neighbouring columns by some lanes, places in
// the run. NDRange (INNER rounded up to columns, lanes, OUTER), local (columns, lanes, 1); lanes is a power of two,
// and columns * lanes at most GROUP. The launch chooses both, so that they fit what the device takes of the kernel.

#ifndef fold1 // the elements of a vector added up, by halves
#define fold1(v)  (v)
#define fold2(v)  ((v).lo + (v).hi)
#define fold4(v)  fold2((v).lo + (v).hi)
#define fold8(v)  fold4((v).lo + (v).hi)
#define fold16(v) fold8((v).lo + (v).hi)
#endif

#ifndef NAME // alone: the sums of each column of x (64, 512)
#define T          float
#define NAME       reduce
#define WORK       sum_columns
#ifndef APART
#define APART
#endif
#define PARAMETERS global const float *terms, global float *sum
#define ARGUMENTS  , terms, sum
#define SUMS       1
#define RESULTS    sum
#define ELEMENT(i, term) term[0] = terms[i]
#define VECTOR     1
#define SIDE       1
#define OUTER      1
#define RUN        64
#define INNER      512
#define FOLD       fold1
#define STORE(v, p) *(p) = (v)
#endif

#ifndef GROUP // the most work-items of a work-group on GPU devices
#define GROUP 256
#endif

// Adds x to `total`. What rounding takes away is kept in `lost` and given back with the next x: Kahan 1965. So
// the error does not grow with the length of the sum; plain sums over 64 rows were 2 to 4 times as far from
// the truth, seen in the trained weights. It needs no more memory traffic, and addition is not the limit here.
#define ADD(T, total, lost, x)                                                                               \
    {                                                                                                        \
        const T y = (x) - lost, t = total + y;                                                               \
        lost = (t - total) - y;                                                                              \
        total = t;                                                                                           \
    }

#ifndef EACH_SIDE // unrolled, so that the sums are registers
#define EACH_SIDE(s) _Pragma("unroll") for (uint s = 0; s < SIDE; s++)
#define EACH_SUM(q)  _Pragma("unroll") for (uint q = 0; q < SUMS; q++)
#endif

#ifdef GANC_GPU

kernel void NAME(PARAMETERS) {
    global float *const result[SUMS] = {RESULTS};
    local float part[SUMS][GROUP];
    const uint columns = get_local_size(0), lanes = get_local_size(1);
    const uint x = get_local_id(0), lane = get_local_id(1);
    const uint c = get_global_id(0), o = get_global_id(2);
    float own[SUMS], lost[SUMS], term[SUMS];
    EACH_SUM(q) own[q] = lost[q] = 0.0f;
    if (c < INNER)
        for (uint r = lane; r < RUN; r += lanes) {
            ELEMENT((o * RUN + r) * INNER + c, term);
            EACH_SUM(q) ADD(float, own[q], lost[q], term[q])
        }
    EACH_SUM(q) part[q][lane * columns + x] = own[q];
    for (uint reach = lanes / 2; reach > 0; reach /= 2) {
        barrier(CLK_LOCAL_MEM_FENCE);
        if (lane < reach)
            EACH_SUM(q) part[q][lane * columns + x] += part[q][(lane + reach) * columns + x];
    }
    if (lane == 0 && c < INNER)
        EACH_SUM(q) result[q][o * INNER + c] = part[q][x];
}

#else
#if INNER > 1

static APART void WORK(const uint item, PARAMETERS) {
    global float *const result[SUMS] = {RESULTS};
    const uint items = INNER / (SIDE * VECTOR); // of a row
    const uint o = item / items, c = item % items * (SIDE * VECTOR);
    T total[SUMS][SIDE], lost[SUMS][SIDE], term[SUMS];
    EACH_SIDE(s) EACH_SUM(q) total[q][s] = lost[q][s] = (T)(0.0f);
    for (uint r = 0; r < RUN; r++) {
        const uint i = (o * RUN + r) * INNER + c;
        EACH_SIDE(s) {
            ELEMENT(i + s * VECTOR, term);
            EACH_SUM(q) ADD(T, total[q][s], lost[q][s], term[q])
        }
    }
    EACH_SIDE(s) EACH_SUM(q) STORE(total[q][s], result[q] + o * INNER + c + s * VECTOR);
}

#else

static APART void WORK(const uint o, PARAMETERS) {
    global float *const result[SUMS] = {RESULTS};
    T total[SUMS], lost[SUMS], term[SUMS];
    EACH_SUM(q) total[q] = lost[q] = (T)(0.0f);
    for (uint r = 0; r < RUN; r += VECTOR) {
        ELEMENT(o * RUN + r, term);
        EACH_SUM(q) ADD(T, total[q], lost[q], term[q])
    }
    EACH_SUM(q) result[q][o] = FOLD(total[q]);
}

#endif

kernel void NAME(PARAMETERS) {
    WORK(get_global_id(0) ARGUMENTS);
}

#endif
