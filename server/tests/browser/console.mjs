// Does in headless Chromium what the console page of SRS does with the HTTP API: asks by script tags (JSONP) from a page of another
// origin, shows the values, and ends the publisher of a stream. Prints all answers as one line of JSON.
//
//   node console.mjs <base URL of the API> <stream to end> [screenshot.png] [name:password]

import { browse, onPage } from './chromium.mjs';

const [api, stream, screenshot, credentials] = process.argv.slice(2);

const PAGE = `<!doctype html>
<meta charset="utf-8">
<title>Console</title>
<style>
  body { font: 14px sans-serif; margin: 24px; color: #223; }
  table { border-collapse: collapse; margin-bottom: 20px; }
  caption { text-align: left; font-weight: bold; padding: 4px 0; }
  td, th { border: 1px solid #bbc; padding: 4px 10px; text-align: left; }
</style>
<div id="tables"></div>`;

// Runs in the page: gives it `ask`, which the console's framework calls JSONP, and `show`.
function prepare(api) {
  let calls = 0;
  window.ask = (path) =>
    new Promise((answered, failed) => {
      const name = `callbacks._${calls++}`;
      const script = document.createElement('script');
      (window.callbacks ??= {})[name.split('.')[1]] = answered;
      script.onerror = () => failed(new Error(`${path} did not load`));
      script.src = `${api}${path}${path.includes('?') ? '&' : '?'}callback=${name}`;
      document.head.append(script);
    });
  window.show = (caption, rows) => {
    const table = document.createElement('table');
    table.createCaption().textContent = caption;
    for (const row of rows) {
      const line = table.insertRow();
      for (const value of row) line.insertCell().textContent = String(value);
    }
    document.getElementById('tables').append(table);
  };
}

// Runs in the page: what an operator does who looks around, and then ends a stream. Gives the answers, and what is on the page.
async function operate(stream) {
  const seen = {};
  const answers = {
    versions: await ask('/api/v1/versions'),
    summaries: await ask('/api/v1/summaries'),
    vhosts: await ask('/api/v1/vhosts/'),
    streams: await ask('/api/v1/streams/'),
    clients: await ask('/api/v1/clients/'),
    raw: await ask('/api/v1/raw?rpc=raw'),
  };
  const { self, system } = answers.summaries.data;
  show('Server', [
    ['version', answers.versions.data.version],
    ['cpu', `${(self.cpu_percent * 100).toFixed(2)} %`],
    ['memory', `${(self.mem_kbyte / 1024).toFixed(1)} MiB`],
    ['uptime', `${self.srs_uptime} s`],
    ['load', `${system.load_1m} ${system.load_5m} ${system.load_15m}`],
    ['clients', system.conn_srs],
  ]);
  const rates = ({ kbps }) => [`${kbps.recv_30s} kbit/s in`, `${kbps.send_30s} kbit/s out`];
  const hls = (vhost) => (vhost.hls.enabled ? `HLS ${vhost.hls.fragment} s` : 'no HLS');
  show('Vhosts', answers.vhosts.vhosts.map((v) => [v.id, v.name, v.streams, v.clients, ...rates(v), hls(v)]));
  const codecs = ({ video, audio }) => [
    `${video.codec} ${video.profile} ${video.level} ${video.width}x${video.height}`,
    `${audio.codec} ${audio.sample_rate} Hz ${audio.channel} ${audio.profile}`,
  ];
  show('Streams', answers.streams.streams.map((s) => [s.id, s.url, s.clients, s.frames, ...codecs(s), ...rates(s)]));
  show('Clients', answers.clients.clients.map((c) => [c.id, c.ip, c.type, c.url, `${c.alive.toFixed(1)} s`, ...rates(c)]));
  show('Settings', Object.entries(answers.raw.http_api.raw_api).concat([['listen', answers.raw.http_api.listen]]));

  const found = answers.streams.streams.find((s) => s.name === stream);
  answers.vhost = await ask(`/api/v1/vhosts/${found.vhost}`);
  answers.stream = await ask(`/api/v1/streams/${found.id}`);
  answers.client = await ask(`/api/v1/clients/${found.publish.cid}`);
  answers.kick = await ask(`/api/v1/clients/${found.publish.cid}?method=DELETE`);
  // The publisher needs a moment to go.
  const until = Date.now() + 5000;
  do {
    answers.after = await ask(`/api/v1/clients/${found.publish.cid}`);
  } while (answers.after.code === 0 && Date.now() < until);
  show('Kick', [[found.publish.cid, answers.kick.code === 0 ? 'is disconnected' : answers.kick.message]]);
  seen.text = document.body.innerText;
  return { ...answers, ...seen };
}

const [username, password] = credentials?.split(':') ?? [];
const options = { viewport: { width: 1100, height: 800 }, httpCredentials: credentials && { username, password } };
await browse([], options, (context) =>
  onPage(context, PAGE, async (page, errors) => {
    await page.evaluate(prepare, api);
    const seen = await page.evaluate(operate, stream).catch((error) => ({ failed: error.message }));
    if (screenshot) await page.screenshot({ path: screenshot, fullPage: true });
    console.log(JSON.stringify({ ...seen, errors }));
  }),
);
