//! Reading a token that is to be revoked, although it may not be accepted.

use crate::error::{Error, ErrorKind};
use crate::jose::{CompactJws, JoseHeader};
use crate::json;
use crate::service::stores::unavailable;
use crate::service::token_service::TokenService;
use crate::token::claims::{Claims, Validated};
use crate::validate::TokenFault;

impl TokenService {
    /// Returns a token that this service has signed, accepted or not: enough to revoke it, and for nothing else.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`] for a text that is no such token, and [`ErrorKind::Unavailable`] if it may be signed with
    /// a managed key that this node has not read yet.
    pub(in crate::service) fn read_signed(&self, text: &str) -> Result<Validated, Error> {
        let fault = match self.read_by_signature(text) {
            Ok(Some(signed)) => return Ok(signed),
            Ok(None) => return Err(unavailable("the token cannot be checked")),
            Err(fault) => fault,
        };
        Err(Error::new(ErrorKind::NotFound, "no token of this service").with_source(fault))
    }

    /// Returns nothing, if its key may be one that this node has not read yet.
    fn read_by_signature(&self, text: &str) -> Result<Option<Validated>, TokenFault> {
        if text.len() > self.inner.policy.tokens.max_len {
            return Err(TokenFault::TooLong);
        }
        let jws = CompactJws::split(text)?;
        let JoseHeader { kid, algorithm } = JoseHeader::parse(jws.header)?;
        let kid = kid.ok_or(TokenFault::UnknownKey)?;
        let Some(found) = self.inner.keys.find(&kid, algorithm, self.now()) else {
            let may_lack = self.inner.key_manager.as_ref().is_some_and(|keys| keys.may_lack(&kid));
            return if may_lack { Ok(None) } else { Err(TokenFault::UnknownKey) };
        };
        if !found.key.verify(jws.signing_input.as_bytes(), &jws.signature()?) {
            return Err(TokenFault::Signature);
        }
        let claims: Claims = json::from_slice(&jws.payload()?).map_err(|_| TokenFault::Claims)?;
        if claims.iss != self.inner.issuer {
            return Err(TokenFault::Issuer);
        }
        Ok(Some(Validated::new(claims, found.key.identity(), None)))
    }
}
