//! The routes of a session, and what its holder asks of them.

use serde_json::{Value, json};

use super::{Answer, Server};

pub const SESSIONS: &str = "/authentication-tokens";

pub fn session_path(token: &str) -> String {
    format!("{SESSIONS}/{token}")
}

pub fn exchange_path(token: &str) -> String {
    format!("{SESSIONS}/{token}/exchange")
}

pub fn code_path(token: &str) -> String {
    format!("{SESSIONS}/{token}/one-time-password")
}

pub async fn exchange(server: &Server, token: &str, body: &Value) -> Answer {
    server.post(&exchange_path(token), None, body).await
}

/// Exchanges a token with a one-time password.
pub async fn present_code(server: &Server, token: &str, code: &str) -> Answer {
    exchange(server, token, &json!({"oneTimePassword": code})).await
}

/// Asks for the one-time password once more.
pub async fn send_again(server: &Server, token: &str) -> Answer {
    server.post_text(&code_path(token), None, None, "").await
}
