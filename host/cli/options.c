// Parses a command's arguments by its table of options; see options.h.
//
// getopt_long() takes the words apart (rather than argp, which has its own mind about help and exit
// statuses); here is what it leaves open: numbers and their ranges, and what an unknown option was likely
// meant to be.
#include "cli/options.h"

#include "base/error.h"
#include "models/models.h"

#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

enum {
    HELP_COLUMN = 28,
    MAX_OPTIONS = 62,
    MAX_WORD = 64,
    MAX_CHOICES = 32,
    FIRST_OPTION = 256 /* behind all letters */
};

const char *const device_classes[] = {"cpu", "gpu", NULL};
const char *const gemm_choices[] = {"auto", "clblast", "native", NULL};

int usage_error(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fputs("ganc: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    return 2;
}

int run_error(void) {
    fprintf(stderr, "ganc: %s\n", gn_error());
    return 1;
}

void show_progress(const char *what) {
    if (isatty(STDERR_FILENO))
        fprintf(stderr, "\r\033[K%s%s", what, what[0] ? " ..." : "");
}

// ---- Near names --------------------------------------------------------------------------------------

static int least(int a, int b) {
    return a < b ? a : b;
}

// The number of insertions, deletions, replacements and swaps of neighbours that make `b` of `a` (Damerau
// 1964, in the restricted form: nothing is edited twice). d[i][j] is the distance of the first i characters
// of `a` from the first j of `b`. Words of MAX_WORD characters and more are far from everything.
static int edit_distance(const char *a, const char *b) {
    int rows = (int)strlen(a), columns = (int)strlen(b);
    int d[MAX_WORD][MAX_WORD];
    if (rows >= MAX_WORD || columns >= MAX_WORD)
        return MAX_WORD;
    for (int i = 0; i <= rows; i++)
        for (int j = 0; j <= columns; j++) {
            if (i == 0 || j == 0) {
                d[i][j] = i + j;
                continue;
            }
            bool same = a[i - 1] == b[j - 1];
            d[i][j] = least(least(d[i - 1][j], d[i][j - 1]) + 1, d[i - 1][j - 1] + !same);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                d[i][j] = least(d[i][j], d[i - 2][j - 2] + 1);
        }
    return d[rows][columns];
}

const char *nearest_name(const char *word, const char *const *names) {
    const char *nearest = NULL;
    int best = MAX_WORD;
    for (; *names != NULL; names++) {
        int distance = edit_distance(word, *names);
        // What begins like a name is often its abbreviation.
        if (strlen(word) >= 3 && strncmp(word, *names, strlen(word)) == 0)
            distance = 1;
        if (distance < best) {
            best = distance;
            nearest = *names;
        }
    }
    // More than two in five letters wrong is another word.
    return nearest != NULL && best * 5 <= (int)strlen(nearest) * 2 + 1 ? nearest : NULL;
}

void list_models(const char *names[MAX_MODELS + 1]) {
    int count = 0;
    for (; all_models[count] != NULL && count < MAX_MODELS; count++)
        names[count] = all_models[count]->name;
    names[count] = NULL;
}

char *list_words(const char *const *words) {
    char *list = gn_strdup("");
    for (int i = 0; words[i] != NULL; i++) {
        const char *between = i == 0 ? "" : words[i + 1] != NULL ? ", " : " or ";
        char *longer = gn_format("%s%s%s", list, between, words[i]);
        free(list);
        list = longer;
    }
    return list;
}

// ---- Help --------------------------------------------------------------------------------------------

// Prints `text` from the current `column` on, its further lines indented to HELP_COLUMN.
static void print_help_text(int column, const char *text) {
    printf("%*s", HELP_COLUMN - column, "");
    for (; *text != '\0'; text++)
        if (*text == '\n')
            printf("\n%*s", HELP_COLUMN, "");
        else
            putchar(*text);
    putchar('\n');
}

static void print_help(const command_syntax *syntax) {
    printf("usage: ganc %s%s%s [OPTION]...\n\n%s\n", syntax->name, syntax->operand ? " " : "",
           syntax->operand ? syntax->operand : "", syntax->summary);
    const char *group = "";
    for (const option *o = syntax->options; o->name != NULL; o++) {
        if (strcmp(group, o->group) != 0)
            printf("\n%s:\n", group = o->group);
        int column = printf("  --%s%s%s", o->name, o->argument ? " " : "", o->argument ? o->argument : "");
        if (column > HELP_COLUMN - 2) {
            putchar('\n');
            column = 0;
        }
        print_help_text(column, o->help);
    }
    printf("\nExample:\n  %s\n", syntax->example);
}

// ---- Arguments ---------------------------------------------------------------------------------------

// Without leading blanks, which strtod() and strtoull() would accept; the whole text must be a number.
static bool starts_number(const char *text) {
    return *text != '\0' && !isspace((unsigned char)*text);
}

static bool parse_real(const char *text, double low, double high, double *value) {
    char *end;
    double number = strtod(text, &end);
    if (!starts_number(text) || *end != '\0' || !isfinite(number) || number < low || number > high)
        return false;
    *value = number;
    return true;
}

// Whole numbers in decimal only: what strtod() would take besides ("1e3", "0x10", "2.0") is a mistyped count.
static bool parse_int(const char *text, double low, double high, int *value) {
    double number;
    const char *digits = *text == '-' ? text + 1 : text;
    if (digits[strspn(digits, "0123456789")] != '\0' || !parse_real(text, low, high, &number))
        return false;
    *value = (int)number;
    return true;
}

static bool parse_u64(const char *text, uint64_t *value) {
    errno = 0;
    unsigned long long number = strtoull(text, NULL, 10);
    if (*text == '\0' || text[strspn(text, "0123456789")] != '\0' || errno != 0 || number > UINT64_MAX)
        return false;
    *value = number;
    return true;
}

// The next option of the name behind o; NULL for none.
static const option *next_of_name(const option *o) {
    for (const option *other = o + 1; other->name != NULL; other++)
        if (strcmp(other->name, o->name) == 0)
            return other;
    return NULL;
}

// The option, or a later one of its name, to whose choices the word belongs; NULL for none.
static const option *find_choice(const option *o, const char *word) {
    for (; o != NULL; o = next_of_name(o))
        for (const char *const *choice = o->target.choices; *choice != NULL; choice++)
            if (strcmp(word, *choice) == 0)
                return o;
    return NULL;
}

static int wrong_choice(const option *o, const char *text) {
    const char *words[MAX_CHOICES + 1] = {NULL};
    int count = 0;
    for (const option *other = o; other != NULL; other = next_of_name(other))
        for (const char *const *choice = other->target.choices; *choice && count < MAX_CHOICES; choice++)
            words[count++] = *choice;
    char *list = list_words(words);
    const char *meant = nearest_name(text, words);
    if (meant == NULL)
        usage_error("--%s '%s' is unknown; it takes %s", o->name, text, list);
    else
        usage_error("--%s '%s' is unknown; did you mean %s? It takes %s", o->name, text, meant, list);
    free(list);
    return 2;
}

// Reads an option's argument into its variable. Returns OPTIONS_OK or, after the message, 2.
static int take_argument(const option *o, const char *text) {
    const option_target *target = &o->target;
    switch (target->kind) {
    case OPTION_FLAG: // takes none
        break;
    case OPTION_TEXT:
        if (*text == '\0')
            return usage_error("--%s '': an empty text; --%s takes %s", o->name, o->name, o->argument);
        *(const char **)target->value = text;
        return OPTIONS_OK;
    case OPTION_CHOICE: {
        const option *chosen = find_choice(o, text);
        if (chosen == NULL)
            return wrong_choice(o, text);
        *(const char **)chosen->target.value = text;
        return OPTIONS_OK;
    }
    case OPTION_INT:
        if (parse_int(text, target->low, target->high, target->value))
            return OPTIONS_OK;
        return usage_error("--%s '%s': not a whole number from %.0f to %.0f%s%s", o->name, text, target->low,
                           target->high, target->why ? ": " : "", target->why ? target->why : "");
    case OPTION_U64:
        if (parse_u64(text, target->value))
            return OPTIONS_OK;
        return usage_error("--%s '%s': not a whole number from 0 to %llu", o->name, text,
                           (unsigned long long)UINT64_MAX);
    case OPTION_REAL:
        if (parse_real(text, target->low, target->high, target->value))
            return OPTIONS_OK;
        return usage_error("--%s '%s': not a number from %g to %g", o->name, text, target->low, target->high);
    }
    return OPTIONS_OK;
}

// ---- Parsing -----------------------------------------------------------------------------------------

static int unknown_option(const command_syntax *syntax, const char *word) {
    const char *names[MAX_OPTIONS + 2] = {"help"};
    int count = 1;
    for (const option *o = syntax->options; o->name != NULL; o++)
        names[count++] = o->name;
    char typed[MAX_WORD];
    int dashes = (int)strspn(word, "-");
    snprintf(typed, sizeof typed, "%.*s", (int)strcspn(word + dashes, "="), word + dashes);
    const char *meant = nearest_name(typed, names);
    if (meant == NULL)
        return usage_error("unknown option '%s'; 'ganc %s --help' lists them", word, syntax->name);
    return usage_error("unknown option '%s'; did you mean --%s? 'ganc %s --help' lists them", word, meant,
                       syntax->name);
}

// The options as getopt_long() takes them: each returns its index in the table, --help 'h'.
static void list_for_getopt(const command_syntax *syntax, struct option *list) {
    int count = 0;
    for (const option *o = syntax->options; o->name != NULL; o++, count++) {
        GN_ASSERT(count < MAX_OPTIONS, "ganc %s has more than %d options", syntax->name, MAX_OPTIONS);
        int argument = o->target.kind == OPTION_FLAG ? no_argument : required_argument;
        list[count] = (struct option){o->name, argument, NULL, FIRST_OPTION + count};
    }
    list[count] = (struct option){"help", no_argument, NULL, 'h'};
}

// What getopt_long() returned besides the end: an option to take, or a mistake to explain.
static int take_option(const command_syntax *syntax, int code, char **argv) {
    const char *word = argv[optind - 1]; // the last that getopt_long() took
    if (code == 'h') {
        print_help(syntax);
        return 0;
    }
    if (code == '?' && optopt >= FIRST_OPTION)
        return usage_error("--%s takes no value; '%s' gives it one",
                           syntax->options[optopt - FIRST_OPTION].name, word);
    if (code == '?') {
        // Of "-batch" getopt_long() has taken the first letter only.
        const char *next = argv[optind];
        bool inside = optopt != 0 && next != NULL && next[0] == '-' && next[1] == optopt && next[2] != '\0';
        return unknown_option(syntax, inside ? next : word);
    }
    const option *o = &syntax->options[(code == ':' ? optopt : code) - FIRST_OPTION];
    // getopt_long() takes abbreviations, which a later version's new option could make ambiguous in a script.
    const char *typed = code != ':' && optarg == word ? argv[optind - 2] : word;
    size_t length = strlen(o->name);
    if (strncmp(typed + 2, o->name, length) != 0 || (typed[2 + length] != '\0' && typed[2 + length] != '='))
        return unknown_option(syntax, typed);
    if (o->target.kind == OPTION_FLAG) {
        *(bool *)o->target.value = true;
        return OPTIONS_OK;
    }
    // `--out --json` is a forgotten value, not a folder's name; `--out=--json` says that it is one.
    if (code == ':' || (optarg == word && strncmp(optarg, "--", 2) == 0))
        return usage_error("--%s needs a value: --%s %s; see 'ganc %s --help'", o->name, o->name, o->argument,
                           syntax->name);
    return take_argument(o, optarg);
}

int options_parse(const command_syntax *syntax, int argc, char **argv, const char **operand) {
    struct option list[MAX_OPTIONS + 2] = {{0}};
    list_for_getopt(syntax, list);
    opterr = 0;
    optind = 0; // from the start again, for a second parsing
    for (int code; (code = getopt_long(argc, argv, ":h", list, NULL)) != -1;) {
        int status = take_option(syntax, code, argv);
        if (status != OPTIONS_OK)
            return status;
    }
    int operands = argc - optind, allowed = syntax->operand != NULL;
    if (operands > allowed)
        return usage_error("unexpected argument '%s'; see 'ganc %s --help'", argv[optind + allowed],
                           syntax->name);
    if (operands < allowed)
        return usage_error("a %s is missing; see 'ganc %s --help'", syntax->operand, syntax->name);
    if (operand != NULL)
        *operand = argv[optind];
    return OPTIONS_OK;
}
