//! Sealing at rest: values that must be read again are encrypted, and values that need only be compared are digested
//! with a key.
//!
//! A [`SealingKey`] is 256 bits of the host. Six keys are derived from it, one per purpose: XChaCha20-Poly1305 for
//! sealed texts, and HMAC-SHA-256 for the digests of secrets, the digests of one-time passwords, the names of
//! subjects in the audit log, the public ids of credentials, and repeatable requests. Each sealed text and digest
//! carries the id of its key, so that keys can be rotated: the first of the [`SealingKeys`] seals, all of them open.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use hmac::{Hmac, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::error::{Error, ErrorKind};

const KEY_LEN: usize = 32;
const NONCE_LEN: usize = 24;

/// Returns random bytes from the operating system.
///
/// # Errors
///
/// [`ErrorKind::Internal`] if the operating system provides none.
pub(crate) fn random_bytes<const N: usize>() -> Result<Zeroizing<[u8; N]>, Error> {
    let mut bytes = Zeroizing::new([0; N]);
    getrandom::fill(bytes.as_mut_slice()).map_err(|error| {
        Error::new(ErrorKind::Internal, "the operating system provided no random bytes")
            .with_source(std::io::Error::other(error.to_string()))
    })?;
    Ok(bytes)
}

/// A key of the host that seals secrets before they are stored: 32 random bytes.
#[derive(Clone)]
pub struct SealingKey {
    id: KeyId,
    sealing: Zeroizing<[u8; KEY_LEN]>,
    secret_digests: Zeroizing<[u8; KEY_LEN]>,
    code_digests: Zeroizing<[u8; KEY_LEN]>,
    audit_digests: Zeroizing<[u8; KEY_LEN]>,
    credential_ids: Zeroizing<[u8; KEY_LEN]>,
    repeated_requests: Zeroizing<[u8; KEY_LEN]>,
}

/// Derived from the key, and reveals nothing about it.
pub(crate) type KeyId = [u8; 4];

impl SealingKey {
    /// Creates a key from 32 bytes.
    #[must_use]
    pub fn from_bytes(master: [u8; KEY_LEN]) -> Self {
        let master = Zeroizing::new(master);
        let derive = |purpose: &str| hmac(&master[..], &[b"countersign ", purpose.as_bytes()]);
        let named = derive("key id");
        Self {
            id: [named[0], named[1], named[2], named[3]],
            sealing: derive("sealing"),
            secret_digests: derive("secret digests"),
            code_digests: derive("one-time password digests"),
            audit_digests: derive("audit digests"),
            credential_ids: derive("credential ids"),
            repeated_requests: derive("repeated requests"),
        }
    }

    /// Creates a key from base64, in the standard or the URL-safe alphabet, as printed by `openssl rand -base64 32`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidKey`] if the text is not base64 of exactly 32 bytes.
    pub fn from_base64(text: &str) -> Result<Self, Error> {
        let text = text.trim();
        let bytes = STANDARD
            .decode(text)
            .or_else(|_| URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')))
            .map(Zeroizing::new)
            .map_err(|_| Error::new(ErrorKind::InvalidKey, "the sealing key is not base64"))?;
        let bytes: [u8; KEY_LEN] = bytes.as_slice().try_into().map_err(|_| {
            Error::new(ErrorKind::InvalidKey, "the sealing key must be 32 bytes, written in base64")
        })?;
        Ok(Self::from_bytes(bytes))
    }

    /// Reads a key in base64 from an environment variable.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Configuration`] if the variable is not set, [`ErrorKind::InvalidKey`] if it does not contain
    /// base64 of 32 bytes.
    pub fn from_env(variable: &str) -> Result<Self, Error> {
        let text = std::env::var(variable)
            .map(Zeroizing::new)
            .map_err(|_| Error::configuration(format!("{variable} is not set, or not as text")))?;
        Self::from_base64(&text)
    }

    /// Generates a random key, for a process whose stores are in memory.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Internal`] if the operating system provides no random bytes.
    pub fn generate() -> Result<Self, Error> {
        Ok(Self::from_bytes(*random_bytes()?))
    }
}

impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealingKey([redacted])")
    }
}

