# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Network interfaces: rates, counters that wrap, links and Wi-Fi."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trees import net, write_tree

from edge_dnn_partition.sensing.sources.network import NetworkSource, counter_rate, parse_signals


def probed(source):
    source.probe()
    return source


def test_network_rates_drops_and_links(device):
    root = device('pi4')
    source = NetworkSource(root, bit_rate=lambda name: 72.2e6 if name == 'wlan0' else math.nan)
    assert source.probe() == 'lo, eth0, wlan0 (Wi-Fi)'
    assert all(math.isnan(interface.sent_bytes_per_second) for interface in source.read(0.0))
    write_tree(root, {'proc/net/dev': net(lo=(5, 5, 0), eth0=(1500, 2000, 0), wlan0=(10_000, 60_000, 7))})
    eth0, lo, wlan0 = source.read(2.0)
    assert (eth0.received_bytes_per_second, eth0.sent_bytes_per_second, eth0.drops_per_second) == (250.0, 0.0, 0.0)
    assert (wlan0.sent_bytes_per_second, wlan0.drops_per_second) == (20_000.0, 2.0)
    assert wlan0.link_bytes_per_second == pytest.approx(72.2e6 / 8)
    assert wlan0.signal_dbm == -52
    assert math.isnan(eth0.link_bytes_per_second)  # no cable: the kernel says -1
    assert math.isnan(lo.link_bytes_per_second)
    assert math.isnan(eth0.signal_dbm)


@pytest.mark.parametrize(('name', 'interface', 'rate'), [('server', 'eno1', 1.25e9), ('jetson_nano', 'eth0', 1.25e8)])
def test_link_rates(device, name, interface, rate):
    readings = NetworkSource(device(name)).read(0.0)
    assert {r.name: r.link_bytes_per_second for r in readings}[interface] == rate


def test_an_interface_that_comes_goes_or_is_made_anew(device):
    root = device('server')
    source = probed(NetworkSource(root))
    source.read(0.0)
    write_tree(root, {'proc/net/dev': net(eno1=(100, 200, 0), wwan0=(1, 1, 0))})
    readings = {interface.name: interface for interface in source.read(1.0)}
    assert set(readings) == {'eno1', 'wwan0'}
    assert math.isnan(readings['eno1'].sent_bytes_per_second)
    assert math.isnan(readings['wwan0'].sent_bytes_per_second)


@given(before=st.integers(0, 2**32 - 1), step=st.integers(0, 10**8), seconds=st.floats(0.1, 10.0))
def test_a_counter_of_32_bits_that_wraps_has_its_rate(before, step, seconds):
    after = (before + step) % 2**32
    assert counter_rate(before, after, seconds, largest=1e9) == pytest.approx(step / seconds)


@given(before=st.integers(0, 2**64), after=st.integers(0, 2**64), seconds=st.floats(-1.0, 10.0))
def test_no_counter_has_a_negative_rate(before, after, seconds):
    rate = counter_rate(before, after, seconds)
    assert math.isnan(rate) or rate >= 0


@pytest.mark.parametrize(('level', 'dbm'), [('-52.', -52), ('204.', -52), ('204', -52), ('0.', math.nan), ('x', math.nan)])
def test_wifi_signals(level, dbm):
    assert parse_signals(f'head\nhead\n wlan0: 0000   58.  {level}  -256\n')['wlan0'] == pytest.approx(dbm, nan_ok=True)
