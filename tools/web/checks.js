// What the page must do. Each check gets a fresh page: {name, options of the browser's context, expected (an error that the
// console may tell of), run(page, shoot)}.
'use strict';

const assert = require('node:assert/strict');

const AXE = require('node:fs').readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8');
const PATIENCE = { timeout: 180000 };  // a loaded machine answers slowly
const MOBILE = { viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true, deviceScaleFactor: 2 };

const idle = (page) => page.waitForFunction(() => document.getElementById('stop').disabled, null, PATIENCE);

async function ask(page, text) {
  await page.fill('#prompt', text);
  await page.press('#prompt', 'Enter');
  await page.waitForSelector('.turn.answers', PATIENCE);
}

// Names, roles, contrast, labels: no violation of WCAG 2.2 A and AA that axe can tell.
async function accessible(page, what) {
  await page.evaluate(AXE);
  const found = await page.evaluate(() => window.axe.run(document, {
    runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] }));
  const faults = found.violations.map((v) => `${v.id}: ${v.nodes.map((n) => n.target.join(' ')).slice(0, 3).join(', ')}`);
  assert.deepEqual(faults, [], `accessibility of ${what}`);
}

async function noOverflow(page, what) {
  const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  assert.ok(wide <= 0, `${what} is ${wide} pixels wider than the window`);
}

async function chat(page, shoot) {
  await ask(page, 'What is 17 + 25?');
  await idle(page);
  const tokens = await page.locator('.token').count();
  assert.ok(tokens > 0, 'no token was shown');
  const foot = await page.locator('.foot').textContent();
  assert.match(foot, /^\d+ tokens? in .* s.*disagreement: mean/);
  assert.ok(await page.locator('.token[title^="disagreement"]').count() > 0, 'tokens do not tell their disagreement');
  const bars = await page.locator('.bar').count(), meters = await page.locator('[role=meter]').count();
  assert.ok(bars >= 2 && bars === meters, `${bars} bars`);
  const shares = await page.$$eval('[role=meter]', (all) => all.map((m) => Number(m.getAttribute('aria-valuenow'))));
  const sum = shares.reduce((a, b) => a + b, 0);
  assert.ok(Math.abs(sum - 100) < 0.5, `weights sum to ${sum}`);
  const widths = await page.$$eval('.bar .fill', (all) => all.map((f) => Number.parseFloat(f.style.width)));
  widths.forEach((width, i) => assert.ok(Math.abs(width - shares[i]) < 0.11, 'a bar is not as long as its weight'));
  assert.equal(await page.locator('#nearest li').count(), 5);
  await shoot('chat-light');
  await accessible(page, 'the chat');
}

// Colour follows disagreement: fed to the page's own function, as a run may agree about everything.
async function colours(page) {
  const backgrounds = await page.evaluate(() => {
    const box = document.createElement('div');
    document.body.append(box);
    for (const nats of [0, 0.1, 0.5, 2]) appendToken(box, 'x', nats);
    return [...box.children].map((token) => getComputedStyle(token).backgroundColor);
  });
  const alpha = backgrounds.map((colour) => Number((colour.match(/rgba\(.*, ([\d.]+)\)/) || [0, 1])[1]));
  assert.equal(alpha[0], 0, 'agreement has a colour');
  assert.ok(alpha[1] > 0 && alpha[1] < alpha[2] && alpha[2] < alpha[3], `not rising: ${alpha}`);
}

async function stopping(page, shoot) {
  await page.fill('#max-tokens', '2000');
  for (const [turn, how] of [[0, () => page.keyboard.press('Escape')], [1, () => page.click('#stop')]]) {
    // A model that would rather end is kept talking: what is tested is the button.
    await page.evaluate(() => {
      if (window.stubborn) return;
      window.stubborn = true;
      const plain = requestFor;
      requestFor = (model) => ({ ...plain(model), logit_bias: Object.fromEntries([0, 1, 2].map((t) => [t, -100])) });
    });
    await ask(page, 'Tell me a long story about bees.');
    await page.waitForFunction((n) => document.querySelectorAll('.answers')[n]?.querySelectorAll('.token').length > 3,
                               turn, PATIENCE);
    await how();
    await idle(page);
    assert.equal(await page.locator('.foot').nth(turn).textContent(), 'stopped');
  }
  await shoot('stopped');
  await ask(page, 'And now?');  // the conversation goes on
  await page.keyboard.press('Escape');
  await idle(page);
  await page.click('#reset');
  assert.equal(await page.locator('.turn').count(), 0);
}

async function sideBySide(page, shoot) {
  const boxes = page.locator('#models input');
  const names = (await page.locator('#models label').allTextContents()).map((name) => name.trim());
  assert.ok(names.includes('ensemble') && names.includes('base') && names.includes('backbone'), names.join());
  for (const name of ['base', 'expert-0']) await boxes.nth(names.indexOf(name)).check();
  await ask(page, 'Sort: pear, apple, fig');
  await idle(page);
  assert.deepEqual(await page.locator('.answer h2').allTextContents(), ['ensemble', 'base', 'expert-0']);
  for (const foot of await page.locator('.foot').allTextContents()) assert.match(foot, /tokens? in/);
  const tops = await page.$$eval('.answer', (all) => all.map((a) => a.getBoundingClientRect().top));
  assert.ok(Math.max(...tops) - Math.min(...tops) < 2, 'the answers do not stand side by side');
  await shoot('side-by-side');
}

