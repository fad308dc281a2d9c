# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Power meters on the trees of six devices."""

import math

import pytest
from trees import AGX_ORIN_RAILS, NANO_IIO, PI5_PMIC, RAPL, hwmon_rails, write_tree

from edge_dnn_partition.sensing.source import Unavailable
from edge_dnn_partition.sensing.sources import rapl
from edge_dnn_partition.sensing.sources.battery import BatteryMeter, BatteryReading, BatteryTopicSource
from edge_dnn_partition.sensing.sources.jetson import Ina3221Meter, parts_of_total
from edge_dnn_partition.sensing.sources.pi_pmic import OFFSET_WATTS, SLOPE, PiPmicMeter, rail_watts
from edge_dnn_partition.sensing.sources.power_topic import ExternalMeter
from edge_dnn_partition.sensing.sources.rapl import RaplMeter


def probed(meter):
    meter.probe()
    return meter


def by_scope(readings):
    assert len({reading.scope for reading in readings}) == len(readings)
    return {reading.scope: reading for reading in readings}


def rapl_files(root, values):
    write_tree(root, {f'{RAPL}/{zone}/energy_uj': f'{value}\n' for zone, value in values.items()})


def test_rapl_of_a_laptop_counts_no_part_and_no_package_twice(device):
    root = device('laptop')
    meter = RaplMeter(root)
    assert meter.probe() == 'package-0, psys'
    first = by_scope(meter.read(0.0))
    assert math.isnan(first['cpu'].watts)
    rapl_files(root, {'intel-rapl:0': 11_000_000, 'intel-rapl:1': 25_000_000, 'intel-rapl:0:0': 9_000_000})
    second = by_scope(meter.read(2.0))
    assert set(second) == {'cpu', 'board'}
    assert (second['cpu'].watts, second['cpu'].joules) == pytest.approx((5.0, 10.0))
    assert (second['board'].watts, second['board'].source) == (pytest.approx(10.0), 'rapl psys')
    assert second['cpu'].covered_seconds == 2.0


def test_a_psys_that_counts_less_than_the_processor_is_not_the_board(device):
    root = device('laptop')
    meter = probed(RaplMeter(root))
    meter.read(0.0)
    for seconds, scopes in ((5, {'cpu', 'board'}), (11, {'cpu'}), (12, {'cpu'})):
        rapl_files(root, {'intel-rapl:0': 1_000_000 + seconds * 8_000_000, 'intel-rapl:1': 5_000_000 + seconds * 500_000})
        assert set(by_scope(meter.read(float(seconds)))) == scopes


def test_rapl_of_a_server_sums_packages_and_wraps_each_where_it_does(device):
    root = device('server')
    meter = RaplMeter(root)
    assert meter.probe() == 'package-0, package-1, dram, dram'
    rapl_files(root, {'intel-rapl:0': 65_532_000_000, 'intel-rapl:0:0': 65_712_000_000})
    meter.read(0.0)
    rapl_files(root, {
        'intel-rapl:0': 65_532_000_000 + 50_000_000 - 65_532_610_987, 'intel-rapl:1': 20_000_000 + 30_000_000,
        'intel-rapl:0:0': 65_712_000_000 + 4_000_000 - 65_712_999_613, 'intel-rapl:1:0': 3_000_000 + 2_000_000,
    })  # fmt: skip
    reading = by_scope(meter.read(1.0))
    assert reading['cpu'].joules == pytest.approx(80.0)
    assert reading['memory'].joules == pytest.approx(6.0)


def test_rapl_that_only_root_may_read_says_what_to_do(device, monkeypatch):
    def refuse(path):
        raise PermissionError(13, 'Permission denied', path)

    monkeypatch.setattr(rapl, 'read_text', refuse)
    with pytest.raises(Unavailable, match=r'RAPL \(package-0, psys\) may be read by root only') as caught:
        RaplMeter(device('laptop')).probe()
    assert 'chmod a+r' in caught.value.advice
    with pytest.raises(Unavailable, match='no RAPL zone'):
        RaplMeter(device('pi4')).probe()


