//! Repeatable requests: a client that lost the response gets it again with the same request.
//!
//! A session stores its repeatable requests: the one that started it, and exchanges. Each is stored by the same
//! write that performs the operation, so a response is stored if and only if the operation was done. The one-time
//! password of a start is delivered after that; the response waits for it.

use std::fmt;
use std::time::Duration;

use serde_json::{Value, json};

use crate::clock::Timestamp;
use crate::error::{Error, InvalidField};
use crate::service::model::sealing::{KeyedDigest, Sealed, SealingKeys};
use crate::token::claims::Validated;

/// How long a request may be repeated.
pub(crate) const REPEATABLE_FOR: Duration = Duration::from_secs(60);
/// The maximum number of stored exchanges per session. Each has a JWT.
const MAX_EXCHANGES: usize = 8;
/// The header of the key, and the field that a fault is reported for.
pub(crate) const FIELD: &str = "Idempotency-Key";

/// An idempotency key, by which a client repeats a request whose response was lost. It authenticates nothing by
/// itself, but is still not logged.
#[derive(Clone)]
pub(crate) struct IdempotencyKey(String);

impl IdempotencyKey {
    /// A key as presented by a caller.
    pub(crate) fn presented(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    pub(crate) fn expose(&self) -> &str {
        &self.0
    }

    /// Returns the fault of the key, if it has one.
    pub(crate) fn fault(&self) -> Option<InvalidField> {
        let text = self.expose();
        let fits = (16..=128).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
        (!fits).then(|| InvalidField::new(FIELD, "must be 16 to 128 visible ASCII characters"))
    }
}

impl fmt::Debug for IdempotencyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IdempotencyKey([redacted])")
    }
}

/// The request that started a session.
#[derive(Clone, Debug)]
pub(crate) struct RememberedStart {
    pub(crate) request: KeyedDigest,
    pub(crate) until: Timestamp,
}

/// An exchange of a session, with its response.
#[derive(Clone, Debug)]
pub(crate) struct RememberedExchange {
    pub(crate) key: KeyedDigest,
    pub(crate) request: KeyedDigest,
    pub(crate) answer: Sealed,
    pub(crate) until: Timestamp,
}

/// The repeatable exchanges of a session.
#[derive(Clone, Debug, Default)]
pub(crate) struct RememberedExchanges(pub(crate) Vec<RememberedExchange>);

impl RememberedExchanges {
    /// Returns the exchange with a key; `parts` are the input that the key was digested with.
    pub(crate) fn find(
        &self,
        sealing: &SealingKeys,
        parts: &[&str],
        now: Timestamp,
    ) -> Option<&RememberedExchange> {
        let mut live = self.0.iter().filter(|exchange| exchange.until > now);
        live.find(|exchange| sealing.verify_request(parts, &exchange.key))
    }

    /// Stores another exchange; returns whether there was room for it.
    #[must_use]
    pub(crate) fn add(&mut self, exchange: RememberedExchange, now: Timestamp) -> bool {
        self.forget_until(now);
        let has_room = self.0.len() < MAX_EXCHANGES;
        if has_room {
            self.0.push(exchange);
        }
        has_room
    }

    pub(crate) fn forget_until(&mut self, now: Timestamp) {
        self.0.retain(|exchange| exchange.until > now);
    }

    /// Returns the latest time until which one of them may be repeated.
    pub(crate) fn until(&self) -> Option<Timestamp> {
        self.0.iter().map(|exchange| exchange.until).max()
    }
}

/// Returns the identity of a request's bearer with everything that its token allows. A later token of the same
/// bearer that allows less makes it a different request, which does not get the stored response.
pub(crate) fn describe_bearer(bearer: &Validated) -> Value {
    let principal = bearer.principal().to_string();
    json!([principal, bearer.audiences(), bearer.acl(), bearer.custom_claims()])
}

/// Returns the error for the same key with a different request.
pub(crate) fn other_request() -> Error {
    let message = "was sent with another request before: use another key";
    Error::from_invalid_fields(vec![InvalidField::new(FIELD, message)])
}
