//! Logins that wait for their password to be hashed, and those that find no place to.

use std::time::Duration;

use http::header::CONTENT_TYPE;
use http::{Method, Request};
use serde_json::json;
use tokio::sync::oneshot;

use super::{
    JSON, READ, RESET, SECRET, USER_TOKEN, WRONG_PASSWORD, assert_error, assert_unavailable,
    claims_in, complete, entity_login, manager, service, service_with, user_login,
};
use crate::support::{Answer, PASSWORD, Server};

/// Runs a test on a runtime whose one thread for blocking work is a test's to occupy: passwords
/// are hashed there, when the test lets them.
fn with_one_blocking_thread<F: Future<Output = ()>>(test: F) {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(1)
        .build()
        .unwrap()
        .block_on(test);
}

/// Keeps the thread for blocking work busy until it is dropped.
async fn occupy_blocking_thread() -> std::sync::mpsc::Sender<()> {
    let (hold, held) = std::sync::mpsc::channel::<()>();
    let (started, starting) = oneshot::channel();
    tokio::task::spawn_blocking(move || {
        let _ = started.send(());
        let _ = held.recv();
    });
    starting.await.unwrap();
    hold
}

/// Logs in so many times at once while nothing can be hashed, until all but `served` of them are
/// rejected; then lets the others go on, and answers what they got.
async fn flood(server: &Server, name: &str, logins: usize, served: usize) -> Vec<Answer> {
    let hold = occupy_blocking_thread().await;
    let mut requests = tokio::task::JoinSet::new();
    for _ in 0..logins {
        let body = json!({"username": name, "password": PASSWORD});
        let request = Request::builder()
            .method(Method::POST)
            .uri(USER_TOKEN)
            .header(CONTENT_TYPE, JSON)
            .body(body.to_string())
            .unwrap();
        requests.spawn(crate::support::send(server.address, request));
    }
    for _ in 0..logins - served {
        // Where too many were let in, none of those is ever rejected.
        let rejected = tokio::time::timeout(Duration::from_secs(60), requests.join_next()).await;
        let rejected = rejected.expect("no more than those that are served may wait");
        assert_unavailable(&rejected.unwrap().unwrap());
    }
    drop(hold);
    requests.join_all().await
}

#[test]
fn a_login_that_finds_no_place_to_wait_is_a_503_and_all_others_are_served() {
    with_one_blocking_thread(async {
        let (_fixture, server) = service_with(|policy| {
            policy.passwords(|passwords| {
                passwords
                    .hashing_permits(1)
                    .hashing_queue(0)
                    .hashing_deadline(Duration::from_secs(3600))
            })
        })
        .await;
        for answer in flood(&server, "ops@example.com", 20, 1).await {
            answer.expect(200);
        }
        // The place is free again.
        user_login(&server, "ops@example.com", PASSWORD).await.expect(200);
    });
}

#[test]
fn as_many_logins_wait_as_the_queue_has_places() {
    with_one_blocking_thread(async {
        let (_fixture, server) = service_with(|policy| {
            policy.passwords(|passwords| {
                passwords
                    .hashing_permits(1)
                    .hashing_queue(3)
                    .hashing_deadline(Duration::from_secs(3600))
            })
        })
        .await;
        for _ in 0..2 {
            for answer in flood(&server, "ops@example.com", 20, 4).await {
                answer.expect(200);
            }
        }
    });
}

#[test]
fn a_login_that_has_waited_too_long_for_its_turn_is_a_503() {
    with_one_blocking_thread(async {
        let (_fixture, server) = service_with(|policy| {
            policy.passwords(|passwords| {
                passwords
                    .hashing_permits(1)
                    .hashing_queue(10)
                    .hashing_deadline(Duration::from_millis(5))
            })
        })
        .await;
        for answer in flood(&server, "ops@example.com", 5, 1).await {
            answer.expect(200);
        }
    });
}

#[test]
fn logins_of_unknown_names_wait_and_are_rejected_like_all_others() {
    with_one_blocking_thread(async {
        let (_fixture, server) = service_with(|policy| {
            policy.passwords(|passwords| {
                passwords
                    .hashing_permits(1)
                    .hashing_queue(3)
                    .hashing_deadline(Duration::from_secs(3600))
            })
        })
        .await;
        for answer in flood(&server, "unknown@example.com", 20, 4).await {
            assert_error(&answer, 401, "Unauthorized", WRONG_PASSWORD);
        }
    });
}

#[test]
fn secrets_and_tokens_are_checked_while_no_password_can_be_hashed() {
    with_one_blocking_thread(async {
        let (fixture, server) = service().await;
        let hold = occupy_blocking_thread().await;
        let login = entity_login(&server, "aa-1", SECRET).await.expect(200);
        assert_eq!(claims_in(&fixture, &login)["sub"], "aa-1");
        for route in [READ, RESET] {
            server.post(route, Some(&manager(&fixture)), &complete()).await.expect(200);
        }
        drop(hold);
    });
}
