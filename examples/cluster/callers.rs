//! Those who call the nodes, over connections that are kept open.

use std::net::SocketAddr;
use std::time::Duration;

use http::{Request, StatusCode, request};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use crate::nodes::Cluster;
use crate::{People, Problem};

/// How long an answer may take, and a node may go on accepting what was revoked.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often a node is asked for a token that is being revoked. Without a pause, the asking would
/// take the time that the revocation needs.
const PROBE_EVERY: Duration = Duration::from_millis(1);

/// Two connections to each node: one to call it, one to ask it whether a token is still good.
pub(crate) struct Callers {
    pub(crate) clients: [Client; 3],
    probes: [Client; 3],
}

impl Callers {
    pub(crate) async fn connect(cluster: &Cluster) -> Result<Self, Problem> {
        let [one, two, three] = cluster.nodes.each_ref().map(|node| node.address);
        let connect = async || {
            Ok::<_, Problem>([
                Client::connect(one).await?,
                Client::connect(two).await?,
                Client::connect(three).await?,
            ])
        };
        Ok(Self { clients: connect().await?, probes: connect().await? })
    }

    pub(crate) async fn must_be_accepted(&mut self, token: &str) -> Result<(), Problem> {
        for client in &mut self.clients {
            client.must_accept(token).await?;
        }
        Ok(())
    }

    /// Ends a session on one node, while all are asked for its token until each has rejected it.
    pub(crate) async fn revoke(
        &mut self,
        at: usize,
        session: &str,
        token: &str,
    ) -> Result<RevocationTimes, Problem> {
        self.must_be_accepted(token).await?;
        let asked = Instant::now();
        let [one, two, three] = &mut self.probes;
        let (answered, one, two, three) = tokio::try_join!(
            self.clients[at].end_session(session),
            one.until_rejected(token),
            two.until_rejected(token),
            three.until_rejected(token),
        )?;
        Ok(RevocationTimes { asked, answered, rejected: [one, two, three] })
    }
}

pub(crate) struct RevocationTimes {
    pub(crate) asked: Instant,
    pub(crate) answered: Instant,
    pub(crate) rejected: [Rejected; 3],
}

/// When a node's first rejection came, and how long before that its last acceptance was asked for:
/// somewhere in between it began to reject.
pub(crate) struct Rejected {
    pub(crate) first: Instant,
    pub(crate) unsure: Duration,
}

/// A connection to a node that is kept open.
pub(crate) struct Client {
    sender: SendRequest<Full<Bytes>>,
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> Result<Self, Problem> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(Self { sender })
    }

    pub(crate) async fn log_in_user(&mut self, people: &People) -> Result<String, Problem> {
        let login = json!({"username": people.username, "password": people.password});
        let request = Request::post("/user/token/generate");
        self.ask("a login", StatusCode::OK, request, Some(&login)).await?.text("accessToken")
    }

    /// Starts a session for whom a password, or the bearer of a token, vouches.
    pub(crate) async fn start_session(
        &mut self,
        bearer: Option<&str>,
        login: &Value,
    ) -> Result<String, Problem> {
        let mut request = Request::post("/authentication-tokens");
        if let Some(token) = bearer {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        self.ask("a session", StatusCode::CREATED, request, Some(login)).await?.text("token")
    }

    /// Exchanges a session's token for a JWT, and keeps the session, with which both end.
    pub(crate) async fn exchange(&mut self, session: &str) -> Result<String, Problem> {
        let request = Request::post(format!("/authentication-tokens/{session}/exchange"));
        let kept = json!({"invalidate": false});
        self.ask("an exchange", StatusCode::CREATED, request, Some(&kept)).await?.text("token")
    }

    /// Returns when it was answered.
    async fn end_session(&mut self, session: &str) -> Result<Instant, Problem> {
        let request = Request::delete(format!("/authentication-tokens/{session}"));
        self.ask("a log-out", StatusCode::NO_CONTENT, request, None).await?;
        Ok(Instant::now())
    }

    pub(crate) async fn must_accept(&mut self, token: &str) -> Result<(), Problem> {
        self.ask("a good token", StatusCode::OK, protected(token), None).await.map(drop)
    }

    async fn until_rejected(&mut self, token: &str) -> Result<Rejected, Problem> {
        let begin = Instant::now();
        let mut accepted = begin;
        let mut pace = interval(PROBE_EVERY);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while begin.elapsed() < PATIENCE {
            pace.tick().await;
            let asked = Instant::now();
            let answer = self.send(protected(token), None).await?;
            match answer.status {
                StatusCode::OK => accepted = asked,
                StatusCode::UNAUTHORIZED => {
                    let first = Instant::now();
                    return Ok(Rejected { first, unsure: first - accepted });
                }
                _ => return Err(answer.unexpected("a token that is revoked")),
            }
        }
        Err(format!("a token that was revoked is still good after {PATIENCE:?}").into())
    }

    async fn ask(
        &mut self,
        what: &str,
        expected: StatusCode,
        request: request::Builder,
        body: Option<&Value>,
    ) -> Result<Answer, Problem> {
        let answer = self.send(request, body).await?;
        if answer.status == expected { Ok(answer) } else { Err(answer.unexpected(what)) }
    }

    async fn send(
        &mut self,
        mut request: request::Builder,
        body: Option<&Value>,
    ) -> Result<Answer, Problem> {
        request = request.header("host", "localhost");
        let body = match body {
            Some(body) => {
                request = request.header("content-type", "application/json");
                Full::from(body.to_string())
            }
            None => Full::default(),
        };
        let request = request.body(body)?;
        let answering = async {
            self.sender.ready().await?;
            let response = self.sender.send_request(request).await?;
            let status = response.status();
            let body = response.into_body().collect().await?.to_bytes();
            Ok(Answer { status, body })
        };
        timeout(PATIENCE, answering).await.map_err(|_| "a node does not answer")?
    }
}

/// A request that a node answers where the token is good, and without asking the store.
fn protected(token: &str) -> request::Builder {
    Request::get("/protected").header("authorization", format!("Bearer {token}"))
}

struct Answer {
    status: StatusCode,
    body: Bytes,
}

impl Answer {
    fn text(&self, member: &str) -> Result<String, Problem> {
        let body: Value = serde_json::from_slice(&self.body)?;
        let text = body[member].as_str().ok_or_else(|| format!("an answer has no {member}"))?;
        Ok(text.to_owned())
    }

    fn unexpected(&self, what: &str) -> Problem {
        let body = String::from_utf8_lossy(&self.body);
        format!("{what} was answered {}: {body}", self.status).into()
    }
}
