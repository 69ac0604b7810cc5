use aws_lc_rs::encoding::AsBigEndian as _;
use aws_lc_rs::hmac;
use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED,
    ECDSA_P521_SHA512_FIXED, ED25519, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, ParsedPublicKey,
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512,
    RSA_PKCS1_SHA256, RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512,
    RsaKeyPair, RsaParameters,
};
use pkcs1::DecodeRsaPrivateKey as _;
use pkcs8::der::Encode as _;
use zeroize::Zeroizing;

use crate::error::{Error, ErrorKind};
use crate::jose::{Algorithm, CryptoProvider, PrivateKey, Signer, VerificationKey, Verifier};

/// AWS's fork of BoringSSL, by way of the crate `aws-lc-rs`: the fastest, and built with a C
/// compiler.
#[derive(Clone, Copy, Debug, Default)]
pub struct AwsLcRs;

fn invalid<E>(_: E) -> Error {
    Error::new(ErrorKind::InvalidKey, "AWS-LC rejects the key")
}

fn failed<E>(_: E) -> Error {
    Error::new(ErrorKind::Internal, "AWS-LC failed")
}

fn random() -> Result<Zeroizing<[u8; 32]>, Error> {
    let mut bytes = Zeroizing::new([0; 32]);
    SystemRandom::new().fill(bytes.as_mut_slice()).map_err(failed)?;
    Ok(bytes)
}

fn ed25519(seed: &[u8; 32]) -> Result<Ed25519KeyPair, Error> {
    // "Unchecked" is the comparison with a public key, and there is none: it is derived.
    Ed25519KeyPair::from_seed_unchecked(seed).map_err(invalid)
}

fn p256(scalar: &[u8; 32]) -> Result<EcdsaKeyPair, Error> {
    let curve = pkcs8::ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
    let key = sec1::EcPrivateKey {
        private_key: scalar,
        parameters: Some(sec1::EcParameters::NamedCurve(curve)),
        public_key: None,
    };
    let der = Zeroizing::new(key.to_der().map_err(invalid)?);
    EcdsaKeyPair::from_private_key_der(&ECDSA_P256_SHA256_FIXED_SIGNING, &der).map_err(invalid)
}

impl CryptoProvider for AwsLcRs {
    fn generate(&self, algorithm: Algorithm) -> Result<PrivateKey, Error> {
        Ok(match algorithm {
            Algorithm::EdDSA => PrivateKey::Ed25519(random()?),
            Algorithm::ES256 => {
                let pair =
                    EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map_err(failed)?;
                let scalar = pair.private_key().as_be_bytes().map_err(failed)?;
                let scalar: [u8; 32] = scalar.as_ref().try_into().map_err(failed)?;
                PrivateKey::P256(Zeroizing::new(scalar))
            }
            Algorithm::RS256 => {
                use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
                let pair = RsaKeyPair::generate(KeySize::Rsa2048).map_err(failed)?;
                let der: Pkcs8V1Der<'_> = pair.as_der().map_err(failed)?;
                let info = pkcs8::PrivateKeyInfoRef::try_from(der.as_ref()).map_err(failed)?;
                PrivateKey::Rsa(Zeroizing::new(info.private_key.as_bytes().to_vec()))
            }
            Algorithm::HS256 => PrivateKey::Hmac(Zeroizing::new(random()?.to_vec())),
            _ => return Err(algorithm.not_for_signing()),
        })
    }

    fn verification_key(&self, key: &PrivateKey) -> Result<VerificationKey, Error> {
        match key {
            PrivateKey::Ed25519(seed) => {
                VerificationKey::ed25519(ed25519(seed)?.public_key().as_ref())
            }
            PrivateKey::P256(scalar) => VerificationKey::p256(p256(scalar)?.public_key().as_ref()),
            PrivateKey::Rsa(der) => {
                let key = pkcs1::RsaPrivateKeyOwned::from_pkcs1_der(der).map_err(invalid)?;
                VerificationKey::rsa(key.modulus.as_bytes(), key.public_exponent.as_bytes())
            }
            PrivateKey::Hmac(secret) => Ok(VerificationKey::Hmac(secret.clone())),
        }
    }