/// A sealed text: key id, nonce, ciphertext and tag. Safe to store and to print.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sealed(Vec<u8>);

impl Sealed {
    /// Returns its bytes, for storage.
    #[must_use]
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Returns the name of the key that sealed it; the name reveals nothing about the key.
    #[must_use]
    pub(crate) fn key_name(&self) -> String {
        name_of(self.0.get(..4).unwrap_or_default())
    }

    /// Reads the bytes of [`as_bytes`](Self::as_bytes); whether they open is checked when they are opened.
    #[must_use]
    pub(crate) fn from_bytes(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

/// A keyed digest and the id of its key. It is compared in constant time.
#[derive(Clone)]
pub(crate) struct KeyedDigest {
    key_id: KeyId,
    digest: [u8; 32],
}

impl KeyedDigest {
    /// Returns its bytes, for storage.
    #[must_use]
    pub(crate) fn to_bytes(&self) -> [u8; 36] {
        let mut bytes = [0; 36];
        bytes[..4].copy_from_slice(&self.key_id);
        bytes[4..].copy_from_slice(&self.digest);
        bytes
    }

    /// Reads the bytes of [`to_bytes`](Self::to_bytes).
    #[must_use]
    pub(crate) fn from_bytes(bytes: [u8; 36]) -> Self {
        let [a, b, c, d, digest @ ..] = bytes;
        Self { key_id: [a, b, c, d], digest }
    }
}

impl fmt::Debug for KeyedDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyedDigest([redacted])")
    }
}

/// The sealing keys of a service: the first seals and digests, all of them open and verify.
#[derive(Clone, Debug)]
pub(crate) struct SealingKeys {
    first: SealingKey,
    others: Vec<SealingKey>,
}

impl SealingKeys {
    pub(crate) fn new(first: SealingKey, others: Vec<SealingKey>) -> Self {
        Self { first, others }
    }

    /// Returns the key that digests subjects in the audit log.
    pub(crate) fn audit_key(&self) -> Zeroizing<[u8; KEY_LEN]> {
        self.first.audit_digests.clone()
    }

    /// Returns a digest under the first key, from which a credential's public id is made: it cannot be computed from
    /// a name without the key, and is the same on all nodes with the key.
    pub(crate) fn digest_credential(&self, credential: &str) -> Zeroizing<[u8; 32]> {
        hmac(&self.first.credential_ids[..], &[credential.as_bytes()])
    }

    /// Encrypts `text`, bound to `context`: it opens only in the same context.
    pub(crate) fn seal(&self, text: &str, context: &[&str]) -> Result<Sealed, Error> {
        seal_with(&self.first, text, context)
    }

    /// Encrypts `text` with each key, the current one first.
    pub(crate) fn seal_with_each(
        &self,
        text: &str,
        context: &[&str],
    ) -> Result<Vec<Sealed>, Error> {
        self.all().map(|key| seal_with(key, text, context)).collect()
    }

    /// Decrypts a text that was sealed for `context`.
    pub(crate) fn open(
        &self,
        sealed: &Sealed,
        context: &[&str],
    ) -> Result<Zeroizing<String>, Error> {
        let corrupt = || Error::new(ErrorKind::Internal, "a stored secret cannot be decrypted");
        let (key_id, rest) = sealed.0.split_at_checked(4).ok_or_else(corrupt)?;
        let (nonce, text) = rest.split_at_checked(NONCE_LEN).ok_or_else(corrupt)?;
        let key = self.find(key_id).ok_or_else(|| unknown_key(key_id))?;
        let nonce: [u8; NONCE_LEN] = nonce.try_into().map_err(|_| corrupt())?;
        let opened = cipher(key)
            .decrypt(&XNonce::from(nonce), Payload { msg: text, aad: &associated_data(context) })
            .map_err(|_| corrupt())?;
        String::from_utf8(opened).map(Zeroizing::new).map_err(|_| corrupt())
    }

