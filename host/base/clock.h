#ifndef GANC_BASE_CLOCK_H
#define GANC_BASE_CLOCK_H

// Seconds of a clock that nobody sets; only differences mean anything.
double seconds_now(void);

#endif
