# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Gives broken ONNX files to `inspect` and `split --verify`: ``fuzz_models.py [--mutants N] [--seed N] [--keep DIR] [FILE.onnx …]``.

A verb may do its work, or say in one line ``error: …`` what is wrong. Anything else is a finding: an exception, a death by
signal, more than the time or memory that is allowed, a control character in what it prints. The exit code is 1 if there is one.
"""

import argparse
import collections
import io
import json
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
import unicodedata
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import mutants

from edge_dnn_partition.cli.main import main as command_line
from edge_dnn_partition.graph import isolation, trial

MOST_SECONDS = 60.0
"""Of a mutant's whole process; far more than the product's own bounds, which are lowered to these:"""
PREPARE_SECONDS = 20.0
RUN_SECONDS = 0.5
MOST_BYTES = 4 << 30


ABRUPT = {' crash (': 'crash contained', ' does not end ': 'endless', 'is not prepared within': 'too long', 'was killed': 'killed',
          'cannot be prepared': 'exception contained', 'more memory than': 'too large'}  # fmt: skip
"""Parts of errors that say that the process in which a model is prepared, and not only the model, came to an end."""


class FindingError(Exception):
    """A verb ended in a way it must not."""


def write(files, folder):
    """Write a model's files into a folder and return the model's path."""
    path = folder / 'model.onnx'
    path.write_bytes(files.model)
    if files.weights_link is not None:
        (folder / mutants.WEIGHTS).symlink_to(files.weights_link)
    elif files.weights is not None:
        (folder / mutants.WEIGHTS).write_bytes(files.weights)
    return path


def verb(*arguments):
    """Run a verb in this process and return its exit code and what it printed.

    :raises FindingError: it printed what a terminal takes for a command, or an error that is not one line.
    """
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = command_line([str(argument) for argument in arguments])
    said, wrong = out.getvalue(), err.getvalue()
    for text in (said, wrong):
        control = {character for character in text if unicodedata.category(character) in ('Cc', 'Cf') and character != '\n'}
        if control:
            raise FindingError(f'{arguments[0]} prints {sorted(map(ascii, control))}')
    if code == 2 and not (wrong.startswith('error: ') and wrong.count('\n') == 1):
        raise FindingError(f'{arguments[0]} says {wrong!r}')
    if code not in (0, 1, 2):
        raise FindingError(f'{arguments[0]} ends with {code}')
    return code, said, wrong


def check(path, shapes):
    """Inspect a model, split it in the middle and run the parts; return how it ended in a word and a line."""
    given = [part for name, shape in shapes.items() for part in ('--shape', f'{name}={"x".join(map(str, shape))}')]
    code, said, wrong = verb('inspect', path, '--json', *given)
    if code:
        return next((word for part, word in ABRUPT.items() if part in wrong), 'refused'), wrong
    layers = len(json.loads(said)['layers'])
    code, _, wrong = verb('inspect', path, *given)
    if code:
        raise FindingError(f'inspect with and without --json disagree: {wrong}')
    if layers < 2:
        return 'one layer', ''
    code, _, wrong = verb('split', path, '--cut', layers // 2, '--out', path.parent / 'stages', '--verify', *given)
    return {0: 'split', 1: 'differs', 2: 'split refused'}[code], wrong


def try_one(files, *, most_seconds=MOST_SECONDS, most_bytes=MOST_BYTES):
    """Check a model in a process of its own; return how it ended in a word, and a line."""
    with tempfile.TemporaryDirectory(prefix='edge_dnn_mutant.') as name:
        folder = Path(name)
        path = write(files, folder)
        report = folder / 'report.json'
        child = os.fork()
        if not child:
            _in_child(path, files.shapes, report, most_seconds, most_bytes)
        deadline = time.monotonic() + most_seconds
        while True:
            ended, status, used = os.wait4(child, os.WNOHANG)
            if ended:
                break
            if time.monotonic() > deadline:
                os.killpg(child, signal.SIGKILL)
                os.wait4(child, 0)
                return 'timeout', f'no end within {most_seconds:g} s'
            time.sleep(0.002)
        if os.WIFSIGNALED(status):
            return 'signal', signal.Signals(os.WTERMSIG(status)).name
        if not report.exists():
            return 'died', f'status {status}, {used.ru_maxrss >> 10} MiB'
        how, line = json.loads(report.read_text())
        return how, line


def _in_child(path, shapes, report, most_seconds, most_bytes):
    os.setpgid(0, 0)
    resource.setrlimit(resource.RLIMIT_CPU, (int(most_seconds) + 1,) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (most_bytes, most_bytes))
    os.environ['EDGE_DNN_PARTITION_CACHE'] = str(path.parent / 'cache')
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    isolation.MOST_SECONDS, trial.MOST_SECONDS, isolation._run_child = PREPARE_SECONDS, RUN_SECONDS, _forked_child
    try:
        outcome = check(path, shapes)
    except FindingError as finding:
        outcome = 'finding', str(finding)
    except BaseException:  # noqa: BLE001 (all of them are findings)
        frames = [line for line in traceback.format_exc().splitlines() if line.strip()]
        own = [line.strip() for line in frames if 'edge_dnn_partition/' in line and 'test/' not in line]
        outcome = 'exception', f'{frames[-1][:200]} at {own[-1].split("edge_dnn_partition/")[-1] if own else "?"}'
    report.write_text(json.dumps(outcome))
    os._exit(0)


def _forked_child(request, most_seconds):
    """Do as isolation's own child does, in a fork: a new interpreter for each mutant would take most of the time."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        code, wrong, out = 0, '', io.StringIO()
        signal.alarm(int(most_seconds))
        try:
            with redirect_stdout(out):
                isolation.answer(json.loads(request))
        except SystemExit as end:
            code = end.code
        except BaseException:  # noqa: BLE001 (Python would print it and end with 1)
            code, wrong = 1, traceback.format_exc()
        os.write(writer, json.dumps((out.getvalue(), wrong[-2000:])).encode())
        os._exit(code)
    os.close(writer)
    with open(reader, encoding='utf-8') as stream:
        said = stream.read()
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return (code, *(json.loads(said) if said else ('', '')))


