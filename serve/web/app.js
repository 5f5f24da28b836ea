// The page of `elrea serve`: talks to the same API as every other client. No library, nothing from elsewhere.
'use strict';

const $ = (id) => document.getElementById(id);
const state = { models: [], messages: [], busy: null, details: new Map() };

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key === 'class') made.className = value;
    else if (key === 'style') Object.assign(made.style, value);
    else made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

function notice(text) {
  $('notice').textContent = text;
  $('notice').hidden = !text;
}

function headers() {
  const key = $('key').value;
  return { 'Content-Type': 'application/json', ...(key ? { Authorization: 'Bearer ' + key } : {}) };
}

async function getJson(path) {
  const answer = await fetch(path, { headers: headers() });
  const json = await answer.json();
  if (!answer.ok) throw new Error(json.error ? json.error.message : answer.statusText);
  return json;
}

// --- who can answer ---

const runName = () => $('run').value;
const modelsOfRun = () => state.models.filter((model) => model.elrea.run === runName());
const shortName = (id) => (id === runName() ? 'ensemble' : id.slice(runName().length + 1));

async function loadModels() {
  try {
    state.models = (await getJson('/v1/models')).data;
    notice('');
  } catch (error) {
    return notice(error.message);
  }
  const chosen = runName();
  const names = [...new Set(state.models.map((model) => model.elrea.run))];
  $('run').replaceChildren(...names.map((name) => element('option', { value: name }, name)));
  if (names.includes(chosen)) $('run').value = chosen;
  showModels();
}

function showModels() {
  $('models').replaceChildren(...modelsOfRun().map((model) => {
    const box = element('input', { type: 'checkbox', value: model.id, name: 'model' });
    box.checked = model.id === runName();
    return element('label', {}, box, ' ' + shortName(model.id));
  }));
  state.details.clear();
  if (!$('view-clusters').hidden) showClusters();
  if (!$('view-report').hidden) showReport();
}

// --- chat ---

async function* eventsOf(answer) {
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let buffered = '';
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    buffered += value;
    const parts = buffered.split('\n\n');
    buffered = parts.pop();
    for (const part of parts) {
      if (part.startsWith('data: ') && part !== 'data: [DONE]') yield JSON.parse(part.slice(6));
    }
  }
}

function requestFor(model) {
  const body = { model, messages: state.messages, stream: true, stream_options: { include_usage: true },
                 temperature: Number($('temperature').value), max_tokens: Number($('max-tokens').value),
                 elrea: { disagreement: true } };
  if (model === runName()) {
    body.elrea.nearest = 5;
    if ($('top-k').value !== '') body.elrea.top_k = Number($('top-k').value);
  }
  return body;
}

// One nat and more is as red as it gets: ln 2 is two members that flatly contradict each other.
const heat = (nats) => Math.min(1, nats / Math.LN2) * 0.75;

function appendToken(box, text, disagreement) {
  if (!text) return;
  const token = element('span', { class: 'token' }, text);
  if (disagreement !== undefined) {
    token.title = 'disagreement ' + disagreement.toFixed(3) + ' nats';
    if (disagreement > 0.005) token.style.background = `rgba(var(--hot), ${heat(disagreement)})`;
  }
  box.append(token);
}

async function streamAnswer(model, box, signal) {
  const text = box.querySelector('.text'), foot = box.querySelector('.foot');
  let whole = '', peak = 0, sum = 0, count = 0, reason = '';
  const begun = performance.now();
  const answer = await fetch('/v1/chat/completions',
                             { method: 'POST', headers: headers(), body: JSON.stringify(requestFor(model)), signal });
  if (!answer.ok) throw new Error((await answer.json()).error.message);
  for await (const event of eventsOf(answer)) {
    if (event.error) throw new Error(event.error.message);
    if (event.elrea && event.elrea.weights) showWeights(event.elrea);
    if (event.elrea && event.elrea.nearest_rows) showNearest(event.elrea.nearest_rows);
    const choice = event.choices[0];
    if (!choice) continue;
    const values = (event.elrea && event.elrea.disagreement) || [];
    for (const value of values) {
      peak = Math.max(peak, value);
      sum += value;
      count += 1;
    }
    whole += choice.delta.content || '';
    appendToken(text, choice.delta.content, values[0]);
    reason = choice.finish_reason || reason;
    $('log').scrollTop = $('log').scrollHeight;
  }
  const seconds = (performance.now() - begun) / 1000;
  foot.textContent = `${count} ${count === 1 ? 'token' : 'tokens'} in ${seconds.toFixed(1)} s` + (reason === 'length' ? ', cut at the limit' : '') +
    `; disagreement: mean ${(count ? sum / count : 0).toFixed(3)}, most ${peak.toFixed(3)} nats`;
  return whole;
}

