use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderValue;
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::clock::Timestamp;
use crate::jose::SigningKey;
use crate::token::acl::{Acl, AclEntry};
use crate::token::claims::SubjectType;

const HOUR: Duration = Duration::from_secs(3_600);

/// A token in the making (RFC 9068). It is good until told otherwise.
///
/// ```
/// use countersign::faults::TokenFault;
/// use countersign::testing::TestIssuer;
///
/// let issuer = TestIssuer::new();
/// let fault = |token: countersign::testing::TestToken| issuer.validator().validate(&token.sign()).err();
/// assert_eq!(fault(issuer.token().machine("aa-1").allow("GetOrders")), None);
/// assert_eq!(fault(issuer.token().expired()), Some(TokenFault::Expired));
/// assert_eq!(fault(issuer.token().tampered()), Some(TokenFault::Signature));
/// assert_eq!(fault(issuer.token().without("exp")), Some(TokenFault::Claims));
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct TestToken {
    key: SigningKey,
    /// When it was begun, whenever it says that it was issued.
    now: Timestamp,
    issued_at: Timestamp,
    acl: Vec<AclEntry>,
    header: Map<String, Value>,
    claims: Map<String, Value>,
    /// Claims that are to be missing.
    absent: Vec<String>,
    signature: Signature,
}

#[derive(Clone, Copy, Debug)]
enum Signature {
    OfItsKey,
    OfOtherClaims,
    Missing,
}

impl TestToken {
    pub(super) fn new(key: SigningKey, issuer: &str, audience: &str, now: Timestamp) -> Self {
        let header = [
            ("typ", json!("at+jwt")),
            ("alg", json!(key.algorithm().as_str())),
            ("kid", json!(key.kid())),
        ];
        let claims = [
            ("iss", json!(issuer)),
            ("aud", json!(audience)),
            ("jti", json!(uuid::Uuid::new_v4().to_string())),
        ];
        let members = |(name, value): (&str, Value)| (name.to_owned(), value);
        Self {
            key,
            now,
            issued_at: now,
            acl: Vec::new(),
            header: header.into_iter().map(members).collect(),
            claims: claims.into_iter().map(members).collect(),
            absent: Vec::new(),
            signature: Signature::OfItsKey,
        }
        .issued_at(now)
        .expires_in(HOUR)
    }

    /// Creates a token with that header and these claims, and no others.
    #[cfg(feature = "remote-jwks")]
    pub(super) fn foreign(
        key: SigningKey,
        header: Map<String, Value>,
        claims: Map<String, Value>,
        now: Timestamp,
    ) -> Self {
        Self {
            key,
            now,
            issued_at: now,
            acl: Vec::new(),
            header,
            claims,
            absent: vec!["acl".to_owned()],
            signature: Signature::OfItsKey,
        }
    }

    pub(super) fn principal(self, subject_type: SubjectType, subject: &str) -> Self {
        let client = if subject_type == SubjectType::Machine { subject } else { "first-party" };
        self.claim("sub", subject)
            .claim("subject_type", subject_type.as_str())
            .claim("client_id", client)
    }

    /// Of a user of that name.
    pub fn user(self, name: &str) -> Self {
        self.principal(SubjectType::User, name)
    }

    /// Of a machine of that id.
    pub fn machine(self, id: &str) -> Self {
        self.principal(SubjectType::Machine, id)
    }

    /// Of a customer of that id.
    pub fn customer(self, id: &str) -> Self {
        self.principal(SubjectType::Customer, id)
    }

    /// Bound to an organization.
    pub fn organization(self, id: &str) -> Self {
        self.claim("organizationId", id)
    }

    /// With one more permission, wherever it is asked for.
    ///
    /// # Panics
    ///
    /// Where it has not the form of a permission.
    #[track_caller]
    pub fn allow(self, permission: &str) -> Self {
        self.allow_at(permission, &[])
    }

    /// With one more permission, where the scope has these values.
    ///
    /// # Panics
    ///
    /// Where it has not the form of a permission, or they have not that of a scope.
    #[track_caller]
    pub fn allow_at(mut self, permission: &str, scope: &[(&str, &str)]) -> Self {
        let scope = scope.iter().map(|(key, value)| (*key, [*value]));
        let entry = AclEntry::new(scope, [permission]);
        self.acl.push(entry.unwrap_or_else(|error| panic!("{permission}: {error}")));
        self
    }

    /// With that access-control list, in the place of what was allowed so far.
    pub fn acl(mut self, acl: &Acl) -> Self {
        self.acl = acl.entries().to_vec();
        self
    }

