//! Changing the key that seals what is stored, on nodes that share a store.

use countersign::store::{EntityStore, MemoryStore};
use countersign::testing::FaultyStore;
use countersign::{
    Actor, Algorithm, AuthenticationToken, EntityId, ErrorKind, ExchangeRequest, KeyRing,
    RequestContext, SealingKey, Secret,
};

use crate::support::Fixture;
use crate::support::log::Log;

type Engine = FaultyStore<MemoryStore>;

fn engine() -> (Engine, KeyRing) {
    let keys = KeyRing::generate(Algorithm::EdDSA).unwrap();
    (FaultyStore::new(MemoryStore::new()).durable(true), keys)
}

/// A node with the sealing keys that the bytes stand for, the first of which seals.
fn node((store, keys): &(Engine, KeyRing), sealing: &[u8]) -> Fixture {
    Fixture::with_keys(keys.clone(), |builder| {
        let keys = sealing.iter().map(|byte| SealingKey::from_bytes([*byte; 32]));
        keys.fold(builder.store(store.clone()), |builder, key| builder.sealing_key(key))
    })
}

async fn log_in(node: &Fixture, id: &str, secret: &str) -> Result<(), ErrorKind> {
    let (secret, context) = (Secret::presented(secret), RequestContext::without_address());
    let issued = node.tokens.issue_machine_token(id, &secret, &context).await;
    issued.map(drop).map_err(|error| error.kind())
}

async fn read(node: &Fixture, id: &str) -> Result<String, ErrorKind> {
    let (id, context) = (EntityId::machine(id).unwrap(), RequestContext::without_address());
    let read = node.tokens.read_secret(Actor::Host, &id, None, &context).await;
    read.map(|read| read.secret.expose().to_owned()).map_err(|error| error.kind())
}

async fn present_code(node: &Fixture, token: &str, code: &str) -> Result<(), ErrorKind> {
    let token = AuthenticationToken::from_text(token).unwrap();
    let request = ExchangeRequest::default().one_time_password(code);
    node.tokens
        .exchange(&token, request, &countersign::RequestContext::without_address())
        .await
        .map(drop)
        .map_err(|error| error.kind())
}

fn warnings(log: &Log) -> Vec<String> {
    let text = log.text();
    let lines = text.lines().filter(|line| line.contains("WARN") && line.contains("sealing keys:"));
    lines.map(str::to_owned).collect()
}

#[tokio::test]
async fn through_a_whole_rotation_every_node_reads_what_every_other_one_has_sealed() {
    let engine = engine();
    let mut known: Vec<String> = Vec::new();
    // First it is given to all, one after the other, and then made the first on all of them.
    let steps: [([&[u8]; 2], usize); 5] = [
        ([&[1], &[1]], 0),
        ([&[1, 2], &[1]], 1),
        ([&[1, 2], &[1, 2]], 0),
        ([&[2, 1], &[1, 2]], 0),
        ([&[2, 1], &[2, 1]], 0),
    ];
    for (sealing, warned) in steps {
        let log = Log::default();
        let listening = log.listen();
        let nodes = sealing.map(|sealing| node(&engine, sealing));
        let mut housekeeping = Vec::new();
        for node in &nodes {
            housekeeping.push(node.tokens.start().await.unwrap());
        }
        assert_eq!(warnings(&log).len(), warned, "{sealing:?}: {:?}", warnings(&log));
        for (here, there) in [(&nodes[0], &nodes[1]), (&nodes[1], &nodes[0])] {
            let id = format!("aa-{}", known.len());
            here.machine(&id, &format!("the secret of {id}")).await;
            known.push(id);
            let token = here.session(|new| new.otp_required(true)).await;
            present_code(there, &token, &here.outbox.last_code()).await.unwrap();
        }
        for node in &nodes {
            for id in &known {
                let secret = format!("the secret of {id}");
                assert_eq!(log_in(node, id, &secret).await, Ok(()), "{sealing:?} {id}");
                assert_eq!(read(node, id).await, Ok(secret));
            }
        }
        drop(listening);
    }
}

#[tokio::test]
async fn what_a_node_has_no_key_for_is_no_fault_of_the_caller_and_is_left_alone() {
    let engine = engine();
    let here = node(&engine, &[1]);
    let _here = here.tokens.start().await.unwrap();
    let log = Log::default();
    let _listening = log.listen();
    // In one step, which is one too few.
    let there = node(&engine, &[2, 1]);
    let _there = there.tokens.start().await.unwrap();
    let warned = warnings(&log);
    assert_eq!(warned.len(), 1, "{warned:?}");
    assert!(warned[0].contains("as the second one on all nodes"), "{warned:?}");

    there.machine("aa-1", "the secret of aa-1").await;
    let token = there.session(|new| new.otp_required(true)).await;
    let code = there.outbox.last_code();
    let id = EntityId::machine("aa-1").unwrap();
    let version =
        async || EntityStore::get(&engine.0.inner(), &id).await.unwrap().unwrap().version();
    let before = version().await;
    for _ in 0..10 {
        for secret in ["the secret of aa-1", "another one"] {
            assert_eq!(log_in(&here, "aa-1", secret).await, Err(ErrorKind::Internal));
        }
        assert_eq!(read(&here, "aa-1").await, Err(ErrorKind::Internal));
        assert_eq!(present_code(&here, &token, &code).await, Err(ErrorKind::Internal));
    }
    assert_eq!(version().await, before);
    let error = here.tokens.start().await.map(drop).unwrap_err();
    assert!(error.to_string().contains("`sealing_key`"), "{error}");

    // No try was used up, and nobody has to wait.
    present_code(&there, &token, &code).await.unwrap();
    let mended = node(&engine, &[1, 2]);
    let _mended = mended.tokens.start().await.unwrap();
    assert_eq!(log_in(&mended, "aa-1", "the secret of aa-1").await, Ok(()));
    assert_eq!(log_in(&mended, "aa-1", "another one").await, Err(ErrorKind::InvalidCredentials));
}
