// Copyright 2026 The edge_dnn_partition authors; SPDX-License-Identifier: Apache-2.0
// Small helpers for drawing: elements, scales, axes.

const SPACE = 'http://www.w3.org/2000/svg';

export function make(name, attributes = {}, ...children) {
  const element = document.createElementNS(SPACE, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

export const text = (x, y, words, style = '') => make('text', { x, y, class: style }, words);
export const title = (words) => make('title', {}, words);

export function size(svg) {
  const box = svg.getBoundingClientRect();
  svg.setAttribute('viewBox', `0 0 ${box.width} ${box.height}`);
  return [box.width, box.height];
}

export const scale = (from, to, left, right) => (value) => left + (value - from) / ((to - from) || 1) * (right - left);

export function ticks(most, count = 4) {
  const rough = most / count;
  const power = 10 ** Math.floor(Math.log10(rough || 1));
  const step = [1, 2, 2.5, 5, 10].map((factor) => factor * power).find((value) => value >= rough) ?? 10 * power;
  const result = [];
  for (let value = 0; value <= most * 1.0001; value += step) result.push(value);
  return result;
}

export const short = (value, digits = 2) => (value >= 100 ? value.toFixed(0) : String(Math.round(value * 10 ** digits) / 10 ** digits));

// As much of some words as has room, at so many pixels for each letter.
export function shorten(words, room, each = 5.9) {
  const most = Math.floor(room / each);
  return words.length <= most ? words : most < 2 ? '' : `${words.slice(0, most - 1).trimEnd()}…`;
}

// The frame of a chart over time: grid, both axes. Returns the scales and the plot's edges. The room at its right is for labels.
export function chart(svg, range, most, mode, room = 16) {
  const [width, height] = size(svg);
  const edge = { left: 46, right: width - room, top: 18, bottom: height - 22 };
  const x = scale(range[0], range[1], edge.left, edge.right);
  const y = scale(0, most, edge.bottom, edge.top);
  const grid = make('g');
  for (const value of ticks(most, height > 180 ? 5 : 4)) {
    grid.append(make('line', { class: 'grid', x1: edge.left, x2: edge.right, y1: y(value), y2: y(value) }));
    grid.append(text(edge.left - 6, y(value) + 4, short(value), 'small end'));
  }
  const span = range[1] - range[0];
  const fit = Math.min(8, (edge.right - edge.left) / 52);
  const step = [5, 10, 20, 30, 60, 120, 300, 600].find((seconds) => span / seconds <= fit) ?? 1800;
  for (let ago = 0; ago <= span + 0.01; ago += step) {
    const at = mode === 'live' ? range[1] - ago : range[0] + ago;
    const words = mode === 'live' ? (ago === 0 ? 'now' : `−${ago} s`) : `${ago} s`;
    grid.append(text(x(at), edge.bottom + 16, words, 'small middle'));
  }
  return { x, y, edge, grid };
}
