//! What guesses, replays, crashes and forgeries come to at the routes, a test for each.
//!
//! Some are tried beside the rest of their subject:
//!
//! | attack | test |
//! |---|---|
//! | telling why a login fails, by its status, headers or body | `users_and_entities::why_a_user_gets_no_token_cannot_be_told`, `users_and_entities::why_an_entity_gets_no_token_cannot_be_told`, `sessions::why_a_customer_is_not_logged_in_cannot_be_told` |
//! | telling it by the time taken | `users_and_entities::logins_of_unknown_names_wait_and_are_refused_like_all_others`; measured by the benchmark `abuse` |
//! | a subnet of IPv6 as so many addresses | `service::throttle::tests::a_subnet_of_ipv6_is_one_address` |
//! | 1,000 one-time passwords at once | `exchange::of_a_thousand_tries_at_once_no_more_than_the_limit_are_compared` |
//! | one right code at once, many times | `exchange::one_code_is_good_for_one_201_however_many_present_it_at_once` |
//! | wrong codes between codes that are sent again | `sessions::wrong_tries_go_on_counting_over_codes_that_are_sent_again` |
//! | using a token up by requests that fail | `exchange::a_request_that_fails_does_not_use_the_token_up` |
//! | a wider list by `*`, case or another scope key | `exchange::without_a_bearer_the_list_may_only_be_narrowed` |
//! | empty lists, and permissions that only look like patterns | `exchange::a_list_that_is_malformed_is_a_422_that_names_every_fault` |
//! | 10,000 entries | `exchange::ten_thousand_entries_are_refused_by_size` |
//! | secrets read with another user's, an entity's or a customer's token | `users_and_entities::who_may_not_manage_an_entity_is_not_told_whether_it_exists` |
//! | two resets at once | `users_and_entities::of_resets_at_once_one_wins_and_all_callers_are_told_its_secret` |
//! | the old secret after the overlap | `users_and_entities::a_policy_lets_the_old_secret_live_on_for_a_while` |
//! | a sealed text alone moved to another entity | `domain::sealing::tests::a_sealed_text_opens_only_where_it_was_sealed_for` |

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Barrier, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::middleware::{Next, from_fn};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use countersign::store::{
    Cursor, EntityStore, MemoryStore, Page, Revocations, SessionFilter, SessionPage, SessionStore,
    StoreError,
};
use countersign::{
    Acl, Algorithm, AuthenticationToken, Caller, CustomerId, Entity, EntityId, Error, ErrorKind,
    ExchangeRequest, ExchangedToken, Grant, KeyRing, Password, Policy, Revocation, SealingKey,
    Secret, Session, SessionId, SessionKey, ThrottleLimit, Timestamp,
};
use http::{Method, Request};
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::task::JoinSet;

use crate::support::{
    AUDIENCE, Answer, Fixture, ISSUER, Outbox, PASSWORD, START, Server, TestClock, acl_of, send,
};

const USER_TOKEN: &str = "/user/token/generate";
const ENTITY_TOKEN: &str = "/entity/token/generate";
const SESSIONS: &str = "/authentication-tokens";
const JSON: &str = "application/json";
const SECRET: &str = "a secret that the tests know";
const NAME: &str = "josé@example.com";
const HOME: &str = "192.0.2.1";
const ELSEWHERE: &str = "198.51.100.7";
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

/// Stands for the address that a request's connection comes from.
const PEER: &str = "x-test-peer";

/// Serves the routes, also below an organization, with each request's peer as its header says.
async fn serve(fixture: &Fixture) -> Server {
    let connect = from_fn(|mut request: axum::extract::Request, next: Next| async move {
        if let Some(peer) = request.headers_mut().remove(PEER) {
            let address: IpAddr = peer.to_str().unwrap().parse().unwrap();
            request.extensions_mut().insert(ConnectInfo(SocketAddr::new(address, 4_711)));
        }
        next.run(request).await
    });
    let routes = fixture.tokens.router();
    let host = Router::new().nest("/organizations/{organizationId}", routes.clone()).merge(routes);
    Server::start(host.layer(connect)).await
}

/// A user, an entity and a customer's credential of one name, each with a secret that is known.
async fn house(policy: Policy) -> (Fixture, Server) {
    let fixture = Fixture::with(|builder| builder.policy(policy));
    fixture.user(NAME, json!([])).await;
    fixture.entity(NAME, SECRET).await;
    let hash = fixture.tokens.hash_password(Password::new(PASSWORD).unwrap()).await.unwrap();
    let customer = CustomerId::new("cus_1").unwrap();
    let credential = Entity::customer(NAME, hash, customer, false).unwrap();
    fixture.tokens.register(credential).await.unwrap();
    let server = serve(&fixture).await;
    (fixture, server)
}

/// One name has so many free failures from one address, and nothing else is limited.
fn by_name_and_address(free: u32) -> Policy {
    Policy::default()
        .throttle_by_name(ThrottleLimit::unlimited())
        .throttle_by_address(ThrottleLimit::unlimited())
        .throttle_by_name_and_address(limit(free))
}

fn limit(free: u32) -> ThrottleLimit {
    ThrottleLimit::new(free, DAY).delays(MINUTE, HOUR)
}

/// The routes that somebody logs in by.
#[derive(Clone, Copy, Debug)]
enum Login {
    User,
    Entity,
    Customer,
}

const LOGINS: [Login; 3] = [Login::User, Login::Entity, Login::Customer];

impl Login {
    fn path(self) -> &'static str {
        match self {
            Self::User => USER_TOKEN,
            Self::Entity => ENTITY_TOKEN,
            Self::Customer => SESSIONS,
        }
    }

    fn right(self) -> &'static str {
        if matches!(self, Self::Entity) { SECRET } else { PASSWORD }
    }

    fn request(
        self,
        path: &str,
        headers: &[(&str, &str)],
        name: &str,
        secret: &str,
    ) -> Request<String> {
        let body = match self {
            Self::Entity => json!({"id": name, "secret": secret}),
            Self::User | Self::Customer => json!({"username": name, "password": secret}),
        };
        let mut request = Request::builder().method(Method::POST).uri(path);
        for (header, value) in headers {
            request = request.header(*header, *value);
        }
        request.header("content-type", JSON).body(body.to_string()).unwrap()
    }

    /// Tries a secret from an address.
    async fn attempt(self, server: &Server, from: &str, name: &str, secret: &str) -> Answer {
        server.send(self.request(self.path(), &[(PEER, from)], name, secret)).await
    }

    async fn guess(self, server: &Server, from: &str, name: &str) -> u16 {
        self.attempt(server, from, name, "a guess").await.status().as_u16()
    }

    /// Whether the owner of [`NAME`] gets in.
    async fn owner_gets_in(self, server: &Server, from: &str) -> bool {
        let answer = self.attempt(server, from, NAME, self.right()).await;
        match answer.status().as_u16() {
            200 | 201 => true,
            429 => false,
            other => panic!("{other} in {answer:?}"),
        }
    }
}

#[track_caller]
fn retry_after(answer: &Answer) -> u64 {
    answer.header("retry-after").parse().unwrap()
}

