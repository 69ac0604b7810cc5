"""Verifies access tokens as a resource server in Python does, with PyJWT alone.

    pyjwt_client.py JWKS_URL ISSUER AUDIENCE ALGORITHM

A token on each line of standard input; for each a line of JSON: {"claims": …} or {"error": …}.
"""

import json
import sys

import jwt


def main():
    url, issuer, audience, algorithm = sys.argv[1:]
    # A key that is not known is looked for at once, also where keys have just been fetched.
    keys = jwt.PyJWKClient(url, cooldown_duration=0)
    for line in sys.stdin:
        token = line.strip()
        try:
            if jwt.get_unverified_header(token).get("typ") != "at+jwt":
                raise jwt.InvalidTokenError("not an access token")
            claims = jwt.decode(
                token,
                keys.get_signing_key_from_jwt(token),
                algorithms=[algorithm],
                audience=audience,
                issuer=issuer,
                options={"require": ["exp", "iat", "iss", "aud", "sub", "jti"]},
            )
            answer = {"claims": claims}
        except jwt.PyJWTError as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)


main()
