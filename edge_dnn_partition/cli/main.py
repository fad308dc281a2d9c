# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The command line's entry: finds the verb, runs it, and turns bad input into one line.

Only the verb that was asked for is imported, so that the command starts quickly and works without ROS.
"""

from __future__ import annotations

import argparse
import difflib
import importlib
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO, Any, Final, NoReturn

from edge_dnn_partition import __version__, cache
from edge_dnn_partition.cli.terminal import printable_streams
from edge_dnn_partition.errors import UserError

PROGRAM: Final = 'edge-dnn-partition'


@dataclass(frozen=True)
class Verb:
    """A verb's line in the help; its module is ``edge_dnn_partition.cli.<name>``."""

    summary: str
    needs_ros: bool = False
    without_ros: str = ''
    """An option with which it does not."""


VERBS: Final[dict[str, Verb]] = {
    'inspect': Verb('show the layers and cuts of an ONNX model'),
    'split': Verb('write the stages between some cuts as ONNX files'),
    'init': Verb('write a fleet file from what a model says of itself'),
    'profile': Verb("time the model's segments and boundary overheads on this machine"),
    'plan': Verb("place a model's layers on a fleet, offline"),
    'calibrate': Verb("fit this device's power model to a meter"),
    'demo': Verb('split a camera stream over three emulated devices, live', needs_ros=True),
    'bench': Verb('run a benchmark and write its figures and a plot'),
    'keygen': Verb("make a fleet's key, so that its devices trust only one another"),
    'up': Verb('start the processes of a fleet file', needs_ros=True),
    'join': Verb('take part in a running fleet, without a file of it', needs_ros=True),
    'top': Verb('watch a running fleet in the terminal', needs_ros=True),
    'dashboard': Verb('watch a running fleet, or a report, in the browser', needs_ros=True, without_ros='--json'),
    'tell': Verb('pin a plan of a running fleet, free it, plan or profile again', needs_ros=True),
    'model': Verb('give a running fleet another model, or the one before', needs_ros=True),
    'replay': Verb("replay a bag of a fleet's topics into the scheduler, offline"),
    'doctor': Verb('check this machine and say what to fix'),
}  # fmt: skip


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line that says what to do."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault('formatter_class', argparse.RawDescriptionHelpFormatter)
        kwargs.setdefault('allow_abbrev', False)
        super().__init__(*args, **kwargs)

    def error(self, message: str) -> NoReturn:
        """Raise what argparse would print with its usage.

        :raises UserError: always.
        """
        raise UserError(f'{message}; see `{self.prog} --help`')


def build_parser(argv: Sequence[str]) -> Parser:
    """Return the parser, with the options of the verb that ``argv`` asks for."""
    lines = '\n'.join(f'  {name:<9} {verb.summary}' for name, verb in VERBS.items())
    parser = Parser(
        prog=PROGRAM,
        usage=f'{PROGRAM} VERB …',
        description='Splits ONNX models across the devices of a robot or fleet, live, over ROS 2.',
        epilog=f'verbs:\n{lines}\n\nexample:\n  {PROGRAM} inspect model.onnx\n\n'
        f'`{PROGRAM} VERB --help` has the options of one.',
    )
    parser.add_argument('--version', action='version', version=f'{PROGRAM} {__version__}')
    name = next((word for word in argv if not word.startswith('-')), None)
    if name in VERBS:
        subparsers = parser.add_subparsers(dest='verb', prog=PROGRAM, help=argparse.SUPPRESS, parser_class=Parser)
        _module(name).add_parser(subparsers)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    :param argv: the arguments; None for the process's own, and only then is the process replaced by
        itself where a verb that needs ROS finds the environment incomplete.
    """
    own = argv is None
    os.environ.setdefault('MPLCONFIGDIR', str(cache.cache_root() / 'matplotlib'))  # else its list of fonts goes to the home
    arguments = list(sys.argv[1:] if argv is None else argv)
    with printable_streams():
        return _run(arguments, own_process=own)


def _run(arguments: list[str], *, own_process: bool) -> int:
    try:
        return _dispatch(arguments, own_process=own_process)
    except UserError as error:
        print(f'error: {" ".join(str(error).split())}', file=sys.stderr)
        return 2
    except ImportError as error:
        if (error.name or '').startswith('edge_dnn_partition'):
            raise
        reason = ' '.join(str(error).split())[:300]
        print(f'error: a package cannot be imported: {reason}; `{PROGRAM} doctor` says where it comes from', file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print('interrupted', file=sys.stderr)
        return 128 + signal.SIGINT
    except BrokenPipeError:
        _silence(sys.stdout)
        return 128 + signal.SIGPIPE


def _dispatch(arguments: list[str], *, own_process: bool) -> int:
    try:
        name = next((word for word in arguments if not word.startswith('-')), None)
        verb = VERBS.get(name) if name else None
        if name and verb is None:
            near = difflib.get_close_matches(name, VERBS, n=1)
            hint = f'did you mean `{near[0]}`?' if near else f'one of {", ".join(VERBS)}'
            raise UserError(f'there is no verb `{name}`: {hint}')
        help_only = '-h' in arguments or '--help' in arguments
        if name == 'doctor' and own_process and not help_only:
            from edge_dnn_partition import ros_env

            ros_env.prepare()
        bare = verb is not None and verb.without_ros in [word.partition('=')[0] for word in arguments]
        if name and verb and verb.needs_ros and not bare and not help_only:
            from edge_dnn_partition import ros_env

            if own_process:
                ros_env.prepare()
            ros_env.require_ros(name)
        parser = build_parser(arguments)
        args, unknown = parser.parse_known_args(arguments)
        if unknown:
            program = f'{PROGRAM} {name}' if name else PROGRAM
            raise UserError(f'unknown arguments: {" ".join(unknown)}; see `{program} --help`')
        if name is None:
            raise UserError(f'a verb is missing: one of {", ".join(VERBS)}; see `{PROGRAM} --help`')
        code = int(args.run(args))
        sys.stdout.flush()
    except SystemExit as stop:  # argparse, after --help and --version
        sys.stdout.flush()
        return stop.code if isinstance(stop.code, int) else 0
    else:
        return code


def _module(name: str) -> Any:
    module = f'edge_dnn_partition.cli.{name}'
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        missing = error.name or ''
        if missing.startswith('edge_dnn_partition'):
            raise
        raise UserError(
            f'`{name}` needs the Python package `{missing}`, which is missing: pip install it, or run `make setup`'
        ) from error


def _silence(stream: IO[str]) -> None:
    """Send what is still buffered to nowhere, so that the interpreter's last flush does not complain."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, stream.fileno())
    os.close(null)


if __name__ == '__main__':
    sys.exit(main())