/// Sends requests all at once, and counts the statuses of their answers.
async fn at_once(
    requests: impl Iterator<Item = (SocketAddr, Request<String>)>,
) -> BTreeMap<u16, usize> {
    let mut running = JoinSet::new();
    for (address, request) in requests {
        running.spawn(async move { send(address, request).await.status().as_u16() });
    }
    let mut statuses = BTreeMap::new();
    for status in running.join_all().await {
        *statuses.entry(status).or_default() += 1;
    }
    statuses
}

// Guessing

#[tokio::test]
async fn a_throttle_does_not_tell_which_names_exist() {
    for login in LOGINS {
        let (_, server) = house(by_name_and_address(2)).await;
        let mut seen = Vec::new();
        for name in [NAME, "unknown"] {
            for status in [401, 401, 429] {
                let answer = login.attempt(&server, HOME, name, "a guess").await.expect(status);
                let type_of = answer.json()["type"].clone();
                let headers =
                    [answer.header("content-type"), answer.header("cache-control")].join(" ");
                let wait = answer.headers().get("retry-after").cloned();
                seen.push((status, type_of, headers, wait));
            }
        }
        assert_eq!(seen[..3], seen[3..], "{login:?}");
        assert_eq!(seen[2].3.as_ref().unwrap(), "60");
    }
}

#[tokio::test]
async fn a_throttle_is_not_bypassed_by_case_blanks_normalisation_homoglyphs_or_nul() {
    let spellings = [
        "JOSÉ@EXAMPLE.COM",
        " josé@example.com\t",
        "josé\u{a0}@example.com",
        "jose\u{301}@example.com",
        "josé@ex\u{430}mple.com",
        "ｊosé@ｅxample.com",
        "josé@example.com\u{0}",
        "jo\u{200b}sé@example.com\u{feff}",
    ];
    for login in LOGINS {
        let (_, server) = house(by_name_and_address(8)).await;
        for spelling in spellings {
            assert_eq!(login.guess(&server, HOME, spelling).await, 401, "{login:?} {spelling:?}");
        }
        for spelling in spellings.into_iter().chain([NAME]) {
            assert_eq!(login.guess(&server, HOME, spelling).await, 429, "{login:?} {spelling:?}");
        }
        assert!(!login.owner_gets_in(&server, HOME).await, "a right one comes too soon as well");
        assert_eq!(login.guess(&server, HOME, "jose@example.com").await, 401, "another name");
    }
}

#[tokio::test]
async fn a_throttle_is_not_bypassed_by_letters_that_are_one_where_case_does_not_count() {
    // Unicode's CaseFolding.txt, which is what databases go by that tell no case.
    for (name, spelling) in [
        ("kim", "\u{212a}IM"),
        ("\u{e5}sa", "\u{212b}SA"),
        ("jess", "je\u{17f}\u{17f}"),
        ("νίκος", "ΝΊΚΟΣ"),
        ("straße", "STRASSE"),
    ] {
        let fixture = Fixture::with(|builder| builder.policy(by_name_and_address(1)));
        let server = serve(&fixture).await;
        assert_eq!(Login::Entity.guess(&server, HOME, name).await, 401);
        assert_eq!(Login::Entity.guess(&server, HOME, spelling).await, 429, "{name} {spelling}");
    }
}

#[tokio::test]
async fn a_throttle_is_not_bypassed_by_what_a_client_says_of_its_address() {
    // By a secret, which takes no slow hash to check: the throttle is the same for all.
    let (_, server) = house(by_name_and_address(8)).await;
    let mut statuses = Vec::new();
    for number in 0..4 {
        let address = format!("203.0.113.{number}");
        let forwarded = format!("for={address}");
        for (header, value) in [
            ("x-forwarded-for", &address),
            ("forwarded", &forwarded),
            ("x-real-ip", &address),
            ("true-client-ip", &address),
        ] {
            let headers = [(PEER, ELSEWHERE), (header, value)];
            let request = Login::Entity.request(ENTITY_TOKEN, &headers, NAME, "a guess");
            statuses.push(server.send(request).await.status().as_u16());
        }
    }
    assert_eq!(statuses[..8], [401; 8]);
    assert_eq!(statuses[8..], [429; 8]);
    // Nor can others be made to wait by writing their address.
    for _ in 0..20 {
        let headers = [(PEER, ELSEWHERE), ("x-forwarded-for", HOME)];
        let request = Login::Entity.request(ENTITY_TOKEN, &headers, NAME, "a guess");
        server.send(request).await.expect(429);
    }
    assert!(Login::Entity.owner_gets_in(&server, HOME).await);
}

#[tokio::test]
async fn behind_a_trusted_proxy_only_what_the_proxy_wrote_counts() {
    let policy = by_name_and_address(4).trusted_proxies(["10.0.0.0/8"]);
    let (_, server) = house(policy).await;
    let guess = async |forwarded: &[&str]| {
        let mut headers = vec![(PEER, "10.0.0.1")];
        headers.extend(forwarded.iter().map(|value| ("x-forwarded-for", *value)));
        let request = Login::Entity.request(ENTITY_TOKEN, &headers, NAME, "a guess");
        server.send(request).await.status().as_u16()
    };
    // Whatever stands in front of it, in one header or in several, in whatever notation.
    assert_eq!(guess(&["203.0.113.1, 198.51.100.7"]).await, 401);
    assert_eq!(guess(&["203.0.113.2", "198.51.100.7:4711"]).await, 401);
    assert_eq!(guess(&["192.0.2.1,,unknown,::ffff:198.51.100.7"]).await, 401);
    assert_eq!(guess(&["198.51.100.7, 10.9.9.9"]).await, 401);
    for forwarded in ["198.51.100.7", "203.0.113.3, 198.51.100.7", "10.0.0.9, 198.51.100.7"] {
        assert_eq!(guess(&[forwarded]).await, 429, "{forwarded}");
    }
    // What is no address hides nobody: all such requests are the proxy's own.
    for (nonsense, status) in
        [("unknown", 401), ("", 401), ("192.0.2.1, _hidden", 401), ("999.1.1.1", 401), ("x", 429)]
    {
        assert_eq!(guess(&[nonsense]).await, status, "{nonsense}");
    }
    assert_eq!(guess(&["192.0.2.1"]).await, 401, "another client");
}

#[tokio::test]
async fn guesses_from_a_real_connection_count_against_its_address() {
    let (fixture, _) = house(by_name_and_address(3)).await;
    let service = fixture.tokens.router().into_make_service_with_connect_info::<SocketAddr>();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(async move { axum::serve(listener, service).await.unwrap() });
    for (number, status) in [401, 401, 401, 429, 429].into_iter().enumerate() {
        let forwarded = format!("203.0.113.{number}");
        let headers = [("x-forwarded-for", &*forwarded)];
        let request = Login::Entity.request(ENTITY_TOKEN, &headers, NAME, "a guess");
        send(address, request).await.expect(status);
    }
    serving.abort();
}

