// Threads of a CPU's driver, kept from falling asleep between the kernels of a step.
#ifndef GANC_CL_AWAKE_H
#define GANC_CL_AWAKE_H

#include <stdbool.h>

// From now on all threads of this process that wait on a condition variable look for 50 us whether anybody
// signals one before they fall asleep, but for the calling one, which only waits until the others are done.
// With false none does any more.
void threads_stay_awake(bool awake);

// How often a thread that looked needed not sleep, so far.
unsigned threads_found_awake(void);

#endif