def test_rapl_goes_on_where_it_was_after_a_failure(device):
    root = device('laptop')
    meter = probed(RaplMeter(root))
    meter.read(0.0)
    rapl_files(root, {'intel-rapl:0': 3_000_000})
    meter.read(1.0)
    write_tree(root, {f'{RAPL}/intel-rapl:0/energy_uj': None})
    assert math.isnan(by_scope(meter.read(2.0))['cpu'].watts)
    rapl_files(root, {'intel-rapl:0': 9_000_000})
    meter.probe()
    meter.read(3.0)
    rapl_files(root, {'intel-rapl:0': 10_000_000})
    reading = by_scope(meter.read(4.0))['cpu']
    assert reading.joules == pytest.approx(3.0)  # 2 before and 1 after; what was between is not known
    assert reading.covered_seconds == 2.0


def test_jetson_nano_has_a_rail_of_the_total(device):
    root = device('jetson_nano')
    meter = Ina3221Meter(root)
    assert meter.probe() == 'POM_5V_IN; parts of it: POM_5V_GPU, POM_5V_CPU'
    (reading,) = meter.read(0.0)
    assert (reading.watts, reading.scope, reading.source) == (3.19, 'board', 'ina3221 POM_5V_IN')
    write_tree(root, {f'{NANO_IIO}/in_power0_input': '5190\n'})
    (reading,) = meter.read(2.0)
    assert reading.joules == pytest.approx(2 * (3.19 + 5.19) / 2)
    assert reading.resolution_watts == pytest.approx(0.008 * 5.024)


def test_orin_nano_has_a_rail_of_the_total_under_the_other_driver(device):
    meter = Ina3221Meter(device('orin_nano'))
    assert meter.probe() == 'VDD_IN; parts of it: VDD_CPU_GPU_CV, VDD_SOC'
    (reading,) = meter.read(0.0)
    assert reading.watts == pytest.approx(5.0)
    assert reading.resolution_watts == pytest.approx(0.04)


def test_agx_orin_sums_its_rails_but_not_the_one_that_hangs_on_another(tmp_path):
    meter = Ina3221Meter(write_tree(tmp_path, AGX_ORIN_RAILS))
    assert meter.probe() == 'VDD_GPU_SOC + VDD_CPU_CV + VIN_SYS_5V0; parts of it: VDDQ_VDD2_1V8AO'
    (reading,) = meter.read(0.0)
    assert reading.watts == pytest.approx(19 * 0.3 + 5 * 0.9)
    assert 'carrier board is not in it' in reading.note
    write_tree(tmp_path, {'sys/bus/i2c/devices/1-0040/hwmon/hwmon3/curr2_input': 'nonsense'})
    assert math.isnan(meter.read(1.0)[0].watts)  # never the sum of the others


@pytest.mark.parametrize(
    ('rails', 'expected'),
    [
        (['POM_5V_IN', 'POM_5V_GPU', 'POM_5V_CPU'], ['POM_5V_IN']),
        (['VDD_CPU_GPU_CV', 'VDD_IN', 'VDD_SOC'], ['VDD_IN']),
        (['GPU', 'CPU', 'SOC', 'CV', 'VDDRQ', 'SYS5V'], ['GPU', 'CPU', 'SOC', 'CV', 'VDDRQ', 'SYS5V']),  # AGX Xavier
        (['VDDQ_VDD2_1V8AO'], ['VDDQ_VDD2_1V8AO']),
    ],
)
def test_rails_of_the_total(rails, expected):
    assert parts_of_total(rails) == expected


