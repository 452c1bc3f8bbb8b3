// `ganc train`: options to a train_options, and its result to a line or a JSON object. Training itself, its
// progress and the run's folder are train()'s.
#include "train/train.h"
#include "base/error.h"
#include "cli/cli.h"
#include "cli/options.h"
#include "io/json.h"
#include "train/checkpoint.h"

#include <limits.h>
#include <string.h>

#define HYPER "Hyper-parameters (default: the model's, which 'ganc models' lists)"

// What the command line says.
typedef struct {
    const char *model;
    train_options run;
    bool resume, json;
} arguments;

// Parses the command line into `a`; what no option sets stays as it is. `models` are the models' names, also
// as one text.
static int parse(int argc, char **argv, const char *const *models, const char *models_text, arguments *a) {
    train_options *run = &a->run;
    hyper_parameters *hyper = &run->hyper;
    int steps = (int)run->steps;
    const option options[] = {
        {"model", "M", "Run", models_text, CHOICE(&a->model, models)},
        {"data", "DIR", "Run",
         "fashion-mnist, mnist, synthetic, or a folder with files as MNIST's\n"
         "(default: MNIST where it is found, else Fashion-MNIST)",
         TEXT(&run->data)},
        {"out", "DIR", "Run", "the run's folder (default: runs/MODEL)", TEXT(&run->out)},
        {"overwrite", NULL, "Run", "replace the run that the folder holds", FLAG(&run->overwrite)},
        {"resume", NULL, "Run",
         "go on with the run that the folder holds, as if it had never stopped;\n"
         "what no option says is as it was, and --epochs and --steps may change",
         FLAG(&a->resume)},
        {"seed", "N", "Run", "of everything random; the same seed gives the same run (default: 0)",
         U64(&run->seed)},
        {"steps", "N", "Run", "stop after N steps, should the epochs last longer",
         INT(&steps, 1, INT_MAX, NULL)},
        {"epochs", "N", HYPER, "passes over the data", INT(&hyper->epochs, 1, INT_MAX, NULL)},
        {"batch", "N", HYPER, "images a step, at least 2",
         INT(&hyper->batch, 2, MAX_BATCH, "batch norm needs a variance")},
        {"lr", "X", HYPER, "learning rate", REAL(&hyper->lr, 1e-12, 1000)},
        {"beta1", "X", HYPER, "Adam's decay of the mean gradient", REAL(&hyper->beta1, 0, 0.999999)},
        {"beta2", "X", HYPER, "Adam's decay of the mean squared gradient", REAL(&hyper->beta2, 0, 0.999999)},
        {"z-dim", "N", HYPER, "length of the generator's noise vector",
         INT(&hyper->z_dim, 1, MAX_Z_DIM, NULL)},
        {"n-critic", "N", HYPER, "update the generator in every N-th step of an epoch",
         INT(&hyper->n_critic, 1, 1000000, NULL)},
        {"clip", "X", HYPER, "wgan: keep the critic's weights in -X .. X", REAL(&hyper->clip, 1e-12, 1000)},
        {"gp-weight", "X", HYPER, "wgan-gp: weight of the gradient penalty",
         REAL(&hyper->gp_weight, 1e-12, 1e6)},
        DEVICE_OPTIONS(run->device, run->device_options),
        {"log-interval", "N", "Output", "steps between two lines of progress (default: 50)",
         INT(&run->log_interval, 1, INT_MAX, NULL)},
        {"checkpoint-minutes", "X", "Output",
         "write a checkpoint whenever X minutes have passed, besides that after each\n"
         "epoch; 0: those alone (default: 10)",
         REAL(&run->checkpoint_minutes, 0, 1e6)},
        {"json", NULL, "Output", "print the result as a JSON object on stdout", FLAG(&a->json)},
        {.name = NULL},
    };
    const command_syntax syntax = {
        .name = "train",
        .summary =
            "Train a model. Losses go to the run's log.jsonl, a grid of samples after every epoch to its\n"
            "images/. Ctrl-C ends a run so that --resume can go on with it. 'train' itself may be left out.",
        .example = "ganc train --model cgan --data fashion-mnist --epochs 20 --out runs/shirts\n"
                   "  ganc train --out runs/shirts --resume --epochs 40",
        .options = options,
    };
    int status = options_parse(&syntax, argc, argv, NULL);
    run->steps = steps;
    return status;
}

