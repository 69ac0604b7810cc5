//! A history, by what its requests are about.

use std::collections::{BTreeMap, HashMap};

use super::history::{Call, Effect, Happened, Moment, Request, Run};

pub struct Facts<'a> {
    pub run: &'a Run,
    pub sessions: BTreeMap<usize, SessionFacts<'a>>,
    pub machines: BTreeMap<usize, Vec<&'a Request>>,
    /// The revocations of a customer, answered or not.
    pub customers: HashMap<usize, Vec<&'a Request>>,
    pub jwts: BTreeMap<usize, JwtFacts<'a>>,
    pub key_calls: Vec<&'a Request>,
    /// When a key was first seen.
    pub keys_seen: HashMap<&'a str, Moment>,
}

/// A session, and the requests that name it, by themselves or by a token of its.
pub struct SessionFacts<'a> {
    pub customer: usize,
    pub start: &'a Request,
    pub requests: Vec<&'a Request>,
}

pub struct JwtFacts<'a> {
    pub number: usize,
    pub issued: &'a Request,
    pub source: Source,
    pub kid: &'a str,
    pub uses: Vec<&'a Request>,
    /// The log-outs by this token.
    pub log_outs: Vec<&'a Request>,
}

#[derive(Clone, Copy, Debug)]
pub enum Source {
    Session(usize),
    Machine(usize),
}

impl<'a> Facts<'a> {
    pub fn of(run: &'a Run) -> Self {
        let mut facts = Self {
            run,
            sessions: BTreeMap::new(),
            machines: BTreeMap::new(),
            customers: HashMap::new(),
            jwts: BTreeMap::new(),
            key_calls: Vec::new(),
            keys_seen: HashMap::new(),
        };
        for request in &run.requests {
            facts.add_source(request);
        }
        for request in &run.requests {
            facts.add(request);
        }
        facts
    }

    /// What later requests are about.
    fn add_source(&mut self, request: &'a Request) {
        if let Call::Start { session, customer } = request.call {
            let started = SessionFacts { customer, start: request, requests: Vec::new() };
            self.sessions.insert(session, started);
        }
        let Some(given) = request.given() else { return };
        for kid in given.kid.iter().chain(&given.kids) {
            let seen = self.keys_seen.entry(kid).or_insert(request.end);
            *seen = request.end.min(*seen);
        }
        let source = match request.call {
            Call::Exchange { session, .. } => Source::Session(session),
            Call::LogIn { machine, .. } => Source::Machine(machine),
            _ => return,
        };
        if let (Some(jwt), Some(kid)) = (given.jwt, &given.kid) {
            let (uses, log_outs) = (Vec::new(), Vec::new());
            let facts = JwtFacts { number: jwt, issued: request, source, kid, uses, log_outs };
            self.jwts.insert(jwt, facts);
        }
    }

    fn add(&mut self, request: &'a Request) {
        match &request.call {
            Call::Verify { session }
            | Call::Exchange { session, .. }
            | Call::Page { session }
            | Call::LogOut { session } => self.add_to_session(*session, request),
            Call::LogOutByToken { jwt } => {
                let Some(jwt) = self.jwts.get_mut(jwt) else { return };
                jwt.log_outs.push(request);
                if let Source::Session(session) = jwt.source {
                    self.add_to_session(session, request);
                }
            }
            Call::Use { jwt } => {
                if let Some(jwt) = self.jwts.get_mut(jwt) {
                    jwt.uses.push(request);
                }
            }
            Call::RevokeCustomer { customer } => {
                self.customers.entry(*customer).or_default().push(request);
            }
            Call::LogIn { machine, .. }
            | Call::ResetSecret { machine }
            | Call::RevokeMachine { machine }
            | Call::Disable { machine }
            | Call::Enable { machine } => self.machines.entry(*machine).or_default().push(request),
            Call::RotateKeys | Call::RetireKey { .. } | Call::ReadKeys => {
                self.key_calls.push(request);
            }
            Call::Start { .. } => {}
        }
    }

    fn add_to_session(&mut self, session: usize, request: &'a Request) {
        if let Some(session) = self.sessions.get_mut(&session) {
            session.requests.push(request);
        }
    }

    pub fn revocations_of(&self, customer: usize) -> &[&'a Request] {
        self.customers.get(&customer).map_or(&[], Vec::as_slice)
    }

    pub fn requests_of_machine(&self, machine: usize) -> &[&'a Request] {
        self.machines.get(&machine).map_or(&[], Vec::as_slice)
    }

    pub fn faults(&self, effect: impl Fn(&Effect) -> bool) -> impl Iterator<Item = &'a Happened> {
        self.run.faults.iter().filter(move |fault| effect(&fault.effect))
    }
}
