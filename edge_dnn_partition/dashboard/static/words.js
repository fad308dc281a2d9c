// Copyright 2026 The edge_dnn_partition authors; SPDX-License-Identifier: Apache-2.0
// What is said in words: the tiles of the header, why the plan is what it is, the log, and a report's tables.

import { JOULES, LATENCY, MEASURED, planAt, quantile, recent } from './model.js';

export function html(name, words = '', style = '') {
  const element = document.createElement(name);
  element.textContent = words;
  if (style) element.className = style;
  return element;
}

const joules = (value) => (value < 0.1 ? `${(value * 1e3).toFixed(1)} mJ` : `${value.toFixed(2)} J`);

export function drawTiles(list, fleet, time) {
  const tiles = [];
  const rows = recent(fleet, time);
  const ms = rows.map((row) => row[LATENCY] * 1e3);
  const phase = fleet.phases?.findLast((one) => one.begin <= time);
  const median = quantile(ms, 0.5) ?? phase?.p50_ms, most = quantile(ms, 0.95) ?? phase?.p95_ms;
  tiles.push(['median latency', median == null ? '–' : `${median.toFixed(0)} ms`], ['95 %', most == null ? '–' : `${most.toFixed(0)} ms`]);
  const rate = rows.length ? rows.length / 5 : phase?.fps;
  tiles.push(['frames/s', rate == null ? '–' : rate.toFixed(1)]);
  const known = rows.filter((row) => row[JOULES] !== null);
  if (known.length) {
    const mean = known.reduce((sum, row) => sum + row[JOULES], 0) / known.length;
    tiles.push([`a frame, ${known.every((row) => row[MEASURED]) ? 'measured' : 'modelled'}`, joules(mean)]);
  }
  const counts = fleet.counters;
  if (counts.delivered !== undefined) tiles.push(['delivered', String(counts.delivered)], ['lost', String(counts.lost), counts.lost ? 'bad' : '']);
  for (const name of ['failed', 'expired', 'dropped']) if (counts[name]) tiles.push([name, String(counts[name]), name === 'failed' ? 'bad' : '']);
  list.replaceChildren(...tiles.map(([name, value, style]) => {
    const tile = html('div', '', style);
    tile.append(html('dt', name), html('dd', value));
    return tile;
  }));
}

export function drawWhy(why, next, fleet, time) {
  const plan = planAt(fleet, time);
  if (!plan) {
    why.textContent = next.textContent = '';
    return;
  }
  const decision = fleet.decision?.version === plan.version ? fleet.decision : null;
  why.textContent = decision ? decision.text : plan.reason;
  const parts = [`objective ${plan.objective}`];
  if (plan.predicted_seconds !== null) parts.push(`predicted ${(plan.predicted_seconds * 1e3).toFixed(0)} ms`);
  const coded = plan.transfers.filter((transfer) => transfer.encoding !== 'raw' && transfer.from !== transfer.to);
  if (coded.length) parts.push(`sent as ${[...new Set(coded.map((transfer) => transfer.encoding))].join(', ')}`);
  if (fleet.mode !== 'live') parts.splice(0, 1);
  next.textContent = parts.join(' · ');
}

const LEVELS = [['works', 'good'], ['warning', 'warn'], ['error', 'bad'], ['stale', 'bad']];

// Diagnostics of the devices and the pipeline, and the last frames without a result.
export function drawHealth(list, last, fleet) {
  const statuses = [...(fleet.health?.statuses ?? [])].sort((a, b) => b.level - a.level);
  list.replaceChildren(...statuses.map((status) => {
    const row = html('li');
    const [words, style] = LEVELS[status.level] ?? LEVELS[3];
    const refused = status.refused ? ` · ${status.refused} messages refused` : '';
    row.append(html('b', status.subject), html('span', words, style), html('span', status.message + refused));
    return row;
  }));
  if (!statuses.length) list.append(html('li', 'no diagnostics come', 'quiet'));
  const missed = fleet.missed?.at(-1);
  const why = missed ? `${missed.status}: ${missed.reason || 'no reason given'}` : fleet.counters.last_failure;
  last.textContent = why ? `The last frame without a result ${missed ? `(${clock(missed.at)}) ` : ''}${why}` : '';
}

const clock = (at) => new Date(at * 1e3).toLocaleTimeString([], { hour12: false });

export function drawLog(list, fleet, time) {
  const lines = fleet.log.filter((line) => line.at <= time).slice(-60).reverse();
  const key = `${lines.length} ${lines[0]?.at}`;
  if (list.dataset.key === key) return;
  list.dataset.key = key;
  list.replaceChildren(...lines.map((line) => {
    const item = html('li', '', line.kind);
    const when = fleet.mode === 'live' ? clock(line.at) : `${line.at.toFixed(1)} s`;
    const what = line.kind === 'fleet' ? 'fleet' : line.version === null ? '' : `plan ${line.version}`;
    item.append(html('time', when), html('b', what), html('span', line.text));
    return item;
  }));
}

function table(element, heads, rows) {
  const head = html('tr');
  for (const row of rows) [...row.children].forEach((cell, i) => { cell.dataset.head = heads[i][0]; }); // a phone shows it before each
  head.append(...heads.map(([name, style]) => html('th', name, style)));
  element.replaceChildren(head, ...rows);
}

const ms = (value) => (value === null || value === undefined ? '–' : value.toFixed(0));

export function drawPhases(element, fleet, time) {
  const number = 'number';
  const rows = fleet.phases.map((phase) => {
    const row = html('tr', '', phase.begin <= time && time < phase.end ? 'present' : '');
    const base = phase.baselines;
    row.append(html('td', phase.name), html('td', phase.plan), html('td', ms(phase.p50_ms), number), html('td', ms(phase.p95_ms), number),
      html('td', ms(base.all_on_source), number), html('td', ms(base.all_on_cloud), number), html('td', ms(base.best_fixed), number));
    return row;
  });
  table(element, [['phase', ''], ['plan', ''], ['median', number], ['95 %', number], ['all on the source', number], ['all on the cloud', number], ['best fixed', number]], rows);
}

export function drawTargets(fleet) {
  document.getElementById('conclusion').textContent = fleet.conclusion;
  document.getElementById('origin').textContent = [fleet.command, fleet.machine].filter(Boolean).join(' · ');
  const figure = (value) => (typeof value === 'number' ? String(Number(value.toPrecision(4))) : String(value ?? '–'));
  const rows = fleet.targets.map((target) => {
    const row = html('tr');
    const verdict = target.met === null ? '' : target.met ? 'met' : 'missed';
    row.append(html('td', target.name), html('td', figure(target.asked), 'number'), html('td', figure(target.measured), 'number'), html('td', target.unit ?? ''), html('td', verdict, verdict));
    return row;
  });
  table(document.getElementById('targets'), [['target', ''], ['asked', 'number'], ['measured', 'number'], ['unit', ''], ['', '']], rows);
}
