# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Trees of proc and sysfs files as six devices have them; what does not matter here is left out.

A tree is a dictionary of path and content; None as content takes the file away.
"""

from pathlib import Path

PI4_WLAN = """\
Inter-| sta-|   Quality        |   Discarded packets               | Missed | WE
 face | tus | link level noise |  nwid  crypt   frag  retry   misc | beacon | 22
 wlan0: 0000   58.  -52.  -256        0      0      0     12      0        0
"""

NET_HEAD = """\
Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
"""


def write_tree(root, tree):
    """Write a tree below a folder and return the folder as text."""
    for path, content in tree.items():
        file = Path(root) / path
        if content is None:
            file.unlink(missing_ok=True)
            continue
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
    return str(root)


def net(**interfaces):
    """Return /proc/net/dev of interfaces with their received and sent bytes, and dropped packets."""
    lines = [
        f'{name:>6}: {received} 10 0 {drops} 0 0 0 0 {sent} 10 0 0 0 0 0 0\n'
        for name, (received, sent, drops) in interfaces.items()
    ]
    return NET_HEAD + ''.join(lines)


def stat(*cores):
    """Return /proc/stat of cores with their user and idle ticks."""
    user, idle = sum(c[0] for c in cores), sum(c[1] for c in cores)
    lines = [f'cpu{i} {busy} 0 0 {rest} 0 0 0 0 0 0\n' for i, (busy, rest) in enumerate(cores)]
    return f'cpu  {user} 0 0 {idle} 0 0 0 0 0 0\n{"".join(lines)}intr 1 2 3\nctxt 7\nbtime 1795517388\n'


def meminfo(total_kib, available_kib, swap_kib=0, swap_free_kib=0):
    """Return /proc/meminfo."""
    return (
        f'MemTotal:       {total_kib} kB\nMemFree:         {available_kib // 2} kB\nMemAvailable:   {available_kib} kB\n'
        f'SwapTotal:      {swap_kib} kB\nSwapFree:       {swap_free_kib} kB\n'
    )


def psi(cpu, memory, io):
    """Return /proc/pressure."""

    def text(value):
        return f'some avg10={value:.2f} avg60=0.10 avg300=0.05 total=12345\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n'

    return {'proc/pressure/cpu': text(cpu), 'proc/pressure/memory': text(memory), 'proc/pressure/io': text(io)}


def policy(index, cores, now_khz, max_khz, limit_khz=None, driver='cpufreq-dt'):
    """Return one cpufreq policy."""
    folder = f'sys/devices/system/cpu/cpufreq/policy{index}'
    return {
        f'{folder}/affected_cpus': f'{cores}\n',
        f'{folder}/scaling_cur_freq': f'{now_khz}\n',
        f'{folder}/cpuinfo_max_freq': f'{max_khz}\n',
        f'{folder}/scaling_max_freq': f'{limit_khz or max_khz}\n',
        f'{folder}/scaling_driver': f'{driver}\n',
    }


def process(ticks=(100, 20), pages=5000):
    """Return /proc/self; the name has a space and a bracket, as names may."""
    rest = ' '.join(['0'] * 30)
    return {
        'proc/self/stat': f'4711 (edge (py) x) S 1 1 1 0 -1 4194304 100 0 0 0 {ticks[0]} {ticks[1]} {rest}\n',
        'proc/self/statm': f'40000 {pages} 1000 1 0 8000 0\n',
    }


def common(model, cores, memory, **interfaces):
    """Return what all of them have."""
    tree = {
        'proc/stat': stat(*cores),
        'proc/loadavg': '1.25 0.90 0.50 2/345 6789\n',
        'proc/meminfo': memory,
        'proc/net/dev': net(lo=(5, 5, 0), **interfaces),
        **process(),
    }
    if model:
        tree['proc/device-tree/model'] = f'{model}\0'
    return tree


def zone(index, kind, millidegrees):
    """Return one thermal zone."""
    folder = f'sys/class/thermal/thermal_zone{index}'
    return {f'{folder}/type': f'{kind}\n', f'{folder}/temp': f'{millidegrees}\n'}


FOUR = [(1000, 9000)] * 4

PI4 = {
    **common('Raspberry Pi 4 Model B Rev 1.4', FOUR, meminfo(3_884_308, 3_100_000, 102_396, 102_396),
             eth0=(1000, 2000, 0), wlan0=(10_000, 20_000, 3)),
    **policy(0, '0 1 2 3', 1_500_000, 1_800_000),
    **zone(0, 'cpu-thermal', 48_686),
    'sys/class/hwmon/hwmon0/name': 'cpu_thermal\n',
    'sys/class/hwmon/hwmon0/temp1_input': '48686\n',
    'sys/class/hwmon/hwmon1/name': 'rpi_volt\n',
    'sys/class/hwmon/hwmon1/in0_lcrit_alarm': '0\n',
    'sys/devices/platform/soc/soc:firmware/get_throttled': '50005\n',
    'sys/class/net/eth0/speed': '-1\n',
    'proc/net/wireless': PI4_WLAN,
    'sys/class/net/wlan0/address': 'dc:a6:32:00:00:00\n',
}  # fmt: skip

PI5 = {
    **common('Raspberry Pi 5 Model B Rev 1.0', FOUR, meminfo(8_245_936, 7_000_000, 2_097_136, 2_000_000), eth0=(1, 1, 0)),
    **policy(0, '0 1 2 3', 2_400_000, 2_400_000),
    **zone(0, 'cpu-thermal', 52_300),
    'sys/class/net/eth0/speed': '1000\n',
}

# vcgencmd pmic_read_adc: 12 rails with both, then voltages alone; 2.08 W in the rails here
PI5_PMIC = """\
   3V7_WL_SW_A current(0)=0.09759025A
   3V3_SYS_A current(1)=0.05758835A
   1V8_SYS_A current(2)=0.19225290A
  DDR_VDD2_A current(3)=0.02634867A
  DDR_VDDQ_A current(4)=0.00000000A
   1V1_SYS_A current(5)=0.19420450A
    0V8_SW_A current(6)=0.34252220A
  VDD_CORE_A current(7)=0.82734000A
   3V3_DAC_A current(17)=0.00006104A
   3V3_ADC_A current(18)=0.00036624A
   0V8_AON_A current(16)=0.00384615A
      HDMI_A current(22)=0.01184472A
   3V7_WL_SW_V volt(8)=3.71012800V
   3V3_SYS_V volt(9)=3.31294700V
   1V8_SYS_V volt(10)=1.80091900V
  DDR_VDD2_V volt(11)=1.10732100V
  DDR_VDDQ_V volt(12)=0.60658600V
   1V1_SYS_V volt(13)=1.10695500V
    0V8_SW_V volt(14)=0.80286640V
  VDD_CORE_V volt(15)=0.72021890V
   3V3_DAC_V volt(20)=3.31014000V
   3V3_ADC_V volt(21)=3.30617200V
   0V8_AON_V volt(19)=0.79890330V
      HDMI_V volt(23)=5.09204000V
     EXT5V_V volt(24)=5.10580000V
      BATT_V volt(25)=0.00000000V
