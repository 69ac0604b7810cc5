//! Guessing.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Barrier;
use std::time::Duration;

use countersign::{
    CustomerId, Entity, EntityId, ErrorKind, OrganizationId, Password, Policy, RequestContext,
    Secret, Timestamp, TrustedProxies,
};

use crate::attacks::service::{
    DAY, ELSEWHERE, ENTITY_TOKEN, HOME, HOUR, LOGINS, Login, MINUTE, NAME, PEER, at_once,
    by_name_and_address, limit, manage, populated_service, retry_after, secret_in, serve,
};
use crate::support::programs::Folder;
use crate::support::{Fixture, PASSWORD, START, change_of, send, send_over};

#[tokio::test]
async fn a_throttle_does_not_tell_which_names_exist() {
    for login in LOGINS {
        let (_, server) = populated_service(by_name_and_address(2)).await;
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
        let (_, server) = populated_service(by_name_and_address(8)).await;
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
    let (_, server) = populated_service(by_name_and_address(8)).await;
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
async fn behind_a_proxy_that_writes_forwarded_the_other_header_counts_for_nothing() {
    let proxies = TrustedProxies::networks(["10.0.0.0/8"]).unwrap().forwarded_header();
    let policy = by_name_and_address(2).http(|http| http.trusted_proxies(proxies));
    let (_, server) = populated_service(policy).await;
    let guess = async |forwarded: &[&str], other: &str| {
        let mut headers = vec![(PEER, "10.0.0.1"), ("x-forwarded-for", other)];
        headers.extend(forwarded.iter().map(|value| ("forwarded", *value)));
        let request = Login::Entity.request(ENTITY_TOKEN, &headers, NAME, "a guess");
        server.send(request).await.status().as_u16()
    };
    assert_eq!(guess(&["for=203.0.113.1, for=198.51.100.7;proto=https"], "192.0.2.1").await, 401);
    let quoted = r#"for=203.0.113.2, for="198.51.100.7:4711""#;
    assert_eq!(guess(&["for=\"", quoted], "192.0.2.2").await, 401);
    for client in ["For=198.51.100.7", "by=10.0.0.1;for=198.51.100.7, for=10.9.9.9"] {
        assert_eq!(guess(&[client], "192.0.2.3").await, 429, "{client}");
    }
    assert_eq!(guess(&[r#"for="[2001:db8::1]""#], "198.51.100.7").await, 401);
}

#[tokio::test]
async fn behind_a_proxy_on_a_unix_socket_each_client_has_its_own_count() {
    let folder = Folder::new("sockets");
    // Where no proxy is trusted, no address is known, and none counts.
    for (proxies, third) in
        [(TrustedProxies::default().unix_sockets(), 429), (TrustedProxies::default(), 401)]
    {
        let policy = by_name_and_address(2).http(|http| http.trusted_proxies(proxies));
        let (fixture, _) = populated_service(policy).await;
        let path = folder.path().join(format!("{third}.sock"));
        let listener = tokio::net::UnixListener::bind(&path).unwrap();
        let router = fixture.tokens.router();
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        let guess = async |client: &str| {
            let headers = [("x-forwarded-for", client)];
            let request = Login::Entity.request(ENTITY_TOKEN, &headers, NAME, "a guess");
            let stream = tokio::net::UnixStream::connect(&path).await.unwrap();
            send_over(stream, request).await.status().as_u16()
        };
        for status in [401, 401, third] {
            assert_eq!(guess("203.0.113.9, 198.51.100.7").await, status);
        }
        assert_eq!(guess("198.51.100.7, 192.0.2.1").await, 401);
        serving.abort();
    }
}

#[tokio::test]
async fn behind_a_trusted_proxy_only_what_the_proxy_wrote_counts() {
    let policy = by_name_and_address(4)
        .http(|http| http.trusted_proxies(TrustedProxies::networks(["10.0.0.0/8"]).unwrap()));
    let (_, server) = populated_service(policy).await;
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
    let (fixture, _) = populated_service(by_name_and_address(3)).await;
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
        let (fixture, server) = populated_service(by_name_and_address(3)).await;
        let id = id.unwrap();
        let bound = id.clone().organization(OrganizationId::new("org_1").unwrap());
        let hash = fixture.tokens.hash_password(Password::new(PASSWORD).unwrap()).await.unwrap();
        let namesake = match login {
            Login::User => Entity::user(NAME, hash),
            _ => Entity::customer(NAME, hash, CustomerId::new("cus_1").unwrap(), false),
        };
        let namesake = namesake.unwrap().organization(bound.organization_id().unwrap().clone());
        fixture.tokens.register(namesake).await.unwrap();
        let change = async |id: &EntityId, old: &str| {
            let change = change_of(id.clone(), old, "another good password");
            let context = RequestContext::from_address(HOME.parse().unwrap());
            let changed = fixture.tokens.change_password(change, &context).await;
            changed.map_err(|error| error.kind())
        };
        let mounted = async |organization: &str| {
            let path = format!("/organizations/{organization}{}", login.path());
            let request = login.request(&path, &[(PEER, HOME)], NAME, "a guess");
            server.send(request).await.status().as_u16()
        };
        assert_eq!(login.guess(&server, HOME, NAME).await, 401);
        assert_eq!(change(&id, "a guess").await, Err(ErrorKind::InvalidCredentials));
        assert_eq!(login.guess(&server, HOME, NAME).await, 401);
        assert_eq!(login.guess(&server, HOME, NAME).await, 429);
        assert_eq!(change(&id, PASSWORD).await, Err(ErrorKind::Throttled));
        // Nobody is of an organization that cannot exist, and guesses there are counted by themselves.
        for status in [401, 401, 401, 429] {
            assert_eq!(mounted("%20").await, status);
        }
        // A namesake of an organization is somebody else, who is guessed at by other routes.
        assert_eq!(mounted("org_1").await, 401);
        assert_eq!(change(&bound, "a guess").await, Err(ErrorKind::InvalidCredentials));
        assert_eq!(mounted("org_1").await, 401);
        assert_eq!(mounted("org_1").await, 429);
        assert_eq!(change(&bound, PASSWORD).await, Err(ErrorKind::Throttled));
        assert_eq!(mounted("org_2").await, 401);
        fixture.clock.advance(MINUTE);
        assert_eq!(change(&id, PASSWORD).await, Ok(()));
        assert_eq!(change(&bound, PASSWORD).await, Ok(()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_guesses_at_once_count_as_a_thousand() {
    // Whatever the machine, there is room for those that are let through.
    let policy = by_name_and_address(10)
        .passwords(|passwords| passwords.hashing_queue(1_000).hashing_deadline(HOUR));
    for login in [Login::User, Login::Customer] {
        let (fixture, server) = populated_service(policy.clone()).await;
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
    let (_, server) = populated_service(by_name_and_address(10)).await;
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
    let (fixture, _server) = runtime.block_on(populated_service(by_name_and_address(FREE)));
    // Each round is a race of its own, from an address that nobody has guessed from.
    for round in 0..100_u8 {
        let context = RequestContext::from_address([192, 0, 2, round].into());
        let guess = async || {
            let secret = Secret::presented("a guess");
            let rejected = fixture.tokens.issue_machine_token(NAME, &secret, &context).await;
            rejected.unwrap_err().kind() == ErrorKind::InvalidCredentials
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
    let (fixture, server) = populated_service(Policy::default()).await;
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
        let (fixture, server) = populated_service(by_name_and_address(2)).await;
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
    let (fixture, server) = populated_service(by_name_and_address(2)).await;
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
    let policy = by_name_and_address(10).throttle(|throttle| throttle.by_name(limit(5)));
    for login in LOGINS {
        let (fixture, server) = populated_service(policy.clone()).await;
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
    let policy = Policy::default().throttle(|throttle| throttle.by_address(limit(6)));
    let (fixture, server) = populated_service(policy).await;
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
    for policy in [
        by_name_and_address(4),
        Policy::default().throttle(|throttle| throttle.by_address(limit(4))),
    ] {
        for login in LOGINS {
            let (_, server) = populated_service(policy.clone()).await;
            for _ in 0..4 {
                assert!(login.owner_gets_in(&server, HOME).await);
                assert_eq!(login.guess(&server, HOME, "victim").await, 401);
            }
            login.owner_gets_in(&server, HOME).await;
            assert_eq!(login.guess(&server, HOME, "victim").await, 429, "{login:?}");
        }
    }
}
