// Copyright 2026 The edge_dnn_partition authors; SPDX-License-Identifier: Apache-2.0
// The fleets that this dashboard shows, each a link to its page; nothing where it shows one.

import { html } from './words.js';

const AGAIN_MS = 2000;

function entry(fleet, present) {
  const link = html('a', '', fleet.name === present ? 'present' : '');
  link.href = `?fleet=${encodeURIComponent(fleet.name)}`;
  const state = !fleet.live ? ['gone', 'bad'] : fleet.level >= 2 ? ['error', 'bad'] : fleet.level === 1 ? ['warning', 'warn'] : ['works', 'good'];
  const words = fleet.live ? [`${fleet.answering} of ${fleet.devices} devices`] : [];
  if (fleet.median_seconds !== null) words.push(`${(fleet.median_seconds * 1e3).toFixed(0)} ms`, `${fleet.frames_per_second.toFixed(1)} frames/s`);
  link.append(html('b', fleet.name), html('span', state[0], state[1]), html('small', words.join(' · ')));
  return link;
}

export async function followFleets(list, present) {
  for (;;) {
    if (document.visibilityState === 'visible') {
      try {
        const fleets = await (await fetch('/api/fleets')).json();
        if (fleets.length < 2) return;
        list.hidden = false;
        list.replaceChildren(...fleets.map((fleet) => entry(fleet, present() ?? fleets[0].name)));
      } catch {
        // the line beside the title says that the dashboard does not answer
      }
    }
    await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
  }
}
