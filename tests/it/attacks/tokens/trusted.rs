//! The tokens of the other files once more, of a trusted issuer: what its tokens have to be is other code.

use countersign::faults::TokenFault;
use countersign::faults::TokenFault::{
    Algorithm as WrongAlgorithm, Audience, Claims, Expired, Issuer, Malformed, NotYetValid,
    Signature, TooLong, Type, UnknownKey, UnsupportedHeader,
};
use countersign::jose::{DefaultProvider, SigningKey};
use countersign::{Algorithm, KeyRing, TrustedIssuer, Validator};

use crate::attacks::tokens::{
    Forger, Members, accepts, claims, quoted, rejects, stranger, watched_address,
};
use crate::support::jose::{base64url_encode, private_key};
use crate::support::{AUDIENCE, ISSUER, START, TestClock};

/// A validator that trusts an issuer, and one who has its key.
struct Trusting {
    key: SigningKey,
    forger: Forger,
    alone: Validator,
    /// Has tokens of its own, too, by the same key.
    beside_own: Validator,
    clock: TestClock,
}

impl Trusting {
    fn new() -> Self {
        let private = private_key(Algorithm::EdDSA);
        let key = SigningKey::new(&private, &DefaultProvider).unwrap();
        let (ring, clock) = (KeyRing::new(key.clone()), TestClock::new());
        let trusted = || TrustedIssuer::new(ISSUER).audience(AUDIENCE).keys(ring.clone());
        let alone = Validator::for_issuers([trusted()]).clock(clock.clone()).build().unwrap();
        let beside_own = Validator::builder()
            .issuer("https://own.example.com")
            .audience(AUDIENCE)
            .keys(ring.clone())
            .clock(clock.clone())
            .trusted_issuer(trusted())
            .build()
            .unwrap();
        Self { key, forger: Forger::of(&private), alone, beside_own, clock }
    }

    /// When it comes, and when it comes again.
    #[track_caller]
    fn accepts(&self, token: &str) {
        for validator in [&self.alone, &self.beside_own] {
            accepts(validator, token);
            accepts(validator, token);
        }
    }

    #[track_caller]
    fn rejects(&self, token: &str, fault: TokenFault) {
        for validator in [&self.alone, &self.beside_own] {
            rejects(validator, token, fault);
            rejects(validator, token, fault);
        }
    }

    fn header(&self) -> Members {
        self.forger.header()
    }

    #[track_caller]
    fn rejects_headers(&self, name: &str, raw: &[&str], fault: TokenFault) {
        for raw in raw {
            let header = self.header().with(name, *raw);
            self.rejects(&self.forger.forge(&header, &claims()), fault);
        }
    }

    #[track_caller]
    fn rejects_claims(&self, name: &str, raw: &[&str], fault: TokenFault) {
        for raw in raw {
            let claims = claims().with(name, *raw);
            self.rejects(&self.forger.forge(&self.header(), &claims), fault);
        }
    }
}

#[test]
fn a_trusted_issuers_token_names_its_algorithm_and_is_signed_by_its_key() {
    let target = Trusting::new();
    let good = target.forger.forge(&target.header(), &claims());
    target.accepts(&good);
    for none in ["none", "None", "nOnE", "none ", " none", "none\0", ""] {
        let header = target.header().with("alg", quoted(none));
        target.rejects(&target.forger.forge(&header, &claims()), WrongAlgorithm);
        let unsigned =
            format!("{}.{}.", base64url_encode(header.text()), base64url_encode(claims().text()));
        target.rejects(&unsigned, Malformed);
        target.rejects(&format!("{unsigned}AAAA"), WrongAlgorithm);
    }
    target.rejects_headers("alg", &["null", "true", "[\"EdDSA\"]", "{}"], Malformed);
    target.rejects_headers(
        "alg",
        &["\"eddsa\"", "\"dir\"", "\"HS256\"", "\"HS512\""],
        WrongAlgorithm,
    );
    target.rejects_headers("alg", &["\"RS256\"", "\"ES256\""], UnknownKey);
    target
        .rejects(&target.forger.forge(&target.header().without("alg"), &claims()), WrongAlgorithm);

    // The public key as a shared secret.
    let jwk = target.key.verifying_key().to_jwk().unwrap();
    for secret in [jwk.to_string(), jwk["x"].as_str().unwrap().to_owned()] {
        let forger = Forger::with_hmac(secret.as_bytes(), target.key.kid());
        target.rejects(&forger.forge(&forger.header(), &claims()), WrongAlgorithm);
        let header = forger.header().with("alg", "\"EdDSA\"");
        target.rejects(&forger.forge(&header, &claims()), Signature);
    }
    let (input, signature) = good.rsplit_once('.').unwrap();
    let zeros = base64url_encode([0; 64]);
    for signature in [&*zeros, &signature[..signature.len() - 6], "AAAA"] {
        target.rejects(&format!("{input}.{signature}"), Signature);
    }
}

