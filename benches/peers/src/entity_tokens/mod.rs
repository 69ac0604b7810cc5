//! A machine's token over HTTP: the route of this crate, which reads a form, looks the machine up,
//! compares its secret and signs, next to that of a peer, and to routes written by hand that sign the
//! same claims and do nothing else.

mod by_hand;
mod issuer;
mod oauth_as;

use std::sync::Arc;

use aws_lc_rs::signature::Ed25519KeyPair;
use countersign::{Actor, Algorithm, Entity, EntityId, RequestContext, TokenService};

use crate::app::App;
use crate::entity_tokens::issuer::{Issuer, Posted};
use crate::over_http::{Cores, rates, ratio};
use crate::setup::{Setup, acl};
use crate::table::{Table, median};
use crate::{Effort, runtime};

const ID: &str = "aa-1";
const KID: &str = "a-key-of-thirty-two-bytes-as-hash";

pub fn compare(effort: Effort, cores: Cores) {
    let setup = Setup::signing_with(Algorithm::EdDSA);
    let key = Arc::new(Ed25519KeyPair::generate().expect("a key"));
    let mut issuers = vec![ours(&setup)];
    issuers.extend(by_hand::issuers(&setup, &key));
    issuers.extend(oauth_as::issuers(&key));
    issuers.iter().for_each(Issuer::check);

    let asked = issuers.iter().map(|issuer| (App::new(issuer.app.clone()), issuer.good.request()));
    let rates = rates(asked.collect(), effort, cores);

    let mut table = Table::new(
        "A machine's token, EdDSA, over HTTP on one core",
        &["", "requests a second", "countersign to it"],
    );
    for (issuer, rate) in issuers.iter().zip(&rates) {
        let ratio = ratio(&rates[0], rate);
        table.row(&[
            issuer.name.to_owned(),
            format!("{:.0}", median(rate.clone())),
            format!("{ratio:.2}"),
        ]);
    }
    table.print();
}

fn ours(setup: &Setup) -> Issuer {
    let secret = register(&setup.service);
    let posted = |secret: &str| {
        // Of the base64url alphabet, which a form takes as it is.
        Posted { path: "/entity/token/generate", form: format!("id={ID}&secret={secret}") }
    };
    let keys: serde_json::Value = serde_json::from_str(&setup.jwks()).expect("a JWK Set");
    Issuer {
        name: "countersign",
        app: setup.service.router(),
        good: posted(&secret),
        bad: Some(posted("another")),
        member: "accessToken",
        public_key: keys["keys"][0]["x"].as_str().expect("a public key").to_owned(),
    }
}

/// The machine, and its secret.
fn register(service: &TokenService) -> String {
    runtime().block_on(async {
        let machine = Entity::machine(ID).expect("an id").acl(acl());
        service.register(machine).await.expect("a store in memory");
        let (id, context) =
            (EntityId::machine(ID).expect("an id"), RequestContext::without_address());
        let reset = service.reset_secret(Actor::Host, &id, None, &context).await;
        reset.expect("a secret").secret.expose().to_owned()
    })
}
