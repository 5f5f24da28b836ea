// Called by tools/check_page: starts the browser, runs the checks of checks.js one after the other, and ends with status 1
// when one failed or a page wrote an error or asked another host for something.
'use strict';

const { chromium } = require('playwright-core');
const { checks } = require('./checks.js');

const [url, shots] = process.argv.slice(2);
const CHROMIUM = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
                  '--disable-component-update', '--disable-sync'];

async function openPage(browser, faults, check) {
  const context =
    await browser.newContext({ viewport: { width: 1280, height: 800 }, colorScheme: 'light', ...check.options });
  const page = await context.newPage();
  page.on('console', (message) => {
    if (message.type() === 'error' && !check.expected?.test(message.text())) faults.push('console: ' + message.text());
  });
  page.on('pageerror', (error) => faults.push('script: ' + error));
  page.on('request', (request) => {
    if (!request.url().startsWith(url) && !request.url().startsWith('data:')) faults.push('foreign: ' + request.url());
  });
  await page.goto(url);
  await page.waitForSelector('#models input', { state: 'attached' });
  return page;
}

async function main() {
  const browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: CHROMIUM });
  let failed = 0;
  for (const check of checks) {
    const faults = [];
    try {
      const page = await openPage(browser, faults, check);
      await check.run(page, (name) => page.screenshot({ path: `${shots}/${name}.png`, fullPage: true }));
      await page.context().close();
    } catch (error) {
      faults.push(String(error.stack || error));
    }
    console.log((faults.length ? 'FAILED ' : 'ok     ') + check.name);
    for (const fault of faults) console.log('       ' + fault);
    failed += faults.length > 0;
  }
  await browser.close();
  console.log(`${checks.length - failed} passed, ${failed} failed; screenshots in ${shots}`);
  return failed ? 1 : 0;
}

main().then((status) => process.exit(status));
