# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""Write config/traces/*.csv: seeded courses of a link's rate and of a device's load, for the testbed.

None is a recording. ``lte`` has the spread and the correlation that drive tests of LTE uplinks report (a log-normal rate
whose logarithm follows a first-order autoregression, and fades of a few seconds); ``wifi_walk`` is the rate over the distance of a
walk away from an access point and back, by a log-distance path loss with shadowing, and steps between the rates of 802.11n.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

FOLDER = Path(__file__).resolve().parent.parent / 'config' / 'traces'
SECONDS = 60


def write(name: str, column: str, rows: list[tuple[float, float]]) -> None:
    """Write a file; a value that stays is not repeated."""
    kept = [row for i, row in enumerate(rows) if i == 0 or row[1] != rows[i - 1][1]]
    with (FOLDER / f'{name}.csv').open('w', encoding='utf-8', newline='') as stream:
        writer = csv.writer(stream, lineterminator='\n')
        writer.writerow(('seconds', column))
        writer.writerows((f'{at:g}', f'{value:.4g}') for at, value in kept)


def lte(seed: int = 4, median: float = 6e6, deviation: float = 0.55, memory_seconds: float = 6.0) -> list[tuple[float, float]]:
    """Return a rate each half second."""
    random = np.random.default_rng(seed)
    keep = float(np.exp(-0.5 / memory_seconds))
    state, fade, rows = 0.0, 0, []
    for step in range(2 * SECONDS):
        state = keep * state + np.sqrt(1 - keep**2) * random.standard_normal()
        fade = fade - 1 if fade else int(random.integers(3, 9)) if random.random() < 0.02 else 0
        rate = median * np.exp(deviation * state) * (0.08 if fade else 1.0)
        rows.append((step / 2, float(np.clip(rate, 1.5e5, 4e7))))
    return rows


def wifi_walk(seed: int = 9) -> list[tuple[float, float]]:
    """Return a rate each half second; a link that is lost keeps 0.5 Mbit/s."""
    random = np.random.default_rng(seed)
    goodput = np.array([0.5, 4.0, 9.0, 14.0, 19.0, 28.0, 37.0, 42.0, 47.0]) * 1e6
    needed = np.array([-1e9, 5.0, 8.0, 11.0, 14.0, 18.0, 22.0, 25.0, 28.0])  # signal over noise, dB
    shadow, rows = 0.0, []
    for step in range(2 * SECONDS):
        metres = 2 + 48 * np.sin(np.pi * step / (2 * SECONDS))
        shadow = 0.9 * shadow + np.sqrt(1 - 0.81) * 4.0 * random.standard_normal()
        over_noise = 52 - 10 * 3.0 * np.log10(metres) + shadow
        rows.append((step / 2, float(goodput[np.flatnonzero(needed <= over_noise)[-1]])))
    return rows


def main() -> None:
    """Write all."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    write('step', 'bits_per_second', [(0, 20e6), (15, 2e6), (30, 20e6), (45, 0.5e6)])
    write('ramp', 'bits_per_second', [(t, 20e6 * 0.05 ** (t / 30 if t <= 30 else 2 - t / 30)) for t in range(SECONDS)])
    write('lte', 'bits_per_second', lte())
    write('wifi_walk', 'bits_per_second', wifi_walk())
    write('load_step', 'load', [(0, 1.0), (20, 3.0), (40, 1.0)])
    write('load_ramp', 'load', [(t, 1 + 3 * min(t, SECONDS - t) / 30) for t in range(SECONDS)])


if __name__ == '__main__':
    main()
