//! Nobody else is trusted.

use std::sync::Arc;

use crate::clock::{Clock, Timestamp};
use crate::domain::claims::{Claims, Validated};
use crate::error::Error;
use crate::jose::VerifyingKey;
use crate::service::validate::{NotAccepted, TokenFault};

/// There is none.
#[derive(Clone, Debug)]
pub(crate) enum TrustedIssuer {}

/// There is none.
pub(crate) enum ForeignToken {}

#[derive(Debug)]
pub(crate) struct TrustedIssuers;

impl ForeignToken {
    pub(crate) fn key(&self) -> &VerifyingKey {
        match *self {}
    }

    pub(crate) fn key_generation(&self) -> u64 {
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

    pub(crate) fn recognise(
        &self,
        _: &str,
        _: &[u8],
        _: Timestamp,
    ) -> Result<Option<ForeignToken>, NotAccepted> {
        Ok(None)
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
