# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Finds the commands in pages, and holds each against what it names: the parser, launch files, parameters, files."""

import ast
import difflib
import re
import shlex
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from edge_dnn_partition.cli import bench
from edge_dnn_partition.cli.main import PROGRAM, VERBS, build_parser
from edge_dnn_partition.deployment.node_parameters import NODE_PARAMETERS
from edge_dnn_partition.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
PAGES = tuple(ROOT / name for name in ('README.md', 'CONTRIBUTING.md', 'QUALITY_DECLARATION.md', 'SECURITY.md', 'examples/README.md'))
PAGES += tuple(sorted((ROOT / 'docs').glob('*.md')))
MARK = re.compile(r'<!-- not run: (.+?) -->')
TESTED_BY = re.compile(r'run by ([\w./-]+)')
_FOLDERS = ('docker', 'systemd', 'config', 'scripts', 'launch', 'rviz', 'docs', 'test', 'benchmarks', 'examples')
_BEFORE = {'sudo', 'exec', 'nice', 'time', '.'}


@dataclass(frozen=True)
class Block:
    """A fenced block of shell commands.

    :param mark: why it is not run; empty: it is.
    """

    page: str
    line: int
    text: str
    mark: str

    def __str__(self):
        return f'{self.page}:{self.line}'


def blocks(page):
    """Return the shell blocks of a page."""
    found, before, lines = [], '', page.read_text().splitlines()
    i = 0
    while i < len(lines):
        fence = re.match(r'\s*```(\w*)', lines[i])
        if fence:
            end = next(j for j in range(i + 1, len(lines)) if lines[j].strip() == '```')
            if fence[1] in ('sh', 'bash', 'shell', 'console'):
                mark = MARK.fullmatch(before)
                text = '\n'.join(lines[i + 1 : end]) + '\n'
                found.append(Block(page.name, i + 1, text, mark[1] if mark else ''))
            i, before = end, ''
        elif lines[i].strip():
            before = lines[i].strip()
        i += 1
    return found


def commands(text):
    """Return the words of each simple command of a shell text; comments go, and what joins commands."""
    found = []
    for line in re.sub(r'\\\n\s*', ' ', text).splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars='();<>|&')
        lexer.whitespace_split, lexer.commenters = True, '#'
        words = []
        for word in [*lexer, ';']:
            if word and set(word) <= set('();<>|&'):
                if words and words != ['$']:
                    found.append(words)
                words = []
            else:
                words.append(word)
    return found


def inline(page):
    """Return the commands that stand in a page's running text, with their lines; of ours those with something to check."""
    found, fenced = [], False
    for number, line in enumerate(page.read_text().splitlines(), 1):
        if line.strip().startswith('```'):
            fenced = not fenced
        elif not fenced:
            for span in re.findall(r'(?<!`)`([^`]+)`(?!`)', line):
                if re.match(rf'(sudo )?({PROGRAM} [a-z]|ros2 (launch|run|param set) |make [a-z])', span) and '…' not in span:
                    found.append((number, span))
    return found


def complaint(words):
    """Return what is wrong with a command, or an empty text."""
    words = list(words)
    while words and (words[0] in _BEFORE or re.match(r'[A-Z_]+=', words[0])):
        words.pop(0)
    if not words:
        return ''
    missing = [word for word in words if re.match(rf'({"|".join(_FOLDERS)})/', word) and not list(ROOT.glob(word.rstrip('/')))]
    if missing and not set(words) & {'--out', '--plot', '--csv'}:
        return f'there is no {missing[0]}'
    program = words[0].removeprefix('.venv/bin/')
    if program == PROGRAM:
        return _ours(words[1:])
    if program == 'ros2':
        return _ros2(words[1:])
    if program == 'make':
        targets = [word for word in words[1:] if '=' not in word]
        unknown = set(targets) - _make_targets()
        return f'the Makefile has no target {unknown.pop()}' if unknown else ''
    return ''


def _ours(words):
    verb = next((word for word in words if not word.startswith('-')), None)
    if verb is not None and verb not in VERBS:
        return f'there is no verb {verb}'
    try:
        args, unknown = build_parser(words).parse_known_args(words)
    except UserError as error:
        return str(error)
    except SystemExit:  # --help, --version
        return ''
    if unknown:
        return f'unknown arguments: {" ".join(unknown)}'
    if verb == 'bench' and args.name not in (None, 'report', 'suite', 'NAME', *bench.find()):
        return f'there is no benchmark {args.name}'
    return ''


def _ros2(words):
    match words:
        case ['launch', 'edge_dnn_partition', file, *arguments]:
            return _launch(file, arguments)
        case ['run', 'edge_dnn_partition', executable, *_]:
            known = {*_nodes(), PROGRAM}
            return '' if executable in known else f'edge_dnn_partition has no executable {executable}'
        case ['param', 'set', node, name, value]:
            return _parameter(node.rpartition('/')[2], name, value)
        case ['service', 'call', _, kind, *_] | ['interface', 'show', kind] if kind.startswith('edge_dnn_partition/'):
            _, folder, name = kind.split('/')
            return '' if (ROOT / folder / f'{name}.{folder}').is_file() else f'there is no {kind}'
    return ''


def _launch(file, arguments):
    path = ROOT / 'launch' / file
    if not path.is_file():
        return f'there is no launch/{file}'
    sources = [path.read_text(), *_shared_arguments(path)]
    calls = [node for text in sources for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)]
    declared = {c.args[0].value: c for c in calls if ast.unparse(c.func) == 'DeclareLaunchArgument'}
    given = {argument.partition(':=')[0] for argument in arguments if ':=' in argument}
    if given - set(declared):
        return f'launch/{file} has no argument {(given - set(declared)).pop()}'
    needed = {name for name, c in declared.items() if not any(k.arg == 'default_value' for k in c.keywords)}
    return f'launch/{file} needs {(needed - given).pop()}' if needed - given else ''


def _shared_arguments(path):
    """Return the sources of the functions that declare arguments for several launch files, as far as this one calls them."""
    called = {ast.unparse(node.func) for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)}
    text = (ROOT / 'edge_dnn_partition' / 'nodes' / 'launching.py').read_text()
    return [ast.unparse(part) for part in ast.parse(text).body if isinstance(part, ast.FunctionDef) and part.name in called]


def _parameter(node, name, value):
    import yaml

    if node not in _nodes():
        return f'there is no node {node}'
    table = {p.name: p for p in NODE_PARAMETERS[node]}
    if name not in table:
        near = difflib.get_close_matches(name, table, n=1)
        return f'{node} has no parameter {name}' + (f'; did you mean {near[0]}?' if near else '')
    if table[name].read_only:
        return f'{name} of {node} can be set at the start only'
    try:
        table[name].coerce(yaml.safe_load(value))
    except UserError as error:
        return str(error)
    return ''


@cache
def _nodes():
    text = (ROOT / 'CMakeLists.txt').read_text()
    return set(re.search(r'foreach\(node ([\w ]+)\)', text)[1].split())


@cache
def _make_targets():
    return set(re.search(r'^\.PHONY: (.*)$', (ROOT / 'Makefile').read_text(), re.MULTILINE)[1].split())
