// Copyright 2026 The edge_dnn_partition authors; SPDX-License-Identifier: Apache-2.0
// The layers as a bar, coloured by device; thin bars below it are the plans before.

import { colour, layerCount, planAt } from './model.js';
import { make, scale, size, text, title } from './svg.js';

const DECODE = 58;

function bar(fleet, plan, x, left, y, height, thick) {
  const group = make('g');
  const piece = (device, from, to, words, layers) => {
    const part = make('g', { class: colour(fleet, device) });
    part.append(make('rect', { class: 'fill', x: from + 0.5, y, width: Math.max(1, to - from - 1), height, rx: thick ? 3 : 1 }));
    if (thick && to - from > words.length * 7) part.append(text((from + to) / 2, y + height / 2 + 4, words, 'on middle'));
    part.append(title(layers));
    group.append(part);
  };
  for (const stage of plan.stages) {
    if (stage.preprocess) piece(stage.device, left, left + DECODE - 2, 'decode', `decode, resize, normalise on ${stage.device}`);
    for (const [start, stop] of stage.layers) {
      const names = fleet.layers.slice(start, stop);
      const more = names.length ? `\n${names.slice(0, 12).join(', ')}${names.length > 12 ? ', …' : ''}` : '';
      piece(stage.device, x(start), x(stop), stage.device, `layers ${start} to ${stop - 1} on ${stage.device}${more}`);
    }
  }
  return group;
}

export function drawSplit(svg, fleet, time) {
  const [width] = size(svg);
  const plan = planAt(fleet, time);
  if (!plan) {
    svg.replaceChildren(text(0, 20, 'no plan yet', 'small'));
    return;
  }
  const left = Math.max(62, 46 + 9 * String(plan.version).length), count = layerCount(fleet);
  const x = scale(0, count, left + DECODE, width - 4);
  const parts = [text(0, 34, `plan ${plan.version}`, 'strong'), bar(fleet, plan, x, left, 12, 36, true)];
  const cuts = new Set([0, count, ...plan.stages.flatMap((stage) => stage.layers.flat())]);
  let free = -Infinity;
  for (const cut of [...cuts].sort((a, b) => a - b)) {
    if (x(cut) - free < 26) continue;
    free = x(cut);
    parts.push(make('line', { class: 'grid', x1: x(cut), x2: x(cut), y1: 48, y2: 54 }), text(x(cut), 66, String(cut), 'small middle'));
  }
  const before = fleet.plans.filter((one) => one.at <= time && one.version !== plan.version).slice(-4).reverse();
  before.forEach((one, i) => {
    const y = 84 + i * 20;
    const when = fleet.mode === 'live' ? `−${Math.round(time - one.at)} s` : `${one.at.toFixed(1)} s`;
    parts.push(text(0, y + 9, when, 'small'), bar(fleet, one, x, left, y, 10, false));
  });
  svg.replaceChildren(...parts);
}
