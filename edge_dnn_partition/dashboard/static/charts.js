// Copyright 2026 The edge_dnn_partition authors; SPDX-License-Identifier: Apache-2.0
// Latency and its parts, bandwidth and power over time, with the changes of plan.

import { AT, COMPUTE, HOPS, LATENCY, WAITING, colour, devices, links, planAt, quantile, range } from './model.js';
import { chart, make, scale, text, title } from './svg.js';

function changes(fleet, time, { x, edge }, span, named) {
  const group = make('g');
  let free = -Infinity;
  for (const plan of fleet.plans) {
    if (plan.at < span[0] || plan.at > time) continue;
    const at = x(plan.at);
    group.append(make('line', { class: 'change', x1: at, x2: at, y1: edge.top - 6, y2: edge.bottom }, title(`plan ${plan.version}: ${plan.label}\n${plan.reason}`)));
    const words = `${plan.version}: ${plan.label}`;
    if (!named || at < free) continue;
    const wide = words.length * 6.1;
    const fits = at + wide < edge.right;
    group.append(text(fits ? at + 3 : at - 3, edge.top - 7, words, fits ? 'small' : 'small end'));
    free = at + (fits ? wide + 12 : 12);
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
    bands.append(text(a + 5, plot.edge.top + 13, phase.name, 'small'));
    if (values.length) return;
    for (const [key, style] of [['p95_ms', 'hops'], ['p50_ms', 'compute']]) {
      if (phase[key] === null) continue;
      bands.append(make('line', { class: `stroke ${style}`, 'stroke-width': 3, x1: a + 2, x2: b - 2, y1: plot.y(phase[key]), y2: plot.y(phase[key]) }, title(`${phase.name}: ${key.slice(0, 3)} ${phase[key]} ms`)));
    }
  });
  svg.replaceChildren(bands, plot.grid, ...strokes(rows, plot, most), predicted(fleet, plot, span, time, most), changes(fleet, time, plot, span, true));
}

function drawLines(svg, fleet, time, series, empty) {
  const span = range(fleet, time);
  const seen = [...series.values()].filter((one) => one.points.length);
  const most = 1.15 * Math.max(1e-9, ...seen.flatMap((one) => one.points.map((point) => point[1])));
  const plot = chart(svg, span, seen.length ? most : 1, fleet.mode);
  if (!seen.length) {
    svg.replaceChildren(text(plot.edge.left, plot.edge.top + 24, empty, 'small'));
    return;
  }
  const labels = seen.map((one) => ({ one, y: plot.y(one.points.at(-1)[1]) })).sort((a, b) => a.y - b.y);
  labels.forEach((label, i) => { if (i) label.y = Math.max(label.y, labels[i - 1].y + 15); });
  const over = Math.max(0, (labels.at(-1)?.y ?? 0) - plot.edge.bottom + 4);
  const room = Math.max(...seen.map((one) => one.name.length)) * 6.2 + 12;
  const x = scale(span[0], span[1], plot.edge.left, plot.edge.right - room);
  plot.x = x;
  const paths = seen.map((one) => make('path', {
    class: `stroke ${one.style}${one.guess ? ' guess' : ''}`, 'stroke-width': 2, 'stroke-linejoin': 'round',
    d: one.points.map((point, i) => `${i ? 'L' : 'M'}${x(point[0]).toFixed(1)} ${plot.y(point[1]).toFixed(1)}`).join(''),
  }));
  const words = labels.map(({ one, y }) => {
    const end = x(one.points.at(-1)[0]);
    return make('g', { class: one.style }, make('circle', { class: 'fill', cx: end, cy: plot.y(one.points.at(-1)[1]), r: 3 }), text(plot.edge.right - room + 10, y - over + 4, one.name, 'small'));
  });
  const frame = chart(svg, [span[0], span[0] + (span[1] - span[0]) * (plot.edge.right - plot.edge.left) / (plot.edge.right - room - plot.edge.left)], most, 'none');
  for (const label of [...frame.grid.querySelectorAll('.middle')]) label.remove();
  const times = make('g', {}, text(x(span[0]), plot.edge.bottom + 16, fleet.mode === 'live' ? `−${span[1] - span[0]} s` : '0 s', 'small middle'), text(x(span[1]), plot.edge.bottom + 16, fleet.mode === 'live' ? 'now' : `${span[1].toFixed(0)} s`, 'small middle'));
  const moved = changes(fleet, time, plot, span, false);
  moved.setAttribute('class', 'faint');
  svg.replaceChildren(frame.grid, times, moved, ...paths, ...words);
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

export function drawPower(svg, fleet, time) {
  const span = range(fleet, time), series = new Map();
  for (const name of devices(fleet)) series.set(name, { name, style: colour(fleet, name), points: [], kind: '' });
  for (const state of fleet.states) {
    if (state.at < span[0] || state.at > time) continue;
    for (const device of state.devices) {
      if (device.watts === null) continue;
      const one = series.get(device.name);
      one.kind = device.energy_kind;
      one.name = `${device.name}, ${one.kind}`;
      one.points.push([state.at, device.watts]);
    }
  }
  drawLines(svg, fleet, time, series, fleet.mode === 'live' ? 'no device reports its power: none has a meter or a model' : 'the report has no power over time');
}
