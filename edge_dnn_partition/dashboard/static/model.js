// Copyright 2026 The edge_dnn_partition authors; SPDX-License-Identifier: Apache-2.0
// What the page knows, and how news change it. Rows of frames: at, latency, compute, hops, waiting, version, joules, measured.

export const WINDOW_SECONDS = 60;
const FRAMES = 6000;
const STATES = 1200;

export const AT = 0, LATENCY = 1, COMPUTE = 2, HOPS = 3, WAITING = 4, VERSION = 5, JOULES = 6, MEASURED = 7;

function keep(list, item, most) {
  list.push(item);
  if (list.length > most) list.splice(0, list.length - most);
}

export function apply(fleet, kind, news) {
  if (kind === 'plan' && !fleet.plans.some((plan) => plan.version === news.version)) keep(fleet.plans, news, 400);
  if (kind === 'frame') keep(fleet.frames, news, FRAMES);
  if (kind === 'state') keep(fleet.states, news, STATES);
  if (kind === 'log') keep(fleet.log, news, 400);
  if (kind === 'missed') keep(fleet.missed, news, FRAMES);
  if (kind === 'health') fleet.health = news;
  if (kind === 'counters') fleet.counters = news;
  if (kind === 'decision') fleet.decision = news;
}

const last = (list, time) => {
  for (let i = list.length - 1; i >= 0; i--) if (list[i].at <= time) return list[i];
  return null;
};

export const planAt = (fleet, time) => last(fleet.plans, time);
export const stateAt = (fleet, time) => last(fleet.states, time);

// The span of time that the charts show.
export function range(fleet, time) {
  return fleet.mode === 'live' ? [time - WINDOW_SECONDS, time] : [0, fleet.seconds ?? 1];
}

// The devices in a fixed order: the source first, then those that the scheduler or a plan names. One that has left a running
// fleet is named no more.
export function devices(fleet) {
  const names = new Set();
  const plans = fleet.mode === 'live' ? fleet.plans.slice(-1) : fleet.plans;
  if (plans.length) names.add(plans[0].source);
  for (const state of fleet.states.slice(-1)) for (const device of state.devices) names.add(device.name);
  for (const plan of plans) for (const stage of plan.stages) names.add(stage.device);
  return [...names];
}

// A device keeps its colour, whoever joins or leaves.
export function colour(fleet, name) {
  fleet.coloured ??= [];
  for (const one of [...devices(fleet), name]) if (!fleet.coloured.includes(one)) fleet.coloured.push(one);
  return `d${fleet.coloured.indexOf(name) % 8}`;
}

export function layerCount(fleet) {
  const ends = fleet.plans.flatMap((plan) => plan.stages.flatMap((stage) => stage.layers.map((pair) => pair[1])));
  return Math.max(fleet.layers.length, 0, ...ends);
}

export function quantile(values, share) {
  if (!values.length) return null;
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))];
}

export const recent = (fleet, time, seconds = 5) =>
  fleet.frames.filter((row) => row[AT] > time - seconds && row[AT] <= time);

// The links of the fleet, both directions as one: the slower rate, what is measured, and whether the plan uses it.
export function links(state, plan) {
  const pairs = new Map();
  const entry = (a, b) => {
    const key = [a, b].sort().join(' – ');
    if (!pairs.has(key)) pairs.set(key, { key, ends: [a, b].sort(), rate: Infinity, latency: 0, measured: true, used: false });
    return pairs.get(key);
  };
  for (const link of state?.links ?? []) {
    const pair = entry(link.sender, link.receiver);
    pair.rate = Math.min(pair.rate, link.bytes_per_second ?? Infinity);
    pair.latency = Math.max(pair.latency, link.latency_seconds ?? 0);
    pair.measured = pair.measured && link.measured;
  }
  const hops = plan ? [plan.source, ...plan.stages.map((stage) => stage.device), plan.sink] : [];
  for (let i = 1; i < hops.length; i++) if (hops[i] !== hops[i - 1]) entry(hops[i - 1], hops[i]).used = true;
  for (const transfer of plan?.transfers ?? []) if (transfer.from !== transfer.to) entry(transfer.from, transfer.to).used = true;
  return [...pairs.values()];
}

export function rate(bytesPerSecond) {
  const bits = bytesPerSecond * 8;
  for (const [prefix, factor] of [['G', 1e9], ['M', 1e6], ['k', 1e3]]) {
    if (bits >= factor) return `${Number((bits / factor).toPrecision(3))} ${prefix}bit/s`;
  }
  return `${bits.toFixed(0)} bit/s`;
}

// What a device runs under a plan, in words.
export function runs(plan, name) {
  const parts = [];
  for (const stage of plan?.stages ?? []) {
    if (stage.device !== name) continue;
    if (stage.preprocess) parts.push('decode');
    for (const [start, stop] of stage.layers) parts.push(stop - start === 1 ? `layer ${start}` : `layers ${start}–${stop - 1}`);
  }
  return parts.join(', ');
}
