# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Power models of common boards, each with where its figures are from; a calibration is better than any."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from edge_dnn_partition.errors import UserError
from edge_dnn_partition.sensing.files import read_text, text_or_empty
from edge_dnn_partition.sensing.sources.cpu import parse_cores
from edge_dnn_partition.sensing.sources.memory import MemorySource

from .model import PowerModel, board_name, default_path, load_model

_DRAMBLE: Final = (
    'Pi Dramble, Power Consumption Benchmarks (pidramble.com): a meter at the plug of 5 V, idle and 400 % CPU'
)
_UNTRACED: Final = 'order of magnitude of published tests, traced to none of them: calibrate'

WIFI_JOULES_PER_BYTE: Final = 1e-7
"""Half a watt more at 5 MB/s, an order of magnitude; 1 to 17 microjoules a byte is what older, slow Wi-Fi takes."""

BOARDS: Final[Mapping[str, tuple[str, PowerModel]]] = {
    # name: (what the device tree says, as a regular expression; the model)
    'raspberry_pi_4': (
        r'Raspberry Pi (4|400|Compute Module 4)',
        # 540 mA and 1280 mA; two USB meters of chipwired.com show 2.2 W and 5.2 W on another one
        PowerModel(2.7, (6.4 - 2.7) / 4, joules_per_byte=WIFI_JOULES_PER_BYTE, relative_error=0.2, source=_DRAMBLE),
    ),
    'raspberry_pi_3_plus': (
        r'Raspberry Pi 3 Model B Plus',
        PowerModel(1.9, (5.1 - 1.9) / 4, joules_per_byte=WIFI_JOULES_PER_BYTE, relative_error=0.2, source=_DRAMBLE),
    ),
    'raspberry_pi_3': (
        r'Raspberry Pi 3 Model B(?! Plus)',
        PowerModel(1.4, (3.7 - 1.4) / 4, joules_per_byte=WIFI_JOULES_PER_BYTE, relative_error=0.2, source=_DRAMBLE),
    ),
    'raspberry_pi_5': (
        r'Raspberry Pi (5|500|Compute Module 5)',
        PowerModel(3.0, 1.25, joules_per_byte=WIFI_JOULES_PER_BYTE, relative_error=0.3, source=_UNTRACED),
    ),
    'jetson_nano': (
        r'Jetson Nano',
        PowerModel(2.0, 0.7, gpu_watts=4.0, joules_per_byte=WIFI_JOULES_PER_BYTE, relative_error=0.4, source=_UNTRACED),
    ),
    'jetson_orin_nano': (
        r'Orin (Nano|NX)',
        PowerModel(4.5, 0.7, gpu_watts=6.0, joules_per_byte=WIFI_JOULES_PER_BYTE, relative_error=0.4, source=_UNTRACED),
    ),
}

_CLOUDS: Final = ('Amazon EC2', 'Google', 'Microsoft Corporation', 'DigitalOcean', 'Hetzner', 'Alibaba Cloud')
"""What the BIOS of clouds' virtual machines says of its maker."""

_CLOUD: Final = (
    'Cloud Carbon Footprint, Methodology, appendix I (AWS): 0.74 W idle and 3.5 W busy a vCPU, 0.392 W a GB of memory'
)


def cloud_model(cores: int, memory_bytes: float) -> PowerModel:
    """Return the model of a share of a cloud's server.

    :param cores: vCPUs.
    :param memory_bytes: of the machine.
    """
    idle = 0.74 * cores + 0.392 * memory_bytes / 1e9
    return PowerModel(idle, 3.5 - 0.74, clock_exponent=1.0, relative_error=0.5, source=_CLOUD)


def shipped_model(board: str) -> PowerModel | None:
    """Return the shipped model of a board, None for one that is not known.

    :param board: a name in `BOARDS`, or what the device tree says.
    """
    for name, (pattern, model) in BOARDS.items():
        if board == name or re.search(pattern, board):
            return replace(model, source=f'{name}: {model.source}')
    return None


def device_model(root: str = '') -> PowerModel | None:
    """Return this device's model: its calibration, else the shipped one of its board or of the cloud, else None.

    A virtual machine of which nobody says whose it is is taken for a cloud's, with an error as large as the figure.

    :param root: of proc and sysfs.
    :raises UserError: if there is a calibration that cannot be read.
    """
    path = default_path()
    if path.exists():
        return load_model(path)
    shipped = shipped_model(board_name(root))
    if shipped is not None:
        return shipped
    if text_or_empty(f'{root}/sys/class/dmi/id/sys_vendor') in _CLOUDS:
        return _cloud_here(root)
    if re.search(r'^flags\s*:.*\bhypervisor\b', text_or_empty(f'{root}/proc/cpuinfo'), re.MULTILINE) is None:
        return None
    model = _cloud_here(root)
    return model and replace(model, relative_error=1.0, source=f'a virtual machine, whose is not known: {model.source}')


def named_model(board: str) -> PowerModel:
    """Return a shipped model by its name; ``cloud`` is that of a cloud's server of this one's size.

    :raises UserError: if there is none.
    """
    model = _cloud_here() if board == 'cloud' else shipped_model(board)
    if model is None:
        raise UserError(f'no power model of a board {board!r}: one of {", ".join(BOARDS)}, cloud')
    return model


def _cloud_here(root: str = '') -> PowerModel | None:
    try:
        return cloud_model(len(parse_cores(read_text(f'{root}/proc/stat'))), MemorySource(root).read(0.0).total_bytes)
    except OSError:
        return None
