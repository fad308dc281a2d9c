// Copyright 2026 The edge_dnn_partition authors; SPDX-License-Identifier: Apache-2.0
// The fleet as a graph: devices with their load, links with their bandwidth, what runs where. Where a graph has no room, as on a
// phone or with many devices, it is a list.

import { colour, devices, links, planAt, rate, runs, stateAt } from './model.js';
import { make, short, shorten, size, text, title } from './svg.js';

const WIDTH = 192, HEIGHT = 82, GAP = 10, ROW = 22;
const HEIGHT_OF_GRAPH = 270, LINKS_IN_LIST = 12;

const gibibytes = (bytes) => short(bytes / 2 ** 30, 1);

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

// What a device says of itself, two lines and what a pointer that rests on it gets.
function figures(device) {
  const known = (value) => value !== null && value !== undefined;
  const load = [known(device.cpu_percent) ? `CPU ${device.cpu_percent.toFixed(0)} %` : '', known(device.watts) ? `${device.watts.toFixed(1)} W ${device.energy_kind}` : ''];
  const host = [known(device.temperature_celsius) ? `${device.temperature_celsius.toFixed(0)} °C` : '', known(device.gpu_temperature_celsius) ? `GPU ${device.gpu_temperature_celsius.toFixed(0)} °C` : ''];
  if (known(device.memory_available_bytes)) {
    const of = device.memory_total_bytes ? ` of ${gibibytes(device.memory_total_bytes)}` : '';
    host.unshift(`${gibibytes(device.memory_available_bytes)}${of} GiB free`);
  }
  const more = [`time now / profiled: ${device.speed_factor?.toFixed(2) ?? '?'}`];
  if (device.derating) more.push(device.derating);
  if (device.throttling?.length) more.push(`held back: ${device.throttling.join(', ')}`);
  if (device.process_resident_bytes) more.push(`this package takes ${short(device.process_resident_bytes / 2 ** 20, 0)} MiB`);
  return [load, host].map((words) => words.filter(Boolean).join(' · ')).concat(more.join('\n'));
}

function box(fleet, plan, state, name, [x, y], wide = WIDTH) {
  const device = state?.devices.find((one) => one.name === name);
  const gone = device && !device.alive;
  const group = make('g', { class: `${colour(fleet, name)}${gone ? ' gone' : ''}`, transform: `translate(${x - wide / 2} ${y - HEIGHT / 2})` });
  group.dataset.device = name;
  const work = runs(plan, name);
  const ends = gone ? 'gone' : [plan?.source === name ? 'source' : '', plan?.sink === name ? 'sink' : ''].filter(Boolean).join(', ');
  group.append(
    make('rect', { class: 'card', width: wide, height: HEIGHT, rx: 8 }),
    make('rect', { class: 'fill', width: 6, height: HEIGHT, rx: 3 }),
    text(16, 19, shorten(name, wide - 36 - ends.length * 6, 7.6), 'strong'),
    text(wide - 10, 19, ends, gone ? 'bad end' : 'small end'),
    text(16, 37, shorten(work || 'no layers', wide - 22, 6.2), work ? '' : 'small'),
  );
  if (device && !gone) {
    const [load, host, more] = figures(device);
    const share = Math.min(1, (device.cpu_percent ?? 0) / 100);
    group.append(
      text(16, 53, shorten(load, wide - 22), 'small'), text(16, 68, shorten(host, wide - 22), device.throttling?.length ? 'small bad' : 'small'),
      make('rect', { class: 'track', x: 16, y: 74, width: wide - 26, height: 4, rx: 2 }),
      make('rect', { class: 'fill', x: 16, y: 74, width: (wide - 26) * share, height: 4, rx: 2 }),
      title(`${name}: ${work || 'no layers'}\n${load}\n${host}\n${more}`),
    );
  }
  return group;
}

const inWords = (link) => `${rate(link.rate)}${link.measured ? '' : ' (guess)'} · ${(link.latency * 1e3).toFixed(link.latency < 0.01 ? 1 : 0)} ms`;
const thickness = (link) => (Number.isFinite(link.rate) ? Math.min(9, Math.max(2, 1.6 * Math.log10(link.rate / 1e4))) : 3);
const apart = (a, b) => a.x + a.w <= b.x || b.x + b.w <= a.x || a.y + a.h <= b.y || b.y + b.h <= a.y;