    fn signer(&self, key: &PrivateKey) -> Result<Box<dyn Signer>, Error> {
        Ok(match key {
            PrivateKey::Ed25519(seed) => Box::new(Ed25519Signer(ed25519(seed)?)),
            PrivateKey::P256(scalar) => Box::new(P256Signer(p256(scalar)?)),
            PrivateKey::Rsa(der) => {
                Box::new(RsaSigner(RsaKeyPair::from_der(der).map_err(invalid)?))
            }
            PrivateKey::Hmac(secret) => Box::new(Hmac(hmac::Key::new(hmac::HMAC_SHA256, secret))),
        })
    }

    fn verifier(&self, key: &VerificationKey) -> Result<Box<dyn Verifier>, Error> {
        let parsed = match key {
            VerificationKey::Ed25519(key) => ParsedPublicKey::new(&ED25519, key),
            VerificationKey::P256(point) => ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point),
            VerificationKey::P384(point) => ParsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, point),
            VerificationKey::P521(point) => ParsedPublicKey::new(&ECDSA_P521_SHA512_FIXED, point),
            VerificationKey::Rsa { algorithm, modulus, exponent } => {
                let der = rsa_public_der(modulus, exponent)?;
                ParsedPublicKey::new(rsa_parameters(*algorithm)?, der)
            }
            VerificationKey::Hmac(secret) => {
                return Ok(Box::new(Hmac(hmac::Key::new(hmac::HMAC_SHA256, secret))));
            }
        };
        Ok(Box::new(PublicKey(parsed.map_err(invalid)?)))
    }
}

fn rsa_parameters(algorithm: Algorithm) -> Result<&'static RsaParameters, Error> {
    Ok(match algorithm {
        Algorithm::RS256 => &RSA_PKCS1_2048_8192_SHA256,
        Algorithm::RS384 => &RSA_PKCS1_2048_8192_SHA384,
        Algorithm::RS512 => &RSA_PKCS1_2048_8192_SHA512,
        Algorithm::PS256 => &RSA_PSS_2048_8192_SHA256,
        Algorithm::PS384 => &RSA_PSS_2048_8192_SHA384,
        Algorithm::PS512 => &RSA_PSS_2048_8192_SHA512,
        _ => return Err(invalid(())),
    })
}

fn rsa_public_der(modulus: &[u8], exponent: &[u8]) -> Result<Vec<u8>, Error> {
    let public = pkcs1::RsaPublicKeyRef {
        modulus: pkcs1::UintRef::new(modulus).map_err(invalid)?,
        public_exponent: pkcs1::UintRef::new(exponent).map_err(invalid)?,
    };
    public.to_der().map_err(invalid)
}

struct Ed25519Signer(Ed25519KeyPair);

impl Signer for Ed25519Signer {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        self.0.try_sign(message).map(|signature| signature.as_ref().to_vec()).map_err(failed)
    }
}

struct P256Signer(EcdsaKeyPair);

impl Signer for P256Signer {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        let signature = self.0.sign(&SystemRandom::new(), message);
        signature.map(|signature| signature.as_ref().to_vec()).map_err(failed)
    }
}

struct RsaSigner(RsaKeyPair);

impl Signer for RsaSigner {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        let mut signature = vec![0; self.0.public_modulus_len()];
        let random = SystemRandom::new();
        self.0.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).map_err(failed)?;
        Ok(signature)
    }
}

struct PublicKey(ParsedPublicKey);

impl Verifier for PublicKey {
    fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        self.0.verify_sig(message, signature).is_ok()
    }
}

struct Hmac(hmac::Key);

impl Signer for Hmac {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        Ok(hmac::sign(&self.0, message).as_ref().to_vec())
    }
}

impl Verifier for Hmac {
    fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        hmac::verify(&self.0, message, signature).is_ok()
    }
}
