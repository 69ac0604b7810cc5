//! The form of a token: its segments, their base64, JSON and header.

use countersign::faults::TokenFault;
use http::Request;
use http::header::AUTHORIZATION;
use serde_json::json;

use crate::attacks::tokens::{Members, Target, assert_challenged, claims, guarded_host, quoted};
use crate::support::jose::base64url_encode;

#[test]
fn any_number_of_segments_but_three_is_rejected() {
    let target = Target::new();
    let good = target.good();
    let [header, payload, signature]: [&str; 3] =
        good.split('.').collect::<Vec<_>>().try_into().unwrap();
    for token in [
        String::new(),
        ".".into(),
        "..".into(),
        "...".into(),
        header.into(),
        format!("{header}.{payload}"),
        format!("{header}.{payload}."),
        format!("{header}..{signature}"),
        format!(".{payload}.{signature}"),
        format!("{good}."),
        format!(".{good}"),
        format!("{good}.{signature}"),
        format!("{header}.{good}"),
        format!("{good}.{payload}.{signature}"),
        format!("{header}..{payload}.{signature}"),
        format!("{good}.."),
    ] {
        target.rejects(&token, TokenFault::Malformed);
    }
}

#[test]
fn of_megabytes_of_dots_nothing_is_looked_at_but_the_length() {
    let target = Target::new();
    target.rejects(&".".repeat(8 * 1024), TokenFault::Malformed);
    target.rejects(&".".repeat(8 * 1024 + 1), TokenFault::TooLong);
    target.rejects(&".".repeat(4 * 1024 * 1024), TokenFault::TooLong);
}

#[tokio::test]
async fn segments_and_dots_that_make_no_token_are_a_401_over_http() {
    let (forger, server) = guarded_host().await;
    let good = forger.forge(&forger.header(), &claims());
    for token in [
        ".".to_owned(),
        "..".into(),
        ".".repeat(8 * 1024),
        ".".repeat(64 * 1024),
        format!("{good}."),
        format!("{good}.{good}"),
        good.rsplit_once('.').unwrap().0.into(),
        format!("{good}=="),
        format!("{good}~"),
        format!("{good}+"),
    ] {
        assert_challenged(&server.get("/", Some(&token)).await, 401, "invalid_token");
    }
}

#[test]
fn the_json_serialisations_are_rejected() {
    let target = Target::new();
    let good = target.good();
    let [header, payload, signature]: [&str; 3] =
        good.split('.').collect::<Vec<_>>().try_into().unwrap();
    let signed = json!({"protected": header, "signature": signature});
    for token in [
        json!({"payload": payload, "protected": header, "signature": signature}),
        json!({"payload": payload, "signatures": [signed]}),
        json!([good]),
        json!(good),
    ] {
        target.rejects(&token.to_string(), TokenFault::Malformed);
        target.rejects(&base64url_encode(token.to_string()), TokenFault::Malformed);
    }
}

#[tokio::test]
async fn what_cannot_be_a_bearer_token_at_all_is_a_400_over_http() {
    let (forger, server) = guarded_host().await;
    let good = forger.forge(&forger.header(), &claims());
    let (input, signature) = good.rsplit_once('.').unwrap();
    let json = json!({"payload": input, "signatures": [{"signature": signature}]}).to_string();
    for token in [
        json,
        format!("{input}. {signature}"),
        format!("{good} {good}"),
        format!("{good},"),
        format!("\"{good}\""),
        format!("{input}=.{signature}"),
        format!("{good}\tx"),
        "=".into(),
    ] {
        assert_challenged(&server.get("/", Some(&token)).await, 400, "invalid_request");
    }
    let twice = Request::builder()
        .uri("/")
        .header(AUTHORIZATION, format!("Bearer {good}"))
        .header(AUTHORIZATION, format!("Bearer {good}"));
    let answer = server.send(twice.body("").unwrap()).await;
    assert_challenged(&answer, 400, "invalid_request");
}