async function clusters(page, shoot) {
  await page.click('#tab-clusters');
  await page.waitForSelector('#map circle', PATIENCE);
  const run = await page.evaluate(async () => (await fetch('/elrea/runs/' + document.getElementById('run').value)).json());
  assert.equal(await page.locator('#map circle').count(), run.clusters.points.length);
  assert.equal(await page.locator('.cluster').count(), run.clusters.clusters.length);
  const first = await page.locator('.cluster').first().textContent();
  assert.ok(first.includes(`${run.clusters.clusters[0].rows} rows`), first);
  await shoot('clusters');
  await accessible(page, 'the clusters');
}

async function report(page, shoot) {
  await page.click('#tab-report');
  await page.waitForSelector('#report pre, #report p', PATIENCE);
  const run = await page.evaluate(async () => (await fetch('/elrea/runs/' + document.getElementById('run').value)).json());
  const shown = await page.locator('#report').textContent();
  assert.ok(run.report ? shown.trim() === run.report.trim() : /no evaluation/.test(shown), shown);
  await shoot('report');
  await accessible(page, 'the report');
}

async function keyboard(page) {
  const focused = () => page.evaluate(() => document.activeElement.id || document.activeElement.className);
  const seen = [];
  for (let i = 0; i < 30; ++i) {
    await page.keyboard.press('Tab');
    seen.push(await focused());
  }
  for (const id of ['skip', 'tab-chat', 'run', 'theme', 'prompt', 'send', 'temperature', 'key']) {
    assert.ok(seen.includes(id), `${id} is not reached by Tab: ${seen}`);
  }
  await page.focus('#tab-chat');
  for (const [key, tab] of [['ArrowRight', 'clusters'], ['ArrowRight', 'report'], ['ArrowRight', 'chat'], ['ArrowLeft', 'report']]) {
    await page.keyboard.press(key);
    assert.equal(await focused(), 'tab-' + tab);
    assert.ok(await page.isVisible('#view-' + tab), tab);
  }
  await page.keyboard.press('Home');
  assert.equal(await focused(), 'tab-chat');
  await page.focus('#prompt');
  await page.keyboard.type('one');
  await page.keyboard.press('Shift+Enter');
  await page.keyboard.type('two');
  assert.equal(await page.inputValue('#prompt'), 'one\ntwo');
}

async function dark(page, shoot) {
  const ground = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const brightness = (colour) => colour.match(/\d+/g).slice(0, 3).reduce((sum, part) => sum + Number(part), 0);
  assert.ok(brightness(await ground()) < 200, 'the dark theme is not dark');
  await ask(page, 'What is 20 + 22?');
  await idle(page);
  await shoot('chat-dark');
  await accessible(page, 'the dark chat');
  await page.click('#theme');
  assert.ok(brightness(await ground()) > 600, 'the button does not make it light');
}

async function mobile(page, shootAs) {
  const theme = await page.evaluate(() => (matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light'));
  const shoot = (name) => shootAs(`${name}-${theme}`);
  await noOverflow(page, 'the empty page');
  await page.fill('#prompt', 'Sort: pear, apple, fig');
  await page.tap('#send');
  await page.waitForSelector('.turn.answers', PATIENCE);
  await idle(page);
  await noOverflow(page, 'the chat');
  await shoot('mobile-chat');
  for (const tab of ['clusters', 'report']) {
    await page.tap('#tab-' + tab);
    await page.waitForSelector(tab === 'clusters' ? '#map circle' : '#report pre, #report p', PATIENCE);
    await noOverflow(page, tab);
    await shoot('mobile-' + tab);
  }
  const small = await page.$$eval('button', (all) => all.filter((b) => b.offsetParent && b.getBoundingClientRect().height < 24)
    .map((b) => b.id));
  assert.deepEqual(small, [], 'buttons too small for a finger');
  await accessible(page, 'the page on a telephone');
}

// Every failure is told in words: the server's refusals too.
async function refusals(page) {
  await page.fill('#max-tokens', '0');
  await ask(page, 'x');
  await idle(page);
  assert.match(await page.locator('.foot').textContent(), /failed: max_tokens must be/);
}

exports.checks = [
  { name: 'chat: stream, weights, nearest rows', run: chat },
  { name: 'colours by disagreement', run: colours },
  { name: 'stop by key and by button', run: stopping },
  { name: 'models side by side', run: sideBySide },
  { name: 'cluster explorer', run: clusters },
  { name: 'report', run: report },
  { name: 'keyboard', run: keyboard },
  { name: 'dark and light', options: { colorScheme: 'dark' }, run: dark },
  { name: 'telephone, light', options: MOBILE, run: mobile },
  { name: 'telephone, dark', options: { ...MOBILE, colorScheme: 'dark' }, run: mobile },
  { name: 'refusals are shown', expected: /status of 400/, run: refusals },
];
