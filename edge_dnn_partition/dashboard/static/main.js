// Copyright 2026 The edge_dnn_partition authors; SPDX-License-Identifier: Apache-2.0
// Connects, takes news in, draws. A running fleet is drawn up to now, a run that has ended up to the cursor.

import { drawBandwidth, drawLatency, drawPower } from './charts.js';
import { listen } from './control.js';
import { drawFleet } from './fleet.js';
import { followFleets } from './fleets.js';
import { followImage } from './image.js';
import { apply, devices, planAt } from './model.js';
import { drawSplit } from './split.js';
import { drawHealth, drawLog, drawPhases, drawTargets, drawTiles, drawWhy, html } from './words.js';

const KINDS = ['plan', 'frame', 'state', 'counters', 'log', 'decision', 'missed', 'health'];
const REDRAW_MS = 100;
const at = (name) => document.getElementById(name);

let fleet = null;
let offset = 0; // the server's clock less this page's steady one, seconds
let drawn = 0, asked = false;
let cursor = 0, playing = null;

// What a test looks at: when each plan was first on the page, by this page's clock.
window.dashboard = { shown: {} };

const now = () => (fleet.mode === 'live' ? performance.now() / 1e3 + offset : cursor);

function begin(snapshot) {
  fleet = snapshot;
  offset = snapshot.now - performance.now() / 1e3;
  at('title').textContent = document.title = fleet.title;
  const badges = [];
  if (fleet.mode === 'replay') badges.push(['a run that has ended', '']);
  if (fleet.emulated) badges.push(['emulated on one machine', 'warn']);
  at('badges').replaceChildren(...badges.map(([words, style]) => html('span', words, `badge ${style}`)));
  document.body.dataset.mode = fleet.mode;
  for (const card of ['image', 'health']) at(`${card}-card`).hidden = fleet.mode !== 'live';
  at('replay').hidden = fleet.mode !== 'replay';
  at('control-card').hidden = !fleet.controls;
  if (!at('objective').length) at('objective').append(...fleet.objectives.map((name) => new Option(name)));
  at('phases-card').hidden = !fleet.phases;
  at('targets-card').hidden = fleet.mode !== 'benchmark';
  for (const card of ['fleet', 'split', 'latency', 'bandwidth', 'power', 'log']) at(`${card}-card`).hidden = fleet.mode === 'benchmark';
  if (fleet.mode === 'benchmark') drawTargets(fleet);
  if (fleet.mode === 'replay') {
    for (const card of ['bandwidth', 'power']) at(`${card}-card`).hidden = !fleet.states.length;
    at('cursor').max = fleet.seconds;
    seek(fleet.seconds);
  }
  const parts = fleet.mode === 'live' || fleet.frames.length
    ? [['compute', 'computing'], ['hops', 'on the way'], ['waiting', 'waiting']] : [['compute', 'median'], ['hops', '95 %']];
  if (fleet.mode === 'live') parts.push(['missed', 'no result']);
  at('latency-legend').replaceChildren(...[...parts, ['rule', 'predicted'], ['dashed', 'change of plan']].map(([style, words]) => {
    const entry = html('span');
    entry.append(html('i', '', style), words);
    return entry;
  }));
  draw();
}

function draw() {
  asked = false;
  drawn = performance.now();
  if (!fleet || fleet.mode === 'benchmark') return;
  const time = now();
  drawTiles(at('tiles'), fleet, time);
  drawSplit(at('split'), fleet, time);
  drawWhy(at('why'), at('next'), fleet, time);
  drawFleet(at('fleet'), fleet, time);
  drawLatency(at('latency'), fleet, time);
  if (!at('bandwidth-card').hidden) drawBandwidth(at('bandwidth'), fleet, time);
  if (!at('power-card').hidden) drawPower(at('power'), at('power-unit'), fleet, time);
  if (fleet.mode === 'live') drawHealth(at('health'), at('last-missed'), fleet);
  drawLog(at('log'), fleet, time);
  if (fleet.phases) drawPhases(at('phases'), fleet, time);
  if (fleet.controls) offer(devices(fleet));
  const version = planAt(fleet, time)?.version;
  if (version !== undefined) {
    document.body.dataset.plan = version;
    window.dashboard.shown[version] ??= Date.now() / 1e3;
  }
}

// The devices that may be profiled; the list is left alone while nothing about it changes, since somebody may be choosing.
function offer(names) {
  const list = at('which');
  if (list.dataset.names === names.join()) return;
  list.dataset.names = names.join();
  list.replaceChildren(new Option('all', ''), ...names.map((name) => new Option(name)));
}

// At most ten images a second, but a change of plan at once.
function ask(atOnce = false) {
  if (asked && !atOnce) return;
  asked = true;
  setTimeout(() => requestAnimationFrame(draw), atOnce ? 0 : Math.max(0, drawn + REDRAW_MS - performance.now()));
}

function connect() {
  const events = new EventSource(`/api/events${location.search}`);
  const say = (connected, words) => {
    document.body.dataset.connected = connected;
    at('connection').textContent = words;
  };
  events.addEventListener('snapshot', (event) => {
    say(true, '');
    begin(JSON.parse(event.data));
    if (fleet.mode === 'live') say(true, 'live');
  });
  for (const kind of KINDS) {
    events.addEventListener(kind, (event) => {
      apply(fleet, kind, JSON.parse(event.data));
      ask(kind === 'plan');
    });
  }
  events.addEventListener('error', () => {
    if (!fleet || fleet.mode === 'live') say(false, 'not connected, trying again');
  });
}

function seek(seconds) {
  cursor = Math.min(fleet.seconds, Math.max(0, seconds));
  at('cursor').value = cursor;
  at('moment').textContent = `${cursor.toFixed(1)} of ${fleet.seconds.toFixed(1)} s`;
  ask();
}

function play() {
  const stop = () => {
    clearInterval(playing);
    playing = null;
    at('play').textContent = 'Play';
  };
  if (playing) return stop();
  if (cursor >= fleet.seconds) seek(0);
  at('play').textContent = 'Pause';
  const start = performance.now() - cursor * 1e3;
  playing = setInterval(() => {
    seek((performance.now() - start) / 1e3);
    if (cursor >= fleet.seconds) stop();
  }, 50);
}

at('play').addEventListener('click', play);
at('cursor').addEventListener('input', (event) => {
  if (playing) play();
  seek(Number(event.target.value));
});
window.addEventListener('resize', () => ask());
setInterval(() => { if (fleet?.mode === 'live') ask(); }, 500);
listen();
connect();
followFleets(at('fleets'), () => new URLSearchParams(location.search).get('fleet'));
followImage(at('image-shown'), at('image'), at('image-words'));
