// Copyright 2026 The edge_dnn_partition authors; SPDX-License-Identifier: Apache-2.0
// Latency and its parts, bandwidth and power over time, with the changes of plan.

import { AT, COMPUTE, HOPS, LATENCY, WAITING, colour, links, planAt, quantile, range } from './model.js';
import { chart, make, shorten, text, title } from './svg.js';

function changes(fleet, time, { x, edge }, span, named) {
  const group = make('g');
  let free = -Infinity;
  for (const plan of fleet.plans) {
    if (plan.at < span[0] || plan.at > time) continue;
    const at = x(plan.at);
    group.append(make('line', { class: 'change', x1: at, x2: at, y1: edge.top - 3, y2: edge.bottom }, title(`plan ${plan.version}: ${plan.label}\n${plan.reason}`)));
    const words = `${plan.version}: ${plan.label}`, wide = words.length * 6.1;
    if (!named || at < free) continue;
    // To the right of its line, or the left, or shortened on the side that has more room.
    const right = edge.right - at, left = at - Math.max(free, edge.left);
    const before = wide > right && left > right;
    const said = shorten(words, before ? left : right, 6.1);
    group.append(text(before ? at - 3 : at + 3, edge.top - 7, said, before ? 'small end' : 'small'));
    free = at + (before ? 12 : said.length * 6.1 + 12);
  }
  return group;
}

// A measured fact is drawn as an upright stroke for each frame: one path for each part.
function strokes(rows, plot, most) {
  const gaps = rows.slice(1).map((row, i) => plot.x(row[AT]) - plot.x(rows[i][AT]));
  const width = Math.min(7, Math.max(1, 0.72 * (quantile(gaps, 0.5) ?? 5)));
  const paths = { compute: '', hops: '', waiting: '' };
  for (const row of rows) {
    const at = plot.x(row[AT]).toFixed(1);
    let from = 0;
    for (const [name, part] of [['compute', COMPUTE], ['hops', HOPS], ['waiting', WAITING]]) {
      const to = Math.min(most, from + row[part] * 1e3);
      if (to > from) paths[name] += `M${at} ${plot.y(from).toFixed(1)}V${plot.y(to).toFixed(1)}`;
      from = to;
    }
  }
  return Object.entries(paths).map(([name, d]) => make('path', { class: `stroke ${name}`, 'stroke-width': width, d }));
}

function predicted(fleet, plot, span, time, most) {
  const group = make('g');
  fleet.plans.forEach((plan, i) => {
    const end = Math.min(fleet.plans[i + 1]?.at ?? time, time), start = Math.max(plan.at, span[0]);
    const value = plan.predicted_seconds === null ? null : plan.predicted_seconds * 1e3;
    if (value === null || value > most || end <= start) return;
    group.append(make('line', { class: 'predicted', x1: plot.x(start), x2: plot.x(end), y1: plot.y(value), y2: plot.y(value) }, title(`predicted ${value.toFixed(0)} ms`)));
  });
  return group;
}

// Frames that ended without a result, as ticks at the top.
function missed(fleet, plot, span, time) {
  const group = make('g');
  for (const one of fleet.missed ?? []) {
    if (one.at < span[0] || one.at > time) continue;
    const at = plot.x(one.at);
    group.append(make('line', { class: 'missed', x1: at, x2: at, y1: plot.edge.top, y2: plot.edge.top + 9 }, title(`${one.status}: ${one.reason}`)));
  }
  return group;
}

export function drawLatency(svg, fleet, time) {
  const span = range(fleet, time);
  const rows = fleet.frames.filter((row) => row[AT] >= span[0] && row[AT] <= time);
  const phases = (fleet.phases ?? []).filter((phase) => phase.begin <= time);
  const levels = (fleet.phases ?? []).flatMap((phase) => [phase.p95_ms ?? 0, phase.p50_ms ?? 0]);
  const values = rows.map((row) => row[LATENCY] * 1e3);
  // The axis follows most frames; one that took much longer is cut off at the top.
  const most = 1.15 * Math.max(10, Math.min(quantile(values, 1) ?? 0, 2.5 * (quantile(values, 0.9) ?? 0)), ...(values.length ? [] : levels));
  const plot = chart(svg, span, most, fleet.mode);
  const bands = make('g');
  phases.forEach((phase, i) => {
    const [a, b] = [plot.x(phase.begin), plot.x(Math.min(phase.end, time))];
    if (i % 2 === 0) bands.append(make('rect', { class: 'phase', x: a, y: plot.edge.top, width: b - a, height: plot.edge.bottom - plot.edge.top }));
    bands.append(text(a + 5, plot.edge.top + 13, shorten(phase.name, b - a - 8), 'small'));
    if (values.length) return;
    for (const [key, style] of [['p95_ms', 'hops'], ['p50_ms', 'compute']]) {
      if (phase[key] === null) continue;
      bands.append(make('line', { class: `stroke ${style}`, 'stroke-width': 3, x1: a + 2, x2: b - 2, y1: plot.y(phase[key]), y2: plot.y(phase[key]) }, title(`${phase.name}: ${key.slice(0, 3)} ${phase[key]} ms`)));
    }
  });
  svg.replaceChildren(bands, plot.grid, ...strokes(rows, plot, most), predicted(fleet, plot, span, time, most), missed(fleet, plot, span, time), changes(fleet, time, plot, span, true));
}

