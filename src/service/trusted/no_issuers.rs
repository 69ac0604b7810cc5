//! Nobody else is trusted.

use std::sync::Arc;

use crate::clock::{Clock, Timestamp};
use crate::domain::claims::{Claims, Validated};
use crate::error::Error;
use crate::jose::VerifyingKey;
use crate::jose::remote::KeyFlight;
use crate::service::validate::TokenFault;

/// There is none.
#[derive(Clone, Debug)]
pub(crate) enum TrustedIssuer {}

/// There is none.
pub(crate) enum ForeignToken {}

#[allow(dead_code, reason = "there is none to be recognised")]
pub(crate) enum Recognised {
    Token(ForeignToken),
    Waits(KeyFlight),
    Fault(TokenFault),
}

#[derive(Debug)]
pub(crate) struct TrustedIssuers;

impl ForeignToken {
    pub(crate) fn key(&self) -> &VerifyingKey {
        match *self {}
    }

    pub(crate) fn generation(&self) -> u64 {
        match *self {}
    }

    pub(crate) fn issuer(&self) -> usize {
        match *self {}
    }
}

impl TrustedIssuers {
    pub(crate) fn new(_: Vec<TrustedIssuer>, _: &str, _: &Arc<dyn Clock>) -> Result<Self, Error> {
        Ok(Self)
    }

    pub(crate) fn is_empty(&self) -> bool {
        true
    }

    pub(crate) fn recognise(&self, _: &str, _: &[u8], _: Timestamp) -> Option<Recognised> {
        None
    }

    pub(crate) fn claims(&self, token: &ForeignToken, _: &str) -> Result<Claims, TokenFault> {
        match *token {}
    }

    pub(crate) fn keys_are_unchanged(&self, _: usize, _: u64, _: Timestamp) -> bool {
        false
    }

    pub(crate) fn recheck(&self, _: &Validated, _: Timestamp) -> Result<(), TokenFault> {
        Err(TokenFault::Issuer)
    }
}
