// ganc's entry: argv to a command. What the commands do is in host/cli/, a file each.
#include "cli/cli.h"
#include "cli/options.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

typedef struct {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *summary;
} command;

static const command commands[] = {
    {"train", command_train, "train a model; the default command"},
    {"devices", command_devices, "list what there is to run on"},
    {"models", command_models, "list the models, their papers and defaults"},
    {"bench", command_bench, "how fast a device is, and where the training steps go on it"},
    {"tune", command_tune, "find the fastest kernels for the matrix products of the models"},
    {"generate", command_generate, "sample a trained generator"},
    {"replay", command_replay, "repeat a recorded PyTorch run and compare"},
};

enum { COMMAND_COUNT = sizeof commands / sizeof commands[0] };

static int help(void) {
    puts("usage: ganc [COMMAND] [OPTION]...\n\n"
         "ganc trains generative adversarial networks on any OpenCL device.\n\nCommands:");
    for (int i = 0; i < COMMAND_COUNT; i++)
        printf("  ganc %-9s %s\n", commands[i].name, commands[i].summary);
    puts("  ganc --version\n\n"
         "'ganc COMMAND --help' lists a command's options. Without a command, the options are those of "
         "train.\n\n"
         "Example:\n"
         "  ganc --model cgan --epochs 3    train; a picture after every epoch lands in runs/cgan/images");
    return 0;
}

static int unknown_command(const char *name) {
    const char *names[COMMAND_COUNT + 1] = {NULL};
    for (int i = 0; i < COMMAND_COUNT; i++)
        names[i] = commands[i].name;
    const char *meant = nearest_name(name, names);
    if (meant == NULL)
        return usage_error("unknown command '%s'; 'ganc --help' lists them", name);
    return usage_error("unknown command '%s'; did you mean %s? 'ganc --help' lists them", name, meant);
}

static int dispatch(int argc, char **argv) {
    if (argc < 2)
        return usage_error("nothing to do. Begin with 'ganc --model cgan'; 'ganc --help' lists the rest");
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)
        return help();
    if (strcmp(argv[1], "--version") == 0) {
        puts("ganc " GANC_VERSION);
        return 0;
    }
    if (argv[1][0] == '-') {
        argv[0] = "train";
        return command_train(argc, argv);
    }
    for (int i = 0; i < COMMAND_COUNT; i++)
        if (strcmp(argv[1], commands[i].name) == 0)
            return commands[i].run(argc - 1, argv + 1);
    return unknown_command(argv[1]);
}

int main(int argc, char **argv) {
    int status = dispatch(argc, argv);
    // What a full disk swallowed was not done.
    if ((fflush(stdout) != 0 || ferror(stdout)) && status == 0) {
        fprintf(stderr, "ganc: cannot write to stdout: %s\n", strerror(errno));
        return 1;
    }
    return status;
}
