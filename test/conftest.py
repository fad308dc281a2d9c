# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What all tests share: nothing is written to the user's folders; a ROS domain of their own; a browser; a small disk."""

import contextlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import settings

CHECKOUT = Path(__file__).resolve().parent.parent

os.environ.setdefault('EDGE_DNN_PARTITION_CACHE', str(CHECKOUT / 'build' / 'cache'))
os.environ.setdefault('EDGE_DNN_PARTITION_CACHE_LIMIT', '8 GB')  # tests share what they prepare
os.environ.setdefault('ROS_LOG_DIR', str(CHECKOUT / 'build' / 'ros-log'))
os.environ.setdefault('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')

settings.register_profile('seeded', derandomize=True, deadline=None)
settings.load_profile('seeded')
sys.path.insert(0, str(CHECKOUT / 'test'))  # reference_costs.py


@pytest.fixture(scope='session')
def reference():
    """The reference cost model, brute force and random cost files."""
    from reference_costs import Reference

    return Reference


@pytest.fixture(scope='session')
def ros_domain():
    """A ROS domain that no other test run on this machine uses; set in this process's environment."""
    pytest.importorskip('rclpy', reason='ROS 2 is not installed')
    from domain_coordinator import domain_id

    from edge_dnn_partition import ros_env

    prefix = ros_env.install_prefix()
    if prefix is not None and str(prefix) not in os.environ.get('AMENT_PREFIX_PATH', '').split(os.pathsep):
        parts = [part for part in (os.environ.get('AMENT_PREFIX_PATH'), str(prefix)) if part]
        os.environ['AMENT_PREFIX_PATH'] = os.pathsep.join(parts)
    with domain_id() as domain:
        os.environ['ROS_DOMAIN_ID'] = str(domain)
        os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'LOCALHOST'
        yield domain


@pytest.fixture
def fresh_home(tmp_path, monkeypatch):
    """The empty home of a user who has set nothing, for the processes that a test starts."""
    import edge_dnn_partition.execution.stages.engine  # noqa: F401 (what this process does is settled before the switch goes)

    home = tmp_path / 'home'
    home.mkdir()
    monkeypatch.setenv('HOME', str(home))
    # Under CI, and in unit tests of its own, onnxruntime sends no telemetry anyway.
    for name in ('XDG_CACHE_HOME', 'XDG_CONFIG_HOME', 'XDG_DATA_HOME', 'XDG_STATE_HOME', 'XDG_RUNTIME_DIR', 'CI', 'TF_BUILD',
                 'GITHUB_ACTIONS', 'ORT_DISABLE_TELEMETRY', 'ORT_RUNNING_UNIT_TESTS'):  # fmt: skip
        monkeypatch.delenv(name, raising=False)
    return home


@pytest.fixture(scope='session')
def browser():
    """A headless Chromium of this machine, driven by Playwright; skips where one of them is missing."""
    playwright = pytest.importorskip('playwright.sync_api', reason='playwright is not installed')
    path = next(filter(None, map(shutil.which, ('chromium', 'chromium-browser', 'google-chrome'))), None)
    if path is None:
        pytest.skip('there is no Chromium on the PATH (Debian: apt install chromium)')
    playwright.expect.set_options(timeout=20_000)  # milliseconds, for a loaded machine
    with playwright.sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=path, args=['--no-sandbox'] if os.geteuid() == 0 else [])
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser):
    """A page that fails the test if a script of it does."""
    context = browser.new_context(viewport={'width': 1280, 'height': 860}, color_scheme='light', locale='en-GB')
    page = context.new_page()
    wrong = []
    page.on('pageerror', lambda error: wrong.append(str(error)))
    page.on('console', lambda message: wrong.append(message.text) if _is_ours(message) else None)
    yield page
    context.close()
    assert not wrong


def _is_ours(message):
    """Whether a message of the console tells of a mistake; a request that is refused, or that no server takes any more, is none."""
    none = ('the server responded with a status', 'net::ERR_CONNECTION_REFUSED')
    return message.type == 'error' and not any(words in message.text for words in none)


@pytest.fixture
def small_disk(tmp_path):
    """A file system of its own of 1 MiB; ``fill`` and ``free`` it, or ``remount`` it."""
    folder = tmp_path / 'disk'
    folder.mkdir()
    disk = SmallDisk(folder)
    made = subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=1m', 'none', folder], capture_output=True, text=True, check=False)
    if made.returncode:
        pytest.skip(f'no small disk: mounting needs root ({made.stderr.strip()})')
    try:
        yield disk
    finally:
        subprocess.run(['umount', '-l', folder], check=True)


class SmallDisk:
    """See `small_disk`."""

    def __init__(self, folder):
        self.folder = folder

    def fill(self):
        with contextlib.suppress(OSError), (self.folder / 'ballast').open('wb', buffering=0) as stream:
            while stream.write(bytes(4096)):
                pass

    def free(self):
        (self.folder / 'ballast').unlink(missing_ok=True)

    def remount(self, how):
        subprocess.run(['mount', '-o', f'remount,{how}', self.folder], check=True)
