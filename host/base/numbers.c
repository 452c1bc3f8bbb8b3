#include "base/numbers.h"

#include <stdlib.h>

static int compare(const void *a, const void *b) {
    const double *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

void sort_numbers(double *numbers, int count) {
    qsort(numbers, (size_t)count, sizeof *numbers, compare);
}

double median(double *numbers, int count) {
    sort_numbers(numbers, count);
    return numbers[count / 2];
}
