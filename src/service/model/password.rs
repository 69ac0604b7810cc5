//! Passwords chosen by people: hashed with argon2id (RFC 9106), which is slow on purpose.

use std::fmt;

use argon2::password_hash::phc::PasswordHash as Phc;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use argon2::{Algorithm, Argon2, Params, Version};
use serde::{Deserialize, Deserializer};

use crate::error::{Error, ErrorKind};
use crate::service::model::redacted::{FromSecretText, deserialize_secret, secret_text};

secret_text! {
    /// A password as received: not trimmed, truncated or normalized.
    ///
    /// Handlers deserialize it from a field of the request; an invalid password is an error that does not quote it:
    ///
    /// ```
    /// use countersign::Password;
    ///
    /// #[derive(serde::Deserialize)]
    /// struct Login {
    ///     name: String,
    ///     password: Password,
    /// }
    ///
    /// let login: Login = serde_json::from_str(r#"{"name": "jane", "password": "correct-horse"}"#)?;
    /// assert_eq!(login.password.expose(), "correct-horse");
    /// assert!(serde_json::from_str::<Login>(r#"{"name": "jane", "password": ""}"#).is_err());
    /// # Ok::<(), serde_json::Error>(())
    /// ```
    Password
}

impl Password {
    /// The maximum length of a password that is hashed, in bytes. Longer ones are rejected first, so that a client
    /// cannot determine how long hashing takes.
    pub const MAX_LEN: usize = 1024;

    /// Creates a password from the text, unchanged.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidRequest`] if it is empty or longer than [`Self::MAX_LEN`].
    pub fn new(password: impl Into<String>) -> Result<Self, Error> {
        let password = Self(password.into().into());
        match password.expose().len() {
            1..=Self::MAX_LEN => Ok(password),
            0 => Err(Error::new(ErrorKind::InvalidRequest, "the password is empty")),
            _ => {
                Err(Error::new(ErrorKind::InvalidRequest, "the password is longer than 1024 bytes"))
            }
        }
    }
}

impl FromSecretText for Password {
    const RULE: &'static str = "a password must be a text of 1 to 1024 bytes";

    fn from_secret_text(text: String) -> Result<Self, Error> {
        Self::new(text)
    }
}

impl<'de> Deserialize<'de> for Password {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        deserialize_secret(from)
    }
}

/// The cost of an argon2id hash.
///
/// The default and minimum is OWASP's first recommendation: 19 MiB of memory, two passes, one lane. Raise it as far
/// as the machine allows for a login; a stored hash is updated at its user's next login.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PasswordCost {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
}

impl PasswordCost {
    const MAX_MEMORY_KIB: u32 = 4 * 1024 * 1024;

    /// Creates a cost from the memory in KiB, the number of passes and the number of lanes (RFC 9106 §3.1: `m`, `t`,
    /// `p`).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Configuration`] below 19 MiB, 2 passes or 1 lane, or above 4 GiB, 64 passes or
    /// 64 lanes.
    pub fn new(memory_kib: u32, passes: u32, lanes: u32) -> Result<Self, Error> {
        let least = Self::default();
        let fits = (least.memory_kib..=Self::MAX_MEMORY_KIB).contains(&memory_kib)
            && (least.passes..=64).contains(&passes)
            && (least.lanes..=64).contains(&lanes);
        if fits {
            Ok(Self { memory_kib, passes, lanes })
        } else {
            Err(Error::configuration(
                "argon2id needs 19 MiB to 4 GiB of memory, 2 to 64 passes and 1 to 64 lanes",
            ))
        }
    }

    fn argon2(self) -> Result<Argon2<'static>, Error> {
        let params = Params::new(self.memory_kib, self.passes, self.lanes, None)
            .map_err(|_| Error::new(ErrorKind::Internal, "argon2id rejects its parameters"))?;
        Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
    }
}

impl Default for PasswordCost {
    fn default() -> Self {
        Self { memory_kib: 19 * 1024, passes: 2, lanes: 1 }
    }
}

/// An argon2id hash in PHC string form, with its own salt and parameters.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(String);

impl PasswordHash {
    /// Hashes a password with a fresh salt. This takes tens of milliseconds of one core and the
    /// memory of `cost`: never call it on an async executor's thread.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Internal`] if there are no random bytes or not enough memory.
    pub fn create(password: &Password, cost: PasswordCost) -> Result<Self, Error> {
        let hash: Phc = cost
            .argon2()?
            .hash_password(password.expose().as_bytes())
            .map_err(|_| Error::new(ErrorKind::Internal, "a password cannot be hashed"))?;
        Ok(Self(hash.to_string()))
    }

    /// Creates a hash from the PHC string of another system: `$argon2id$v=19$m=…,t=…,p=…$…$…`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidRequest`] if it is not an argon2id hash.
    pub fn from_phc(text: impl Into<String>) -> Result<Self, Error> {
        let text = text.into();
        let usable = Phc::new(&text).is_ok_and(|hash| {
            hash.algorithm.as_str() == "argon2id" && Params::try_from(&hash).is_ok()
        });
        if usable {
            Ok(Self(text))
        } else {
            Err(Error::new(ErrorKind::InvalidRequest, "not a PHC string of argon2id"))
        }
    }

    /// Returns the PHC string, for storage.
    #[must_use]
    pub fn as_phc(&self) -> &str {
        &self.0
    }

    /// Returns whether `password` matches the hash. It costs as much as [`create`](Self::create).
    #[must_use]
    pub fn verify(&self, password: &Password) -> bool {
        Phc::new(&self.0).is_ok_and(|hash| {
            Argon2::default().verify_password(password.expose().as_bytes(), &hash).is_ok()
        })
    }

    /// Returns whether the hash was created at less than `cost`, so that the next login should replace it.
    #[must_use]
    pub fn is_weaker_than(&self, cost: PasswordCost) -> bool {
        let params = Phc::new(&self.0).ok().and_then(|hash| Params::try_from(&hash).ok());
        params.is_none_or(|params| {
            params.m_cost() < cost.memory_kib
                || params.t_cost() < cost.passes
                || params.p_cost() < cost.lanes
        })
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash([redacted])")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_password_counts_as_it_was_received() {
        let password = |text: &str| Password::new(text).unwrap();
        let hash =
            PasswordHash::create(&password("pass wörd \u{0}x"), PasswordCost::default()).unwrap();
        assert!(hash.as_phc().starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
        assert!(hash.verify(&password("pass wörd \u{0}x")));
        for other in
            ["pass wörd", "pass wörd \u{0}x ", "Pass wörd \u{0}x", "pass wo\u{308}rd \u{0}x"]
        {
            assert!(!hash.verify(&password(other)), "{other:?}");
        }
    }

    #[test]
    fn a_hash_of_a_lower_cost_is_weaker() {
        let hash =
            PasswordHash::create(&Password::new("x").unwrap(), PasswordCost::default()).unwrap();
        assert!(!hash.is_weaker_than(PasswordCost::default()));
        assert!(hash.is_weaker_than(PasswordCost::new(19 * 1024, 3, 1).unwrap()));
        assert!(PasswordHash::from_phc(hash.as_phc()).is_ok());
        assert!(PasswordHash::from_phc("$2b$10$abc").is_err());
        assert!(PasswordCost::new(1024, 2, 1).is_err());
    }

    #[test]
    fn a_password_of_over_1024_bytes_is_rejected() {
        assert!(Password::new("x".repeat(1024)).is_ok());
        assert!(Password::new("x".repeat(1025)).is_err());
        assert!(Password::new("").is_err());
    }
}
