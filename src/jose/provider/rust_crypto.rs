use ed25519_dalek as dalek;
use hmac::{KeyInit as _, Mac as _};
use p256::ecdsa;
use rsa::pkcs1::{DecodeRsaPrivateKey as _, EncodeRsaPrivateKey as _};
use rsa::pkcs1v15;
use rsa::pss;
use rsa::signature::{SignatureEncoding as _, Signer as _, Verifier as _};
use rsa::traits::PublicKeyParts as _;
use sha2::{Sha256, Sha384, Sha512};
use zeroize::Zeroizing;

use crate::error::{Error, ErrorKind};
use crate::jose::{Algorithm, CryptoProvider, PrivateKey, Signer, VerificationKey, Verifier};

/// The crates of the RustCrypto project and `ed25519-dalek`: Rust alone, no C compiler.
#[derive(Clone, Copy, Debug, Default)]
pub struct RustCrypto;

fn invalid<E>(_: E) -> Error {
    Error::new(ErrorKind::InvalidKey, "RustCrypto rejects the key")
}

fn failed<E>(_: E) -> Error {
    Error::new(ErrorKind::Internal, "RustCrypto failed")
}

fn p256_key(scalar: &[u8; 32]) -> Result<ecdsa::SigningKey, Error> {
    ecdsa::SigningKey::from_slice(scalar).map_err(invalid)
}

fn rsa_key(der: &[u8]) -> Result<rsa::PrivateKey, Error> {
    rsa::PrivateKey::from_pkcs1_der(der).map_err(invalid)
}

impl CryptoProvider for RustCrypto {
    fn generate(&self, algorithm: Algorithm) -> Result<PrivateKey, Error> {
        let random = || {
            let mut bytes = Zeroizing::new([0; 32]);
            rsa::rand_core::TryRng::try_fill_bytes(&mut rand_source(), bytes.as_mut_slice())
                .map_err(failed)?;
            Ok::<_, Error>(bytes)
        };
        Ok(match algorithm {
            Algorithm::EdDSA => PrivateKey::Ed25519(random()?),
            Algorithm::ES256 => loop {
                // A random number at or above the curve's order is one in 2^32: take another.
                let scalar = random()?;
                if p256_key(&scalar).is_ok() {
                    break PrivateKey::P256(scalar);
                }
            },
            Algorithm::RS256 => {
                let key = rsa::PrivateKey::new(&mut rand_source(), 2048).map_err(failed)?;
                let der = key.to_pkcs1_der().map_err(failed)?;
                PrivateKey::Rsa(Zeroizing::new(der.as_bytes().to_vec()))
            }
            Algorithm::HS256 => PrivateKey::Hmac(Zeroizing::new(random()?.to_vec())),
            _ => return Err(algorithm.not_for_signing()),
        })
    }

    fn verification_key(&self, key: &PrivateKey) -> Result<VerificationKey, Error> {
        match key {
            PrivateKey::Ed25519(seed) => {
                let key = dalek::SigningKey::from_bytes(seed);
                VerificationKey::ed25519(key.verifying_key().as_bytes())
            }
            PrivateKey::P256(scalar) => {
                let point = p256_key(scalar)?.verifying_key().to_sec1_point(false);
                VerificationKey::p256(point.as_bytes())
            }
            PrivateKey::Rsa(der) => {
                let key = rsa_key(der)?;
                VerificationKey::rsa(&key.n_bytes(), &key.e_bytes())
            }
            PrivateKey::Hmac(secret) => Ok(VerificationKey::Hmac(secret.clone())),
        }
    }

    fn signer(&self, key: &PrivateKey) -> Result<Box<dyn Signer>, Error> {
        Ok(match key {
            PrivateKey::Ed25519(seed) => Box::new(Ed25519(dalek::SigningKey::from_bytes(seed))),
            PrivateKey::P256(scalar) => Box::new(P256(p256_key(scalar)?)),
            PrivateKey::Rsa(der) => Box::new(Rsa(pkcs1v15::SigningKey::new(rsa_key(der)?))),
            PrivateKey::Hmac(secret) => Box::new(Hmac::new(secret)?),
        })
    }

    fn verifier(&self, key: &VerificationKey) -> Result<Box<dyn Verifier>, Error> {
        Ok(match key {
            VerificationKey::Ed25519(key) => {
                Box::new(Ed25519Public(dalek::VerifyingKey::from_bytes(key).map_err(invalid)?))
            }
            VerificationKey::P256(point) => {
                Box::new(P256Public(ecdsa::VerifyingKey::from_sec1_bytes(point).map_err(invalid)?))
            }
            VerificationKey::P384(point) => {
                let key = p384::ecdsa::VerifyingKey::from_sec1_bytes(point).map_err(invalid)?;
                Box::new(P384Public(key))
            }
            VerificationKey::P521(point) => {
                let key = p521::ecdsa::VerifyingKey::from_sec1_bytes(point).map_err(invalid)?;
                Box::new(P521Public(key))
            }
            VerificationKey::Rsa { algorithm, modulus, exponent } => {
                rsa_verifier(*algorithm, rsa_public_key(modulus, exponent)?)?
            }
            VerificationKey::Hmac(secret) => Box::new(Hmac::new(secret)?),
        })
    }
}

