// conv.cl: between images and their patches, which is all of a convolution that is not a matrix product.
//
// A convolution moves a K by K window over an image, STRIDE pixels at a time, PADDING pixels of zeros around
// it. im2col makes the pixels under the window at each of its places one row of a matrix; col2im is the
// adjoint map: from such a matrix back to an image, each pixel the sum of its copies. With these,
//
//     conv2d:            y = im2col(x) w       dx = col2im(dy w')    dw = im2col(x)' dy
//     conv_transpose2d:  y = col2im(x w)       dx = im2col(dy) w'    dw = x' im2col(dy)
//
// Both maps are linear, and the gradient of each is the other. So convolution forward, backward by the data
// and backward by the weights, and derivatives of any order, are these two kernels and products.
//
//     image    (N, HEIGHT, WIDTH, CHANNELS)
//     columns  (N * OUT_HEIGHT * OUT_WIDTH, K * K * CHANNELS)
//     columns[(n, oy, ox), (ky, kx, c)] = image[n, oy * STRIDE + ky - PADDING, ox * STRIDE + kx - PADDING, c]
//
// As in pointwise.cl this text is put into the program once for each window that a program has, every time
// with other values of NAME, FUNCTION and the sizes in capitals. IM2COL or COL2IM says which of the two maps
// it is; VECTOR, which divides CHANNELS, how many channels are moved at a time.
//
// col2im gathers: each pixel looks up the columns that hold it, those with oy * STRIDE + ky = y + PADDING, at
// most ceil(K / STRIDE)^2 of them, in the order of ky, then kx. No atomics, the same bits every time.
//
// The loops over a window are of known length, and unrolled: where a pixel has a single channel they are most of
// the work.
//
// 1-D, any local size; more work-items do nothing. CPU devices: a work-item for each row of the columns or
// pixel of the image, n of them. GPU devices: one for each vector written, so that neighbours write to
// neighbouring places.

#ifndef NAME // alone: 3x3 windows, two pixels apart, over images (N, 16, 16, 32)
#define NAME       im2col
#define FUNCTION   im2col_vector
#define IM2COL
#define HEIGHT     16
#define WIDTH      16
#define CHANNELS   32
#define K          3
#define STRIDE     2
#define PADDING    1
#define OUT_HEIGHT 8
#define OUT_WIDTH  8
#define VECTOR     1
#define T          float
#define LOAD(p)    *(p)
#define STORE(v, p) *(p) = (v)
#endif

#define VECTORS (CHANNELS / VECTOR) // of a pixel

#ifdef IM2COL

// The vector of channels from c on, under place (ky, kx) of the window whose number is `place`.
static T FUNCTION(global const float *image, const uint place, const uint ky, const uint kx, const uint c) {
    const uint ox = place % OUT_WIDTH, oy = place / OUT_WIDTH % OUT_HEIGHT;
    const uint n = place / (OUT_WIDTH * OUT_HEIGHT);
    // Where these would be negative they wrap round to huge numbers, outside the image as well.
    const uint y = oy * STRIDE + ky - PADDING, x = ox * STRIDE + kx - PADDING;
    return y < HEIGHT && x < WIDTH ? LOAD(image + ((n * HEIGHT + y) * WIDTH + x) * CHANNELS + c) : (T)(0.0f);
}

kernel void NAME(global const float *image, global float *columns, const uint n) {
    const uint i = get_global_id(0);
    if (i < n) {
#ifdef GANC_GPU
        const uint tap = i / VECTORS % (K * K);
        const T v = FUNCTION(image, i / (VECTORS * K * K), tap / K, tap % K, i % VECTORS * VECTOR);
        STORE(v, columns + i * VECTOR);
#else
        global float *to = columns + i * (K * K * CHANNELS);
        for (uint ky = 0; ky < K; ky++)
#pragma unroll
            for (uint kx = 0; kx < K; kx++)
                for (uint c = 0; c < CHANNELS; c += VECTOR, to += VECTOR)
                    STORE(FUNCTION(image, i, ky, kx, c), to);
#endif
    }
}

#else

#ifdef GANC_GPU
#define SHARE 1 // vectors of a pixel for a work-item
#else
#define SHARE VECTORS
#endif
#define REACH ((K + STRIDE - 1) / STRIDE) // windows that hold a pixel, each way, at most

kernel void NAME(global const float *columns, global float *image, const uint n) {
    const uint i = get_global_id(0);
    if (i < n) {
        const uint pixel = i / (VECTORS / SHARE), c = i % (VECTORS / SHARE) * VECTOR;
        const uint x = pixel % WIDTH + PADDING, y = pixel / WIDTH % HEIGHT + PADDING;
        const uint image_number = pixel / (WIDTH * HEIGHT);
        T sum[SHARE];
        for (uint v = 0; v < SHARE; v++)
            sum[v] = (T)(0.0f);
#pragma unroll
        for (uint down = 0; down < REACH; down++)
#pragma unroll
            for (uint right = 0; right < REACH; right++) {
                const uint ky = y % STRIDE + down * STRIDE, kx = x % STRIDE + right * STRIDE;
                // Where these would be negative they wrap round to huge numbers, beyond the last place as well.
                const uint oy = (y - ky) / STRIDE, ox = (x - kx) / STRIDE;
                const uint row = (image_number * OUT_HEIGHT + oy) * OUT_WIDTH + ox;
                if (ky < K && kx < K && oy < OUT_HEIGHT && ox < OUT_WIDTH)
                    for (uint v = 0; v < SHARE; v++)
                        sum[v] += LOAD(columns + (row * (K * K) + ky * K + kx) * CHANNELS + c + v * VECTOR);
            }
        for (uint v = 0; v < SHARE; v++)
            STORE(sum[v], image + pixel * CHANNELS + c + v * VECTOR);
    }
}

#undef SHARE
#undef REACH
#endif
#undef VECTORS
