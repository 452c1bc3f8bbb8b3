// The commands of ganc, one file each in this folder. A command turns its arguments into one call of the
// rooms below and that call's result into text; it holds no mathematics and no OpenCL.
//
// argv[0] is the command's name. Each returns the exit status: 0 done, 1 it failed, 2 usage, 130 after
// Ctrl-C. What failed has been said then, in one line on stderr.
#ifndef GANC_CLI_H
#define GANC_CLI_H

int command_train(int argc, char **argv);
int command_devices(int argc, char **argv);
int command_models(int argc, char **argv);
int command_bench(int argc, char **argv);
int command_tune(int argc, char **argv);
int command_generate(int argc, char **argv);
int command_replay(int argc, char **argv);

#endif
