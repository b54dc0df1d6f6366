// A real OAuth authorization server on loopback: oidc-provider as it comes,
// with the clients and resource servers of the test that starts it.
//
// usage: node server.mjs CONFIG.json
//   port       where to listen, on 127.0.0.1
//   tls        {cert, key, ca}: files; https when given
//   algorithms of its signing keys, which are new at every start
//   clients    as oidc-provider has them
//   resources  {indicator: {scope, audience, format: opaque|jwt, alg}}
//
// "ready" when it serves. Lines on stdin, each answered "ok ..." or "error ...":
//   count        questions to /introspect since the last count
//   slow MS      before each answer of /introspect
import {generateKeyPairSync, randomUUID} from 'node:crypto';
import {readFileSync} from 'node:fs';
import * as http from 'node:http';
import * as https from 'node:https';
import {createInterface} from 'node:readline';
import Provider from 'oidc-provider';

const config = JSON.parse(readFileSync(process.argv[2], 'utf8'));
const curves = {ES256: 'P-256', ES384: 'P-384', ES512: 'P-521'};

function signingKey(alg) {
  const {privateKey} = curves[alg]
    ? generateKeyPairSync('ec', {namedCurve: curves[alg]})
    : alg === 'EdDSA'
      ? generateKeyPairSync('ed25519')
      : generateKeyPairSync('rsa', {modulusLength: 2048});
  return {...privateKey.export({format: 'jwk'}), alg, use: 'sig', kid: randomUUID()};
}

const provider = new Provider(`${config.tls ? 'https' : 'http'}://127.0.0.1:${config.port}`, {
  clients: config.clients,
  clientDefaults: {
    id_token_signed_response_alg: config.algorithms[0],
    introspection_signed_response_alg: config.algorithms[0],
  },
  jwks: {keys: config.algorithms.map(signingKey)},
  cookies: {keys: [randomUUID()]},
  scopes: [...new Set(Object.values(config.resources).flatMap((r) => r.scope.split(' ')))],
  routes: {token: '/token', introspection: '/introspect', revocation: '/revoke', jwks: '/jwks'},
  clientAuthMethods: ['none', 'client_secret_basic', 'client_secret_post', 'private_key_jwt',
    'tls_client_auth'],
  enabledJWA: {introspectionSigningAlgValues: ['ES256', 'RS256', 'PS256']},
  ttl: {ClientCredentials: 600},
  features: {
    devInteractions: {enabled: false},
    clientCredentials: {enabled: true},
    introspection: {enabled: true, allowedPolicy: (_ctx, client) => client.clientId !== 'stranger'},
    jwtIntrospection: {enabled: true},
    revocation: {enabled: true},
    dPoP: {enabled: true},
    mTLS: {
      enabled: true,
      certificateBoundAccessTokens: true,
      tlsClientAuth: true,
      getCertificate: (ctx) => ctx.socket.getPeerX509Certificate?.(),
      certificateAuthorized: (ctx) => ctx.socket.authorized,
      certificateSubjectMatches: (ctx, property, expected) =>
        property === 'tls_client_auth_san_dns' &&
        ctx.socket.getPeerX509Certificate().checkHost(expected) === expected,
    },
    resourceIndicators: {
      enabled: true,
      getResourceServerInfo: (_ctx, indicator) => {
        const r = config.resources[indicator];
        return {
          scope: r.scope,
          audience: r.audience,
          accessTokenFormat: r.format,
          accessTokenTTL: r.ttl ?? 600,
          ...(r.format === 'jwt' ? {jwt: {sign: {alg: r.alg}}} : {}),
        };
      },
    },
  },
});

let asked = 0;
let slow = 0;
provider.use(async (ctx, next) => {
  if (ctx.path === '/introspect') {
    asked += 1;
    if (slow) await new Promise((done) => setTimeout(done, slow));
  }
  await next();
});
provider.on('server_error', (_ctx, error) => console.log('server_error', error));

const server = config.tls
  ? https.createServer({
    cert: readFileSync(config.tls.cert),
    key: readFileSync(config.tls.key),
    ca: readFileSync(config.tls.ca),
    requestCert: true,
    rejectUnauthorized: false, // the provider looks, where a client must have one
  }, provider.callback())
  : http.createServer(provider.callback());
server.listen(config.port, '127.0.0.1', () => console.log('ready'));

createInterface({input: process.stdin}).on('line', (line) => {
  const [command, value] = line.split(' ');
  if (command === 'count') {
    console.log(`ok ${asked}`);
    asked = 0;
  } else if (command === 'slow') {
    slow = Number(value);
    console.log('ok');
  } else {
    console.log('error no such command');
  }
}).on('close', () => process.exit(0));
