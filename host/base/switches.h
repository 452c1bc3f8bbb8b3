// The off switches of the optimisations: the environment variable GANC_OFF names some, as in "fuse,tune".
#ifndef GANC_BASE_SWITCHES_H
#define GANC_BASE_SWITCHES_H

#include <stdbool.h>

// Is this one, of those that the README lists, off?
bool gn_is_off(const char *optimisation);

// What GANC_OFF holds; NULL where nothing is off.
const char *gn_switches_off(void);

// False where GANC_OFF names something else.
bool gn_check_switches(void);

#endif
