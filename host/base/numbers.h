// Numbers as a sample, for medians and the like.
#ifndef GANC_BASE_NUMBERS_H
#define GANC_BASE_NUMBERS_H

// Ascending, in place; none is NaN.
void sort_numbers(double *numbers, int count);

// Of at least one number, with two in the middle the upper; sorts them.
double median(double *numbers, int count);

#endif