    /// Returns whether it was sealed with the current key.
    pub(crate) fn is_current(&self, sealed: &Sealed) -> bool {
        sealed.0.starts_with(&self.first.id)
    }

    /// Returns whether it was sealed with one of the keys.
    pub(crate) fn knows(&self, sealed: &Sealed) -> bool {
        sealed.0.get(..4).is_some_and(|id| self.find(id).is_some())
    }

    /// Finds a digest of an unknown key, which cannot be compared.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Internal`] if it is of a key that was not given.
    pub(crate) fn check_known(&self, digest: &KeyedDigest) -> Result<(), Error> {
        self.find(&digest.key_id).map(drop).ok_or_else(|| unknown_key(&digest.key_id))
    }

    pub(crate) fn digest_secret(&self, secret: &str) -> KeyedDigest {
        digest(&self.first, &self.first.secret_digests, &[secret.as_bytes()])
    }

    pub(crate) fn verify_secret(&self, secret: &str, stored: &KeyedDigest) -> bool {
        let key = self.find(&stored.key_id).unwrap_or(&self.first);
        equal(&digest(key, &key.secret_digests, &[secret.as_bytes()]), stored)
    }

    /// Bound to the session, so that a code is worthless in another session.
    pub(crate) fn digest_code(&self, session: &str, code: &str) -> KeyedDigest {
        let parts = [session.as_bytes(), &[0], code.as_bytes()];
        digest(&self.first, &self.first.code_digests, &parts)
    }

    pub(crate) fn verify_code(&self, session: &str, code: &str, stored: &KeyedDigest) -> bool {
        let key = self.find(&stored.key_id).unwrap_or(&self.first);
        let parts = [session.as_bytes(), &[0], code.as_bytes()];
        equal(&digest(key, &key.code_digests, &parts), stored)
    }

    /// Digests a request, or its idempotency key.
    pub(crate) fn digest_request(&self, parts: &[&str]) -> KeyedDigest {
        digest_of_request(&self.first, parts)
    }

    pub(crate) fn verify_request(&self, parts: &[&str], stored: &KeyedDigest) -> bool {
        let key = self.find(&stored.key_id).unwrap_or(&self.first);
        equal(&digest_of_request(key, parts), stored)
    }

    /// Derives 256 bits from a request with each key, the current one first: the same on every node, and not
    /// computable without the key.
    pub(crate) fn derive_from_request(
        &self,
        parts: &[&str],
    ) -> impl Iterator<Item = Zeroizing<[u8; 32]>> {
        let data = associated_data(parts);
        self.all().map(move |key| hmac(&key.repeated_requests[..], &[b"derived\0", &data]))
    }

    fn find(&self, id: &[u8]) -> Option<&SealingKey> {
        self.all().find(|key| key.id == id)
    }

    fn all(&self) -> impl Iterator<Item = &SealingKey> {
        std::iter::once(&self.first).chain(&self.others)
    }
}

fn seal_with(key: &SealingKey, text: &str, context: &[&str]) -> Result<Sealed, Error> {
    let nonce = random_bytes::<NONCE_LEN>()?;
    let sealed = cipher(key)
        .encrypt(
            &XNonce::from(*nonce),
            Payload { msg: text.as_bytes(), aad: &associated_data(context) },
        )
        .map_err(|_| Error::new(ErrorKind::Internal, "a secret cannot be sealed"))?;
    Ok(Sealed([&key.id[..], &nonce[..], &sealed].concat()))
}