#[tokio::test]
async fn a_throttle_is_not_bypassed_by_the_other_routes_that_check_the_same_secret() {
    for (login, id) in
        [(Login::User, EntityId::user(NAME)), (Login::Customer, EntityId::customer(NAME))]
    {
        let (fixture, server) = house(by_name_and_address(3)).await;
        let id = id.unwrap();
        let change = async |old: &str| {
            let [old, new] =
                [old, "another good password"].map(|text| Password::new(text).unwrap());
            let caller = Caller::default().address(HOME.parse().ok());
            let changed = fixture.tokens.change_password(&id, old, new, &caller).await;
            changed.map_err(|error| error.kind())
        };
        let mounted = async |organization: &str| {
            let path = format!("/organizations/{organization}{}", login.path());
            let request = login.request(&path, &[(PEER, HOME)], NAME, "a guess");
            server.send(request).await.status().as_u16()
        };
        assert_eq!(login.guess(&server, HOME, NAME).await, 401);
        assert_eq!(change("a guess").await, Err(ErrorKind::InvalidCredentials));
        assert_eq!(mounted("org_1").await, 401);
        assert_eq!(login.guess(&server, HOME, NAME).await, 429);
        assert_eq!(change(PASSWORD).await, Err(ErrorKind::Throttled));
        for organization in ["org_1", "org_2", "%20"] {
            assert_eq!(mounted(organization).await, 429);
        }
        fixture.clock.advance(MINUTE);
        assert_eq!(change(PASSWORD).await, Ok(()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_guesses_at_once_count_as_a_thousand() {
    // Whatever the machine, there is room for those that are let through.
    let policy = by_name_and_address(10).hashing_queue(1_000).hashing_deadline(HOUR);
    for login in [Login::User, Login::Customer] {
        let (fixture, server) = house(policy.clone()).await;
        let guess = |_| (server.address, login.request(login.path(), &[(PEER, HOME)], NAME, "x"));
        let statuses = at_once((0..1_000).map(guess)).await;
        assert_eq!(statuses, BTreeMap::from([(401, 10), (429, 990)]), "{login:?}");
        assert!(!login.owner_gets_in(&server, HOME).await);
        fixture.clock.advance(MINUTE);
        assert!(login.owner_gets_in(&server, HOME).await);
    }
}

#[tokio::test]
async fn a_thousand_guesses_at_a_secret_at_once_count_as_a_thousand() {
    let (_, server) = house(by_name_and_address(10)).await;
    let login = Login::Entity;
    let guess = |_| (server.address, login.request(login.path(), &[(PEER, HOME)], NAME, "x"));
    let statuses = at_once((0..1_000).map(guess)).await;
    assert_eq!(statuses, BTreeMap::from([(401, 10), (429, 990)]));
}

#[test]
fn guesses_at_a_secret_from_several_threads_count_one_by_one() {
    const THREADS: usize = 4;
    const FREE: u32 = 10;
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (fixture, _server) = runtime.block_on(house(by_name_and_address(FREE)));
    // Each round is a race of its own, from an address that nobody has guessed from.
    for round in 0..100_u8 {
        let caller = Caller::default().address(Some([192, 0, 2, round].into()));
        let guess = async || {
            let secret = Secret::presented("a guess");
            let refused = fixture.tokens.issue_entity_token(NAME, &secret, &caller).await;
            refused.unwrap_err().kind() == ErrorKind::InvalidCredentials
        };
        let barrier = Barrier::new(THREADS);
        let race = || {
            barrier.wait();
            (0..FREE).filter(|_| runtime.block_on(guess())).count()
        };
        let compared: usize = std::thread::scope(|scope| {
            let racing: Vec<_> = (0..THREADS).map(|_| scope.spawn(race)).collect();
            racing.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(compared, 10, "in round {round}");
    }
}

#[tokio::test]
async fn a_guesser_elsewhere_does_not_keep_the_owner_out() {
    let (fixture, server) = house(Policy::default()).await;
    for day in 1..=2 {
        let until = Timestamp::from_secs(START) + DAY * day;
        while fixture.tokens.now() < until {
            let answer = Login::User.attempt(&server, ELSEWHERE, NAME, "a guess").await;
            match answer.status().as_u16() {
                401 => {}
                429 => fixture.clock.advance(Duration::from_secs(retry_after(&answer))),
                other => panic!("{other}"),
            }
        }
        assert!(Login::User.owner_gets_in(&server, HOME).await, "on day {day}");
    }
}

#[tokio::test]
async fn where_the_guesses_come_from_the_owner_has_to_wait_and_then_gets_in() {
    for login in LOGINS {
        let (fixture, server) = house(by_name_and_address(2)).await;
        for status in [401, 401, 429] {
            assert_eq!(login.guess(&server, HOME, NAME).await, status);
        }
        let told = login.attempt(&server, HOME, NAME, login.right()).await.expect(429);
        let wait = Duration::from_secs(retry_after(&told));
        fixture.clock.advance(wait - Duration::from_micros(1));
        assert!(!login.owner_gets_in(&server, HOME).await);
        // To have come too soon has not made it longer.
        fixture.clock.advance(Duration::from_micros(1));
        assert!(login.owner_gets_in(&server, HOME).await);
        assert!(login.owner_gets_in(&server, HOME).await, "what was counted is forgotten");
    }
}

#[tokio::test]
async fn a_machine_with_a_generated_secret_gets_in_while_others_guess() {
    let (fixture, server) = house(by_name_and_address(2)).await;
    let secret = secret_in(manage(&server, &fixture, "reset", NAME).await);
    for status in [401, 401, 429] {
        assert_eq!(Login::Entity.guess(&server, HOME, NAME).await, status);
    }
    for _ in 0..3 {
        Login::Entity.attempt(&server, HOME, NAME, &secret).await.expect(200);
        assert_eq!(Login::Entity.guess(&server, HOME, NAME).await, 429);
    }
}

#[tokio::test]
async fn guessers_everywhere_delay_the_owner_only_where_nobody_knows_them() {
    let policy = by_name_and_address(10).throttle_by_name(limit(5));
    for login in LOGINS {
        let (fixture, server) = house(policy.clone()).await;
        assert!(login.owner_gets_in(&server, HOME).await);
        for number in 0..20 {
            let status = login.guess(&server, &format!("198.51.100.{number}"), NAME).await;
            assert_eq!(status, if number < 5 { 401 } else { 429 });
        }
        assert!(login.owner_gets_in(&server, HOME).await);
        let new_place = "203.0.113.1";
        let told = login.attempt(&server, new_place, NAME, login.right()).await.expect(429);
        fixture.clock.advance(Duration::from_secs(retry_after(&told)));
        assert!(login.owner_gets_in(&server, new_place).await);
    }
}

#[tokio::test]
async fn names_sprayed_from_one_address_are_throttled_by_the_address() {
    let policy = Policy::default().throttle_by_address(limit(6));
    let (fixture, server) = house(policy).await;
    for number in 0..6 {
        let login = LOGINS[number % 3];
        assert_eq!(login.guess(&server, ELSEWHERE, &format!("name {number}")).await, 401);
    }
    for login in LOGINS {
        assert_eq!(login.guess(&server, ELSEWHERE, "one more").await, 429);
        assert!(!login.owner_gets_in(&server, ELSEWHERE).await);
        assert!(login.owner_gets_in(&server, HOME).await, "others are let alone");
    }
    fixture.clock.advance(MINUTE);
    assert!(Login::User.owner_gets_in(&server, ELSEWHERE).await);
}

#[tokio::test]
async fn to_log_in_to_ones_own_account_wins_no_further_guess_at_another() {
    // By the pair of name and address, and by the address alone.
    for policy in [by_name_and_address(4), Policy::default().throttle_by_address(limit(4))] {
        for login in LOGINS {
            let (_, server) = house(policy.clone()).await;
            for _ in 0..4 {
                assert!(login.owner_gets_in(&server, HOME).await);
                assert_eq!(login.guess(&server, HOME, "victim").await, 401);
            }
            login.owner_gets_in(&server, HOME).await;
            assert_eq!(login.guess(&server, HOME, "victim").await, 429, "{login:?}");
        }
    }
}

// One-time passwords

async fn guarded(fixture: &Fixture) -> (String, String) {
    let token = fixture.session(|new| new.otp_required(true)).await;
    (token, fixture.outbox.last_code())
}

fn wrong(code: &str) -> String {
    let last = if code.ends_with('0') { "1" } else { "0" };
    format!("{}{last}", &code[..code.len() - 1])
}

async fn exchange(server: &Server, token: &str, body: Value) -> Answer {
    server.post(&format!("{SESSIONS}/{token}/exchange"), None, &body).await
}

async fn present(server: &Server, token: &str, code: &str) -> Answer {
    exchange(server, token, json!({"oneTimePassword": code})).await
}

async fn send_again(server: &Server, token: &str) -> Answer {
    let path = format!("{SESSIONS}/{token}/one-time-password");
    server.post_text(&path, None, None, "").await
}

#[track_caller]
fn assert_problem(answer: &Answer, status: u16, kind: &str) {
    assert_eq!(answer.status().as_u16(), status, "{answer:?}");
    assert_eq!(answer.header("content-type"), "application/problem+json");
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(answer.json()["type"], format!("urn:problem-type:countersign:{kind}"));
}

#[tokio::test]
async fn a_code_that_was_used_is_never_good_again() {
    let fixture = Fixture::new();
    let server = serve(&fixture).await;
    let (token, code) = guarded(&fixture).await;
    let keeping = |code: &str| json!({"oneTimePassword": code, "invalidate": false});
    exchange(&server, &token, keeping(&code)).await.expect(201);
    let again = exchange(&server, &token, keeping(&code)).await;
    assert_problem(&again, 401, "one-time-password-invalid");
    fixture.clock.set(Timestamp::from_secs(START - 60));
    present(&server, &token, &code).await.expect(401);
    fixture.clock.set(Timestamp::from_secs(START + 60));
    send_again(&server, &token).await.expect(204);
    let next = fixture.outbox.last_code();
    // Once in a million times, both are the same.
    if next != code {
        present(&server, &token, &code).await.expect(401);
    }
    present(&server, &token, &next).await.expect(201);
    present(&server, &token, &next).await.expect(404);
}

#[tokio::test]
async fn the_code_of_one_session_is_nothing_to_another_of_the_same_customer() {
    let fixture = Fixture::new();
    let server = serve(&fixture).await;
    let (first, first_code) = guarded(&fixture).await;
    let (mut second, mut second_code) = guarded(&fixture).await;
    while second_code == first_code {
        (second, second_code) = guarded(&fixture).await;
    }
    for _ in 0..4 {
        let refused = present(&server, &second, &first_code).await;
        assert_problem(&refused, 401, "one-time-password-invalid");
    }
    present(&server, &second, &second_code).await.expect(201);
    // What went wrong there has cost nothing here.
    present(&server, &first, &first_code).await.expect(201);
}

#[tokio::test]
async fn an_expired_code_stays_so_though_the_clock_steps_back() {
    let fixture = Fixture::new();
    let server = serve(&fixture).await;
    let (token, code) = guarded(&fixture).await;
    fixture.clock.advance(10 * MINUTE);
    let late = present(&server, &token, &code).await;
    assert_problem(&late, 401, "one-time-password-invalid");
    for seconds in [599, 0, -3_600] {
        fixture.clock.set(Timestamp::from_secs(START.saturating_add_signed(seconds)));
        let revived = present(&server, &token, &code).await;
        assert_problem(&revived, 401, "one-time-password-invalid");
    }
}

#[tokio::test]
async fn a_clock_that_steps_back_wins_neither_tries_nor_codes() {
    let fixture = Fixture::new();
    let server = serve(&fixture).await;
    let (token, mut code) = guarded(&fixture).await;
    for step in 1..=4 {
        present(&server, &token, &wrong(&code)).await.expect(401);
        fixture.clock.set(Timestamp::from_secs(START - 600 * step));
        let sent = send_again(&server, &token).await;
        assert_eq!(sent.status().as_u16(), if step <= 3 { 204 } else { 429 });
        code = fixture.outbox.last_code();
    }
    assert_eq!(fixture.outbox.count(), 4);
    present(&server, &token, &wrong(&code)).await.expect(401);
    present(&server, &token, &code).await.expect(404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_that_have_a_code_sent_again_at_once_one_does() {
    let fixture = Fixture::new();
    let servers = [serve(&fixture).await, serve(&fixture).await];
    let (token, _) = guarded(&fixture).await;
    fixture.clock.advance(MINUTE);
    let path = format!("{SESSIONS}/{token}/one-time-password");
    let again = |number: usize| {
        (servers[number % 2].address, Request::post(&path).body(String::new()).unwrap())
    };
    let statuses = at_once((0..100).map(again)).await;
    assert_eq!(statuses, BTreeMap::from([(204, 1), (429, 99)]));
    assert_eq!(fixture.outbox.count(), 2);
    present(&servers[0], &token, &fixture.outbox.last_code()).await.expect(201);
}

#[tokio::test]
async fn codes_that_are_sent_again_or_fail_to_be_do_not_reset_the_count() {
    let fixture = Fixture::new();
    let server = serve(&fixture).await;
    let (token, _) = guarded(&fixture).await;
    let guess = async || {
        let code = wrong(&fixture.outbox.last_code());
        present(&server, &token, &code).await.expect(401);
    };
    guess().await;
    guess().await;
    fixture.clock.advance(MINUTE);
    send_again(&server, &token).await.expect(204);
    guess().await;
    fixture.outbox.break_down();
    fixture.clock.advance(MINUTE);
    send_again(&server, &token).await.expect(503);
    guess().await;
    guess().await;
    present(&server, &token, &fixture.outbox.last_code()).await.expect(404);
}

#[tokio::test]
async fn wrong_codes_count_over_all_sessions_of_a_customer() {
    let fixture = Fixture::new();
    let server = serve(&fixture).await;
    let mut compared = 0;
    for _ in 0..5 {
        let (token, code) = guarded(&fixture).await;
        for _ in 0..4 {
            let answer = present(&server, &token, &wrong(&code)).await;
            match answer.status().as_u16() {
                401 => compared += 1,
                _ => assert_problem(&answer, 429, "too-many-requests"),
            }
        }
    }
    assert_eq!(compared, 10);
    let (token, code) = guarded(&fixture).await;
    let told = present(&server, &token, &code).await;
    assert_problem(&told, 429, "too-many-requests");
    fixture.clock.advance(Duration::from_secs(retry_after(&told)));
    present(&server, &token, &code).await.expect(201);
}

#[tokio::test]
async fn a_customer_is_not_sent_codes_without_end() {
    let fixture = Fixture::new();
    let server = serve(&fixture).await;
    let bearer = fixture.tokens.issue(Grant::user("ops").acl(Acl::everything())).unwrap();
    let bearer = bearer.access_token.expose();
    let start = async |customer: &str| {
        let body = json!({"mode": "passwordless", "customerId": customer, "otpRequired": true});
        server.post(SESSIONS, Some(bearer), &body).await
    };
    for _ in 0..10 {
        start("cus_1").await.expect(201);
    }
    let told = start("cus_1").await;
    assert_problem(&told, 429, "too-many-requests");
    start("cus_2").await.expect(201);
    assert_eq!(fixture.outbox.count(), 11);
    let listed = server.get(SESSIONS, Some(bearer)).await.expect(200);
    assert_eq!(listed.header("pagination-total"), "11", "what was refused has left nothing");
    fixture.clock.advance(Duration::from_secs(retry_after(&told)));
    start("cus_1").await.expect(201);
}

// Exchange

/// What the nodes of one service share.
struct Cluster {
    clock: TestClock,
    outbox: Outbox,
    keys: KeyRing,
    store: MemoryStore,
}

impl Cluster {
    fn new() -> Self {
        Self {
            clock: TestClock::new(),
            outbox: Outbox::default(),
            keys: KeyRing::generate(Algorithm::EdDSA).unwrap(),
            store: MemoryStore::new(),
        }
    }

    /// A node with the sealing keys that the bytes stand for, the first of which seals.
    fn node(&self, sealing_keys: &[u8], sessions: impl SessionStore, policy: Policy) -> Fixture {
        let fixture = Fixture::with(|builder| {
            let builder = builder
                .clock(self.clock.clone())
                .one_time_password_sender(self.outbox.clone())
                .keys(self.keys.clone())
                .entities(self.store.clone())
                .sessions(sessions)
                .policy(policy);
            let key = |byte: &u8| SealingKey::from_bytes([*byte; 32]);
            sealing_keys.iter().map(key).fold(builder, |builder, key| builder.sealing_key(key))
        });
        Fixture { clock: self.clock.clone(), outbox: self.outbox.clone(), ..fixture }
    }

    fn plain_node(&self) -> Fixture {
        self.node(&[1], self.store.clone(), Policy::default())
    }
}

/// A store that, at one call, does what a test tells it to.
#[derive(Debug)]
struct Brittle {
    inner: MemoryStore,
    /// How many calls go well before the one that does not.
    plan: Mutex<Option<(usize, Fault)>>,
    reached: Notify,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    /// It answers that it is out of reach.
    Fails,
    /// It never answers, and has done nothing.
    Hangs,
    /// It never answers, and has done its work.
    HangsLate,
}

impl Brittle {
    fn new(inner: &MemoryStore) -> Arc<Self> {
        Arc::new(Self { inner: inner.clone(), plan: Mutex::default(), reached: Notify::new() })
    }

    fn plan(&self, step: usize, fault: Fault) {
        *self.plan.lock().unwrap() = Some((step, fault));
    }

    /// Whether the call has come that was to go wrong.
    fn has_failed(&self) -> bool {
        self.plan.lock().unwrap().take().is_none()
    }

    fn next_fault(&self) -> Option<Fault> {
        let mut plan = self.plan.lock().unwrap();
        match &mut *plan {
            Some((0, fault)) => {
                let fault = *fault;
                *plan = None;
                Some(fault)
            }
            Some((steps, _)) => {
                *steps -= 1;
                None
            }
            None => None,
        }
    }

    async fn call<T>(
        &self,
        call: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        match self.next_fault() {
            None => return call.await,
            Some(Fault::Fails) => return Err(StoreError::unavailable("db.internal:5432 is gone")),
            Some(Fault::Hangs) => {}
            Some(Fault::HangsLate) => drop(call.await),
        }
        self.reached.notify_one();
        std::future::pending().await
    }
}

#[async_trait::async_trait]
impl SessionStore for Brittle {
    async fn insert(&self, session: Session, now: Timestamp) -> Result<(), StoreError> {
        self.call(SessionStore::insert(&self.inner, session, now)).await
    }
    async fn get(&self, key: &SessionKey) -> Result<Option<Session>, StoreError> {
        self.call(SessionStore::get(&self.inner, key)).await
    }
    async fn replace(&self, new: Session, expected: u64, now: Timestamp) -> Result<(), StoreError> {
        self.call(SessionStore::replace(&self.inner, new, expected, now)).await
    }
    async fn take(&self, key: &SessionKey, expected: u64) -> Result<Option<Session>, StoreError> {
        self.call(self.inner.take(key, expected)).await
    }
    async fn list(
        &self,
        filter: &SessionFilter,
        page: Page,
        now: Timestamp,
    ) -> Result<SessionPage, StoreError> {
        self.call(self.inner.list(filter, page, now)).await
    }
    async fn remove(&self, id: &SessionId) -> Result<Option<Session>, StoreError> {
        self.call(SessionStore::remove(&self.inner, id)).await
    }
    async fn remove_subject(
        &self,
        customer_id: &CustomerId,
        before: Timestamp,
    ) -> Result<Vec<Session>, StoreError> {
        self.call(self.inner.remove_subject(customer_id, before)).await
    }
    async fn revoke(&self, revocation: Revocation) -> Result<(), StoreError> {
        self.call(self.inner.revoke(revocation)).await
    }
    async fn revocations(&self, after: &Cursor, wait: Duration) -> Result<Revocations, StoreError> {
        self.inner.revocations(after, wait).await
    }
    async fn purge_expired(&self, now: Timestamp) -> Result<u64, StoreError> {
        self.call(self.inner.purge_expired(now)).await
    }
    fn is_durable(&self) -> bool {
        false
    }
}

/// The four sorts of an exchange, and how many calls of the store each takes.
#[derive(Clone, Copy, Debug)]
struct Sort {
    otp_required: bool,
    invalidate: bool,
    steps: usize,
}

const SORTS: [Sort; 4] = [
    Sort { otp_required: false, invalidate: true, steps: 2 },
    Sort { otp_required: false, invalidate: false, steps: 1 },
    Sort { otp_required: true, invalidate: true, steps: 3 },
    Sort { otp_required: true, invalidate: false, steps: 3 },
];

impl Sort {
    /// A session, and the right request for it.
    async fn begin(self, node: &Fixture) -> (String, Value) {
        let token = node.session(|new| new.otp_required(self.otp_required)).await;
        let mut body = json!({"invalidate": self.invalidate});
        if self.otp_required {
            body["oneTimePassword"] = json!(node.outbox.last_code());
        }
        (token, body)
    }

    /// The same request, of the service itself.
    async fn run(self, node: &Fixture, token: &str, body: &Value) -> Result<ExchangedToken, Error> {
        let mut request = ExchangeRequest::default().invalidate(self.invalidate);
        if let Some(code) = body["oneTimePassword"].as_str() {
            request = request.one_time_password(code);
        }
        let token = AuthenticationToken::from_text(token).unwrap();
        node.tokens.exchange(&token, request).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_thousand_exchanges_at_once_on_several_nodes_one_is_a_201() {
    let cluster = Cluster::new();
    let nodes = [cluster.plain_node(), cluster.plain_node(), cluster.plain_node()];
    let mut addresses = Vec::new();
    let mut servers = Vec::new();
    for node in &nodes {
        servers.push(serve(node).await);
        addresses.push(servers[servers.len() - 1].address);
    }
    for sort in [SORTS[0], SORTS[2]] {
        let (token, body) = sort.begin(&nodes[0]).await;
        let path = format!("{SESSIONS}/{token}/exchange");
        let exchange = |number: usize| {
            let request = Request::post(&path).header("content-type", JSON);
            (addresses[number % 3], request.body(body.to_string()).unwrap())
        };
        let statuses = at_once((0..1_000).map(exchange)).await;
        assert_eq!(statuses[&201], 1, "{sort:?} {statuses:?}");
        for server in &servers {
            let found = server.get(&format!("{SESSIONS}/{token}"), None).await;
            assert_problem(&found, 404, "not-found");
        }
    }
}

#[tokio::test]
async fn a_crash_between_any_two_steps_uses_nothing_up() {
    let cluster = Cluster::new();
    let store = Brittle::new(&cluster.store);
    let doomed = cluster.node(&[1], Arc::clone(&store), Policy::default());
    let other = cluster.plain_node();
    for sort in SORTS {
        for step in 0..sort.steps {
            let (token, body) = sort.begin(&other).await;
            store.plan(step, Fault::Hangs);
            // The node dies with the call under way: nothing of it runs any more.
            tokio::select! {
                exchanged = sort.run(&doomed, &token, &body) => panic!("{exchanged:?}"),
                () = store.reached.notified() => {}
            }
            let exchanged = sort.run(&other, &token, &body).await;
            assert!(exchanged.is_ok(), "{sort:?} {step} {exchanged:?}");
            let again = sort.run(&other, &token, &body).await;
            let once = sort.invalidate || sort.otp_required;
            assert_eq!(again.is_err(), once, "{sort:?} {step}");
        }
        let (token, body) = sort.begin(&other).await;
        store.plan(sort.steps, Fault::Hangs);
        sort.run(&doomed, &token, &body).await.unwrap();
        assert!(!store.has_failed(), "there is no further step");
    }
}

#[tokio::test]
async fn a_crash_behind_the_last_step_loses_the_answer_and_never_yields_two() {
    let cluster = Cluster::new();
    let store = Brittle::new(&cluster.store);
    let doomed = cluster.node(&[1], Arc::clone(&store), Policy::default());
    let other = cluster.plain_node();
    for sort in SORTS {
        for step in 0..sort.steps {
            let (token, body) = sort.begin(&other).await;
            store.plan(step, Fault::HangsLate);
            tokio::select! {
                exchanged = sort.run(&doomed, &token, &body) => panic!("{exchanged:?}"),
                () = store.reached.notified() => {}
            }
            let exchanged = sort.run(&other, &token, &body).await.map_err(|error| error.kind());
            let is_last = step + 1 == sort.steps;
            let expected = match (is_last, sort.invalidate, sort.otp_required) {
                (true, true, _) => Some(ErrorKind::NotFound),
                // The session is still there, and is sent another code.
                (true, false, true) => Some(ErrorKind::OneTimePasswordInvalid),
                _ => None,
            };
            assert_eq!(exchanged.err(), expected, "{sort:?} {step}");
        }
    }
}

#[tokio::test]
async fn a_store_that_fails_or_hangs_at_any_step_is_a_503_and_uses_nothing_up() {
    let cluster = Cluster::new();
    let store = Brittle::new(&cluster.store);
    let policy = Policy::default().store_deadline(Duration::from_millis(5));
    let node = cluster.node(&[1], Arc::clone(&store), policy);
    let server = serve(&node).await;
    for sort in SORTS {
        for step in 0..sort.steps {
            for fault in [Fault::Fails, Fault::Hangs] {
                let (token, body) = sort.begin(&node).await;
                store.plan(step, fault);
                let failed = exchange(&server, &token, body.clone()).await;
                assert!(store.has_failed());
                assert_problem(&failed, 503, "unavailable");
                assert!(retry_after(&failed) >= 1);
                assert!(!failed.text().contains("db.internal"), "{failed:?}");
                exchange(&server, &token, body).await.expect(201);
            }
        }
    }
}

#[tokio::test]
async fn however_often_the_last_step_fails_a_right_code_is_no_wrong_try() {
    let cluster = Cluster::new();
    let store = Brittle::new(&cluster.store);
    let node = cluster.node(&[1], Arc::clone(&store), Policy::default());
    let server = serve(&node).await;
    for sort in [SORTS[2], SORTS[3]] {
        let (token, body) = sort.begin(&node).await;
        for _ in 0..10 {
            store.plan(sort.steps - 1, Fault::Fails);
            let failed = exchange(&server, &token, body.clone()).await;
            assert_problem(&failed, 503, "unavailable");
        }
        exchange(&server, &token, body).await.expect(201);
    }
}

#[tokio::test]
async fn a_logout_that_fails_at_any_step_is_finished_by_the_next_try() {
    let cluster = Cluster::new();
    let store = Brittle::new(&cluster.store);
    let node = cluster.node(&[1], Arc::clone(&store), Policy::default());
    let [here, elsewhere] = [serve(&node).await, serve(&cluster.plain_node()).await];
    for step in 0..3 {
        let token = node.session(|new| new).await;
        let path = format!("{SESSIONS}/{token}");
        let log_out = async || here.send(Request::delete(&path).body("").unwrap()).await;
        store.plan(step, Fault::Fails);
        assert_problem(&log_out().await, 503, "unavailable");
        assert!(store.has_failed());
        // Whichever it is told, its holder takes the session to be over: so it is, everywhere.
        let status = log_out().await.status().as_u16();
        assert!([204, 404].contains(&status), "{status}");
        for server in [&here, &elsewhere] {
            let found = server.get(&path, None).await;
            assert_eq!(found.status().as_u16(), 404, "after step {step}: {found:?}");
        }
    }
}

#[tokio::test]
async fn a_password_change_that_fails_at_one_step_does_all_the_others() {
    let cluster = Cluster::new();
    let store = Brittle::new(&cluster.store);
    let node = cluster.node(&[1], Arc::clone(&store), Policy::default());
    let [here, elsewhere] = [serve(&node).await, serve(&cluster.plain_node()).await];
    let hash = node.tokens.hash_password(Password::new(PASSWORD).unwrap()).await.unwrap();
    let jane = Entity::customer("jane", hash, CustomerId::new("cus_1").unwrap(), false).unwrap();
    let id = jane.id().clone();
    node.tokens.register(jane).await.unwrap();
    // Taking back, removing the sessions, and telling those who keep copies of the credential.
    for step in 0..3 {
        let path = format!("{SESSIONS}/{}", node.session(|new| new).await);
        cluster.clock.advance(Duration::from_millis(1));
        store.plan(step, Fault::Fails);
        let new = Password::new(format!("password number {step}")).unwrap();
        let failed = node.tokens.set_password(&id, new).await.unwrap_err();
        assert_eq!(failed.kind(), ErrorKind::Unavailable);
        assert!(store.has_failed());
        assert_problem(&here.get(&path, None).await, 404, "not-found");
        if step != 1 {
            assert_problem(&elsewhere.get(&path, None).await, 404, "not-found");
        }
    }
}

#[tokio::test]
async fn a_list_is_not_widened_by_stars_escapes_case_empty_segments_or_unknown_keys() {
    let policy = Policy::default().trailing_wildcards(true);
    let fixture = Fixture::with(|builder| builder.policy(policy));
    let server = serve(&fixture).await;
    let held = json!([{"scope": {"productId": ["p1"]}, "permissions": ["Storefront*"]}]);
    let token = fixture.session(|new| new.acl(acl_of(held.clone()))).await;
    let path = format!("{SESSIONS}/{token}/exchange");
    for (scope, permission, status) in [
        (r#"{"productId":["p1"]}"#, "*", 403),
        (r#"{"productId":["p1"]}"#, r"\u002a", 403),
        (r#"{"productId":["p1"]}"#, "Store*", 403),
        (r#"{"productId":["p1"]}"#, "storefrontGet", 403),
        (r#"{"productId":["p1"]}"#, "STOREFRONT*", 403),
        (r#"{"productId":["p1"]}"#, ":Storefront", 403),
        (r#"{"productId":["p1"]}"#, "Storefront**", 422),
        (r#"{"productId":["p1"]}"#, "Storefront:*:Get", 422),
        (r#"{"productId":["p1"]}"#, r"Storefront\u002a\u002a", 422),
        (r#"{"productId":["p1"]}"#, r"Storefront\\*", 422),
        (r#"{"productId":["p1"]}"#, r"Storefront\u0000", 422),
        (r#"{"productId":["p1"]}"#, "Storefront＊", 422),
        (r#"{"productId":["p1"]}"#, "Storefront *", 422),
        (r#"{"productId":["p1"]}"#, "", 422),
        ("{}", "StorefrontGet", 403),
        (r#"{"unknown":["p1"]}"#, "StorefrontGet", 403),
        (r#"{"productid":["p1"]}"#, "StorefrontGet", 403),
        (r#"{"productId ":["p1"]}"#, "StorefrontGet", 403),
        (r#"{"productId":["p1","p2"]}"#, "StorefrontGet", 403),
        (r#"{"productId":["*"]}"#, "StorefrontGet", 403),
        (r#"{"productId":["P1"]}"#, "StorefrontGet", 403),
        (r#"{"productId":[]}"#, "StorefrontGet", 422),
        (r#"{"productId":[""]}"#, "StorefrontGet", 422),
        (r#"{"":["p1"]}"#, "StorefrontGet", 422),
    ] {
        let body = format!(r#"{{"acl":[{{"scope":{scope},"permissions":["{permission}"]}}]}}"#);
        let answer = server.post_text(&path, None, Some(JSON), body).await;
        let kind = if status == 403 { "acl-exceeds-grant" } else { "invalid-fields" };
        assert_problem(&answer, status, kind);
    }
    // A key twice, so that one reader sees the narrow value and another the wide one.
    let twice = r#"{"acl":[{"scope":{"productId":["p1"],"productId":["p2"]},"permissions":["StorefrontGet"]}]}"#;
    let answer = server.post_text(&path, None, Some(JSON), twice).await;
    assert_problem(&answer, 400, "malformed-request");
    assert_eq!(exchange(&server, &token, json!({})).await.expect(201).json()["acl"], held);
}

#[tokio::test]
async fn custom_claims_named_like_registered_ones_stand_under_custom_claims_alone() {
    let claims = json!({
        "iss": "https://evil.example", "sub": "admin", "aud": ["*"], "exp": 9_999_999_999_u64,
        "nbf": 0, "iat": 0, "jti": "jwt_0", "sid": "s", "client_id": "root",
        "subject_type": "user", "organizationId": "org_9", "acl": [{"scope": {}, "permissions": ["*"]}],
        "customClaims": {"nested": true}, "__proto__": {"admin": true}, "constructor": null,
    });
    let names: Vec<_> = claims.as_object().unwrap().keys().cloned().collect();
    let policy = Policy::default().open_custom_claims(names);
    let fixture = Fixture::with(|builder| builder.policy(policy));
    let server = serve(&fixture).await;
    let given = claims.as_object().unwrap().clone();
    let with_given = fixture.session(|new| new.custom_claims(given)).await;
    let plain = fixture.session(|new| new).await;
    for (token, body) in [(with_given, json!({})), (plain, json!({"customClaims": claims}))] {
        let answer = exchange(&server, &token, body).await.expect(201).json();
        assert_eq!(answer["customClaims"], claims);
        let jwt = answer["token"].as_str().unwrap();
        let validated = fixture.tokens.validator().validate(jwt).unwrap();
        assert_eq!(validated.subject(), "cus_1");
        assert_eq!(*validated.acl(), Acl::default());
        let payload = URL_SAFE_NO_PAD.decode(jwt.split('.').nth(1).unwrap()).unwrap();
        let payload: Value = serde_json::from_slice(&payload).unwrap();
        let expected = json!({
            "iss": ISSUER, "aud": AUDIENCE, "sub": "cus_1", "subject_type": "customer",
            "client_id": "first-party", "iat": START, "nbf": START, "exp": START + 3_600,
            "jti": answer["id"], "sid": payload["sid"], "acl": [], "customClaims": claims,
        });
        assert_eq!(payload, expected);
    }
}

#[tokio::test]
async fn an_expiry_is_an_instant_within_bounds_however_it_is_written() {
    let fixture = Fixture::new();
    let server = serve(&fixture).await;
    for (time, seconds) in [
        ("2026-01-01T03:00:00+02:00", 3_600),
        ("2025-12-31T19:00:00-05:30", 1_800),
        ("2026-01-01t01:00:00z", 3_600),
        ("2026-01-01T01:00:00-00:00", 3_600),
        // A leap second is the second before it, and fractions are cut: never later than asked.
        ("2026-01-01T00:59:60Z", 3_599),
        ("2026-01-01T00:00:01.999999999Z", 1),
        ("2026-01-02T00:00:00Z", 86_400),
        ("2026-01-02T14:00:00+14:00", 86_400),
    ] {
        let token = fixture.session(|new| new).await;
        let answer = exchange(&server, &token, json!({"expiredTime": time})).await.expect(201);
        let jwt = answer.json()["token"].as_str().unwrap().to_owned();
        let validated = fixture.tokens.validator().validate(&jwt).unwrap();
        assert_eq!(validated.expires_at(), Timestamp::from_secs(START + seconds), "{time}");
        assert_eq!(answer.json()["expiredTime"], validated.expires_at().to_string());
    }
    let token = fixture.session(|new| new).await;
    for time in [
        "2025-12-31T23:59:59Z",
        "2026-01-01T00:00:00Z",
        "2026-01-01T00:00:00.999Z",
        "2026-01-01T13:59:00+14:00",
        "2025-12-31T23:59:60Z",
        "0000-01-01T00:00:00Z",
        "1969-12-31T23:59:59Z",
        "2026-01-02T00:00:00.000001Z",
        "2026-01-02T00:00:01Z",
        "2026-01-01T23:00:00-01:01",
        "9999-12-31T23:59:59Z",
        "9999-12-31T23:59:60-23:59",
        "+010000-01-01T00:00:00Z",
        "2026-01-01T24:00:00Z",
        "2026-01-01T01:00:61Z",
        "2026-02-30T01:00:00Z",
        "2026-01-01T01:00:00",
        "2026-01-01T01:00:00+24:00",
        "2026-W01-4T01:00:00Z",
        "1767229200",
        "１767229200",
        "",
    ] {
        let answer = exchange(&server, &token, json!({"expiredTime": time})).await;
        assert_problem(&answer, 422, "invalid-fields");
        assert_eq!(answer.json()["invalidFields"][0]["field"], "expiredTime", "{time}");
    }
    exchange(&server, &token, json!({})).await.expect(201);
}

// Secrets

/// The token of a user who may read and reset the secret of one entity.
fn manager_of(node: &Fixture, entity: &str) -> String {
    let permissions = ["ReadEntitySecret", "ResetEntitySecret"];
    let acl = json!([{"scope": {"entityId": [entity]}, "permissions": permissions}]);
    let issued = node.tokens.issue(Grant::user("manager").acl(acl_of(acl))).unwrap();
    issued.access_token.expose().to_owned()
}

/// Reads or resets a secret.
async fn manage(server: &Server, node: &Fixture, operation: &str, entity: &str) -> Answer {
    let body = json!({
        "ver": "1.0.0", "timestamp": "2026-01-01T00:00:00Z", "txnId": "1", "entityId": entity,
    });
    let path = format!("/entity/secret/{operation}");
    server.post(&path, Some(&manager_of(node, entity)), &body).await
}

#[track_caller]
fn secret_in(answer: Answer) -> String {
    answer.expect(200).json()["secret"].as_str().unwrap().to_owned()
}

/// A store whose record of `own` has been replaced by that of `other`.
#[derive(Debug)]
struct Swapped {
    inner: MemoryStore,
    own: EntityId,
    other: EntityId,
}

#[async_trait::async_trait]
impl EntityStore for Swapped {
    async fn insert(&self, entity: Entity) -> Result<(), StoreError> {
        EntityStore::insert(&self.inner, entity).await
    }
    async fn get(&self, id: &EntityId) -> Result<Option<Entity>, StoreError> {
        let id = if *id == self.own { &self.other } else { id };
        EntityStore::get(&self.inner, id).await
    }
    async fn replace(&self, entity: Entity, expected_version: u64) -> Result<(), StoreError> {
        EntityStore::replace(&self.inner, entity, expected_version).await
    }
    async fn remove(&self, id: &EntityId) -> Result<bool, StoreError> {
        EntityStore::remove(&self.inner, id).await
    }
    fn is_durable(&self) -> bool {
        false
    }
}

#[tokio::test]
async fn a_secret_that_was_moved_to_another_entity_is_of_no_use_there() {
    let cluster = Cluster::new();
    let honest = cluster.plain_node();
    honest.entity("rich", SECRET).await;
    honest.entity("poor", "what the poor one has").await;
    let [own, other] = ["poor", "rich"].map(|id| EntityId::entity(id).unwrap());
    let moved = Swapped { inner: cluster.store.clone(), own, other };
    let node = Fixture::with(|builder| {
        let key = SealingKey::from_bytes([1; 32]);
        builder.entities(moved).keys(cluster.keys.clone()).sealing_key(key)
    });
    let server = serve(&node).await;
    for operation in ["read", "reset"] {
        let answer = manage(&server, &node, operation, "poor").await.expect(401);
        assert!(!answer.text().contains(SECRET));
        assert_eq!(answer.json()["errorMsg"], "Invalid entity id");
    }
    Login::Entity.attempt(&server, HOME, "poor", "what the poor one has").await.expect(401);
    // Whoever has the secret of one never gets a token of the other.
    let answer = Login::Entity.attempt(&server, HOME, "poor", SECRET).await;
    if answer.status().as_u16() == 200 {
        let token = answer.json()["accessToken"].as_str().unwrap().to_owned();
        assert_eq!(node.tokens.validator().validate(&token).unwrap().subject(), "rich");
    }
    let own = secret_in(manage(&server, &node, "read", "rich").await);
    assert_eq!(own, SECRET, "it has been left as it was");
}

#[tokio::test]
async fn a_sealing_key_is_rotated_while_secrets_and_codes_stay_good() {
    let cluster = Cluster::new();
    let node = |keys: &[u8]| {
        let policy = Policy::default().secret_overlap(DAY);
        cluster.node(keys, cluster.store.clone(), policy)
    };
    let (before, during, after) = (node(&[1]), node(&[2, 1]), node(&[2]));
    let [old, both, new] = [serve(&before).await, serve(&during).await, serve(&after).await];
    before.entity("aa-1", SECRET).await;
    before.entity("aa-2", "another secret of the tests").await;
    let login = async |server: &Server, id: &str, secret: &str| {
        Login::Entity.attempt(server, HOME, id, secret).await.status().as_u16()
    };

    // What the old key sealed, opens.
    assert_eq!(secret_in(manage(&both, &during, "read", "aa-1").await), SECRET);
    assert_eq!(login(&both, "aa-1", SECRET).await, 200);
    let (token, code) = guarded(&before).await;
    present(&both, &token, &code).await.expect(201);

    // A new secret is sealed with the new key, and the old one lives out its overlap.
    let next = secret_in(manage(&both, &during, "reset", "aa-1").await);
    assert_eq!(login(&both, "aa-1", SECRET).await, 200);
    for (server, fixture) in [(&both, &during), (&new, &after)] {
        assert_eq!(secret_in(manage(server, fixture, "read", "aa-1").await), next);
        assert_eq!(login(server, "aa-1", &next).await, 200);
    }
    cluster.clock.advance(DAY);
    assert_eq!(login(&both, "aa-1", SECRET).await, 401);

    // Without its key, a sealed text is closed, and nothing of it is told.
    for (server, fixture, id, secret) in
        [(&old, &before, "aa-1", &*next), (&new, &after, "aa-2", "another secret of the tests")]
    {
        let answer = manage(server, fixture, "read", id).await.expect(500);
        assert_eq!(answer.json()["errorMsg"], "The service failed");
        assert_eq!(login(server, id, secret).await, 401);
    }
    let (token, code) = guarded(&before).await;
    let refused = present(&new, &token, &code).await;
    assert_problem(&refused, 401, "one-time-password-invalid");
    present(&both, &token, &code).await.expect(201);
}
