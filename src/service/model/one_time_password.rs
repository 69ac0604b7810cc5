//! One-time passwords: short codes that are sent to a customer, who enters them once.
//!
//! Six digits can be guessed in half a million attempts, so their protection is the count: an attempt is counted
//! before the code is compared, and the last one ends the session.

use std::fmt::Write;

use zeroize::Zeroizing;

use crate::clock::Timestamp;
use crate::error::Error;
use crate::service::model::redacted::secret_text;
use crate::service::model::sealing::{KeyedDigest, SealingKeys, random_bytes};

secret_text! {
    /// A one-time password of digits.
    OneTimePassword
}

impl OneTimePassword {
    /// Generates `length` random digits, uniformly distributed.
    pub(crate) fn generate(length: usize) -> Result<Self, Error> {
        let mut digits = String::with_capacity(length);
        while digits.len() < length {
            // 250 is the largest multiple of ten in a byte; larger values would favour 0 to 5.
            let random = random_bytes::<16>()?;
            for byte in random.iter().filter(|byte| **byte < 250).take(length - digits.len()) {
                let _ = write!(digits, "{}", byte % 10);
            }
        }
        Ok(Self(digits.into()))
    }

    /// A one-time password as presented by a caller. Blanks around and within it are removed: an e-mail may show
    /// `123 456`, and the blanks are copied with it.
    pub(crate) fn presented(text: impl Into<String>) -> Self {
        let text = Zeroizing::new(text.into());
        let mut code = String::with_capacity(text.len());
        code.extend(text.chars().filter(|character| !character.is_whitespace()));
        Self(code.into())
    }

    /// Returns whether it consists of exactly `length` ASCII digits, like the generated ones.
    pub(crate) fn has_form(&self, length: usize) -> bool {
        let text = self.expose();
        text.len() == length && text.bytes().all(|byte| byte.is_ascii_digit())
    }
}

/// The one-time password state of a session.
#[derive(Clone, Debug)]
pub(crate) struct OneTimePasswordState {
    /// The live code; `None` once it was used or found to have expired.
    pub(crate) code: Option<StoredCode>,
    /// The number of wrong attempts left. It is decremented before the comparison, and restored if the code was
    /// right.
    pub(crate) tries_left: u32,
    /// The number of resends left.
    pub(crate) resends_left: u32,
    /// When a code was last sent.
    pub(crate) sent_at: Timestamp,
    /// Whether a right code was spent: since then, the session proves more than the password.
    pub(crate) is_proven: bool,
}

/// A stored code.
#[derive(Clone, Debug)]
pub(crate) struct StoredCode {
    pub(crate) digest: KeyedDigest,
    pub(crate) expires_at: Timestamp,
}

impl StoredCode {
    /// Returns whether it is the same code of the same session.
    pub(crate) fn is(&self, other: &Self) -> bool {
        self.digest.to_bytes() == other.digest.to_bytes()
    }

    pub(crate) fn matches(
        &self,
        keys: &SealingKeys,
        session: &str,
        presented: &OneTimePassword,
        now: Timestamp,
    ) -> bool {
        keys.verify_code(session, presented.expose(), &self.digest) && now < self.expires_at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_digits_of_the_length_asked_for_and_differ() {
        let codes: std::collections::HashSet<_> =
            (0..100).map(|_| OneTimePassword::generate(8).unwrap().expose().to_owned()).collect();
        assert!(codes.len() > 95);
        assert!(codes.iter().all(|code| OneTimePassword::presented(code).has_form(8)));
    }

    #[test]
    fn only_ascii_digits_of_the_right_number_are_a_code() {
        for bad in ["", "12345", "1234567", "12345a", " 12345", "１２３４５６", "-12345", "12-345"]
        {
            assert!(!OneTimePassword::presented(bad).has_form(6), "{bad:?}");
        }
        for good in ["012345", " 012 345\n", "01 23 45", "012\u{a0}345\t"] {
            let code = OneTimePassword::presented(good);
            assert!(code.has_form(6) && code.expose() == "012345", "{good:?}");
        }
    }
}
