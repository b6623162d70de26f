// Where a stream is: what the parameters of a page say (the same names as SRS's pages), and the addresses made of it.
// No element of a page is touched here.

/** The page's own address, as far as it matters. */
export interface Here {
  protocol: string;
  hostname: string;
  port: string;
}

/** Parameters that pages read themselves; all others travel on into the address of the stream or of the API. */
const OWN = new Set([
  'server', 'vhost', 'domain', 'app', 'stream', 'port', 'api', 'schema', 'autostart', 'path', 'play', 'publish',
  'buffer', 'api_port', 'shp_identify', 'wss', 'wsh', 'wsp', 'host', 'room', 'display',
]);

/** Of those, what a link to the page keeps although no address is made of it. */
const KEPT = ['buffer', 'api_port', 'shp_identify'];

const PORTS: Record<string, string> = { http: '80', https: '443', ws: '80', wss: '443', rtmp: '1935' };

const PLAIN_VHOST = '__defaultVhost__';

/** `http://server:8080/live/livestream.flv?…` for the player of streams over HTTP. */
export function mediaUrl(query: URLSearchParams, here: Here): string {
  const secure = here.protocol === 'https:';
  const schema = query.get('schema') || (secure ? 'https' : 'http');
  // The page comes from the port that has the streams, unless they are elsewhere.
  const own = (query.get('server') || here.hostname) === here.hostname;
  const plain = own && !secure ? here.port || '80' : '8080';
  const encrypted = own && secure ? here.port || '443' : '8088';
  const usual: Record<string, string> = { http: plain, ws: plain, https: encrypted, wss: encrypted };
  const port = query.get('port') || (usual[schema] ?? '1935');
  return address(schema, port, query, here, 'livestream.flv');
}

/** `webrtc://server:1985/live/livestream?…` for the pages that use the JSON API. */
export function rtcUrl(query: URLSearchParams, here: Here): string {
  const schema = apiSchema(query, here);
  const port = query.get('api') || (schema === 'http' ? '1985' : here.port ? '1990' : '443');
  return address('webrtc', port === '443' && schema === 'https' ? '' : port, query, here, 'livestream');
}

/** The address to which the offer for such a stream is posted: the query of the stream goes along. */
export function rtcApi(stream: string, role: 'play' | 'publish', query: URLSearchParams, here: Here): string {
  const { host, search } = parts(stream);
  const path = query.get(role) || `/rtc/v1/${role}/`;
  return `${apiSchema(query, here)}://${host}${path.startsWith('/') ? '' : '/'}${path}${search}`;
}

/** `http://server:1985/rtc/v1/whip/?app=live&stream=livestream…`, the whole address of WHIP or WHEP. */
export function whipUrl(role: 'play' | 'publish', query: URLSearchParams, here: Here): string {
  const schema = apiSchema(query, here);
  const server = query.get('server') || here.hostname;
  const port = query.get('api') || (schema === 'https' ? '1990' : '1985');
  const path = query.get('path') || (role === 'play' ? '/rtc/v1/whep/' : '/rtc/v1/whip/');
  const search = new URLSearchParams({
    app: query.get('app') || 'live',
    stream: query.get('stream') || 'livestream',
  });
  for (const [name, value] of travelling(query, server, here)) search.append(name, value);
  return `${schema}://${withPort(server, port, schema)}${path}?${search}`;
}

/** The page with the stream of this address in its parameters, to be shared. */
export function shareLink(page: string, url: string, query: URLSearchParams): string {
  const { schema, host, app, stream, search } = parts(url);
  const colon = host.search(/:\d+$/);
  const link = new URLSearchParams();
  const server = colon < 0 ? host : host.slice(0, colon);
  link.set('server', server);
  // Else it would be the host of the page.
  if (!/[?&](vhost|domain)=/.test(search)) link.set('vhost', server);
  const port = colon < 0 ? PORTS[schema] : host.slice(colon + 1);
  if (schema === 'webrtc') {
    if (port) link.set('api', port);
    for (const name of ['schema', 'play', 'publish']) copy(query, link, name);
  } else {
    if (port) link.set('port', port);
    link.set('schema', schema);
  }
  link.set('app', app);
  link.set('stream', stream);
  for (const [name, value] of new URLSearchParams(search)) link.append(name, value);
  for (const name of KEPT) copy(query, link, name);
  link.set('autostart', 'true');
  return `${page.split(/[?#]/)[0]}?${link}`;
}

/** The schema of the API: what is asked for, else that of the page. */
function apiSchema(query: URLSearchParams, here: Here): string {
  const asked = query.get('schema');
  if (asked === 'http' || asked === 'https') return asked;
  return here.protocol === 'https:' ? 'https' : 'http';
}

function address(schema: string, port: string, query: URLSearchParams, here: Here, stream: string): string {
  const server = query.get('server') || here.hostname;
  const path = `${query.get('app') || 'live'}/${query.get('stream') || stream}`;
  const search = new URLSearchParams(travelling(query, server, here)).toString();
  return `${schema}://${withPort(server, port, schema)}/${path}${search && `?${search}`}`;
}

/** What goes on in the query: the vhost if the server alone does not tell it, and everything that pages do not know. */
function travelling(query: URLSearchParams, server: string, here: Here): [string, string][] {
  const vhost = query.get('vhost') || query.get('domain') || here.hostname;
  const foreign = [...query].filter(([name]) => !OWN.has(name));
  return vhost === server || vhost === PLAIN_VHOST ? foreign : [['vhost', vhost], ...foreign];
}

function withPort(server: string, port: string, schema: string): string {
  const host = server.includes(':') && !server.startsWith('[') ? `[${server}]` : server;
  return port && port !== PORTS[schema] ? `${host}:${port}` : host;
}

/** Browsers do not take schemas like `webrtc:` apart alike, so this is done by hand. */
function parts(url: string): { schema: string; host: string; app: string; stream: string; search: string } {
  const [, schema = '', host = '', path = '', search = ''] = /^(\w+):\/\/([^/?]+)\/?([^?#]*)(\?[^#]*)?/.exec(url) ?? [];
  const slash = path.lastIndexOf('/');
  return { schema, host, app: path.slice(0, Math.max(slash, 0)), stream: path.slice(slash + 1), search };
}

function copy(from: URLSearchParams, to: URLSearchParams, name: string) {
  const value = from.get(name);
  if (value !== null) to.set(name, value);
}
