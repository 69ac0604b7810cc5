//! Admission: the result of a validating layer, and which callers a layer or a handler admits.

use std::sync::Arc;

use http::Extensions;

use crate::guard::authenticate::audit_authorization_rejection;
use crate::guard::path::{PathFault, path_parameter};
use crate::guard::require::CheckedScope;
use crate::guard::validate::Anonymous;
use crate::rejection::{LogReason, Rejection};
use crate::token::acl::ORGANIZATION;
use crate::token::claims::{SubjectType, Validated};
use crate::token::identifier::OrganizationId;

/// Returns the result of the validating layer; `None` if it let the request pass without credentials.
///
/// # Errors
///
/// A 500 if no layer has validated the request.
pub(crate) fn found<'a>(
    extensions: &'a Extensions,
    needed_by: &'static str,
) -> Result<Option<&'a Arc<Validated>>, Rejection> {
    match (extensions.get::<Arc<Validated>>(), extensions.get::<Anonymous>()) {
        (Some(validated), _) => Ok(Some(validated)),
        (None, Some(_)) => Ok(None),
        (None, None) => Err(Rejection::missing_layer("ValidateLayer", needed_by)),
    }
}

/// Returns the validated token, which is required.
pub(crate) fn required(
    extensions: &Extensions,
    needed_by: &'static str,
) -> Result<Arc<Validated>, Rejection> {
    found(extensions, needed_by)?.map(Arc::clone).ok_or_else(|| {
        let anonymous = extensions.get::<Anonymous>();
        let realm = anonymous.map_or("", |anonymous| &anonymous.realm);
        Rejection::new(LogReason::MissingCredentials, realm)
    })
}

/// The kinds of principals that are admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kinds {
    user: bool,
    machine: bool,
    customer: bool,
}

impl Kinds {
    pub(crate) const ALL: Self = Self { user: true, machine: true, customer: true };

    pub(crate) fn of(kinds: impl IntoIterator<Item = SubjectType>) -> Self {
        let mut all = Self { user: false, machine: false, customer: false };
        for kind in kinds {
            *match kind {
                SubjectType::User => &mut all.user,
                SubjectType::Machine => &mut all.machine,
                SubjectType::Customer => &mut all.customer,
            } = true;
        }
        all
    }

    fn admit(self, kind: SubjectType) -> bool {
        match kind {
            SubjectType::User => self.user,
            SubjectType::Machine => self.machine,
            SubjectType::Customer => self.customer,
        }
    }

    /// Checks the kind of a token's principal.
    pub(crate) fn check(self, validated: &Validated) -> Result<(), Rejection> {
        if self.admit(validated.principal().subject_type()) {
            Ok(())
        } else {
            Err(forbidden(validated, LogReason::KindNotAdmitted))
        }
    }
}

/// The callers that a validating layer admits, of those with a valid token.
#[derive(Clone, Debug)]
pub(crate) struct Admission {
    pub(crate) kinds: Kinds,
    /// The path parameter that names the organization of all routes behind the layer.
    pub(crate) organization: Option<Arc<str>>,
}

impl Admission {
    pub(crate) const ALL: Self = Self { kinds: Kinds::ALL, organization: None };

    /// Checks a caller, and passes the checked organization on to handlers. An anonymous caller has no organization.
    pub(crate) fn check(
        &self,
        caller: Option<&Validated>,
        extensions: &mut Extensions,
    ) -> Result<(), Rejection> {
        if let Some(caller) = caller {
            self.kinds.check(caller)?;
        }
        let Some(parameter) = &self.organization else { return Ok(()) };
        let value = match path_parameter(extensions, parameter) {
            Ok(value) => Some(value),
            Err(PathFault { problem: Some(problem), .. }) => {
                return Err(Rejection::misplaced_parameter(parameter, problem));
            }
            // A fallback belongs to no organization; neither does a value that is not text.
            Err(_) => None,
        };
        let is_foreign = |own: &OrganizationId| value.as_deref() != Some(own.as_str());
        if let Some(caller) = caller
            && caller.organization_id().is_some_and(is_foreign)
        {
            return Err(forbidden(caller, LogReason::OutsideOrganization));
        }
        let checked = value.map(|value| (ORGANIZATION.into(), value.into()));
        // Fails only if a layer in front has checked another value; for the first layer, it cannot.
        let left = CheckedScope::leave(extensions, checked.into_iter().collect());
        left.map_err(|_| match caller {
            Some(caller) => forbidden(caller, LogReason::OutsideOrganization),
            None => Rejection::new(LogReason::OutsideOrganization, ""),
        })
    }
}

/// Rejects a valid token, and writes the audit event.
pub(crate) fn forbidden(validated: &Validated, reason: LogReason) -> Rejection {
    Rejection::new(audit_authorization_rejection(validated, reason), validated.issuer())
}
