//! Private keys as text, to be sealed and kept.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

use crate::error::{Error, ErrorKind};
use crate::jose::{Algorithm, PrivateKey};

impl PrivateKey {
    /// The name of its algorithm, and its bytes in base64url.
    pub(crate) fn to_text(&self) -> Zeroizing<String> {
        let bytes: &[u8] = match self {
            Self::Ed25519(seed) => &seed[..],
            Self::P256(scalar) => &scalar[..],
            Self::Rsa(der) => der,
            Self::Hmac(secret) => secret,
        };
        let mut text = Zeroizing::new(String::with_capacity(8 + bytes.len() * 4 / 3 + 4));
        text.push_str(self.algorithm().as_str());
        text.push(':');
        URL_SAFE_NO_PAD.encode_string(bytes, &mut text);
        text
    }

    /// What [`to_text`](Self::to_text) gave.
    pub(crate) fn from_text(text: &str) -> Result<Self, Error> {
        let malformed = || Error::new(ErrorKind::InvalidKey, "the stored key is malformed");
        let (algorithm, bytes) = text.split_once(':').ok_or_else(malformed)?;
        let bytes = URL_SAFE_NO_PAD.decode(bytes).map(Zeroizing::new).map_err(|_| malformed())?;
        let bytes_32 = || bytes.as_slice().try_into().map(Zeroizing::new).map_err(|_| malformed());
        match algorithm.parse()? {
            Algorithm::EdDSA => bytes_32().map(Self::Ed25519),
            Algorithm::ES256 => bytes_32().map(Self::P256),
            Algorithm::RS256 => Self::from_pkcs1(&bytes),
            Algorithm::HS256 => Self::from_hmac_secret(&bytes),
            _ => Err(Error::new(ErrorKind::InvalidKey, "a key of that algorithm does not sign")),
        }
    }
}