#[test]
fn a_trusted_issuers_token_brings_no_key_and_names_none_but_its_issuers() {
    let target = Trusting::new();
    let (stranger, jwk) = stranger();
    let (listener, url) = watched_address();
    for (name, raw) in [("jwk", &*jwk), ("jku", &url), ("x5u", &url), ("x5c", "[\"AAAA\"]")] {
        let header = stranger.header().with(name, raw);
        target.rejects(&stranger.forge(&header, &claims()), UnknownKey);
        let theirs = header.with("kid", quoted(target.key.kid()));
        target.rejects(&stranger.forge(&theirs, &claims()), Signature);
        target.accepts(&target.forger.forge(&target.header().with(name, raw), &claims()));
    }
    let asked = listener.accept().map(|_| ()).unwrap_err();
    assert_eq!(asked.kind(), std::io::ErrorKind::WouldBlock);

    let own = target.key.kid();
    for kid in [
        "../../../../dev/null",
        "' OR '1'='1",
        "\0",
        "kid\r\nSet-Cookie: a=b",
        "*",
        "",
        &own.to_uppercase(),
        &format!("{own} "),
        &format!("{own}\0"),
        &own[..own.len() - 1],
        &"k".repeat(4_096),
    ] {
        target.rejects_headers("kid", &[&quoted(kid)], UnknownKey);
    }
    target.rejects_headers("kid", &["null", "0", "[]", "{}"], Malformed);
    target.rejects_headers("kid", &[&quoted(&"k".repeat(64 * 1024))], TooLong);
}

#[test]
fn a_trusted_issuers_token_has_the_strict_form() {
    let target = Trusting::new();
    let (header, payload) = (target.header().text(), claims().text());
    let good = target.forger.forge_bytes(&header, &payload);
    let (input, signature) = good.rsplit_once('.').unwrap();
    for text in [
        format!("{good}.x"),
        input.to_owned(),
        format!("{good}="),
        format!(" {good}"),
        format!("{good}\n"),
        format!("..{signature}"),
        ".".repeat(8_000),
        String::new(),
        "\u{1f600}.\u{1f600}.\u{1f600}".to_owned(),
        format!("{{\"payload\":\"{input}\"}}"),
    ] {
        target.rejects(&text, Malformed);
    }
    for len in [8 * 1024 + 1, 1_000_000] {
        target.rejects(&".".repeat(len), TooLong);
    }
    let padded = |segment: &str| format!("{}==", base64url_encode(segment));
    target.rejects(
        &target.forger.forge_segments(&padded(&header), &base64url_encode(&payload)),
        Malformed,
    );
    target.rejects(
        &target.forger.forge_segments(&base64url_encode(&header), &padded(&payload)),
        Malformed,
    );
    target.rejects_headers(
        "crit",
        &["[\"exp\"]", "[]", "null", "\"exp\"", "{}"],
        UnsupportedHeader,
    );
    for name in ["zip", "enc", "b64"] {
        target.rejects_headers(name, &["null", "false", "\"DEF\""], UnsupportedHeader);
    }
    for (name, raw) in [("alg", "\"EdDSA\""), (r"\u0061lg", "\"EdDSA\""), ("x", "1")] {
        let twice = target.header().with("x", "1").and(name, raw);
        target.rejects(&target.forger.forge(&twice, &claims()), Malformed);
    }
    // Claims that no strict reader reads name no issuer either.
    let bomb = format!("{{\"a\":{}", "[".repeat(5_000));
    let marked = format!("\u{feff}{payload}");
    let unreadable = claims().0.into_iter().flat_map(|(name, raw)| {
        let escaped = format!("\\u{:04x}{}", name.as_bytes()[0], &name[1..]);
        [claims().and(&name, &*raw).text(), claims().and(&escaped, &*raw).text()]
    });
    for text in unreadable.chain([
        bomb,
        marked,
        format!("[{payload}]"),
        format!("{payload}x"),
        "null".into(),
    ]) {
        let token = target.forger.forge_bytes(&header, &text);
        target.rejects(&token, Claims);
    }
    for bytes in [&b"\xff"[..], b"{\"a\":\"\xed\xa0\x80\"}", br#"{"a":"\ud800"}"#] {
        target.rejects(&target.forger.forge_bytes(&header, bytes), Claims);
    }
}

