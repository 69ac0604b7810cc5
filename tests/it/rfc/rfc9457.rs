//! Problem Details for HTTP APIs.

use serde_json::json;

use crate::support::Fixture;

#[tokio::test]
async fn section_3_a_problem_has_the_members_of_the_example_and_says_its_status() {
    let fixture = Fixture::new();
    let server = fixture.serve().await;
    let token = fixture.session(|new| new).await;
    let wider = json!({"acl": [{"scope": {}, "permissions": ["*"]}]});
    let path = format!("/authentication-tokens/{token}/exchange");
    let answer = server.post(&path, None, &wider).await;
    assert_eq!(answer.status(), 403);
    assert_eq!(answer.header("content-type"), "application/problem+json");
    let body = answer.json();
    let problem = body.as_object().unwrap();
    // Section 3.1.1: a URI; 3.1.2: as the status line has it; 3.1.3 and 3.1.4: text.
    assert!(problem["type"].as_str().unwrap().contains(':'));
    assert_eq!(problem["status"], 403);
    assert!(problem["title"].is_string());
    assert!(problem["detail"].is_string());
    // Section 3.1.5: an instance, where it is there, is a URI reference.
    assert!(problem.get("instance").is_none_or(|instance| instance.is_string()));
}

#[tokio::test]
async fn section_3_2_what_a_caller_may_act_on_is_a_member_of_its_own() {
    let fixture = Fixture::new();
    let server = fixture.serve().await;
    let token = fixture.session(|new| new).await;
    let late = json!({"expiredTime": "2099-01-01T00:00:00Z"});
    let path = format!("/authentication-tokens/{token}/exchange");
    let answer = server.post(&path, None, &late).await;
    assert_eq!(answer.status(), 422);
    assert_eq!(answer.json()["invalidFields"][0]["field"], "expiredTime");
}
