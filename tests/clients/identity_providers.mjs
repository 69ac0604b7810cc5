// Runs an identity provider that issues tokens by the grant client_credentials, on a port of the loopback.
//
//     identity_providers.mjs oauth2-mock-server|oidc-provider AUDIENCE
//
// A command on each line of standard input, and for each a line of JSON: {"url": …} at the start; {"token": …} for
// "token"; {} for "rotate", by which a new key takes the place of the only one. It ends with its input.

import { createServer } from "node:http";
import { createInterface } from "node:readline";
import { exportJWK, generateKeyPair } from "jose";

const [kind, audience] = process.argv.slice(-2);
const answer = (line) => console.log(JSON.stringify(line));

const newKey = async () => {
  const { privateKey } = await generateKeyPair("RS256", { extractable: true });
  const kid = crypto.randomUUID();
  return { ...(await exportJWK(privateKey)), kid, alg: "RS256", use: "sig" };
};

const oauth2MockServer = async () => {
  const { OAuth2Service, OAuth2Issuer } = await import("oauth2-mock-server");
  return async (url) => {
    const issuer = new OAuth2Issuer();
    issuer.url = url;
    await issuer.keys.add(await newKey());
    return new OAuth2Service(issuer).requestHandler;
  };
};

const oidcProvider = async () => {
  const { default: Provider } = await import("oidc-provider");
  const getResourceServerInfo = () => ({
    audience,
    scope: "orders",
    accessTokenFormat: "jwt",
    jwt: { sign: { alg: "RS256" } },
  });
  return async (url) => {
    const provider = new Provider(url, {
      jwks: { keys: [await newKey()] },
      clients: [
        {
          client_id: "machine-1",
          client_secret: "a secret of the test",
          grant_types: ["client_credentials"],
          redirect_uris: [],
          response_types: [],
        },
      ],
      features: {
        clientCredentials: { enabled: true },
        devInteractions: { enabled: false },
        resourceIndicators: {
          enabled: true,
          defaultResource: () => audience,
          getResourceServerInfo,
        },
      },
    });
    return provider.callback();
  };
};

const start = await { "oauth2-mock-server": oauth2MockServer, "oidc-provider": oidcProvider }[kind]();
let handler;
const server = createServer((request, response) => handler(request, response));
await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
const url = `http://127.0.0.1:${server.address().port}`;
handler = await start(url);
answer({ url });

for await (const line of createInterface({ input: process.stdin })) {
  if (line.trim() === "rotate") {
    handler = await start(url);
    answer({});
    continue;
  }
  const response = await fetch(`${url}/token`, {
    method: "POST",
    headers: {
      authorization: `Basic ${btoa("machine-1:a+secret+of+the+test")}`,
      "content-type": "application/x-www-form-urlencoded",
    },
    body: new URLSearchParams({ grant_type: "client_credentials", scope: "orders", aud: audience }),
  });
  const { access_token: token, ...rest } = await response.json();
  answer(token ? { token } : { error: JSON.stringify(rest) });
}
server.close();
process.exit(0);
