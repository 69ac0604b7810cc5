use std::fmt;
use std::sync::Arc;

use crate::token::claims::SubjectType;
use crate::token::identifier::OrganizationId;

/// The principal of a token, by which a host keys its own data.
///
/// A name alone identifies no principal: users, machine clients and customers may share one, two organizations may
/// have a customer of the same id, and another issuer may have a subject of the same name. Two principals are equal
/// if all four parts are.
///
/// [`Display`](fmt::Display) writes all four parts, such that only equal principals have the same text:
/// `issuer|organization|kind|id`, in which `%` and `|` within a part are `%25` and `%7C`. The text is suitable as a
/// database key.
///
/// ```
/// # #[cfg(all(feature = "testing", any(feature = "aws-lc-rs", feature = "rust-crypto")))] {
/// # let issuer = countersign::testing::TestIssuer::named("https://auth.example.com");
/// let token = issuer.token().customer("cus_1").organization("org_1").sign();
/// let validated = issuer.validator().validate(&token)?;
/// let caller = validated.principal();
/// assert_eq!(caller.id(), "cus_1");
/// assert_eq!(caller.to_string(), "https://auth.example.com|org_1|customer|cus_1");
/// # }
/// # Ok::<(), countersign::faults::TokenFault>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Principal {
    issuer: Arc<str>,
    organization: Option<OrganizationId>,
    subject_type: SubjectType,
    id: Arc<str>,
}

impl Principal {
    pub(crate) fn new(
        issuer: &str,
        organization: Option<OrganizationId>,
        subject_type: SubjectType,
        id: &str,
    ) -> Self {
        Self { issuer: issuer.into(), organization, subject_type, id: id.into() }
    }

    /// Returns the issuer: the `iss` of its tokens.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Returns its organization, or `None` if it is bound to none.
    #[must_use]
    pub fn organization(&self) -> Option<&OrganizationId> {
        self.organization.as_ref()
    }

    /// Returns the kind of principal.
    #[must_use]
    pub fn subject_type(&self) -> SubjectType {
        self.subject_type
    }

    /// Returns the user's name, the machine client's id or the customer's id: to show, and to look up data within
    /// this kind, organization and issuer. It is not a key by itself. A service may identify its users by opaque ids
    /// instead of names, so that no user gets the data of a removed user of the same name.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let organization = self.organization.as_ref().map_or("", OrganizationId::as_str);
        write_part(f, &self.issuer)?;
        for part in [organization, self.subject_type.as_str(), &self.id] {
            f.write_str("|")?;
            write_part(f, part)?;
        }
        Ok(())
    }
}

fn write_part(f: &mut fmt::Formatter<'_>, part: &str) -> fmt::Result {
    for plain in part.split_inclusive(['%', '|']) {
        match plain.strip_suffix(['%', '|']) {
            Some(rest) if plain.ends_with('%') => write!(f, "{rest}%25")?,
            Some(rest) => write!(f, "{rest}%7C")?,
            None => f.write_str(plain)?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn customer(organization: Option<&str>, id: &str) -> Principal {
        let organization = organization.map(|id| OrganizationId::new(id).unwrap());
        Principal::new("https://auth.example.com", organization, SubjectType::Customer, id)
    }

    #[test]
    fn two_principals_have_the_same_text_only_where_they_are_equal() {
        let all = [
            customer(None, "org|customer|a"),
            customer(Some("org"), "a"),
            customer(Some("org|customer"), "a"),
            customer(Some("org%7Ccustomer"), "a"),
            customer(Some("org"), "customer|a"),
            customer(Some("org"), "customer%7Ca"),
            customer(Some("org%"), "a"),
            customer(Some("org%25"), "a"),
            customer(None, "a"),
        ];
        for (index, one) in all.iter().enumerate() {
            for (other_index, other) in all.iter().enumerate() {
                assert_eq!(one.to_string() == other.to_string(), index == other_index);
                assert_eq!(one == other, index == other_index);
            }
        }
        assert_eq!(
            customer(Some("a|b"), "50%").to_string(),
            "https://auth.example.com|a%7Cb|customer|50%25"
        );
    }
}
