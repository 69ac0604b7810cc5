//! One-time passwords by e-mail: a customer logs in, reads the code in a message, and exchanges
//! the authentication token with it.
//!
//! ```text
//! cargo run -p email_code
//! ```
//!
//! Messages are made by `lettre` and written to a folder, as files that any mail program opens. To
//! send them, take `AsyncSmtpTransport` in the place of `AsyncFileTransport`: the rest stays.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::{fs, io};

use async_trait::async_trait;
use countersign::sessions::{CustomerLogin, OneTimePasswordMessage, OneTimePasswordSender};
use countersign::{
    Algorithm, CustomerId, Entity, ErrorKind, ExchangeRequest, KeyRing, Password, RequestContext,
    TokenService,
};
use lettre::message::Mailbox;
use lettre::message::header::ContentType;
use lettre::{AsyncFileTransport, AsyncTransport, Message, Tokio1Executor};

type Problem = Box<dyn std::error::Error + Send + Sync>;

/// Writes an e-mail for each code.
#[derive(Debug)]
struct Mailer {
    from: Mailbox,
    transport: AsyncFileTransport<Tokio1Executor>,
}

impl Mailer {
    fn new(folder: &Path) -> Result<Self, Problem> {
        let from = "Example shop <no-reply@example.com>".parse()?;
        Ok(Self { from, transport: AsyncFileTransport::new(folder) })
    }
}

#[async_trait]
impl OneTimePasswordSender for Mailer {
    async fn send(&self, message: OneTimePasswordMessage) -> Result<(), Problem> {
        // Customers log in with their e-mail address here. Where they do not, look it up by
        // `message.customer_id`.
        let address = message.username.as_deref().ok_or("the customer has no e-mail address")?;
        let email = Message::builder()
            .from(self.from.clone())
            .to(address.parse().map_err(|_| "the customer's e-mail address is none")?)
            .subject("Your code")
            .header(ContentType::TEXT_PLAIN)
            .body(format!(
                "Your code is {}. It is good until {}.\n\n\
                 If you have not asked for it, somebody may know your password: change it.\n",
                message.one_time_password.expose(),
                message.expires_at,
            ))?;
        self.transport.send(email).await?;
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<(), Problem> {
    let folder = std::env::temp_dir().join(format!("countersign-mail-{}", std::process::id()));
    fs::create_dir_all(&folder)?;
    let outcome = run(&folder, &mut io::stdout()).await;
    fs::remove_dir_all(&folder)?;
    outcome
}

async fn run(folder: &Path, out: &mut impl Write) -> Result<(), Problem> {
    let tokens = TokenService::builder()
        .issuer("https://auth.example.com")
        .audience("https://api.example.com")
        .keys(KeyRing::generate(Algorithm::EdDSA)?)
        .one_time_password_sender(Mailer::new(folder)?)
        .build()?;
    let _housekeeping = tokens.start().await?;
    let hash = tokens.hash_password(Password::new("correct-horse-battery-staple")?).await?;
    let jane = Entity::customer("jane@example.com", hash, CustomerId::new("cus_1")?, true)?;
    tokens.register(jane).await?;

    let password = Password::new("correct-horse-battery-staple")?;
    let login = CustomerLogin::new("jane@example.com", password);
    let started = tokens.log_in_customer(login, &RequestContext::without_address()).await?;
    writeln!(out, "Jane has logged in, and her session asks for a code.")?;

    let without = tokens
        .exchange(&started.token, ExchangeRequest::default(), &RequestContext::without_address())
        .await;
    let rejected = without.err().map(|error| error.kind());
    if rejected != Some(ErrorKind::OneTimePasswordRequired) {
        return Err("the session was exchanged without its code".into());
    }
    writeln!(out, "Without the code, her token is not exchanged.")?;

    let email = only_file(folder)?;
    writeln!(out, "This was mailed:\n\n{}", indent(&email))?;
    let code = code_in(&email).ok_or("the message has no code")?;
    let request = ExchangeRequest::default().one_time_password(code);
    let jwt = tokens.exchange(&started.token, request, &RequestContext::without_address()).await?;
    writeln!(out, "With it, it is: Jane has the token {}.", jwt.token.token_id)?;
    Ok(())
}

fn only_file(folder: &Path) -> io::Result<String> {
    let files = fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path()));
    let files: Vec<PathBuf> = files.collect::<io::Result<_>>()?;
    let [file] = files.as_slice() else { return Err(io::Error::other("not one message")) };
    fs::read_to_string(file)
}

fn code_in(email: &str) -> Option<&str> {
    let code = email.split("Your code is ").nth(1)?;
    code.split('.').next()
}

fn indent(text: &str) -> String {
    text.lines().map(|line| format!("    {line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_code_that_was_mailed_completes_the_exchange() {
        let folder =
            std::env::temp_dir().join(format!("countersign-mail-test-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let mut out = Vec::new();
        let outcome = run(&folder, &mut out).await;
        fs::remove_dir_all(&folder).unwrap();
        outcome.unwrap();
        let out = String::from_utf8(out).unwrap();
        for line in ["To: jane@example.com", "Subject: Your code", "Jane has the token jwt_"] {
            assert!(out.contains(line), "{out}");
        }
    }
}
