# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Cgroups: the files of both versions in made-up trees, and real ones where this is root."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from edge_dnn_partition.errors import UserError
from edge_dnn_partition.testbed.cgroups import ROOT, Cgroup, remove_leftovers
from edge_dnn_partition.testbed.netns import new_stem

DEAD = 'ednp-1-999999999999-0123abcd-pi'


def settings(root: Path) -> dict[str, str]:
    return {str(path.relative_to(root)): path.read_text() for path in root.rglob('*') if path.is_file() and path.stat().st_size}


def test_version_2(tmp_path: Path) -> None:
    (tmp_path / 'cgroup.controllers').touch()
    group = Cgroup('g', cores=0.35, memory_bytes=2**30, root=tmp_path)
    group.make()
    assert settings(tmp_path) == {
        'cgroup.subtree_control': '+cpu +memory', 'g/cpu.max': '3500 10000', 'g/memory.max': str(2**30),
    }  # fmt: skip
    assert group.prefix()[-1] == f'{tmp_path}/g/cgroup.procs'


def test_version_1(tmp_path: Path) -> None:
    for name in ('cpu', 'memory'):
        (tmp_path / name).mkdir()
    group = Cgroup('g', cores=1.5, memory_bytes=2**30, root=tmp_path)
    group.make()
    assert settings(tmp_path) == {
        'cpu/g/cpu.cfs_period_us': '10000', 'cpu/g/cpu.cfs_quota_us': '15000', 'memory/g/memory.limit_in_bytes': str(2**30),
    }  # fmt: skip
    assert group.prefix()[-1] == f'{tmp_path}/cpu/g/cgroup.procs {tmp_path}/memory/g/cgroup.procs'


def test_nothing_without_a_limit(tmp_path: Path) -> None:
    group = Cgroup('g', root=tmp_path)
    group.make()
    assert group.prefix() == []
    assert list(tmp_path.iterdir()) == []


def test_a_refusal_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UserError, match='leave cores and memory_limit out'):
        Cgroup('g', cores=1, root=tmp_path).make()


def test_only_groups_of_owners_that_are_gone_are_removed(tmp_path: Path) -> None:
    names = [DEAD, f'{new_stem()}-pi', 'user.slice', 'ednp-1-pi']
    for name in names:
        (tmp_path / 'cpu' / name).mkdir(parents=True)
    assert remove_leftovers(tmp_path) == [DEAD]
    assert sorted(path.name for path in (tmp_path / 'cpu').iterdir()) == sorted(names[1:])


def test_a_real_group_holds_its_processes() -> None:
    if os.geteuid() != 0:
        pytest.skip('cgroups need root')
    group = Cgroup(f'{new_stem()}-pi', cores=0.5, memory_bytes=2**28)
    try:
        group.make()
    except UserError as error:
        pytest.skip(str(error))
    try:
        done = subprocess.run([*group.prefix(), 'cat', '/proc/self/cgroup'], capture_output=True, text=True, check=True)
        assert group.folders[0].name in done.stdout
    finally:
        group.remove()
    assert not any(folder.exists() for folder in group.folders)
    assert ROOT.exists()