    /// With the host's own claims, under `customClaims`.
    ///
    /// # Panics
    ///
    /// Where they cannot be written as JSON.
    #[track_caller]
    pub fn custom_claims(self, claims: impl Serialize) -> Self {
        self.claim("customClaims", claims)
    }

    /// Issued then: `iat` and `nbf`. When it ends stays as it is.
    pub fn issued_at(mut self, issued_at: Timestamp) -> Self {
        self.issued_at = issued_at;
        self.claim("iat", issued_at.as_secs()).claim("nbf", issued_at.as_secs())
    }

    /// Ending so long after it was issued.
    pub fn expires_in(self, lifetime: Duration) -> Self {
        let end = self.issued_at + lifetime;
        self.claim("exp", end.as_secs())
    }

    /// Broken: it ended an hour ago.
    pub fn expired(self) -> Self {
        let now = self.now;
        self.issued_at(now - 2 * HOUR).expires_in(HOUR)
    }

    /// Broken: it begins in an hour.
    pub fn not_yet_valid(self) -> Self {
        let now = self.now;
        self.issued_at(now + HOUR).expires_in(HOUR)
    }

    /// Broken: of another issuer, though signed with the same key.
    pub fn wrong_issuer(self, issuer: &str) -> Self {
        self.claim("iss", issuer)
    }

    /// Broken: for another audience.
    pub fn wrong_audience(self, audience: &str) -> Self {
        self.claim("aud", audience)
    }

    /// With a claim of any form.
    ///
    /// # Panics
    ///
    /// Where it cannot be written as JSON.
    #[track_caller]
    pub fn claim(mut self, name: &str, value: impl Serialize) -> Self {
        let value = serde_json::to_value(value).expect("a claim that is JSON");
        self.claims.insert(name.to_owned(), value);
        self
    }

    /// Broken: without a claim. `acl` is one, too.
    pub fn without(mut self, claim: &str) -> Self {
        self.absent.push(claim.to_owned());
        self
    }

    /// With a header parameter of any form (RFC 7515 §4). What the header says of the algorithm
    /// changes nothing about how it is signed.
    ///
    /// # Panics
    ///
    /// Where it cannot be written as JSON.
    #[track_caller]
    pub fn header(mut self, name: &str, value: impl Serialize) -> Self {
        let value = serde_json::to_value(value).expect("a header parameter that is JSON");
        self.header.insert(name.to_owned(), value);
        self
    }

    /// Broken: signed with another key, under the `kid` and `alg` of the issuer's.
    pub fn wrong_key(mut self, key: &SigningKey) -> Self {
        self.key = key.clone();
        self
    }

    /// Broken: its claims were changed after it was signed.
    pub fn tampered(mut self) -> Self {
        self.signature = Signature::OfOtherClaims;
        self
    }

    /// Broken: not signed at all (`alg` is `none`, RFC 7519 §6).
    pub fn unsigned(mut self) -> Self {
        self.signature = Signature::Missing;
        self.header("alg", "none")
    }

    /// The token, in compact form (RFC 7515 §7.1).
    ///
    /// # Panics
    ///
    /// Where the key cannot sign.
    #[must_use]
    #[track_caller]
    pub fn sign(&self) -> String {
        let mut claims = self.claims.clone();
        let acl = serde_json::to_value(Acl::new(self.acl.iter().cloned()));
        claims.entry("acl").or_insert(acl.expect("a list that is JSON"));
        claims.retain(|name, _| !self.absent.contains(name));
        let token = segments(&self.header, &claims);
        let signed = match self.signature {
            Signature::OfItsKey => token.clone(),
            Signature::Missing => return format!("{token}."),
            Signature::OfOtherClaims => {
                claims.insert("tampered".to_owned(), json!(true));
                segments(&self.header, &claims)
            }
        };
        let signature = self.key.sign_bytes(signed.as_bytes()).expect("a key that signs");
        format!("{token}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// The token as a value of the header `Authorization` (RFC 6750 §2.1).
    ///
    /// # Panics
    ///
    /// Where the key cannot sign.
    #[must_use]
    #[track_caller]
    pub fn bearer(&self) -> HeaderValue {
        let value = HeaderValue::try_from(format!("Bearer {}", self.sign()));
        let mut value = value.expect("base64url and dots");
        value.set_sensitive(true);
        value
    }
}

fn segments(header: &Map<String, Value>, claims: &Map<String, Value>) -> String {
    let segment = |members: &Map<String, Value>| {
        URL_SAFE_NO_PAD.encode(Value::Object(members.clone()).to_string())
    };
    format!("{}.{}", segment(header), segment(claims))
}