fn unknown_key(id: &[u8]) -> Error {
    let name = name_of(id);
    Error::new(
        ErrorKind::Internal,
        format!(
            "a stored secret was sealed with the key {name}, which is not set: add it with \
             `sealing_key`, after the current one"
        ),
    )
}

fn name_of(id: &[u8]) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn cipher(key: &SealingKey) -> XChaCha20Poly1305 {
    XChaCha20Poly1305::new((&*key.sealing).into())
}

/// Each part is prefixed with its length, so that different contexts never encode alike.
fn associated_data(context: &[&str]) -> Vec<u8> {
    let mut data = Vec::new();
    for part in context {
        data.extend_from_slice(&(part.len() as u64).to_be_bytes());
        data.extend_from_slice(part.as_bytes());
    }
    data
}

fn digest_of_request(key: &SealingKey, parts: &[&str]) -> KeyedDigest {
    digest(key, &key.repeated_requests, &[b"digest\0", &associated_data(parts)])
}

fn digest(key: &SealingKey, purpose: &[u8; KEY_LEN], parts: &[&[u8]]) -> KeyedDigest {
    KeyedDigest { key_id: key.id, digest: *hmac(purpose, parts) }
}

fn equal(a: &KeyedDigest, b: &KeyedDigest) -> bool {
    (a.key_id.ct_eq(&b.key_id) & a.digest.ct_eq(&b.digest)).into()
}

fn hmac(key: &[u8], parts: &[&[u8]]) -> Zeroizing<[u8; 32]> {
    // HMAC accepts a key of any length: the error cannot occur, and the fallback is still a MAC.
    let mut mac = <Hmac<Sha256> as hmac::KeyInit>::new_from_slice(key)
        .unwrap_or_else(|_| <Hmac<Sha256> as hmac::KeyInit>::new(&Default::default()));
    for part in parts {
        mac.update(part);
    }
    Zeroizing::new(mac.finalize().into_bytes().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(first: u8, others: &[u8]) -> SealingKeys {
        let key = |byte: u8| SealingKey::from_bytes([byte; 32]);
        SealingKeys::new(key(first), others.iter().copied().map(key).collect())
    }

    #[test]
    fn a_sealed_text_opens_only_where_it_was_sealed_for() {
        let keys = keys(1, &[]);
        let sealed = keys.seal("secret", &["aa-1", "s1"]).unwrap();
        assert_eq!(*keys.open(&sealed, &["aa-1", "s1"]).unwrap(), "secret");
        assert!(keys.open(&sealed, &["aa-2", "s1"]).is_err());
        assert!(keys.open(&sealed, &["aa-1s", "1"]).is_err());
        let mut bent = sealed.as_bytes().to_vec();
        *bent.last_mut().unwrap() ^= 1;
        assert!(keys.open(&Sealed::from_bytes(bent), &["aa-1", "s1"]).is_err());
        assert!(keys.open(&Sealed::from_bytes(vec![]), &["aa-1", "s1"]).is_err());
    }

    #[test]
    fn a_rotated_key_opens_what_the_old_one_sealed() {
        let (old, new) = (keys(1, &[]), keys(2, &[1]));
        let sealed = old.seal("secret", &["aa-1"]).unwrap();
        let digest = old.digest_secret("secret");
        assert_eq!(*new.open(&sealed, &["aa-1"]).unwrap(), "secret");
        assert!(new.verify_secret("secret", &digest));
        assert!(!keys(2, &[]).verify_secret("secret", &digest));
        assert!(keys(2, &[]).open(&sealed, &["aa-1"]).is_err());
    }

    #[test]
    fn the_code_of_one_session_is_nothing_to_another() {
        let keys = keys(1, &[]);
        let digest = keys.digest_code("session-1", "123456");
        assert!(keys.verify_code("session-1", "123456", &digest));
        assert!(!keys.verify_code("session-2", "123456", &digest));
        assert!(!keys.verify_code("session-1", "123457", &digest));
    }
}