"""

NANO_IIO = 'sys/bus/i2c/devices/6-0040/iio:device0'

JETSON_NANO = {
    **common('NVIDIA Jetson Nano Developer Kit', FOUR, meminfo(4_059_264, 2_900_000, 2_029_632, 2_029_632),
             eth0=(100, 200, 0)),
    **policy(0, '0-3', 1_428_000, 1_479_000, 1_428_000, 'tegra-cpufreq'),
    **zone(0, 'AO-therm', 45_000),
    **zone(1, 'CPU-therm', 36_500),
    **zone(2, 'GPU-therm', 34_000),
    **zone(3, 'PMIC-Die', 100_000),
    'sys/class/thermal/cooling_device0/type': 'thermal-cpufreq-0\n',
    'sys/class/thermal/cooling_device0/cur_state': '0\n',
    'sys/class/devfreq/57000000.gpu/cur_freq': '921600000\n',
    'sys/class/devfreq/57000000.gpu/device/load': '654\n',
    'sys/class/devfreq/57000000.gpu/device/of_node/name': 'gpu\0',
    'sys/bus/i2c/devices/6-0040/name': 'ina3221x\n',
    'sys/bus/i2c/devices/4-0070/name': 'something-else\n',
    **{
        f'{NANO_IIO}/{file}': text
        for n, rail, mw, mv, ma in ((0, 'POM_5V_IN', 3190, 5024, 635), (1, 'POM_5V_GPU', 80, 5024, 16),
                                    (2, 'POM_5V_CPU', 800, 5016, 160))
        for file, text in ((f'rail_name_{n}', f'{rail}\n'), (f'in_power{n}_input', f'{mw}\n'),
                           (f'in_voltage{n}_input', f'{mv}\n'), (f'in_current{n}_input', f'{ma}\n'))
    },
    'sys/class/net/eth0/speed': '1000\n',
}  # fmt: skip


def hwmon_rails(folder, *rails, shunt=5000):
    """Return an INA3221 under the upstream driver: rails with mV and mA, the rest and the sum as it has them."""
    tree = {f'{folder}/name': 'ina3221\n', f'{folder}/in7_label': 'sum of shunt voltages\n', f'{folder}/in7_input': '1\n'}
    for n, rail in enumerate(rails, 1):
        name, millivolts, milliamperes = rail or ('NC', 0, 0)
        tree[f'{folder}/in{n}_label'] = f'{name}\n'
        tree[f'{folder}/in{n}_input'] = f'{millivolts}\n'
        tree[f'{folder}/curr{n}_input'] = f'{milliamperes}\n'
        tree[f'{folder}/shunt{n}_resistor'] = f'{shunt}\n'
    return tree


ORIN_NANO = {
    **common('NVIDIA Jetson Orin Nano Developer Kit', [(1000, 9000)] * 6, meminfo(7_800_000, 5_000_000, 3_900_000, 3_900_000),
             wlan0=(1, 1, 0)),
    **policy(0, '0 1 2 3', 1_510_400, 1_510_400, driver='tegra194'),
    **policy(4, '4 5', 729_600, 1_510_400, driver='tegra194'),
    **psi(0.5, 1.5, 2.5),
    **zone(0, 'cpu-thermal', 47_500),
    **zone(1, 'gpu-thermal', 46_000),
    **zone(2, 'cv0-thermal', 0),
    'proc/net/wireless': PI4_WLAN.replace('-52.', '-71.'),
    'sys/class/net/wlan0/speed': '-1\n',
    'sys/class/devfreq/17000000.gpu/cur_freq': '624750000\n',
    'sys/class/devfreq/17000000.gpu/device/load': '120\n',
    'sys/class/devfreq/17000000.gpu/device/of_node/name': 'gpu\0',
    'sys/bus/i2c/devices/1-0040/name': 'ina3221\n',
    **hwmon_rails('sys/bus/i2c/devices/1-0040/hwmon/hwmon1', ('VDD_IN', 5000, 1000), ('VDD_CPU_GPU_CV', 5000, 200),
                  ('VDD_SOC', 5000, 300)),
}  # fmt: skip

AGX_ORIN_RAILS = {
    'sys/bus/i2c/devices/1-0040/name': 'ina3221\n',
    'sys/bus/i2c/devices/1-0041/name': 'ina3221\n',
    **hwmon_rails('sys/bus/i2c/devices/1-0040/hwmon/hwmon3', ('VDD_GPU_SOC', 19_000, 200), ('VDD_CPU_CV', 19_000, 100),
                  ('VIN_SYS_5V0', 5000, 900), shunt=2000),
    **hwmon_rails('sys/bus/i2c/devices/1-0041/hwmon/hwmon4', None, ('VDDQ_VDD2_1V8AO', 5000, 220), None, shunt=2000),
}  # fmt: skip

RAPL = 'sys/class/powercap'


def rapl_zone(folder, name, microjoules, largest=262_143_328_850):
    """Return one zone of powercap."""
    return {
        f'{RAPL}/{folder}/name': f'{name}\n',
        f'{RAPL}/{folder}/energy_uj': f'{microjoules}\n',
        f'{RAPL}/{folder}/max_energy_range_uj': f'{largest}\n',
    }


LAPTOP = {
    **common('', [(1000, 9000)] * 8, meminfo(16_000_000, 9_000_000, 8_000_000, 7_500_000), wlp2s0=(7, 8, 9)),
    **{k: v for i in range(8) for k, v in policy(i, str(i), 2_000_000, 4_200_000, driver='intel_pstate').items()},
    **psi(3.6, 0.0, 0.25),
    'sys/class/hwmon/hwmon4/name': 'coretemp\n',
    'sys/class/hwmon/hwmon4/temp1_input': '60000\n',
    'sys/class/hwmon/hwmon4/temp1_label': 'Package id 0\n',
    'sys/class/hwmon/hwmon4/temp2_input': '62000\n',
    'sys/class/hwmon/hwmon4/temp2_label': 'Core 0\n',
    'sys/class/hwmon/hwmon2/name': 'nvme\n',
    'sys/class/hwmon/hwmon2/temp1_input': '70000\n',
    'sys/class/hwmon/hwmon5/name': 'iwlwifi_1\n',
    'sys/class/hwmon/hwmon5/temp1_input': '45000\n',
    **zone(0, 'acpitz', 30_000),
    'sys/class/thermal/cooling_device0/type': 'Processor\n',
    'sys/class/thermal/cooling_device0/cur_state': '0\n',
    'sys/devices/system/cpu/cpu0/thermal_throttle/package_throttle_count': '17\n',
    'sys/devices/system/cpu/cpu1/thermal_throttle/package_throttle_count': '17\n',
    'proc/net/wireless': PI4_WLAN.replace('wlan0', 'wlp2s0').replace('-52.', '204.'),
    'sys/class/net/wlp2s0/address': '00:00:00:00:00:00\n',
    **rapl_zone('intel-rapl:0', 'package-0', 1_000_000),
    **rapl_zone('intel-rapl:0:0', 'core', 600_000),
    **rapl_zone('intel-rapl:0:1', 'uncore', 100_000),
    **rapl_zone('intel-rapl:1', 'psys', 5_000_000),
    **rapl_zone('intel-rapl-mmio:0', 'package-0', 1_000_000),
    'sys/class/power_supply/AC/type': 'Mains\n',
    'sys/class/power_supply/AC/online': '0\n',
    'sys/class/power_supply/BAT0/type': 'Battery\n',
    'sys/class/power_supply/BAT0/present': '1\n',
    'sys/class/power_supply/BAT0/status': 'Discharging\n',
    'sys/class/power_supply/BAT0/capacity': '73\n',
    'sys/class/power_supply/BAT0/current_now': '800000\n',
    'sys/class/power_supply/BAT0/voltage_now': '11400000\n',
    'sys/class/power_supply/hidpp_battery_0/type': 'Battery\n',
    'sys/class/power_supply/hidpp_battery_0/scope': 'Device\n',
    'sys/class/power_supply/hidpp_battery_0/capacity': '10\n',
}  # fmt: skip

SERVER = {
    **common('', [(1000, 9000)] * 32, meminfo(131_000_000, 120_000_000), eno1=(1 << 40, 1 << 41, 12), docker0=(1, 1, 0)),
    **{k: v for i in range(32) for k, v in policy(i, str(i), 2_600_000, 3_500_000, driver='acpi-cpufreq').items()},
    **psi(0.0, 0.0, 0.0),
    'sys/class/hwmon/hwmon0/name': 'k10temp\n',
    'sys/class/hwmon/hwmon0/temp1_input': '55125\n',
    'sys/class/hwmon/hwmon0/temp1_label': 'Tctl\n',
    'sys/class/net/eno1/speed': '10000\n',
    'sys/class/net/docker0/speed': '10000\n',
    **rapl_zone('intel-rapl:0', 'package-0', 10_000_000, 65_532_610_987),
    **rapl_zone('intel-rapl:0:0', 'dram', 2_000_000, 65_712_999_613),
    **rapl_zone('intel-rapl:1', 'package-1', 20_000_000, 65_532_610_987),
    **rapl_zone('intel-rapl:1:0', 'dram', 3_000_000, 65_712_999_613),
}

DEVICES = {
    'pi4': PI4, 'pi5': PI5, 'jetson_nano': JETSON_NANO, 'orin_nano': ORIN_NANO, 'laptop': LAPTOP, 'server': SERVER,
}  # fmt: skip
