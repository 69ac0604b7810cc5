//! Drives a service over each kind of store next to a model of it, one step after another.

use std::fmt::Debug;
use std::time::Duration;

use countersign::Policy;
use countersign::policy::ThrottleLimit;
use proptest::prelude::*;
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest};
use tokio::runtime::Runtime;

use crate::support::Fixture;

/// What the policy of these services says.
pub const SECRET_OVERLAP: Duration = Duration::from_secs(5 * 86_400);
pub const SECRET_GRACE: Duration = Duration::from_secs(2 * 86_400);
pub const SESSION_IDLE: Duration = Duration::from_secs(20 * 3_600);

/// What is known of the service, without its code.
pub trait Model: Clone + Debug + Default + 'static {
    type Transition: Copy + Debug + 'static;
    type Outcome: Clone + Debug + PartialEq + 'static;

    /// What may come next.
    fn transitions(&self) -> BoxedStrategy<Self::Transition>;

    /// Whether what is meant is there: while a case is made smaller, it may have been left out.
    fn allows(&self, transition: Self::Transition) -> bool;

    /// What has to come of it.
    fn step(&mut self, transition: Self::Transition) -> Self::Outcome;
}

/// Those who use the service, and what they know.
pub trait Driven {
    type Model: Model;

    async fn new(fixture: &Fixture) -> Self;

    /// What comes of it.
    async fn step(
        &mut self,
        fixture: &Fixture,
        transition: <Self::Model as Model>::Transition,
    ) -> <Self::Model as Model>::Outcome;
}

/// A model, and what the last step has to have come to.
#[derive(Clone, Debug)]
pub struct Predicted<M: Model> {
    model: M,
    outcome: Option<M::Outcome>,
}

impl<M: Model> ReferenceStateMachine for Predicted<M> {
    type State = Self;
    type Transition = M::Transition;

    fn init_state() -> BoxedStrategy<Self> {
        Just(Self { model: M::default(), outcome: None }).boxed()
    }

    fn transitions(state: &Self) -> BoxedStrategy<M::Transition> {
        state.model.transitions()
    }

    fn apply(mut state: Self, transition: &M::Transition) -> Self {
        state.outcome = Some(state.model.step(*transition));
        state
    }

    fn preconditions(state: &Self, transition: &M::Transition) -> bool {
        state.model.allows(*transition)
    }
}

/// A service that is driven, with the runtime that it runs in.
pub struct Over<D, S: Store> {
    driven: D,
    fixture: Fixture,
    _place: S::Place,
    runtime: Runtime,
}

impl<D: Driven, S: Store> StateMachineTest for Over<D, S> {
    type SystemUnderTest = Self;
    type Reference = Predicted<D::Model>;

    fn init_test(_: &Predicted<D::Model>) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (fixture, _place) = runtime.block_on(S::fixture());
        let driven = runtime.block_on(D::new(&fixture));
        Self { driven, fixture, _place, runtime }
    }

    fn apply(
        mut over: Self,
        predicted: &Predicted<D::Model>,
        transition: <D::Model as Model>::Transition,
    ) -> Self {
        let outcome = over.runtime.block_on(over.driven.step(&over.fixture, transition));
        assert_eq!(Some(outcome), predicted.outcome, "{transition:?}");
        over
    }
}

/// Where a service keeps what it has.
pub trait Store {
    /// What is removed with it.
    type Place;

    async fn fixture() -> (Fixture, Self::Place);
}

pub struct Memory;

impl Store for Memory {
    type Place = ();

    async fn fixture() -> (Fixture, ()) {
        (Fixture::with(|builder| builder.policy(policy())), ())
    }
}

/// Throttles are another subject, and would end what is looked at here.
pub fn policy() -> Policy {
    Policy::default()
        .throttle(|throttle| {
            throttle
                .by_name(ThrottleLimit::unlimited())
                .by_address(ThrottleLimit::unlimited())
                .by_name_and_address(ThrottleLimit::unlimited())
                .one_time_passwords(ThrottleLimit::unlimited())
                .one_time_passwords_sent(ThrottleLimit::unlimited())
        })
        .secrets(|secrets| secrets.overlap(SECRET_OVERLAP).grace(SECRET_GRACE))
        .sessions(|sessions| sessions.idle_timeout(Some(SESSION_IDLE)))
}
