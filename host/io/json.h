// Values of JSON objects, in the log and for --json: what Jansson leaves to its callers.
#ifndef GANC_IO_JSON_H
#define GANC_IO_JSON_H

#include <jansson.h>
#include <stdint.h>

// A number; null where it is infinite or not a number, for which JSON has no word. A new reference.
json_t *json_number(double number);

// A whole number; as a text from 2^63 on, which Jansson's integers do not reach. A new reference.
json_t *json_u64(uint64_t number);

// A text; where it is not UTF-8, as a file's name need not be, a question mark for each byte that is not
// ASCII.
json_t *json_text(const char *text);

// Prints an object as one line on stdout, as --json promises, and releases it. Returns the exit status, 0; an
// object that is NULL, which it is when memory ran out in its making, ends the program.
int print_json(json_t *object);

#endif