/// Claims whose JSON has a length that leaves so many bytes to the last group of base64.
fn claims_with_remainder(remainder: usize) -> Members {
    let padded = |pad: usize| claims().with("jti", quoted(&"j".repeat(pad)));
    (1..=3).map(padded).find(|claims| claims.text().len() % 3 == remainder).unwrap()
}

#[test]
fn padding_in_any_segment_is_rejected() {
    let target = Target::new();
    for remainder in [1, 2] {
        let claims = claims_with_remainder(remainder);
        let header = (0..3)
            .map(|pad| target.forger.header().with("x", quoted(&"x".repeat(pad))))
            .find(|header| header.text().len() % 3 == remainder)
            .unwrap();
        let (header, payload) = (base64url_encode(header.text()), base64url_encode(claims.text()));
        let good = target.forger.forge_segments(&header, &payload);
        target.accepts(&good);
        let pad = "=".repeat(3 - remainder);
        for token in [
            target.forger.forge_segments(&format!("{header}{pad}"), &payload),
            target.forger.forge_segments(&header, &format!("{payload}{pad}")),
            format!("{good}=="),
            format!("{good}="),
            format!("{good}%3D%3D"),
        ] {
            target.rejects(&token, TokenFault::Malformed);
        }
    }
}

#[test]
fn white_space_and_other_bytes_in_any_segment_are_rejected() {
    let target = Target::new();
    let (header, payload) =
        (base64url_encode(target.forger.header().text()), base64url_encode(claims().text()));
    for blank in [" ", "\t", "\n", "\r\n", "\0", "\u{a0}", "\u{feff}", "~", ":", "é", "%20"] {
        let within = |segment: &str| format!("{}{blank}{}", &segment[..4], &segment[4..]);
        let good = target.good();
        let (input, signature) = good.rsplit_once('.').unwrap();
        for token in [
            target.forger.forge_segments(&within(&header), &payload),
            target.forger.forge_segments(&header, &within(&payload)),
            format!("{input}.{}", within(signature)),
            format!("{good}{blank}"),
            format!("{blank}{good}"),
            format!("{input}{blank}.{signature}"),
        ] {
            target.rejects(&token, TokenFault::Malformed);
        }
    }
}

#[test]
fn the_plus_and_slash_of_other_base64_are_rejected() {
    let target = Target::new();
    // "?~" and "?\x7f" at every offset make both characters.
    let odd = quoted("???~~~>>>???~~~>>>");
    let header = target.forger.header().with("x", &odd);
    let claims = claims().with("x", &odd);
    let (header, payload) = (base64url_encode(header.text()), base64url_encode(claims.text()));
    let token = target.forger.forge_segments(&header, &payload);
    target.accepts(&token);
    let other = |segment: &str| {
        let other = segment.replace('-', "+").replace('_', "/");
        assert_ne!(other, segment);
        other
    };
    target.rejects(&target.forger.forge_segments(&other(&header), &payload), TokenFault::Malformed);
    target.rejects(&target.forger.forge_segments(&header, &other(&payload)), TokenFault::Malformed);
    let signed = (0..200)
        .map(|number| target.with_claims(&claims.clone().with("jti", quoted(&number.to_string()))))
        .find(|token| token.rsplit('.').next().unwrap().contains(['-', '_']))
        .unwrap();
    target.accepts(&signed);
    let (input, signature) = signed.rsplit_once('.').unwrap();
    target.rejects(&format!("{input}.{}", other(signature)), TokenFault::Malformed);
}

