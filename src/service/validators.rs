//! The validators of a service: one for its own tokens, and one that also accepts those of trusted issuers.

use std::sync::Arc;

use zeroize::Zeroizing;

use crate::audit::Subjects;
use crate::clock::Clock;
use crate::error::Error;
use crate::service::policy::Policy;
use crate::service::revocations::RevocationSet;
use crate::validate::revocations::Revocations;
use crate::validate::{Validator, ValidatorBuilder};

/// The settings that they are built from.
pub(super) struct Validators<'a> {
    /// Holds the issuer, the audiences, the keys and the trusted issuers.
    pub(super) settings: ValidatorBuilder,
    pub(super) policy: &'a Policy,
    pub(super) clock: &'a Arc<dyn Clock>,
    pub(super) revocations: &'a Arc<RevocationSet>,
}

impl Validators<'_> {
    /// Builds the validator of own tokens, and that of all tokens. Without trusted issuers they are the same.
    pub(super) fn build(
        self,
        audit_key: Zeroizing<[u8; 32]>,
    ) -> Result<(Validator, Validator), Error> {
        let policy = self.policy;
        let has_others = !self.settings.trusted_issuers.is_empty();
        // Two validators share the memory for cached tokens.
        let caches = if has_others { 2 } else { 1 };
        let mut builder = self
            .settings
            .leeway(policy.tokens.leeway)
            .max_token_len(policy.tokens.max_len)
            .max_token_lifetime(policy.longest_token_lifetime())
            .token_cache_bytes(policy.tokens.cache_bytes / caches)
            .trailing_wildcards(policy.tokens.trailing_wildcards)
            .organization_required(policy.principals.organization_required);
        builder.trusted_proxies = policy.http.trusted_proxies.clone();
        builder.clock = Arc::clone(self.clock);
        builder.revocations = Some(Arc::clone(self.revocations) as Arc<dyn Revocations>);
        builder.subjects = if policy.runtime.audit_shows_subjects {
            Subjects::shown()
        } else {
            Subjects::digested(audit_key)
        };
        let mut own = builder.clone();
        own.trusted_issuers.clear();
        let own = own.build()?;
        if has_others { Ok((own, builder.build()?)) } else { Ok((own.clone(), own)) }
    }
}
