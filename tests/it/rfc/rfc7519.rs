//! JSON Web Token (JWT).

use countersign::faults::TokenFault;

use crate::rfc::rfc7515::PAYLOAD;
use crate::rfc::{validator, validator_of};

#[test]
fn section_3_1_a_jwt_whose_typ_is_not_that_of_an_access_token_is_rejected() {
    let signature = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    let token = format!("eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.{PAYLOAD}.{signature}");
    assert_eq!(validator_of("joe").validate(&token).unwrap_err(), TokenFault::Type);
}

#[test]
fn section_6_1_an_unsecured_jwt_is_rejected() {
    let token = format!("eyJhbGciOiJub25lIn0.{PAYLOAD}.");
    assert_eq!(validator().validate(&token).unwrap_err(), TokenFault::Malformed);
}
