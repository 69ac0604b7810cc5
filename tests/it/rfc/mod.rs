//! The examples that the specifications give, each named by its section.

mod rfc6750;
pub mod rfc7515;
mod rfc7517;
mod rfc7519;
mod rfc7520;
pub mod rfc7638;
mod rfc8032;
pub mod rfc8037;
mod rfc9068;
mod rfc9457;

use countersign::{KeyRing, Validator};

use crate::support::{AUDIENCE, ISSUER};

/// That what an example says is well signed is no access token yet.
fn validator() -> Validator {
    validator_of(ISSUER)
}

fn validator_of(issuer: &str) -> Validator {
    let keys = KeyRing::generate(countersign::Algorithm::EdDSA).unwrap();
    Validator::builder().issuer(issuer).audience(AUDIENCE).keys(keys).build().unwrap()
}
