# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Meters and sources that ask NVML, jtop and zeus, with stand-ins for these."""

import math
from types import SimpleNamespace

import pytest

from edge_dnn_partition.sensing.source import Unavailable
from edge_dnn_partition.sensing.sources.jtop import Jtop, JtopGpuSource, JtopMeter
from edge_dnn_partition.sensing.sources.nvidia import NvidiaGpuSource, NvmlMeter
from edge_dnn_partition.sensing.sources.zeus import ZeusMeter


def probed(meter):
    meter.probe()
    return meter


class FakeNvml:
    """Stands in for pynvml; what is not told raises NotSupported."""

    class NVMLError(Exception):
        pass

    def __init__(self, **answers):
        self.answers = {'nvmlDeviceGetName': b'NVIDIA H100'} | answers
        self.count = 1

    def nvmlInit(self):  # noqa: N802
        if 'nvmlInit' in self.answers:
            raise self.answers['nvmlInit']

    def nvmlDeviceGetCount(self):  # noqa: N802
        return self.count

    def nvmlDeviceGetHandleByIndex(self, index):  # noqa: N802
        return index

    def __getattr__(self, name):
        if name not in self.answers:
            raise FakeNvml.NVMLError('Not Supported') if name in KNOWN else AttributeError(name)
        return lambda *_: self.answers[name]


KNOWN = ('nvmlDeviceGetTotalEnergyConsumption', 'nvmlDeviceGetPowerUsage', 'nvmlDeviceGetMemoryInfo',
         'nvmlDeviceGetUtilizationRates')  # fmt: skip

MEMORY = SimpleNamespace(used=2e9, total=80e9)


def loader(**modules):
    def load(name):
        if name not in modules:
            raise ModuleNotFoundError(name)
        return modules[name]

    return load


def nvml(**answers):
    module = FakeNvml(**answers)
    for name in KNOWN:
        if name not in module.answers:

            def unsupported(*_):
                raise FakeNvml.NVMLError('Not Supported')

            setattr(module, name, unsupported)
    return module


def test_nvml_counts_energy_or_adds_up_power():
    module = nvml(nvmlDeviceGetTotalEnergyConsumption=1_000_000, nvmlDeviceGetMemoryInfo=MEMORY)
    meter = NvmlMeter(loader(pynvml=module))
    assert meter.probe() == 'NVIDIA H100'
    meter.read(0.0)
    module.answers['nvmlDeviceGetTotalEnergyConsumption'] = 1_150_000
    (reading,) = meter.read(1.0)
    assert (reading.watts, reading.joules, reading.scope) == (pytest.approx(150.0), pytest.approx(150.0), 'gpu')

    older = nvml(nvmlDeviceGetPowerUsage=70_000, nvmlDeviceGetMemoryInfo=MEMORY)
    meter = probed(NvmlMeter(loader(pynvml=older)))
    meter.read(0.0)
    assert meter.read(2.0)[0].joules == pytest.approx(140.0)


def test_nvml_that_is_missing_or_answers_nothing_says_why():
    for module, words in (
        (None, 'nvidia-ml-py is not installed'),
        (nvml(nvmlInit=FakeNvml.NVMLError('Driver Not Loaded')), 'NVML: Driver Not Loaded'),
        (nvml(), 'a Jetson'),
        (nvml(nvmlDeviceGetMemoryInfo=MEMORY), 'reports its power'),
    ):
        load = loader() if module is None else loader(pynvml=module)
        with pytest.raises(Unavailable, match=words):
            NvmlMeter(load).probe()


def test_use_of_an_nvidia_gpu():
    use = SimpleNamespace(gpu=37, memory=5)
    module = nvml(nvmlDeviceGetMemoryInfo=MEMORY, nvmlDeviceGetUtilizationRates=use, nvmlDeviceGetTemperature=55)
    source = NvidiaGpuSource(loader(pynvml=module))
    source.probe()
    (reading,) = source.read(0.0)
    assert (reading.percent, reading.memory_used_bytes, reading.celsius) == (37, 2e9, 55)
    assert math.isnan(reading.hertz)  # an older pynvml


class Likeness:
    """A dictionary as jtop has them: it is none."""

    def __init__(self, data):
        self.data = data

    def items(self):
        return self.data.items()


class FakeJtop:
    """Stands in for jtop's client."""

    def __init__(self, interval):
        self.running = True
        self.power = {'tot': {'power': 4_250}, 'rail': {}}
        self.gpu = Likeness({'gpu': {'status': {'load': 42.0}, 'freq': {'cur': 624_750}}})
        self.memory = Likeness({'RAM': {'tot': 8_000_000, 'shared': 1_000_000}})

    def start(self):
        pass

    def ok(self, spin=False):
        assert spin  # else it waits for the next sample
        if isinstance(self.running, Exception):
            raise self.running
        return self.running


JTOP = SimpleNamespace(jtop=FakeJtop, JtopException=RuntimeError)


def test_jtop_tells_the_gpus_memory_and_power_where_sysfs_has_no_rails(device):
    jtop = Jtop(loader(jtop=JTOP))
    meter = probed(JtopMeter(jtop, device('pi4')))
    assert meter.read(0.0)[0].watts == 4.25
    (gpu,) = probed(JtopGpuSource(jtop)).read(0.0)
    assert (gpu.percent, gpu.memory_used_bytes, gpu.hertz) == (42.0, 1.024e9, 624.75e6)
    with pytest.raises(Unavailable, match='read without jtop'):
        JtopMeter(jtop, device('orin_nano')).probe()
    with pytest.raises(Unavailable, match='not installed'):
        JtopMeter(Jtop(loader())).probe()


@pytest.mark.parametrize('end', [False, RuntimeError('Lost connection with jtop server')])
def test_jtop_that_ends_is_connected_anew(device, end):
    clients = []

    class Kept(FakeJtop):
        def __init__(self, interval):
            super().__init__(interval)
            clients.append(self)

    meter = probed(JtopMeter(Jtop(loader(jtop=SimpleNamespace(jtop=Kept, JtopException=RuntimeError))), device('pi4')))
    clients[0].running = end
    with pytest.raises(Unavailable, match='jtop'):
        meter.read(0.0)
    meter.probe()
    assert meter.read(1.0)[0].watts == 4.25
    assert len(clients) == 2


def test_jtop_without_its_service_says_what_to_do():
    class Dead(FakeJtop):
        def start(self):
            raise RuntimeError('The jtop.service is not active')

    with pytest.raises(Unavailable) as caught:
        Jtop(loader(jtop=SimpleNamespace(jtop=Dead, JtopException=RuntimeError))).open()
    assert 'systemctl start jtop' in caught.value.advice


def test_zeus_counts_for_gpus_that_nvml_does_not_know():
    class Gpus(list):
        joules = 10.0

        def get_total_energy_consumption(self, index):
            return 1e3 * (self.joules + index)

    gpus = Gpus(['amd', 'amd'])
    meter = ZeusMeter(loader(**{'zeus.device': SimpleNamespace(get_gpus=lambda: gpus)}))
    assert meter.probe() == '2 GPUs'
    meter.read(0.0)
    gpus.joules = 40.0
    assert meter.read(1.0)[0].joules == pytest.approx(60.0)
    with pytest.raises(Unavailable, match='not installed'):
        ZeusMeter(loader()).probe()
    known = loader(pynvml=nvml(nvmlDeviceGetMemoryInfo=MEMORY), **{'zeus.device': None})
    with pytest.raises(Unavailable, match='NVML reads these'):
        ZeusMeter(known).probe()