BAD = ('finding', 'exception', 'signal', 'died', 'timeout')


def campaign(models, count, seed, *, keep=None, say=lambda _text: None, **bounds):
    """Try `count` mutants; return how many ended in which way, and the findings as (number, how, line).

    :param keep: a folder for the files of findings.
    """
    ends, findings = collections.Counter(), []
    for number in range(count):
        files = mutants.mutant(models, random.Random(f'{seed} {number}'))
        how, line = try_one(files, **bounds)
        ends[how] += 1
        if how in BAD:
            findings.append((number, how, f'{files.name}: {line}'))
            say(f'{number} {how} {files.name}: {line}')
            if keep is not None:
                folder = Path(keep) / str(number)
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir(parents=True)
                write(files, folder)
        if number % 500 == 499:
            say(f'{number + 1}: {dict(ends)}')
    return ends, findings


def main():
    """Run by hand."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('files', nargs='*', type=Path, metavar='FILE.onnx', help='more models to change')
    parser.add_argument('--mutants', type=int, default=10_000)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--keep', type=Path, help='folder for the files of findings')
    args = parser.parse_args()
    models = mutants.seeds() + [mutants.Files(path.stem, path.read_bytes()) for path in args.files]
    ends, findings = campaign(models, args.mutants, args.seed, keep=args.keep, say=lambda text: print(text, flush=True))
    print(f'{sum(ends.values())} mutants of {len(models)} models: {dict(ends)}; {len(findings)} findings')
    return 1 if findings else 0


if __name__ == '__main__':
    # imported once, here: each mutant's process is a fork of this one
    import rich.console
    import rich.markup
    import rich.table  # noqa: F401

    import edge_dnn_partition.cli.inspect
    import edge_dnn_partition.cli.split
    import edge_dnn_partition.graph.verify  # noqa: F401
    sys.exit(main())