#[test]
fn a_trusted_issuers_token_says_what_it_has_to() {
    let target = Trusting::new();
    for name in ["exp", "nbf", "iat"] {
        target.rejects_claims(
            name,
            &[
                "\"4102444800\"",
                "true",
                "1e400",
                "NaN",
                "-1",
                "[1]",
                "{}",
                "18446744073709551615",
                "\"\"",
            ],
            Claims,
        );
        target.rejects_claims(name, &["9007199254740992"], Claims);
    }
    target.rejects_claims("exp", &["0"], Expired);
    target.rejects_claims("nbf", &["9007199254740991"], NotYetValid);
    target.rejects_claims("iat", &["9007199254740991"], NotYetValid);
    target.rejects(&target.forger.forge(&target.header(), &claims().without("exp")), Claims);
    target.rejects(&target.forger.forge(&target.header(), &claims().without("sub")), Claims);
    target.rejects(&target.forger.forge(&target.header(), &claims().without("iss")), Claims);
    target.rejects(&target.forger.forge(&target.header(), &claims().without("aud")), Audience);
    target.rejects_claims("jti", &["\"\"", "true", "[\"jwt_1\"]", "{}"], Claims);
    target.rejects_claims("sub", &["\"\"", "\" \"", "null", "0", "[\"cus_1\"]"], Claims);
    let ours = quoted(AUDIENCE);
    target.rejects_claims(
        "aud",
        &[
            "[]",
            "\"\"",
            "\"*\"",
            "\"https://api.example.com/\"",
            "\"https://API.example.com\"",
            "[\"x\"]",
        ],
        Audience,
    );
    target.rejects_claims(
        "aud",
        &[&format!("[[{ours}]]"), &format!("[{ours},1]"), "0", "{}"],
        Claims,
    );
    for issuer in [
        "https://auth.example.com/",
        "https://auth.example.co",
        "https://auth.example.com.evil.test",
        "https://AUTH.example.com",
        "https://auth.example.com\0",
        "https://auth.ex\u{430}mple.com",
        "*",
        "",
    ] {
        target.rejects_claims("iss", &[&quoted(issuer)], Issuer);
    }
    target.rejects_claims("iss", &[&format!("[{}]", quoted(ISSUER)), "0", "null", "{}"], Claims);
    for typ in
        ["JWT", "id+jwt", "logout+jwt", "at+jwt ", "at+jwt\0", "application/application/at+jwt", ""]
    {
        target.rejects_headers("typ", &[&quoted(typ)], Type);
    }
    target.rejects(&target.forger.forge(&target.header().without("typ"), &claims()), Type);
    target.rejects_headers("typ", &["null", "0", "[\"at+jwt\"]"], Malformed);
}

#[test]
fn a_trusted_issuers_token_begins_and_ends_as_ones_own_and_a_known_one_too() {
    let target = Trusting::new();
    let token = target.forger.forge(&target.header(), &claims());
    target.accepts(&token);
    target.clock.set(countersign::Timestamp::from_micros((START + 3_660) * 1_000_000 - 1));
    target.accepts(&token);
    target.clock.set(countersign::Timestamp::from_secs(START + 3_660));
    target.rejects(&token, Expired);
    target.clock.set(countersign::Timestamp::from_micros((START - 60) * 1_000_000 - 1));
    target.rejects(&token, NotYetValid);
}
