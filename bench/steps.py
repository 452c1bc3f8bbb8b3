"""What the comparisons of ganc's training step with other programs share.

A *contender* is a model in training under one mode of a program. Its measure(steps) makes one step more than
asked, does not count the first, and gives the milliseconds of one. A short trial of all modes finds the two
fastest; these then alternate with ganc for several rounds, because a machine's speed drifts. What is compared
is the time of a round beside ganc's of the same round; the table and the file give medians and the spread.

Leaves to its users, pytorch.py and jax_steps.py, what a contender is. chart.py draws the files written here.
"""
import argparse
import datetime
import json
import math
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'tests', 'reference'))

from networks import N_CRITIC

ROWS, TRIALS, KEPT = 10000, 5, 2


class Contender:
    """A model in training, kept from round to round. Subclasses give step() and, where it is late, wait()."""

    def wait(self):
        """Returns when all steps have been made."""

    def measure(self, steps):
        self.step()
        self.wait()
        start = time.perf_counter()
        for _ in range(steps):
            self.step()
        self.wait()
        return (time.perf_counter() - start) / steps * 1000


class Ganc:
    """A run of its own for every measurement; its first step, which compiles, and its pictures and files are
    not counted. `ganc tune` comes first, as torch.compile's and JAX's compiling does."""

    def __init__(self, path, device, model, batch):
        self.command = [path, '--model', model, '--data', 'synthetic', '--batch', str(batch),
                        '--device', device, '--json', '--overwrite']
        self.device = None  # its name, once something has run
        self.tune(path, device, model, batch)

    @staticmethod
    def tune(path, device, model, batch):
        """What `ganc tune` found."""
        return Ganc.run([path, 'tune', '--model', model, '--batch', str(batch), '--device', device, '--json'])

    @staticmethod
    def run(command):
        """What the command prints as JSON."""
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            sys.exit('%s failed: %s' % (' '.join(command), done.stderr.strip().split('\n')[-1]))
        return json.loads(done.stdout)

    def measure(self, steps):
        with tempfile.TemporaryDirectory() as folder:
            result = self.run(self.command + ['--steps', str(steps + 1), '--out', os.path.join(folder, 'run')])
        self.device = result['device']
        return result['seconds'] / (result['steps'] - 1) * 1000


def check_program(parser, ganc):
    if not os.access(ganc, os.X_OK):
        parser.error('--ganc: %s is no program; build ganc first' % ganc)


def arguments(description, models, add_more=lambda parser: None):
    """The command line, checked, with models as a list. add_more(parser) adds a program's own options."""
    parser = argparse.ArgumentParser(description=description,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--ganc', metavar='PATH', default='build/ganc', help='(default: %(default)s)')
    parser.add_argument('--device', default='cpu', help="ganc's --device (default: %(default)s)")
    parser.add_argument('--models', default=','.join(models),
                        help='separated by commas (default: %(default)s)')
    parser.add_argument('--rounds', type=int, default=7)
    parser.add_argument('--seconds', type=float, default=1, help='of each round (default: %(default)s)')
    parser.add_argument('--batch', type=int, default=64)
    parser.add_argument('--json', metavar='OUT', help='a file for all that was measured')
    add_more(parser)
    given = parser.parse_args()
    given.models = given.models.split(',')
    for model in given.models:
        if model not in models:
            parser.error('--models: %r is not one of %s' % (model, ', '.join(models)))
    if given.rounds < 1 or given.seconds <= 0 or given.batch < 2:
        parser.error('needs at least one round, more than no seconds and a batch of two')
    if given.batch * N_CRITIC > ROWS and any(model.startswith('wgan') for model in given.models):
        # ganc begins each epoch of ROWS images with the generator's turn: they would come more often than here.
        parser.error('with %d images a step an epoch has no %d steps; leave out wgan and wgan-gp'
                     % (given.batch, N_CRITIC))
    check_program(parser, given.ganc)
    if given.json and not os.path.isdir(os.path.dirname(given.json) or '.'):
        parser.error('--json: there is no folder %s; make it first' % os.path.dirname(given.json))
    return given


def compare(given, program, version, modes_of):
    """Measures all models, prints a line for each and writes --json's file.

    modes_of(model) yields pairs of a mode's name and a function that makes its Contender, warmed up. A mode
    whose function fails is named with its reason and left out.
    """
    record = {'program': program, 'version': version, 'cpu': cpu_name(), 'cores': os.cpu_count(),
              'date': datetime.date.today().isoformat(), 'batch': given.batch, 'models': []}
    print('%s %s against ganc on %s, %d cores; %d images a step; ms, median (least .. most) of %d rounds' % (
        program, version, record['cpu'], record['cores'], given.batch, given.rounds))
    for model in given.models:
        ganc = Ganc(given.ganc, given.device, model, given.batch)
        result = compare_model(given, ganc, modes_of(model))
        record['device'] = ganc.device
        record['models'].append({'model': model, **result})
        for mode, reason in result['failed'].items():
            print('%-8s %s is left out: %s' % (model, mode, reason))
        print('%-8s %-22s %s   ganc %s   ganc is %s times as fast' % (
            model, result['fastest'], describe(result['modes'][result['fastest']]), describe(result['ganc']),
            describe(result['ratio'])), flush=True)
    if given.json:
        with open(given.json, 'w') as file:
            json.dump(record, file, indent=1)
            file.write('\n')


def compare_model(given, ganc, modes):
    """One model's part of the record: ms of the trial, then of the rounds."""
    contenders, failed = {}, {}
    for mode, make in modes:
        try:
            contenders[mode] = make()
        except Exception as error:  # whatever it is, it is this mode's alone
            failed[mode] = re.split(r'\. |\n', str(error).strip())[0] or type(error).__name__
    if not contenders:
        sys.exit('no mode works: %s' % failed)
    trial = {mode: math.inf for mode in contenders}
    for _ in range(TRIALS):
        for mode, contender in contenders.items():
            trial[mode] = min(trial[mode], contender.measure(2 * N_CRITIC))
    kept = {mode: contenders[mode] for mode in sorted(trial, key=trial.get)[:KEPT]}
    del contenders
    ganc.measure(N_CRITIC)  # compiles, and measures its kernels, at a device's first use

    # Whole turns of critic and generator, so that every round holds as many updates of both.
    turns = given.seconds * 1000 / min(trial.values()) / N_CRITIC
    steps = max(1, round(turns)) * N_CRITIC
    rounds = {mode: [] for mode in ['ganc', *kept]}
    for _ in range(given.rounds):
        for mode, contender in {'ganc': ganc, **kept}.items():
            rounds[mode].append(contender.measure(steps))
    fastest = min(kept, key=lambda mode: statistics.median(rounds[mode]))
    return {'fastest': fastest, 'ratio': [one / other for one, other in zip(rounds[fastest], rounds['ganc'])],
            'ganc': rounds.pop('ganc'), 'modes': rounds, 'steps': steps, 'trial': trial, 'failed': failed}


def describe(values):
    return '%.2f (%.2f .. %.2f)' % (statistics.median(values), min(values), max(values))


def cpu_name():
    """As the processor calls itself, where the system says it."""
    try:
        with open('/proc/cpuinfo') as file:
            names = [line.split(':', 1)[1].strip() for line in file if line.startswith('model name')]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()
