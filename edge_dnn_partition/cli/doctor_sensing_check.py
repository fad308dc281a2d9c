# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The doctor's look at this device's sensors and power meters: what was found, and why not."""

from __future__ import annotations

import time
from typing import Final

from edge_dnn_partition.cli.doctor_checks import Check
from edge_dnn_partition.errors import UserError

_BETWEEN_SECONDS: Final = 0.3


def sensors(root: str = '') -> tuple[Check, ...]:
    """Say of each source what it found, or why it has nothing; only what can be mended is a warning.

    :param root: of proc and sysfs, for tests.
    """
    try:
        from edge_dnn_partition.sensing.host import HostMeter, power_meters
    except ImportError:
        return ()  # a package is missing; packages() says which
    host = HostMeter(root)
    host.sample(0.0)
    time.sleep(_BETWEEN_SECONDS)
    sample = host.sample(_BETWEEN_SECONDS)
    meters = {meter.name for meter in power_meters(root)}
    checks = []
    for state in host.states():
        kind, group = ('meter', 'power meters') if state.name in meters else ('sensor', 'sensors')
        name = f'{kind} {state.name}'
        if state.name == 'limits' and sample.limits.limited:
            checks.append(Check('limits of this process', 'ok', state.found))
        elif state.status == 'ok':
            checks.append(Check(name, 'ok', state.found, group=group, short=state.name))
        elif state.status == 'absent' and not state.advice:
            checks.append(Check(name, 'ok', f'not here: {state.found}', group=group, short=state.name, absent=True))
        else:
            advice = state.advice or 'it is left out and tried again; look at that file or service'
            checks.append(Check(name, 'warn', state.found, advice))
    from edge_dnn_partition.sensing.power.reading import measured_for, total

    reading = total(sample.power)
    if reading is not None:
        whole = 'the whole board' if reading.scope == 'board' else f'{reading.scope} only'
        found = f'{reading.watts:.2f} W now, measured by {reading.source} ({whole})'
        checks.append(Check('power', 'ok', f'{found}: {reading.note}' if reading.note else found))
    if measured_for(sample.power, 'cpu') is None:
        checks.append(_model(root, 'power' if reading is None else 'power of the CPU'))
    return tuple(checks)


def _model(root: str, name: str) -> Check:
    """Say which power model stands in for a meter."""
    from edge_dnn_partition.sensing.power.boards import device_model

    advice = 'edge-dnn-partition calibrate fits a model to this device, with a wall meter if it has none itself'
    try:
        model = device_model(root)
    except (UserError, OSError) as error:
        return Check(name, 'warn', str(error), advice)
    if model is None:
        return Check(name, 'warn', 'no meter, and no model of this board', advice)
    found = f'no meter; modelled: {model.idle_watts:.2f} W idle, {model.core_watts:.2f} W a busy core ({model.source})'
    if model.source.startswith('calibrate'):
        return Check(name, 'ok', found)
    return Check(name, 'warn', found, advice)