fn rand_source() -> impl rsa::rand_core::TryCryptoRng {
    rsa::rand_core::UnwrapErr(getrandom::SysRng)
}

struct Ed25519(dalek::SigningKey);

impl Signer for Ed25519 {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        use dalek::Signer as _;
        Ok(self.0.try_sign(message).map_err(failed)?.to_bytes().to_vec())
    }
}

struct Ed25519Public(dalek::VerifyingKey);

impl Verifier for Ed25519Public {
    fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        dalek::Signature::from_slice(signature)
            .is_ok_and(|signature| self.0.verify_strict(message, &signature).is_ok())
    }
}

struct P256(ecdsa::SigningKey);

impl Signer for P256 {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        let signature: ecdsa::Signature = self.0.try_sign(message).map_err(failed)?;
        Ok(signature.to_bytes().to_vec())
    }
}

struct P256Public(ecdsa::VerifyingKey);

impl Verifier for P256Public {
    fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        ecdsa::Signature::from_slice(signature)
            .is_ok_and(|signature| self.0.verify(message, &signature).is_ok())
    }
}

struct Rsa(pkcs1v15::SigningKey<Sha256>);

impl Signer for Rsa {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        Ok(self.0.try_sign(message).map_err(failed)?.to_vec())
    }
}

struct P384Public(p384::ecdsa::VerifyingKey);

impl Verifier for P384Public {
    fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        p384::ecdsa::Signature::from_slice(signature)
            .is_ok_and(|signature| self.0.verify(message, &signature).is_ok())
    }
}

struct P521Public(p521::ecdsa::VerifyingKey);

impl Verifier for P521Public {
    fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        p521::ecdsa::Signature::from_slice(signature)
            .is_ok_and(|signature| self.0.verify(message, &signature).is_ok())
    }
}

fn rsa_public_key(modulus: &[u8], exponent: &[u8]) -> Result<rsa::PublicKey, Error> {
    let number = rsa::BoxedUint::from_be_slice_vartime;
    let key = rsa::PublicKey::new_with_size_limits(number(modulus), number(exponent), 2048..=8192);
    key.map_err(invalid)
}

fn rsa_verifier(algorithm: Algorithm, key: rsa::PublicKey) -> Result<Box<dyn Verifier>, Error> {
    Ok(match algorithm {
        Algorithm::RS256 => Box::new(Pkcs1Public(pkcs1v15::VerifyingKey::<Sha256>::new(key))),
        Algorithm::RS384 => Box::new(Pkcs1Public(pkcs1v15::VerifyingKey::<Sha384>::new(key))),
        Algorithm::RS512 => Box::new(Pkcs1Public(pkcs1v15::VerifyingKey::<Sha512>::new(key))),
        Algorithm::PS256 => Box::new(PssPublic(pss::VerifyingKey::<Sha256>::new(key))),
        Algorithm::PS384 => Box::new(PssPublic(pss::VerifyingKey::<Sha384>::new(key))),
        Algorithm::PS512 => Box::new(PssPublic(pss::VerifyingKey::<Sha512>::new(key))),
        _ => return Err(invalid(())),
    })
}

/// RSASSA-PKCS1-v1_5.
struct Pkcs1Public<K>(K);

impl<K> Verifier for Pkcs1Public<K>
where
    K: rsa::signature::Verifier<pkcs1v15::Signature> + Send + Sync,
{
    fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        pkcs1v15::Signature::try_from(signature)
            .is_ok_and(|signature| self.0.verify(message, &signature).is_ok())
    }
}

/// RSASSA-PSS, with a salt as long as the hash.
struct PssPublic<K>(K);

impl<K> Verifier for PssPublic<K>
where
    K: rsa::signature::Verifier<pss::Signature> + Send + Sync,
{
    fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        pss::Signature::try_from(signature)
            .is_ok_and(|signature| self.0.verify(message, &signature).is_ok())
    }
}

struct Hmac(hmac::Hmac<Sha256>);

impl Hmac {
    fn new(secret: &[u8]) -> Result<Self, Error> {
        hmac::Hmac::new_from_slice(secret).map(Self).map_err(invalid)
    }
}

impl Signer for Hmac {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        Ok(self.0.clone().chain_update(message).finalize().into_bytes().to_vec())
    }
}

impl Verifier for Hmac {
    fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        self.0.clone().chain_update(message).verify_slice(signature).is_ok()
    }
}
