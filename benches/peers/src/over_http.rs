//! Requests over the loopback: one core serves, another one asks.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Instant;

use core_affinity::CoreId;
use countersign::Algorithm;

use crate::app::{App, Serving};
use crate::contender::{Contender, Kind};
use crate::table::{Table, median};
use crate::{Effort, runtime};

/// That are kept open, with a request each under way.
const CONNECTIONS: usize = 16;

/// One that serves, and one that asks.
#[derive(Clone, Copy)]
pub struct Cores {
    serving: CoreId,
    asking: CoreId,
}

impl Cores {
    pub fn of_this_machine() -> Self {
        let cores = core_affinity::get_core_ids().unwrap_or_default();
        let [serving, asking, ..] = *cores else {
            panic!("one core has to serve and another one to ask, and there are {}", cores.len())
        };
        Self { serving, asking }
    }

    /// Has this thread stay where requests are asked.
    pub fn settle_here(self) {
        core_affinity::set_for_current(self.asking);
    }
}

pub fn compare(algorithm: Algorithm, contenders: &[Contender], effort: Effort, cores: Cores) {
    let asked = contenders.iter().map(|contender| (contender.app.clone(), request_of(contender)));
    let rates = rates(asked.collect(), effort, cores);

    let mut table = Table::new(
        &format!("{algorithm}, over HTTP on one core"),
        &["", "requests a second", "share of its floor"],
    );
    for (contender, rate) in contenders.iter().zip(&rates) {
        let floor = &rates[contender.floor_among(contenders)];
        let is_floor = contender.kind == Kind::Floor;
        table.row(&[
            contender.name.to_owned(),
            format!("{:.0}", median(rate.clone())),
            if is_floor { String::new() } else { format!("{:.2}", ratio(rate, floor)) },
        ]);
    }
    table.print();
}

/// The median of what the one was to the other in each round.
pub fn ratio(of: &[f64], to: &[f64]) -> f64 {
    median(of.iter().zip(to).map(|(of, to)| of / to).collect())
}

fn request_of(contender: &Contender) -> Vec<u8> {
    let mut request = b"GET / HTTP/1.1\r\nhost: localhost\r\n".to_vec();
    let (name, value) = &contender.credentials;
    request.extend_from_slice(name.as_str().as_bytes());
    request.extend_from_slice(b": ");
    request.extend_from_slice(value.as_bytes());
    request.extend_from_slice(b"\r\n\r\n");
    request
}

/// Requests a second in each round, of each app with what it is asked. They are served by one thread,
/// and take turns.
pub fn rates(asked: Vec<(App, Vec<u8>)>, effort: Effort, cores: Cores) -> Vec<Vec<f64>> {
    let (addresses, serving): (Vec<SocketAddr>, Vec<Serving>) = asked
        .iter()
        .map(|(app, _)| {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a port of the loopback");
            listener.set_nonblocking(true).expect("what tokio asks for");
            (listener.local_addr().expect("its port"), app.serve(listener))
        })
        .unzip();
    // It is left running, idle, when the figures are there.
    std::thread::spawn(move || {
        core_affinity::set_for_current(cores.serving);
        runtime().block_on(futures_util::future::join_all(serving));
    });

    let mut clients: Vec<Client> = asked
        .into_iter()
        .zip(addresses)
        .map(|((_, request), address)| Client::connect(address, request))
        .collect();
    let mut rates = vec![Vec::new(); clients.len()];
    for _ in 0..effort.rounds {
        for (client, rates) in clients.iter_mut().zip(&mut rates) {
            rates.push(client.rate(effort.over_http));
        }
    }
    rates
}

struct Client {
    connections: Vec<TcpStream>,
    request: Vec<u8>,
    /// All answers are as long as the first one.
    answer: Vec<u8>,
}

impl Client {
    fn connect(address: SocketAddr, request: Vec<u8>) -> Self {
        let connection = || {
            let connection = TcpStream::connect(address).expect("it listens");
            connection.set_nodelay(true).expect("a socket option");
            connection
        };
        let mut connections: Vec<_> = (0..CONNECTIONS).map(|_| connection()).collect();
        connections[0].write_all(&request).expect("it reads");
        let answer = first_answer(&mut connections[0]);
        Self { connections, request, answer }
    }

    fn rate(&mut self, count: usize) -> f64 {
        let begun = Instant::now();
        for connection in &mut self.connections {
            connection.write_all(&self.request).expect("it reads");
        }
        for n in 0..count {
            let connection = &mut self.connections[n % CONNECTIONS];
            connection.read_exact(&mut self.answer).expect("it answers");
            assert_ok(&self.answer);
            if n + CONNECTIONS < count {
                connection.write_all(&self.request).expect("it reads");
            }
        }
        count as f64 / begun.elapsed().as_secs_f64()
    }
}

fn first_answer(connection: &mut TcpStream) -> Vec<u8> {
    let mut answer = Vec::new();
    let mut byte = [0];
    while !answer.ends_with(b"\r\n\r\n") {
        connection.read_exact(&mut byte).expect("it answers");
        answer.push(byte[0]);
    }
    let head = String::from_utf8(answer.clone()).expect("text");
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let length: usize = length.expect("a body of known length").parse().expect("a number");
    let mut body = vec![0; length];
    connection.read_exact(&mut body).expect("it answers");
    assert_ok(&answer);
    answer.extend(body);
    answer
}

fn assert_ok(answer: &[u8]) {
    let head = || String::from_utf8_lossy(&answer[..answer.len().min(200)]);
    assert!(answer.starts_with(b"HTTP/1.1 20"), "answered {}", head());
}
