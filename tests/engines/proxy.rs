//! A line to a server that is as slow as a test says, cuts an answer off, or leads elsewhere.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

/// Longer than any test takes.
const FOREVER: Duration = Duration::from_secs(3_600);

/// No answer is lost.
const ALL: usize = usize::MAX;

/// Passes on what comes between clients and a server. It ends with the test.
pub struct Proxy {
    pub address: SocketAddr,
    settings: Arc<Settings>,
    _connections: JoinSet<()>,
}

struct Settings {
    server: Mutex<SocketAddr>,
    /// How long everything takes on the connections that are made from here on.
    delay: Mutex<watch::Sender<Duration>>,
    /// How often all connections were ended.
    cuts: watch::Sender<usize>,
    /// How many answers come through before one is lost.
    answers_left: AtomicUsize,
}

impl Proxy {
    pub async fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let address = listener.local_addr().unwrap();
        let settings = Arc::new(Settings {
            server: Mutex::new(server),
            delay: Mutex::new(watch::Sender::new(Duration::ZERO)),
            cuts: watch::Sender::new(0),
            answers_left: AtomicUsize::new(ALL),
        });
        let mut connections = JoinSet::new();
        connections.spawn(accept(listener, Arc::clone(&settings)));
        Self { address, settings, _connections: connections }
    }

    /// From now on, who connects gets to another server.
    pub fn turn_to(&self, server: SocketAddr) {
        *self.settings.server.lock().unwrap() = server;
    }

    /// What is on its way is held up for so long, too.
    pub fn delay(&self, delay: Duration) {
        self.settings.delay.lock().unwrap().send_replace(delay);
    }

    /// Nothing comes through any more on the connections that there are, and they do not end. New
    /// ones are not concerned.
    pub fn strand(&self) {
        let fast = watch::Sender::new(Duration::ZERO);
        let stranded = std::mem::replace(&mut *self.settings.delay.lock().unwrap(), fast);
        stranded.send_replace(FOREVER);
    }

    /// The connections that there are end.
    pub fn cut(&self) {
        self.settings.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// The next command is passed on, and in place of its answer the connection is cut.
    pub fn lose_next_answer(&self) {
        self.lose_answer_after(0);
    }

    /// The same, of the command after so many others.
    pub fn lose_answer_after(&self, answers: usize) {
        self.settings.answers_left.store(answers, Ordering::SeqCst);
    }

    /// Whether that has happened.
    pub fn has_lost_an_answer(&self) -> bool {
        self.settings.answers_left.load(Ordering::SeqCst) == ALL
    }
}

async fn accept(listener: TcpListener, settings: Arc<Settings>) {
    let mut passing = JoinSet::new();
    while let Ok((near, _)) = listener.accept().await {
        let server = *settings.server.lock().unwrap();
        if let Ok(far) = TcpStream::connect(server).await {
            let delays = settings.delay.lock().unwrap().subscribe();
            let connection = connect(near, far, delays, Arc::clone(&settings));
            passing.spawn(connection);
        }
        while passing.try_join_next().is_some() {}
    }
}

/// Until either side ends; then the other is ended, too.
async fn connect(
    mut near: TcpStream,
    mut far: TcpStream,
    delays: watch::Receiver<Duration>,
    settings: Arc<Settings>,
) {
    let ((from_near, to_near), (from_far, to_far)) = (near.split(), far.split());
    let next =
        |left: usize| if left == ALL { None } else { Some(left.checked_sub(1).unwrap_or(ALL)) };
    let left = &settings.answers_left;
    let mut cuts = settings.cuts.subscribe();
    let is_lost = || left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, next) == Ok(0);
    tokio::select! {
        () = pass_on(from_near, to_far, delays.clone(), || false) => {}
        () = pass_on(from_far, to_near, delays, is_lost) => {}
        _ = cuts.changed() => {}
    }
}

async fn pass_on(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    mut delays: watch::Receiver<Duration>,
    is_lost: impl Fn() -> bool,
) {
    let mut chunk = [0; 16 * 1024];
    while let Ok(len @ 1..) = from.read(&mut chunk).await {
        if is_lost() {
            return;
        }
        wait(Instant::now(), &mut delays).await;
        if to.write_all(&chunk[..len]).await.is_err() {
            return;
        }
    }
}

/// For the delay that there is, and for another one where it changes meanwhile.
async fn wait(read_at: Instant, delays: &mut watch::Receiver<Duration>) {
    loop {
        let delay = *delays.borrow_and_update();
        tokio::select! {
            () = sleep_until(read_at + delay) => return,
            // Of a stranded connection, the delay is the last one.
            Ok(()) = delays.changed() => {}
        }
    }
}