// An option that says nothing to the model is a mistake: its default is 0, which the option cannot be set to.
static int check_hyper(const train_options *run) {
    const hyper_parameters *set = &run->hyper, *usual = &run->model->defaults;
    const char *stray = NULL;
    if (set->clip != 0 && usual->clip == 0)
        stray = "--clip";
    if (set->gp_weight != 0 && usual->gp_weight == 0)
        stray = "--gp-weight";
    if ((set->beta1 != 0 && usual->beta1 == 0) || (set->beta2 != 0 && usual->beta2 == 0))
        stray = "--beta1 or --beta2";
    return stray ? usage_error("%s has no use for %s; 'ganc models' lists what each model takes",
                               run->model->name, stray)
                 : OPTIONS_OK;
}

static int print_result(const train_options *run, const train_result *result) {
    return print_json(json_pack("{ss so sI so so so so so}", "model", run->model->name, "device",
                                json_text(result->device), "steps", (json_int_t)result->steps, "seconds",
                                json_number(result->seconds), "images_per_second",
                                json_number(result->images_per_second), "d_loss", json_number(result->d_loss),
                                "g_loss", json_number(result->g_loss), "out", json_text(run->out)));
}

// Now that the model is known, so are the defaults of its hyper-parameters: the options go over them.
static int begin_run(int argc, char **argv, const char *const *models, const char *models_text,
                     arguments *a) {
    a->run.model = find_model(a->model);
    a->run.hyper = a->run.model->defaults;
    parse(argc, argv, models, models_text, a);
    return check_hyper(&a->run);
}

// Likewise over the options of the run that goes on. train() refuses those that contradict it.
static int resume_run(int argc, char **argv, const char *const *models, const char *models_text,
                      arguments *a) {
    const char *out = a->run.out;
    bool epochs_given = a->run.hyper.epochs != 0;
    checkpoint *saved = checkpoint_open(out);
    if (!saved)
        return run_error();
    a->run = checkpoint_record(saved)->options;
    a->run.resume = saved;
    a->run.out = out;
    a->model = a->run.model->name;
    if (epochs_given)
        a->run.steps = 0; // or the earlier limit would make more epochs useless
    parse(argc, argv, models, models_text, a);
    a->run.model = find_model(a->model);
    return OPTIONS_OK;
}

static int check_folder(const arguments *a, const char *models_text) {
    if (a->resume && a->run.overwrite)
        return usage_error("--resume goes on with a run, --overwrite begins it anew: give one of them");
    if (a->resume && a->model == NULL && a->run.out == NULL)
        return usage_error("--resume which run? Give its folder by --out DIR, or --model M for runs/M");
    if (!a->resume && a->model == NULL)
        return usage_error("which model? --model takes %s; 'ganc models' describes them", models_text);
    return OPTIONS_OK;
}

int command_train(int argc, char **argv) {
    const char *models[MAX_MODELS + 1];
    list_models(models);
    char *models_text = list_words(models), *default_out = NULL;
    arguments a = {.run = {.log_interval = 50, .checkpoint_minutes = 10}};
    int status = parse(argc, argv, models, models_text, &a);
    if (status == OPTIONS_OK)
        status = check_folder(&a, models_text);
    if (status == OPTIONS_OK) {
        if (a.run.out == NULL)
            a.run.out = default_out = gn_format("runs/%s", a.model);
        status = (a.resume ? resume_run : begin_run)(argc, argv, models, models_text, &a);
    }
    if (status == OPTIONS_OK) {
        train_result result = {0};
        status = train(&a.run, &result) ? 0 : run_error();
        if (status == 0 && a.json)
            print_result(&a.run, &result);
        if (status == 0 && result.interrupted)
            status = 130;
    }
    checkpoint_free((checkpoint *)a.run.resume);
    free(default_out);
    free(models_text);
    return status;
}
