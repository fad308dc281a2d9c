// Copyright 2026 The edge_dnn_partition authors; SPDX-License-Identifier: Apache-2.0
// What is wrong with how a page is laid out: it scrolls sideways, words cover words, or leave their card.
() => {
  const bad = [], seen = (one) => one.getClientRects().length && one.textContent.trim();
  const wide = document.documentElement.scrollWidth - window.innerWidth;
  if (wide > 0) bad.push(`the page is ${wide} px too wide`);
  for (const svg of document.querySelectorAll('svg')) {
    if (!svg.getClientRects().length) continue;
    const words = [...svg.querySelectorAll('text')].filter(seen).map((one) => [one.textContent, one.getBoundingClientRect()]);
    const edge = svg.closest('section').getBoundingClientRect();
    words.forEach(([name, a], i) => {
      if (a.left < edge.left || a.right > edge.right || a.bottom > edge.bottom) bad.push(`${svg.id}: ${name} is cut off`);
      for (const [other, b] of words.slice(i + 1)) {
        const [x, y] = [Math.min(a.right, b.right) - Math.max(a.left, b.left), Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top)];
        if (x > 1 && y > 4) bad.push(`${svg.id}: ${name} / ${other}`);
      }
    });
  }
  for (const one of document.querySelectorAll('body *:not(svg *)')) {
    const box = one.getBoundingClientRect();
    if (box.width && box.right > window.innerWidth + 0.5) bad.push(`${one.tagName} ${one.id} ends at ${box.right.toFixed(0)}`);
  }
  return bad;
}
