#include "cl/generated_kernels.h"
#include "base/error.h"
#include "cl/kernels.h"

#include <stdio.h>
#include <string.h>

static const generated_kernel *find(const gn_device *device, const char *text) {
    const generated_kernel *kernel = device->generated;
    while (kernel && strcmp(kernel->text, text) != 0)
        kernel = kernel->next;
    return kernel;
}

const generated_kernel *generated_kernels_get(const gn_device *device, const char *text) {
    const generated_kernel *kernel = find(device, text);
    GN_ASSERT(kernel, "no kernel of the text\n%s", text);
    return kernel;
}

// Puts the kernels that the device does not have in front of its list. Returns the text of their program,
// which the caller frees.
static char *write_program(gn_device *device, const plan *plan, const generated_code *code) {
    char *source = NULL;
    size_t length = 0;
    int count = 0;
    FILE *out = open_memstream(&source, &length);
    GN_ASSERT(out, "out of memory on the host");
    fputs(code->head, out);
    for (int s = 0; s < plan->count; s++) {
        const char *text = code->kernels[s];
        if (!text || find(device, text))
            continue;
        generated_kernel *kernel = gn_calloc(1, sizeof *kernel);
        *kernel = (generated_kernel){.text = gn_strdup(text), .next = device->generated};
        const char *name = codegen_name(&plan->steps[s], count++, kernel->name);
        fprintf(out,
                "\n#define NAME %s\n#define FUNCTION %s_element\n#define WORK %s_work\n%s#undef NAME\n"
                "#undef FUNCTION\n#undef WORK\n",
                name, name, name, text);
        device->generated = kernel;
    }
    fclose(out);
    return source;
}

// Takes kernels off the front of the device's list, down to the given one.
static void drop(gn_device *device, const generated_kernel *down_to) {
    while (device->generated != down_to) {
        generated_kernel *first = device->generated;
        device->generated = first->next;
        if (first->program)
            clReleaseProgram(first->program);
        free(first->text);
        free(first);
    }
}

bool generated_kernels_compile(gn_device *device, const plan *plan, const generated_code *code) {
    generated_kernel *const before = device->generated;
    char *source = write_program(device, plan, code), *options = gn_format("-DGROUP=%d", GPU_GROUP);
    bool any = device->generated != before;
    cl_program program = NULL;
    if (any)
        program = kernels_build(
            device, "operations.cl, pointwise.cl, reduce.cl, columns.cl and conv.cl, as generated", source,
            options);
    free(source);
    free(options);
    if (!program) {
        drop(device, before);
        return !any;
    }
    for (generated_kernel *kernel = device->generated; kernel != before; kernel = kernel->next)
        clRetainProgram(kernel->program = program);
    clReleaseProgram(program);
    return true;
}

void generated_kernels_forget(gn_device *device) {
    drop(device, NULL);
}
