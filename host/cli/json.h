// JSON for --json: one object on stdout, and nothing else there.
#ifndef GANC_CLI_JSON_H
#define GANC_CLI_JSON_H

#include <jansson.h>

// A number; null where it is infinite or not a number, for which JSON has no word. A new reference.
json_t *json_number(double number);

// A text; where it is not UTF-8, as a file's name need not be, a question mark for each byte that is not
// ASCII.
json_t *json_text(const char *text);

// Prints an object as one line on stdout and releases it. Returns the exit status, 0; an object that is NULL,
// which it is when memory ran out in its making, ends the program.
int print_json(json_t *object);

#endif