const LABEL = 15;

function drawLines(svg, fleet, time, series, empty) {
  const span = range(fleet, time);
  const seen = [...series.values()].filter((one) => one.points.length);
  const most = 1.15 * Math.max(1e-9, ...seen.flatMap((one) => one.points.map((point) => point[1])));
  if (!seen.length) {
    const { edge } = chart(svg, span, 1, fleet.mode);
    svg.replaceChildren(text(0, edge.top + 24, shorten(empty, edge.right), 'small'));
    return;
  }
  // The names stand at the right; where there are too many, those of the least have none.
  const width = svg.getBoundingClientRect().width;
  const names = new Map(seen.map((one) => [one, shorten(one.name, width * 0.34)]));
  const plot = chart(svg, span, most, fleet.mode, Math.max(...seen.map((one) => names.get(one).length)) * 6.2 + 22);
  const all = seen.map((one) => ({ one, y: plot.y(one.points.at(-1)[1]) })).sort((a, b) => a.y - b.y);
  const fit = Math.max(1, Math.floor((plot.edge.bottom - plot.edge.top) / LABEL));
  const labels = all.length > fit ? all.slice(0, fit - 1) : all;
  labels.forEach((label, i) => { if (i) label.y = Math.max(label.y, labels[i - 1].y + LABEL); });
  let floor = plot.edge.bottom - (all.length > fit ? LABEL : 0);
  for (const label of [...labels].reverse()) {
    label.y = Math.min(label.y, floor);
    floor = label.y - LABEL;
  }
  const paths = seen.map((one) => make('path', {
    class: `stroke ${one.style}${one.guess ? ' guess' : ''}`, 'stroke-width': 2, 'stroke-linejoin': 'round',
    d: one.points.map((point, i) => `${i ? 'L' : 'M'}${plot.x(point[0]).toFixed(1)} ${plot.y(point[1]).toFixed(1)}`).join(''),
  }, title(one.name)));
  const words = labels.map(({ one, y }) => make('g', { class: one.style },
    make('circle', { class: 'fill', cx: plot.x(one.points.at(-1)[0]), cy: plot.y(one.points.at(-1)[1]), r: 3 }),
    text(plot.edge.right + 10, y + 4, names.get(one), 'small')));
  if (all.length > fit) words.push(text(plot.edge.right + 10, plot.edge.bottom + 4, `and ${all.length - labels.length} more`, 'small'));
  const moved = changes(fleet, time, plot, span, false);
  moved.setAttribute('class', 'faint');
  svg.replaceChildren(plot.grid, moved, ...paths, ...words);
}

export function drawBandwidth(svg, fleet, time) {
  const span = range(fleet, time), series = new Map();
  const plan = planAt(fleet, time);
  for (const state of fleet.states) {
    if (state.at < span[0] || state.at > time) continue;
    for (const link of links(state, plan)) {
      if (!Number.isFinite(link.rate)) continue;
      const one = series.get(link.key) ?? { name: link.key, style: `l${series.size % 6}`, points: [], guess: false };
      one.guess = !link.measured;
      one.points.push([state.at, link.rate * 8e-6]);
      series.set(link.key, one);
    }
  }
  drawLines(svg, fleet, time, series, fleet.mode === 'live' ? 'no link has been measured yet' : 'the report has no bandwidth over time');
}

export function drawPower(svg, unit, fleet, time) {
  const span = range(fleet, time), series = new Map(), kinds = new Set();
  for (const state of fleet.states) {
    if (state.at < span[0] || state.at > time) continue;
    for (const device of state.devices) {
      if (device.watts === null || device.watts === undefined) continue;
      const { name, energy_kind: kind } = device;
      const one = series.get(name) ?? { style: colour(fleet, name), points: [] };
      one.name = `${name}, ${kind}`;
      kinds.add(kind);
      one.points.push([state.at, device.watts]);
      series.set(name, one);
    }
  }
  const same = kinds.size === 1; // then it stands beside the title
  for (const [name, one] of series) if (same) one.name = name;
  unit.textContent = same ? `W, ${[...kinds][0]}` : 'W';
  drawLines(svg, fleet, time, series, fleet.mode === 'live' ? 'no device has a meter or a model of its power' : 'the report has no power over time');
}
