#include "cl/gemm_copies.h"
#include "base/error.h"
#include "cl/kernels.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static gemm_copy *find(gemm_copy *list, const char *head, bool of_plan) {
    while (list && (list->of_plan != of_plan || strcmp(list->head, head) != 0)) {
        list = list->next;
    }
    return list;
}

// Appends the copies to a list, unless they are there or, for a plan, in another one's program. The text of
// their program, which the caller frees.
static char *write_copies(const gemm_copies *copies, const copy_text *texts, int count, bool of_plan,
                          gemm_copy **list) {
    char *program = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&program, &length);
    GN_ASSERT(out, "out of memory on the host");
    for (int i = 0; i < count; i++) {
        copy_text text = texts[i];
        if (find(*list, text.head, of_plan) || (of_plan && find(copies->first, text.head, true))) {
            continue;
        }
        gemm_copy *copy = gn_calloc(1, sizeof *copy);
        *copy = (gemm_copy){.head = gn_strdup(text.head), .of_plan = of_plan, .next = *list};
        snprintf(copy->name, sizeof copy->name, "%s" GEMM_COPY "%d", text.kernel, i);
        fprintf(out, "#define COPY %d\n#define FUNCTION finish_%d\n%s%s#undef FUNCTION\n#undef ONLY_%s\n", i,
                i, text.head, copies->source, text.kernel);
        *list = copy;
    }
    fclose(out);
    return program;
}

bool gemm_copies_compile(gemm_copies *copies, const copy_text *texts, int count, bool of_plan) {
    gemm_copy *added = NULL;
    char *text = write_copies(copies, texts, count, of_plan, &added);
    cl_program program = added ? kernels_build(copies->device, "gemm.cl", text, copies->options) : NULL;
    bool done = !added || program;
    free(text);
    while (added) {
        gemm_copy *copy = added;
        added = copy->next;
        if (program) {
            clRetainProgram(copy->program = program);
            copy->next = copies->first;
            copies->first = copy;
        } else {
            free(copy->head);
            free(copy);
        }
    }
    if (program) {
        clReleaseProgram(program);
    }
    return done;
}

const gemm_copy *gemm_copies_get(gemm_copies *copies, copy_text text) {
    const gemm_copy *found = find(copies->first, text.head, true);
    if (!found) {
        found = find(copies->first, text.head, false);
    }
    if (!found && gemm_copies_compile(copies, &text, 1, false)) {
        found = copies->first;
    }
    return found;
}

void gemm_copies_forget_plans(gemm_copies *copies) {
    for (gemm_copy *copy = copies->first; copy; copy = copy->next) {
        copy->of_plan = false;
    }
}

void gemm_copies_free(gemm_copies *copies) {
    while (copies->first) {
        gemm_copy *first = copies->first;
        copies->first = first->next;
        clReleaseProgram(first->program);
        free(first->head);
        free(first);
    }
}
