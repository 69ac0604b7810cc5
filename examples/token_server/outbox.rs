//! One-time passwords in a file.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::sync::Mutex;

use async_trait::async_trait;
use countersign::sessions::{OneTimePasswordMessage, OneTimePasswordSender};
use serde_json::json;

use crate::Problem;

/// Appends one-time passwords to a file, where a real one would send an e-mail.
#[derive(Debug)]
pub(crate) struct Outbox {
    file: Mutex<fs::File>,
}

impl Outbox {
    pub(crate) fn open(path: &Path) -> Result<Self, Problem> {
        let file = fs::OpenOptions::new().create(true).append(true).open(path);
        let file = file.map_err(|error| format!("COUNTERSIGN_OUTBOX: {error}"))?;
        Ok(Self { file: Mutex::new(file) })
    }
}

#[async_trait]
impl OneTimePasswordSender for Outbox {
    async fn send(&self, message: OneTimePasswordMessage) -> Result<(), Problem> {
        let line = json!({
            "to": message.customer_id,
            "sid": message.session_id,
            "oneTimePassword": message.one_time_password.expose(),
            "expiresAt": message.expires_at.to_string(),
        });
        let mut file = self.file.lock().map_err(|_| "the outbox is broken")?;
        file.write_all(format!("{line}\n").as_bytes())?;
        Ok(())
    }
}
