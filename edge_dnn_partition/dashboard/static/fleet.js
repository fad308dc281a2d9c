// Copyright 2026 The edge_dnn_partition authors; SPDX-License-Identifier: Apache-2.0
// The fleet as a graph: devices with their load, links with their bandwidth, what runs where.

import { colour, devices, links, planAt, rate, runs, stateAt } from './model.js';
import { make, size, text, title } from './svg.js';

const WIDTH = 192, HEIGHT = 66;

function places(names, width, height) {
  const angles = names.map((_, i) => Math.PI + (2 * Math.PI * i) / names.length);
  const fit = (values, from, to) => {
    const [least, most] = [Math.min(...values), Math.max(...values)];
    return values.map((value) => (most - least < 1e-6 ? (from + to) / 2 : from + ((value - least) / (most - least)) * (to - from)));
  };
  const across = fit(angles.map(Math.cos), WIDTH / 2 + 2, width - WIDTH / 2 - 2);
  const down = fit(angles.map(Math.sin), HEIGHT / 2 + 4, height - HEIGHT / 2 - 4);
  return new Map(names.map((name, i) => [name, [across[i], down[i]]]));
}

function box(fleet, plan, state, name, [x, y]) {
  const device = state?.devices.find((one) => one.name === name);
  const gone = device && !device.alive;
  const group = make('g', { class: `${colour(fleet, name)}${gone ? ' gone' : ''}`, transform: `translate(${x - WIDTH / 2} ${y - HEIGHT / 2})` });
  group.dataset.device = name;
  const work = runs(plan, name);
  group.append(
    make('rect', { class: 'card', width: WIDTH, height: HEIGHT, rx: 8 }),
    make('rect', { class: 'fill', width: 6, height: HEIGHT, rx: 3 }),
    text(16, 19, name, 'strong'),
    text(16, 37, work || 'no layers', work ? '' : 'small'),
  );
  const ends = [plan?.source === name ? 'source' : '', plan?.sink === name ? 'sink' : ''].filter(Boolean).join(', ');
  group.append(gone ? text(WIDTH - 10, 19, 'gone', 'bad end') : text(WIDTH - 10, 19, ends, 'small end'));
  if (device && !gone) {
    const load = device.cpu_percent;
    const words = [load === null ? '' : `CPU ${load.toFixed(0)} %`, device.watts === null ? '' : `${device.watts.toFixed(1)} W ${device.energy_kind}`];
    group.append(text(16, 53, words.filter(Boolean).join(' · '), 'small'));
    group.append(make('rect', { class: 'track', x: 16, y: 58, width: WIDTH - 26, height: 4, rx: 2 }));
    if (load !== null) group.append(make('rect', { class: 'fill', x: 16, y: 58, width: (WIDTH - 26) * Math.min(1, load / 100), height: 4, rx: 2 }));
    const more = [`time now / profiled: ${device.speed_factor?.toFixed(2) ?? '?'}`];
    if (device.temperature_celsius !== null) more.push(`${device.temperature_celsius.toFixed(0)} °C`);
    if (device.derating) more.push(device.derating);
    group.append(title(more.join('\n')));
  }
  return group;
}

export function drawFleet(svg, fleet, time) {
  const [width, height] = size(svg);
  const plan = planAt(fleet, time), state = stateAt(fleet, time);
  const at = places(devices(fleet), width, height);
  const lines = make('g'), labels = make('g');
  for (const link of links(state, plan)) {
    const [a, b] = link.ends.map((name) => at.get(name));
    if (!a || !b) continue;
    const known = Number.isFinite(link.rate);
    const thick = known ? Math.min(9, Math.max(2, 1.6 * Math.log10(link.rate / 1e4))) : 3;
    const ends = { x1: a[0], y1: a[1], x2: b[0], y2: b[1] };
    lines.append(make('line', { class: `link${link.used ? ' used' : ''}`, 'stroke-width': thick, ...ends }));
    if (link.used) lines.append(make('line', { class: 'flow', ...ends }));
    if (!known) continue;
    const words = `${rate(link.rate)}${link.measured ? '' : ' (guess)'} · ${(link.latency * 1e3).toFixed(link.latency < 0.01 ? 1 : 0)} ms`;
    const [x, y] = [(a[0] + b[0]) / 2, (a[1] + b[1]) / 2];
    labels.append(make('rect', { class: 'halo', x: x - words.length * 3.1 - 4, y: y - 9, width: words.length * 6.2 + 8, height: 18, rx: 4 }));
    labels.append(text(x, y + 4, words, 'small middle'));
  }
  svg.replaceChildren(lines, ...devices(fleet).map((name) => box(fleet, plan, state, name, at.get(name))), labels);
}