def test_a_rail_seen_through_two_drivers_counts_once(tmp_path):
    twice = {'sys/bus/i2c/devices/1-0040/name': 'ina3221\n'}
    for hwmon in ('hwmon1', 'hwmon9'):
        twice |= hwmon_rails(f'sys/bus/i2c/devices/1-0040/hwmon/{hwmon}', ('GPU', 5000, 1000), ('CPU', 5000, 1000))
    assert probed(Ina3221Meter(write_tree(tmp_path, twice))).read(0.0)[0].watts == pytest.approx(10.0)


def test_raspberry_pi_5_is_estimated_from_its_rails(device):
    meter = PiPmicMeter(device('pi5'), lambda command: PI5_PMIC)
    assert meter.probe().startswith('Raspberry Pi 5 Model B')
    (reading,) = meter.read(0.0)
    rails = rail_watts(PI5_PMIC)
    assert rails == pytest.approx(2.079, abs=0.001)
    assert reading.watts == pytest.approx(SLOPE * rails + OFFSET_WATTS)
    assert 'USB' in reading.note
    with pytest.raises(Unavailable, match='no rail with current and voltage'):
        PiPmicMeter(device('pi5'), lambda command: 'error=1').probe()
    with pytest.raises(Unavailable, match='only a Raspberry Pi 5'):
        PiPmicMeter(device('pi4'), lambda command: PI5_PMIC).probe()

    def missing(command):
        raise FileNotFoundError(2, 'No such file or directory', 'vcgencmd')

    with pytest.raises(Unavailable) as caught:
        PiPmicMeter(device('pi5'), missing).probe()
    assert 'group video' in caught.value.advice


def test_battery_measures_while_it_is_discharged(device):
    root = device('laptop')
    meter = probed(BatteryMeter(root))
    assert meter.read(0.0)[0].watts == pytest.approx(9.12)
    assert meter.read(1.0)[0].joules == pytest.approx(9.12)
    write_tree(root, {'sys/class/power_supply/BAT0/status': 'Full\n'})
    reading = meter.read(2.0)[0]
    assert math.isnan(reading.watts)
    assert (reading.joules, reading.covered_seconds) == (pytest.approx(9.12), 1.0)
    mute = {'sys/class/power_supply/BAT0/current_now': None, 'sys/class/power_supply/BAT0/status': 'Discharging\n'}
    with pytest.raises(Unavailable, match='neither power nor current'):
        BatteryMeter(write_tree(root, mute)).probe()


def test_an_external_meter_is_as_old_as_its_last_value():
    meter = ExternalMeter('wall_watts', stale_seconds=5.0)
    assert meter.probe() == 'wall_watts'
    assert math.isnan(meter.read(0.0)[0].watts)
    for now, watts in ((1.0, 4.0), (2.0, 6.5), (3.0, 6.0)):
        meter.on_watts(now, watts)
    (reading,) = meter.read(3.5)
    assert (reading.watts, reading.joules, reading.resolution_watts) == (6.0, pytest.approx(5.25 + 6.25), 0.5)
    assert math.isnan(meter.read(9.0)[0].watts)
    for bad in (-1.0, math.nan, math.inf):
        meter.on_watts(9.5, bad)
        assert math.isnan(meter.read(9.5)[0].watts)
    assert meter.read(9.5)[0].joules == pytest.approx(11.5)


def test_a_battery_on_a_topic():
    source = BatteryTopicSource('/robot/battery', stale_seconds=10.0)
    assert source.probe() == '/robot/battery'
    assert math.isnan(source.read(0.0).percent)
    source.on_state(1.0, fraction=0.4, volts=12.0, amperes=-1.5, discharging=True)
    assert source.read(5.0) == BatteryReading(40.0, 18.0, charging=False)
    assert math.isnan(source.read(12.0).percent)
    source.on_state(13.0, fraction=math.nan, volts=12.0, amperes=2.0, discharging=False)
    reading = source.read(13.0)
    assert math.isnan(reading.percent)
    assert (reading.discharge_watts, reading.charging) == (0.0, True)
    assert math.isnan(source.on_state(14.0, fraction=0.4, volts=12.0, amperes=math.nan, discharging=True).discharge_watts)
