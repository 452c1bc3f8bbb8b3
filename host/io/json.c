#include "io/json.h"
#include "base/error.h"

#include <math.h>

json_t *json_number(double number) {
    return isfinite(number) ? json_real(number) : json_null();
}

json_t *json_u64(uint64_t number) {
    return number <= INT64_MAX ? json_integer((json_int_t)number)
                               : json_sprintf("%llu", (unsigned long long)number);
}

json_t *json_text(const char *text) {
    json_t *string = json_string(text);
    if (string != NULL)
        return string;
    char *ascii = gn_strdup(text);
    for (char *c = ascii; *c != '\0'; c++)
        if ((unsigned char)*c > 127)
            *c = '?';
    string = json_string(ascii);
    free(ascii);
    return string;
}

int print_json(json_t *object) {
    GN_ASSERT(object != NULL,
              "a JSON object was not built: memory is out, or a text is not from json_text()");
    json_dumpf(object, stdout, JSON_REAL_PRECISION(9));
    putchar('\n');
    json_decref(object);
    return 0;
}