async function send(text) {
  const chosen = [...document.querySelectorAll('input[name=model]:checked')].map((box) => box.value);
  if (chosen.length === 0) return notice('Choose in the settings who answers.');
  notice('');
  state.messages.push({ role: 'user', content: text });
  const boxes = chosen.map((model) => element('div', { class: 'answer' }, element('h2', {}, shortName(model)),
                                              element('div', { class: 'text' }), element('div', { class: 'foot' })));
  $('log').querySelector('.hint')?.remove();
  $('log').append(element('div', { class: 'turn user', 'aria-label': 'You' }, text),
                  element('div', { class: 'turn answers' }, ...boxes));
  $('log').scrollTop = $('log').scrollHeight;
  const busy = state.busy = new AbortController();
  setBusy(true);
  const answers = await Promise.allSettled(chosen.map((model, i) => streamAnswer(model, boxes[i], busy.signal)));
  answers.forEach((answer, i) => {
    if (answer.status === 'fulfilled') return;
    boxes[i].querySelector('.foot').textContent =
      busy.signal.aborted ? 'stopped' : 'failed: ' + answer.reason.message;
  });
  // The conversation goes on with the first answer, as far as it came.
  const said = boxes[0].querySelector('.text').textContent;
  if (said) state.messages.push({ role: 'assistant', content: said });
  else state.messages.pop();
  if (state.busy === busy) setBusy(false);
}

function setBusy(on) {
  if (!on) state.busy = null;
  $('send').disabled = on;
  $('stop').disabled = !on;
}

function stop() {
  if (state.busy) state.busy.abort();
}

function showWeights(info) {
  const all = [['base', info.weights.base, null],
               ...info.weights.experts.map((w, c) => ['expert ' + c, w, info.cosines ? info.cosines[c] : null])];
  const total = all.reduce((sum, [, w]) => sum + w, 0) || 1;
  $('weights').replaceChildren(...all.map(([name, weight, cosine]) => {
    const percent = (100 * weight / total).toFixed(1) + '%';
    const about = `${name}: weight ${weight.toFixed(3)}` + (cosine === null ? '' : `, cosine ${cosine.toFixed(3)}`);
    return element('div', { class: 'bar', title: about },
                   element('span', {}, name),
                   element('div', { class: 'track', role: 'meter', 'aria-label': name, 'aria-valuemin': 0,
                                    'aria-valuemax': 100, 'aria-valuenow': (100 * weight / total).toFixed(1) },
                           element('div', { class: 'fill', style: { width: percent } })),
                   element('span', { class: 'value' }, percent));
  }), ...(info.shed ? [element('p', { class: 'hint' }, 'The server is busy: fewer experts than usual answered.')] : []));
}

function showNearest(rows) {
  $('nearest').replaceChildren(...rows.map((row) => element('li', {},
    `${row.instruction.slice(0, 160)} (${row.source || 'no source'}, expert ${row.cluster}, ${row.cosine.toFixed(2)})`)));
}

// --- clusters and report ---

async function details() {
  const name = runName();
  if (!state.details.has(name)) state.details.set(name, await getJson('/elrea/runs/' + encodeURIComponent(name)));
  return state.details.get(name);
}

const color = (cluster, count) => `hsl(${Math.round(360 * cluster / Math.max(1, count) + 210) % 360} 60% 50%)`;

