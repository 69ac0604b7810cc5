// Verifies access tokens as a resource server in JavaScript does, with jose alone.
//
//     jose_client.mjs JWKS_URL ISSUER AUDIENCE ALGORITHM
//
// A token on each line of standard input; for each a line of JSON: {"claims": …} or {"error": …}.

import { createInterface } from "node:readline";
import { createRemoteJWKSet, jwtVerify } from "jose";

const [url, issuer, audience, algorithm] = process.argv.slice(-4);
// A key that is not known is looked for at once, also where keys have just been fetched.
const keys = createRemoteJWKSet(new URL(url), { cooldownDuration: 0 });

for await (const line of createInterface({ input: process.stdin })) {
  let answer;
  try {
    const { payload } = await jwtVerify(line.trim(), keys, {
      issuer,
      audience,
      algorithms: [algorithm],
      typ: "at+jwt",
      requiredClaims: ["exp", "iat", "iss", "aud", "sub", "jti"],
    });
    answer = { claims: payload };
  } catch (error) {
    answer = { error: `${error.code}: ${error.message}` };
  }
  console.log(JSON.stringify(answer));
}