#[test]
fn trailing_bits_that_are_not_zero_are_rejected_in_any_segment() {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let target = Target::new();
    let with_bit = |segment: &str| {
        let (body, last) = segment.split_at(segment.len() - 1);
        let digit = ALPHABET.iter().position(|symbol| *symbol == last.as_bytes()[0]).unwrap();
        assert_eq!(digit % 2, 0);
        format!("{body}{}", char::from(ALPHABET[digit + 1]))
    };
    for remainder in [1, 2] {
        let header = (0..3)
            .map(|pad| target.forger.header().with("x", quoted(&"x".repeat(pad))))
            .find(|header| header.text().len() % 3 == remainder)
            .unwrap();
        let (header, payload) = (
            base64url_encode(header.text()),
            base64url_encode(claims_with_remainder(remainder).text()),
        );
        let good = target.forger.forge_segments(&header, &payload);
        target.accepts(&good);
        let (input, signature) = good.rsplit_once('.').unwrap();
        for token in [
            target.forger.forge_segments(&with_bit(&header), &payload),
            target.forger.forge_segments(&header, &with_bit(&payload)),
            format!("{input}.{}", with_bit(signature)),
        ] {
            target.rejects(&token, TokenFault::Malformed);
        }
    }
}

#[test]
fn a_header_name_that_comes_twice_is_rejected_behind_escapes_too() {
    let target = Target::new();
    let header = || target.forger.header();
    target.accepts_header(&header().with("x", r#"{"a":1,"b":2}"#));
    let own_kid = quoted(target.key.kid());
    for (name, escaped, raw) in [
        ("alg", r"\u0061lg", "\"EdDSA\""),
        ("kid", r"k\u0069d", &*own_kid),
        ("typ", r"ty\u0070", "\"at+jwt\""),
    ] {
        target.rejects_header(&header().and(name, raw), TokenFault::Malformed);
        target.rejects_header(&header().and(name, "\"other\""), TokenFault::Malformed);
        target.rejects_header(&header().and(escaped, raw), TokenFault::Malformed);
        let only_escaped = header().without(name).and(escaped, raw);
        target.accepts_header(&only_escaped);
    }
    target.rejects_header(&header().with("x", "1").and("x", "1"), TokenFault::Malformed);
    target.rejects_header(&header().with("x", "1").and(r"\u0078", "1"), TokenFault::Malformed);
    target.rejects_header(&header().with("x", r#"{"a":1,"a":1}"#), TokenFault::Malformed);
    target.rejects_header(&header().with("x", r#"[[{"a":1,"\u0061":1}]]"#), TokenFault::Malformed);
}

#[test]
fn a_claims_name_that_comes_twice_is_rejected_behind_escapes_too() {
    let target = Target::new();
    for (name, raw) in claims().0 {
        target.rejects_claims(&claims().and(&name, &*raw), TokenFault::Claims);
        let escaped = format!("\\u{:04x}{}", name.as_bytes()[0], &name[1..]);
        target.rejects_claims(&claims().and(&escaped, &*raw), TokenFault::Claims);
        target.accepts_claims(&claims().without(&name).and(&escaped, &*raw));
    }
    for (name, raw) in [
        ("nobody_reads", r#"{"a":1,"a":1}"#),
        ("nobody_reads", r#"[{"a":1,"\u0061":1}]"#),
        ("customClaims", r#"{"a":1,"a":1}"#),
        ("customClaims", r#"{"b":[{"a":1,"\u0061":1}]}"#),
        ("acl", r#"[{"scope":{},"scope":{},"permissions":["GetOrders"]}]"#),
        ("acl", r#"[{"scope":{"p":["1"],"p":["2"]},"permissions":["GetOrders"]}]"#),
        ("acl", r#"[{"scope":{},"permissions":["A"],"permi\u0073sions":["*"]}]"#),
    ] {
        target.rejects_claims(&claims().with(name, raw), TokenFault::Claims);
    }
    for (name, raw) in
        [("customClaims", r#"{"a":1,"A":1}"#), ("nobody_reads", r#"[{"a":1},{"a":1}]"#)]
    {
        target.accepts_claims(&claims().with(name, raw));
    }
    for name in ["nobody_reads", "customClaims", "sid", "organizationId"] {
        let raw = if name == "customClaims" { "{}" } else { "\"x\"" };
        target.accepts_claims(&claims().and(name, raw));
        target.rejects_claims(&claims().and(name, raw).and(name, raw), TokenFault::Claims);
    }
    let many = (0..40).fold(claims(), |claims, n| claims.and(&format!("n{n}"), "0"));
    target.accepts_claims(&many);
    target.rejects_claims(&many.clone().and("n3", "0"), TokenFault::Claims);
    target.rejects_claims(&many.and("exp", "0"), TokenFault::Claims);
}

#[test]
fn nesting_of_32_is_read_and_a_nesting_bomb_is_not() {
    let target = Target::new();
    let arrays = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let objects = |depth: usize| format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth));
    let header = |raw: String| target.forger.header().with("x", raw);
    for (good, bad) in [(arrays(31), arrays(32)), (objects(31), objects(32))] {
        target.accepts_header(&header(good.clone()));
        target.rejects_header(&header(bad.clone()), TokenFault::Malformed);
        target.accepts_claims(&claims().with("nobody_reads", &*good));
        target.rejects_claims(&claims().with("nobody_reads", &*bad), TokenFault::Claims);
    }
    target.accepts_claims(&claims().with("customClaims", objects(31)));
    target.rejects_claims(&claims().with("customClaims", objects(32)), TokenFault::Claims);
    for bomb in ["[".repeat(5_000), "{\"a\":".repeat(1_000), arrays(2_500), objects(800)] {
        target.rejects_header(&header(bomb.clone()), TokenFault::Malformed);
        for name in ["nobody_reads", "customClaims", "acl", "aud", "exp", "iss"] {
            target.rejects_claims(&claims().with(name, &*bomb), TokenFault::Claims);
        }
        let token = target.forger.forge_bytes(&bomb, claims().text());
        target.rejects(&token, TokenFault::Malformed);
        let token = target.forger.forge_bytes(target.forger.header().text(), &bomb);
        target.rejects(&token, TokenFault::Claims);
    }
}

#[test]
fn json_in_utf_16_or_behind_a_byte_order_mark_is_rejected() {
    let target = Target::new();
    let in_utf_16 = |text: &str, write: fn(u16) -> [u8; 2]| {
        text.encode_utf16().flat_map(write).collect::<Vec<u8>>()
    };
    let forms = |text: &str| {
        let marked = format!("\u{feff}{text}");
        vec![
            in_utf_16(text, u16::to_le_bytes),
            in_utf_16(text, u16::to_be_bytes),
            in_utf_16(&marked, u16::to_le_bytes),
            in_utf_16(&marked, u16::to_be_bytes),
            marked.into_bytes(),
        ]
    };
    let (header, claims) = (target.forger.header().text(), claims().text());
    for form in forms(&header) {
        target.rejects(&target.forger.forge_bytes(form, &claims), TokenFault::Malformed);
    }
    for form in forms(&claims) {
        target.rejects(&target.forger.forge_bytes(&header, form), TokenFault::Claims);
    }
}

#[test]
fn lone_surrogates_and_what_is_no_utf_8_are_rejected_where_nobody_reads_too() {
    let target = Target::new();
    let raw = |text: &[u8]| [&b"\""[..], text, b"\""].concat();
    let good = [&br"\ud83d\ude00"[..], "\u{1f600}".as_bytes(), br"\u00e9"];
    let bad = [
        &br"\ud800"[..],
        br"\udc00",
        br"\ude00\ud83d",
        br"\ud83dx",
        b"\xed\xa0\x80",
        b"\xc0\x80",
        b"\xff",
        b"\xc3",
        b"\xf8\x88\x80\x80\x80",
        b"\xf4\x90\x80\x80",
        b"\x01",
        br"\x41",
        br"\u12",
    ];
    let (header, claims) = (target.forger.header().text(), claims().text());
    let insert = |object: &str, name: &[u8], value: &[u8]| {
        let object = &object.as_bytes()[1..];
        [b"{", &*raw(name), b":", &*raw(value), b",", object].concat()
    };
    for text in good {
        for (name, value) in [(text, &b"x"[..]), (b"x", text)] {
            target.accepts(&target.forger.forge_bytes(insert(&header, name, value), &claims));
            target.accepts(&target.forger.forge_bytes(&header, insert(&claims, name, value)));
        }
    }
    for text in bad {
        for (name, value) in [(text, &b"x"[..]), (b"x", text)] {
            let token = target.forger.forge_bytes(insert(&header, name, value), &claims);
            target.rejects(&token, TokenFault::Malformed);
            let token = target.forger.forge_bytes(&header, insert(&claims, name, value));
            target.rejects(&token, TokenFault::Claims);
        }
    }
}

#[test]
fn header_and_claims_are_one_json_object_each_and_nothing_more() {
    let target = Target::new();
    let (header, claims) = (target.forger.header().text(), claims().text());
    let forms = |object: &str| {
        let body = object.trim_end_matches('}');
        [
            "null".to_owned(),
            "[]".into(),
            "\"text\"".into(),
            "0".into(),
            format!("[{object}]"),
            quoted(object),
            format!("{object}{object}"),
            format!("{object}x"),
            format!("{object}\0"),
            format!("{object}//"),
            format!("/**/{object}"),
            format!("{body},}}"),
            body.to_owned(),
            object.replace('"', "'"),
            object.replacen(':', "=", 1),
        ]
    };
    for form in forms(&header) {
        target.rejects(&target.forger.forge_bytes(form, &claims), TokenFault::Malformed);
    }
    for form in forms(&claims) {
        target.rejects(&target.forger.forge_bytes(&header, form), TokenFault::Claims);
    }
    let spaced = |object: &str| format!(" \r\n\t{object}\n ");
    target.accepts(&target.forger.forge_bytes(spaced(&header), spaced(&claims)));
}

#[test]
fn a_header_with_zip_enc_or_b64_of_any_value_is_rejected() {
    let target = Target::new();
    for name in ["zip", "enc", "b64"] {
        for raw in ["null", "true", "false", "0", "\"DEF\"", "\"\"", "[]", "{}"] {
            let header = target.forger.header().with(name, raw);
            target.rejects_header(&header, TokenFault::UnsupportedHeader);
            let escaped = format!("\\u{:04x}{}", name.as_bytes()[0], &name[1..]);
            let header = target.forger.header().with(&escaped, raw);
            target.rejects_header(&header, TokenFault::UnsupportedHeader);
        }
        target.accepts_claims(&claims().with(name, "false"));
        target.accepts_header(&target.forger.header().with("x", format!("{{\"{name}\":false}}")));
    }
    target.accepts_header(&target.forger.header().with("ZIP", "\"DEF\""));
}

#[test]
fn a_payload_that_is_not_encoded_is_rejected() {
    let target = Target::new();
    let header = target.forger.header().with("b64", "false").with("crit", "[\"b64\"]");
    let plain = target.forger.forge_segments(&base64url_encode(header.text()), &claims().text());
    target.rejects(&plain, TokenFault::UnsupportedHeader);
    let plain = target
        .forger
        .forge_segments(&base64url_encode(target.forger.header().text()), &claims().text());
    target.rejects(&plain, TokenFault::Malformed);
}

#[test]
fn an_encrypted_token_is_rejected() {
    let target = Target::new();
    for algorithm in ["dir", "RSA-OAEP", "ECDH-ES", "EdDSA"] {
        let header = target.forger.header().with("alg", quoted(algorithm));
        let header = base64url_encode(header.with("enc", "\"A256GCM\"").text());
        for key in ["", "a2V5"] {
            let token =
                format!("{header}.{key}.bm9uY2U.{}.dGFn", base64url_encode(claims().text()));
            target.rejects(&token, TokenFault::UnsupportedHeader);
        }
        let token = target.forger.forge_segments(&header, &base64url_encode(claims().text()));
        target.rejects(&token, TokenFault::UnsupportedHeader);
    }
}

#[test]
fn a_crit_that_is_unknown_known_empty_or_no_list_is_rejected() {
    let target = Target::new();
    for raw in [
        r#"["exp"]"#,
        r#"["http://example.com/unknown"]"#,
        r#"["b64"]"#,
        r#"["alg","kid","typ"]"#,
        r#"["x","x"]"#,
        "[]",
        "[[]]",
        "[null]",
        "\"exp\"",
        "\"\"",
        "null",
        "false",
        "0",
        "{}",
    ] {
        let header = target.forger.header().with("x", "1").with("exp", "1").with("crit", raw);
        target.rejects_header(&header, TokenFault::UnsupportedHeader);
        let header = target.forger.header().with(r"\u0063rit", raw);
        target.rejects_header(&header, TokenFault::UnsupportedHeader);
    }
}

#[test]
fn a_crit_that_comes_twice_is_rejected() {
    let target = Target::new();
    for (first, second) in [("[\"x\"]", "[\"x\"]"), ("[]", "[\"x\"]"), ("null", "null")] {
        let header = target.forger.header().with("crit", first).and("crit", second);
        target.rejects_header(&header, TokenFault::Malformed);
    }
}

#[test]
fn a_crit_in_a_place_where_it_means_nothing_means_nothing() {
    let target = Target::new();
    target.accepts_claims(&claims().with("crit", "[\"x\"]"));
    target.accepts_header(&target.forger.header().with("x", r#"{"crit":["x"]}"#));
    target.accepts_header(&target.forger.header().with("Crit", "[\"x\"]"));
}

#[test]
fn header_parameters_that_nobody_knows_are_ignored_whatever_their_type() {
    let target = Target::new();
    for raw in ["null", "true", "-1.5e3", "18446744073709551616", "\"\"", "[[],{}]", "{\"a\":[1]}"]
    {
        for name in ["x", "cty", "url", "nonce", "epk", "p2c", "iss", "", "\u{1f600}"] {
            target.accepts_header(&target.forger.header().with(name, raw));
        }
    }
}

#[test]
fn the_type_of_an_access_token_is_read_in_any_case_with_or_without_its_prefix() {
    let target = Target::new();
    for typ in ["at+jwt", "AT+JWT", "At+Jwt", "application/at+jwt", "APPLICATION/AT+jwt"] {
        target.accepts_header(&target.forger.header().with("typ", quoted(typ)));
    }
}

/// A token of exactly that length.
fn token_of_len(target: &Target, len: usize) -> String {
    (0..3)
        .flat_map(|of_header| (0..4).map(move |less| (of_header, less)))
        .find_map(|(of_header, less)| {
            let header = target.forger.header().with("x", quoted(&"x".repeat(of_header)));
            let empty = target.forger.forge(&header, &claims().with("x", "\"\""));
            let pad = (len - empty.len()) * 3 / 4 - less;
            let token = target.forger.forge(&header, &claims().with("x", quoted(&"x".repeat(pad))));
            (token.len() == len).then_some(token)
        })
        .unwrap()
}

#[test]
fn a_token_of_8_kibibytes_is_accepted_and_one_byte_more_is_not() {
    let target = Target::new();
    target.accepts(&token_of_len(&target, 8 * 1024));
    target.rejects(&token_of_len(&target, 8 * 1024 + 1), TokenFault::TooLong);
    target.rejects(&token_of_len(&target, 8 * 1024 + 2), TokenFault::TooLong);
    target.rejects(&token_of_len(&target, 100 * 1024), TokenFault::TooLong);
}

#[tokio::test]
async fn a_token_of_over_8_kibibytes_is_a_401_over_http() {
    let (forger, server) = guarded_host().await;
    let long =
        |len: usize| forger.forge(&forger.header(), &claims().with("x", quoted(&"x".repeat(len))));
    server.get("/", Some(&long(4_000))).await.expect(200);
    assert_challenged(&server.get("/", Some(&long(8_000))).await, 401, "invalid_token");
}