async function showClusters() {
  let run;
  try {
    run = await details();
  } catch (error) {
    return notice(error.message);
  }
  const clusters = run.clusters.clusters, points = run.clusters.points;
  drawMap(clusters, points);
  $('map-note').textContent = `${points.length} training rows, their features on the two directions in which they ` +
    `differ most (${(100 * run.clusters.explained).toFixed(0)}% of the variance).`;
  $('clusters').replaceChildren(...clusters.map((cluster) => {
    const sources = Object.entries(cluster.sources).sort((a, b) => b[1] - a[1]);
    return element('article', { class: 'cluster' },
      element('h2', {}, element('span', { class: 'swatch', style: { background: color(cluster.cluster, clusters.length) } }),
              `Expert ${cluster.cluster}: ${cluster.rows} rows`),
      element('p', { class: 'hint' }, `mean cosine to the centre ${cluster.mean_cosine.toFixed(3)}`),
      element('strong', {}, 'Sources'),
      element('ul', {}, ...sources.map(([source, count]) => element('li', {}, `${source || 'no source'}: ${count}`))),
      element('strong', {}, 'Rows next to the centre'),
      element('ul', {}, ...cluster.examples.map((row) => element('li', {}, row.instruction.slice(0, 200)))));
  }));
}

function drawMap(clusters, points) {
  const svg = 'http://www.w3.org/2000/svg';
  const xs = points.map((p) => p.x), ys = points.map((p) => p.y);
  const low = { x: Math.min(...xs), y: Math.min(...ys) };
  const span = { x: Math.max(...xs) - low.x || 1, y: Math.max(...ys) - low.y || 1 };
  $('map').replaceChildren(...points.map((point) => {
    const dot = document.createElementNS(svg, 'circle');
    dot.setAttribute('cx', 20 + 600 * (point.x - low.x) / span.x);
    dot.setAttribute('cy', 460 - 440 * (point.y - low.y) / span.y);
    dot.setAttribute('r', 3.5);
    dot.setAttribute('fill', color(point.cluster, clusters.length));
    dot.setAttribute('fill-opacity', 0.7);
    const title = document.createElementNS(svg, 'title');
    title.textContent = `expert ${point.cluster}, ${point.source || 'no source'}: ${point.instruction}`;
    dot.append(title);
    return dot;
  }));
}

async function showReport() {
  let run;
  try {
    run = await details();
  } catch (error) {
    return notice(error.message);
  }
  if (!run.report) {
    $('report').replaceChildren(element('p', { class: 'hint' }, 'This run has no evaluation yet: elrea eval makes one.'));
    return;
  }
  $('report').replaceChildren(element('pre', { class: 'scroll', tabindex: 0 }, run.report));
}

// --- keyboard, tabs, theme ---

const tabs = ['chat', 'clusters', 'report'];
function showTab(name) {
  for (const tab of tabs) {
    $('tab-' + tab).setAttribute('aria-selected', tab === name);
    $('tab-' + tab).tabIndex = tab === name ? 0 : -1;
    $('view-' + tab).hidden = tab !== name;
  }
  if (name === 'clusters') showClusters();
  if (name === 'report') showReport();
}

tabs.forEach((tab, i) => {
  $('tab-' + tab).addEventListener('click', () => showTab(tab));
  $('tab-' + tab).addEventListener('keydown', (event) => {
    const last = tabs.length - 1;
    const to = { ArrowRight: i === last ? 0 : i + 1, ArrowLeft: i === 0 ? last : i - 1, Home: 0, End: last }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    const next = tabs[to];
    showTab(next);
    $('tab-' + next).focus();
  });
});

$('form').addEventListener('submit', (event) => {
  event.preventDefault();
  const text = $('prompt').value.trim();
  if (!text || state.busy) return;
  $('prompt').value = '';
  send(text);
});
$('prompt').addEventListener('keydown', (event) => {
  if (event.key === 'Enter' && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    $('form').requestSubmit();
  }
});
document.addEventListener('keydown', (event) => {
  if (event.key === 'Escape') stop();
});
$('stop').addEventListener('click', stop);
$('reset').addEventListener('click', () => {
  stop();
  state.messages = [];
  $('log').replaceChildren(element('p', { class: 'hint' }, 'A new conversation.'));
  $('prompt').focus();
});
$('run').addEventListener('change', showModels);
$('key').addEventListener('change', loadModels);
$('theme').addEventListener('click', () => {
  const dark = document.documentElement.dataset.theme
    ? document.documentElement.dataset.theme === 'dark'
    : matchMedia('(prefers-color-scheme: dark)').matches;
  document.documentElement.dataset.theme = dark ? 'light' : 'dark';
});
if (matchMedia('(max-width: 760px)').matches) $('settings').open = false;
loadModels();
