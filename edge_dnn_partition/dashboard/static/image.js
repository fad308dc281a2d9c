// Copyright 2026 The edge_dnn_partition authors; SPDX-License-Identifier: Apache-2.0
// The last image with its result, asked for one after another while the card is open and the page is seen: the frame source
// draws and sends it only then.

const PAUSE_MS = 100, AGAIN_MS = 2000;
const OPEN = 'edge_dnn_partition.image';

const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

export async function followImage(card, image, words) {
  card.open = localStorage.getItem(OPEN) === 'yes';
  card.addEventListener('toggle', () => localStorage.setItem(OPEN, card.open ? 'yes' : 'no'));
  const query = new URLSearchParams(location.search);
  let number = '0', url = '';
  for (;;) {
    await wait(PAUSE_MS);
    if (!card.open || document.visibilityState !== 'visible') continue;
    query.set('after', number);
    try {
      const response = await fetch(`/api/image?${query}`);
      if (response.status !== 200) {
        words.textContent = 'no image comes: no frame, or the task has no picture of its result';
        if (response.status !== 204) await wait(AGAIN_MS);
        continue;
      }
      number = response.headers.get('X-Image-Number');
      const next = URL.createObjectURL(await response.blob());
      image.src = next;
      await image.decode();
      URL.revokeObjectURL(url);
      url = next;
      image.hidden = false;
      words.textContent = '';
    } catch {
      await wait(AGAIN_MS);
    }
  }
}
