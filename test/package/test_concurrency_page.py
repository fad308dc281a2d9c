# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""docs/concurrency.md names the threads that the code starts, and no others; no lock leaves its class."""

import ast
import re
from pathlib import Path

CHECKOUT = Path(__file__).parents[2]
PACKAGE = CHECKOUT / 'edge_dnn_partition'
PAGE = (CHECKOUT / 'docs' / 'concurrency.md').read_text(encoding='utf-8')
ROOMS = ('nodes', 'execution', 'transport', 'control', 'deployment', 'monitoring', 'sensing', 'inputs', 'results', 'dashboard')
FILES = sorted(path for room in ROOMS for path in (PACKAGE / room).rglob('*.py'))
NAMED = ('run_in_background', 'run', 'task_queue', 'ThreadPoolExecutor', 'end_session')
"""What else starts a thread (control/scheduling/background.py); its name is the second argument."""


def calls(path):
    for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
        if isinstance(node, ast.Call):
            yield node, node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, 'id', '')


def started():
    """Return the names of threads by the code; a loop's names are those of the tuples that it goes through."""
    found = set()
    for path in FILES:
        source = path.read_text(encoding='utf-8')
        for call, made in calls(path):
            if made == 'Thread':
                name = next((word.value for word in call.keywords if word.arg == 'name'), None)
            elif made in NAMED and len(call.args) == 2:
                name = call.args[1]
            else:
                continue
            if isinstance(name, ast.Constant) and isinstance(name.value, str):
                found.add(name.value)
            elif isinstance(name, ast.Name) and path.name == 'worker.py':
                found |= set(re.findall(r"\('(\w+)', self\.[\w.]+\.work\)", source))
    return found


def test_the_page_names_the_threads_that_are_started():
    in_tables = {name for row in PAGE.splitlines() if row.startswith('|') for name in re.findall(r'^\| (?:[^|`]*\| )?`([\w ]+)` \|', row)}
    code = started()
    assert {'spin', 'inference', 'preparation', 'policy'} <= code
    assert code - {'starter'} == in_tables - {'MainThread'}
    assert '`starter`' in PAGE


def test_no_lock_is_passed_to_another_object():
    passed = [
        f'{path.relative_to(PACKAGE)}:{call.lineno}: {made} is given {ast.unparse(value)}'
        for path in FILES for call, made in calls(path) for value in (*call.args, *(word.value for word in call.keywords))
        if re.fullmatch(r'self\._?(lock|condition)', ast.unparse(value))
    ]
    assert not passed


def test_nothing_is_published_in_a_block_that_holds_a_lock():
    """But for a `SealedPublisher`, whose lock keeps its messages in the order of their counts."""
    found = [
        f'{path.relative_to(PACKAGE)}:{call.lineno}'
        for path in FILES if path.name != 'seals.py'
        for block in ast.walk(ast.parse(path.read_text(encoding='utf-8'))) if isinstance(block, ast.With)
        if any(re.fullmatch(r'self\._?(lock|condition)', ast.unparse(item.context_expr)) for item in block.items)
        for call in ast.walk(block) if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute)
        if call.func.attr.lstrip('_').startswith('publish')
    ]
    assert not found
