//! Keys in PEM (RFC 7468), as they come out of files, environment variables and YAML.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::error::{Error, ErrorKind};

pub(super) const PKCS8: &str = "PRIVATE KEY";
pub(super) const PKCS1_PRIVATE: &str = "RSA PRIVATE KEY";
pub(super) const SEC1: &str = "EC PRIVATE KEY";
pub(super) const SPKI: &str = "PUBLIC KEY";
pub(super) const PKCS1_PUBLIC: &str = "RSA PUBLIC KEY";

const BEGIN: &str = "-----BEGIN ";
const END: &str = "-----END ";
const DASHES: &str = "-----";
const BYTE_ORDER_MARK: char = '\u{feff}';

/// What a caller has use for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    PrivateKey,
    PublicKey,
}

/// The one block of a text that has a key of the wanted kind.
pub(super) struct Block {
    pub(super) label: &'static str,
    pub(super) der: Zeroizing<Vec<u8>>,
}

fn invalid(problem: impl Into<Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::InvalidKey, problem)
}

/// Reads the key of a text.
///
/// # Errors
///
/// [`ErrorKind::InvalidKey`], which says what the text has in its place.
pub(super) fn read(pem: &[u8], wanted: Wanted) -> Result<Block, Error> {
    let text = std::str::from_utf8(pem).map_err(|error| {
        invalid("the key is not in PEM form: it is not text").with_source(error)
    })?;
    if let Some(block) = read_text(text, wanted)? {
        return Ok(block);
    }
    // Some platforms keep multi-line secrets in base64.
    let inner = STANDARD.decode(&*without_blanks(text)).ok().map(Zeroizing::new);
    let inner = inner.as_ref().and_then(|inner| std::str::from_utf8(inner).ok());
    let block = inner.map(|inner| read_text(inner, wanted)).transpose()?.flatten();
    block.ok_or_else(|| invalid("the key is not in PEM form: it has no line `-----BEGIN …-----`"))
}

/// Returns `None` if the text has no block at all.
fn read_text(text: &str, wanted: Wanted) -> Result<Option<Block>, Error> {
    let text = text.trim_start_matches(BYTE_ORDER_MARK);
    // As an environment variable or JSON may have it.
    let text = Zeroizing::new(text.replace("\\r", "").replace("\\n", "\n"));
    let mut found = None;
    let mut other = None;
    let mut rest = text.as_str();
    while let Some((label, body, behind)) = next_block(rest)? {
        rest = behind;
        match label_of(label, body, wanted) {
            Ok(label) if found.is_none() => found = Some(Block { label, der: decode(body)? }),
            Ok(_) => return Err(invalid("the text has more than one key")),
            Err(problem) => other = other.or(problem),
        }
    }
    match (found, other) {
        (Some(block), _) => Ok(Some(block)),
        (None, Some(problem)) => Err(invalid(problem)),
        (None, None) if text.contains(BEGIN) => Err(invalid("the text has no key")),
        (None, None) => Ok(None),
    }
}

/// Returns the label and the body of the first block, and what is behind it.
fn next_block(text: &str) -> Result<Option<(&str, &str, &str)>, Error> {
    let Some((_, text)) = text.split_once(BEGIN) else { return Ok(None) };
    let cut_off = || invalid("the PEM block is cut off: it has no line `-----END …-----`");
    let (label, text) = text.split_once(DASHES).ok_or_else(cut_off)?;
    let (body, text) = text.split_once(END).ok_or_else(cut_off)?;
    let (end, text) = text.split_once(DASHES).ok_or_else(cut_off)?;
    if label != end {
        return Err(invalid("the PEM block ends with another label than it begins with"));
    }
    Ok(Some((label, body, text)))
}

/// Returns the label of a key that is wanted, or why the block has none. What may stand beside a key has no reason.
fn label_of(label: &str, body: &str, wanted: Wanted) -> Result<&'static str, Option<&'static str>> {
    let is_private = wanted == Wanted::PrivateKey;
    if label == "ENCRYPTED PRIVATE KEY" {
        return Err(Some("the private key is encrypted (PKCS#8): decrypt it with `openssl pkey`"));
    }
    if body.contains("Proc-Type:") {
        return Err(Some(
            "the private key is encrypted (`Proc-Type: 4,ENCRYPTED`): decrypt it with `openssl pkey`",
        ));
    }
    let known = if is_private { &[PKCS8, PKCS1_PRIVATE, SEC1][..] } else { &[SPKI, PKCS1_PUBLIC] };
    if let Some(known) = known.iter().find(|known| **known == label) {
        return Ok(known);
    }
    Err(match label {
        "EC PARAMETERS" => None,
        "CERTIFICATE" | "X509 CERTIFICATE" | "TRUSTED CERTIFICATE" if is_private => {
            Some("the text has a certificate and no private key")
        }
        "CERTIFICATE" | "X509 CERTIFICATE" | "TRUSTED CERTIFICATE" => {
            Some("the text has a certificate: extract its key with `openssl x509 -pubkey -noout`")
        }
        "OPENSSH PRIVATE KEY" => Some(
            "the private key is in the form of OpenSSH: convert it with `ssh-keygen -p -m PKCS8 -f FILE`",
        ),
        "DSA PRIVATE KEY" => Some("DSA keys are not supported"),
        SPKI | PKCS1_PUBLIC => Some("the text has a public key and no private key"),
        PKCS8 | PKCS1_PRIVATE | SEC1 => Some(
            "the text has a private key: a public one is wanted, as `openssl pkey -pubout` prints it",
        ),
        _ => Some("the PEM block has a label that is not of a key"),
    })
}

fn decode(body: &str) -> Result<Zeroizing<Vec<u8>>, Error> {
    let decoded = STANDARD.decode(&*without_blanks(body)).map(Zeroizing::new);
    decoded.map_err(|error| invalid("the PEM block is not in base64").with_source(error))
}

fn without_blanks(text: &str) -> Zeroizing<Vec<u8>> {
    let bytes = text.bytes().filter(|byte| !byte.is_ascii_whitespace());
    let mut kept = Zeroizing::new(Vec::with_capacity(text.len()));
    kept.extend(bytes);
    kept
}
