//! Identity providers that others wrote, as trusted issuers: oauth2-mock-server and oidc-provider of npm.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use countersign::clock::{Clock as _, SystemClock};
use countersign::faults::TokenFault;
use countersign::trusted_issuer::MappedClaims;
use countersign::{Acl, AclEntry, SubjectType, TrustedIssuer, Validator};
use serde_json::Value;

use crate::support::{AUDIENCE, TestClock};

const MINUTE: Duration = Duration::from_secs(60);

/// A provider that runs until its input ends.
struct Provider {
    child: Child,
    commands: Option<ChildStdin>,
    replies: BufReader<ChildStdout>,
}

impl Provider {
    #[track_caller]
    fn start(package: &str) -> (Self, String) {
        let folder = std::env::var("COUNTERSIGN_TEST_CLIENTS").unwrap_or_else(|_| {
            panic!(
                "COUNTERSIGN_TEST_CLIENTS has to be set: run scripts/test, or \
                 export COUNTERSIGN_TEST_CLIENTS=$(scripts/clients)"
            )
        });
        let mut command = Command::new("node");
        // What is imported is looked for from here.
        command.current_dir(&folder).args(["--input-type=module", "--eval"]);
        command.args([include_str!("../clients/identity_providers.mjs"), "--", package, AUDIENCE]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let (commands, replies) = (child.stdin.take(), child.stdout.take().unwrap());
        let mut provider = Self { child, commands, replies: BufReader::new(replies) };
        let url = provider.answer()["url"].as_str().unwrap().to_owned();
        (provider, url)
    }

    /// Reads an answer. oidc-provider says other things between.
    #[track_caller]
    fn answer(&mut self) -> Value {
        loop {
            let mut line = String::new();
            assert!(self.replies.read_line(&mut line).unwrap() > 0, "the provider has ended");
            if line.starts_with('{') {
                return serde_json::from_str(&line).unwrap();
            }
        }
    }

    #[track_caller]
    fn ask(&mut self, command: &str) -> Value {
        writeln!(self.commands.as_mut().unwrap(), "{command}").unwrap();
        self.answer()
    }

    #[track_caller]
    fn token(&mut self) -> String {
        let answer = self.ask("token");
        answer["token"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        drop(self.commands.take());
        let _ = self.child.wait();
    }
}

async fn tokens_are_accepted_through_a_rotation(package: &str, token_type: &str) {
    let (mut provider, url) = Provider::start(package);
    let trusted = |audience: &str| {
        let trusted = TrustedIssuer::new(&url).audience(audience).token_types([token_type]);
        trusted.dangerous_allow_http().map_claims(|claims| {
            let scopes = claims.text("scope").unwrap_or_default().split(' ');
            let permissions: Vec<_> =
                scopes.filter(|scope| *scope == "orders").map(|_| "GetOrders").collect();
            let acl = Acl::new([AclEntry::anywhere(permissions)?]);
            // oauth2-mock-server names nobody.
            let client = claims.text("client_id").unwrap_or("machine-1");
            Ok(MappedClaims::new(SubjectType::Machine, client).acl(acl))
        })
    };
    let clock = TestClock::at(SystemClock.now());
    let building = |audience: &str| {
        Validator::for_issuers([trusted(audience)]).clock(clock.clone()).build().unwrap()
    };
    let validator = building(AUDIENCE);
    let old = provider.token();
    let validated = validator.validate_fetching(&old).await.unwrap();
    assert_eq!(validated.principal().id(), "machine-1");
    assert!(validated.allows("GetOrders", &[]));
    validator.validate(&old).unwrap();

    let elsewhere = building("https://elsewhere.example.com");
    assert_eq!(elsewhere.validate_fetching(&old).await.unwrap_err(), TokenFault::Audience);
    let (signed, _) = old.rsplit_once('.').unwrap();
    let forged = format!("{signed}.{}", "A".repeat(342));
    assert_eq!(validator.validate(&forged).unwrap_err(), TokenFault::Signature);

    provider.ask("rotate");
    let new = provider.token();
    // Within the cooldown nothing is fetched, and after it the new key is.
    assert_eq!(validator.validate_fetching(&new).await.unwrap_err(), TokenFault::UnknownKey);
    validator.validate(&old).unwrap();
    clock.advance(MINUTE);
    validator.validate_fetching(&new).await.unwrap();
    // The old one was withdrawn.
    assert_eq!(validator.validate(&old).unwrap_err(), TokenFault::UnknownKey);
}

#[tokio::test]
async fn tokens_of_oauth2_mock_server_are_accepted_through_a_rotation_of_its_key() {
    tokens_are_accepted_through_a_rotation("oauth2-mock-server", "JWT").await;
}

#[tokio::test]
async fn tokens_of_oidc_provider_are_accepted_through_a_rotation_of_its_key() {
    tokens_are_accepted_through_a_rotation("oidc-provider", "at+jwt").await;
}
