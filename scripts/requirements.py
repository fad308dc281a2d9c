# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Reads which packages the setup installs: names from setup.cfg and requirements/, versions from constraints.txt."""

from __future__ import annotations

import configparser
import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def names_of(*groups: str | None) -> list[str]:
    """Return the requirements of some groups.

    :param groups: None for what the package itself needs, the name of an extra of setup.cfg, or that
        of a file in requirements/.
    """
    config = configparser.ConfigParser()
    config.read(ROOT / 'setup.cfg')
    extras = config['options.extras_require']
    names: list[str] = []
    for group in groups:
        if group is None:
            text = config['options']['install_requires']
        elif group in extras:
            text = extras[group]
        else:
            text = (ROOT / 'requirements' / f'{group}.txt').read_text()
        names += [line.strip() for line in text.splitlines() if line.strip() and not line.startswith('#')]
    return names


def pinned(name: str) -> str:
    """Return the line of constraints.txt for a package."""
    for line in (ROOT / 'constraints.txt').read_text().splitlines():
        if re.match(rf'{re.escape(name)}==', line):
            return line
    raise KeyError(name)


def constraint_lines(python: Path | None) -> list[str]:
    """Return the pins, without those of packages that ``python`` can see already.

    Under a sourced ROS 2 the system's numpy, OpenCV, … are the ones that ROS was built against; where
    they satisfy the ranges they stay.
    """
    lines = [line for line in (ROOT / 'constraints.txt').read_text().splitlines() if line and line[0] != '#']
    if python is None:
        return lines
    listing = 'import importlib.metadata as m; print(*(d.metadata["Name"] for d in m.distributions()), sep="\\n")'
    output = subprocess.run([python, '-c', listing], capture_output=True, text=True, check=True).stdout
    present = {re.sub(r'[-_.]+', '-', name).lower() for name in output.split()}
    return [line for line in lines if re.split('[=;]', line)[0] not in present]
