// The off switches of the optimisations: the environment variable GANC_OFF names some, as in "fuse,tune".
#ifndef GANC_SWITCHES_H
#define GANC_SWITCHES_H

#include <stdbool.h>

bool gn_is_off(const char *optimisation);

#endif