// Where the words of each link go so that they cover neither a device nor other words; null: there is no such place.
function labelled(shown, at, width) {
  const taken = [...at.values()].map(([x, y]) => ({ x: x - WIDTH / 2, y: y - HEIGHT / 2, w: WIDTH, h: HEIGHT }));
  if (taken.some((one, i) => taken.some((other, k) => k < i && !apart(one, other)))) return null;
  const result = [];
  for (const link of shown) {
    if (!Number.isFinite(link.rate)) continue;
    const words = inWords(link), w = words.length * 6.2 + 8;
    const [a, b] = link.ends.map((name) => at.get(name));
    const place = [0.5, 0.42, 0.58, 0.34, 0.66, 0.26, 0.74, 0.2, 0.8].map((share) => {
      const [x, y] = [a[0] + (b[0] - a[0]) * share, a[1] + (b[1] - a[1]) * share];
      return { x: Math.min(Math.max(x - w / 2, 0), width - w), y: y - 9, w, h: 18 };
    }).find((one) => taken.every((other) => apart(one, other)));
    if (!place) return null;
    taken.push(place);
    result.push({ ...place, words });
  }
  return result;
}

function graph(shown, at, labels) {
  const lines = make('g'), words = make('g');
  for (const link of shown) {
    const [a, b] = link.ends.map((name) => at.get(name));
    const ends = { x1: a[0], y1: a[1], x2: b[0], y2: b[1] };
    lines.append(make('line', { class: `link${link.used ? ' used' : ''}`, 'stroke-width': thickness(link), ...ends }));
    if (link.used) lines.append(make('line', { class: 'flow', ...ends }));
  }
  for (const { x, y, w, h, words: said } of labels) {
    words.append(make('rect', { class: 'halo', x, y, width: w, height: h, rx: 4 }), text(x + w / 2, y + 13, said, 'small middle'));
  }
  return [lines, words];
}

function rows(shown, width, top) {
  const group = make('g');
  const first = [...shown].sort((a, b) => b.used - a.used).slice(0, LINKS_IN_LIST);
  const lines = first.map((link) => [link, Number.isFinite(link.rate) ? inWords(link) : 'not known yet']);
  lines.forEach(([link, words], i) => {
    const y = top + i * ROW;
    group.append(
      make('line', { class: `link${link.used ? ' used' : ''}`, 'stroke-width': thickness(link), x1: 2, x2: 24, y1: y + 12, y2: y + 12 }),
      text(32, y + 16, shorten(link.key, width - 44 - words.length * 6), 'small'), text(width, y + 16, words, 'small end'),
    );
  });
  if (shown.length > first.length) group.append(text(32, top + first.length * ROW + 16, `and ${shown.length - first.length} more links`, 'small'));
  return [group, (Math.min(shown.length, LINKS_IN_LIST + 1)) * ROW];
}

export function drawFleet(svg, fleet, time) {
  const plan = planAt(fleet, time), state = stateAt(fleet, time), names = devices(fleet);
  svg.style.height = `${HEIGHT_OF_GRAPH}px`;
  const [width, height] = size(svg);
  const shown = links(state, plan).filter((link) => link.ends.every((name) => names.includes(name)));
  let at = places(names, width, height);
  const labels = labelled(shown, at, width);
  svg.dataset.shape = labels ? 'graph' : 'list';
  if (labels) {
    const [lines, words] = graph(shown, at, labels);
    svg.replaceChildren(lines, ...names.map((name) => box(fleet, plan, state, name, at.get(name))), words);
    return;
  }
  const columns = Math.max(1, Math.floor((width + GAP) / (WIDTH + GAP)));
  const wide = (width - 2 - (columns - 1) * GAP) / columns;
  at = new Map(names.map((name, i) => [name, [(i % columns) * (wide + GAP) + wide / 2 + 1, Math.floor(i / columns) * (HEIGHT + GAP) + HEIGHT / 2 + 1]]));
  const top = Math.ceil(names.length / columns) * (HEIGHT + GAP);
  const [list, taken] = rows(shown, width, top);
  svg.style.height = `${top + taken + 4}px`;
  size(svg);
  svg.replaceChildren(...names.map((name) => box(fleet, plan, state, name, at.get(name), wide)), list);
}
