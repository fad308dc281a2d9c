// Copyright 2026 The edge_dnn_partition authors; SPDX-License-Identifier: Apache-2.0
// What `tell` does, and the objective, for those who have the token.

const at = (name) => document.getElementById(name);

async function send(what, value) {
  const answer = at('answer');
  answer.textContent = '…';
  try {
    const response = await fetch(`/api/${what}${location.search}`, {
      method: 'POST',
      headers: { Authorization: `Bearer ${at('token').value}`, 'Content-Type': 'application/json' },
      body: JSON.stringify({ value }),
    });
    answer.textContent = (await response.json()).message;
  } catch {
    answer.textContent = 'the dashboard does not answer';
  }
}

export function listen() {
  at('control').addEventListener('submit', (event) => event.preventDefault());
  at('set-objective').addEventListener('click', () => send('objective', at('objective').value));
  at('pin').addEventListener('click', () => send('pin', at('plan').value));
  at('free').addEventListener('click', () => send('free', ''));
  at('replan').addEventListener('click', () => send('replan', ''));
  at('profile').addEventListener('click', () => send('profile', at('which').value));
}
