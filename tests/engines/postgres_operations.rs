//! Postgres as operators run it: roles with few rights or connections, other isolation levels, and URLs that lead
//! nowhere.

use std::error::Error as _;
use std::sync::Arc;

use countersign::clock::{Clock as _, SystemClock};
use countersign::store::{
    EntityStore, PostgresOptions, PostgresStore, SessionStore, Store as _, TableNames, conformance,
};
use countersign::{Actor, AuthenticationToken, EntityId, Error, ErrorKind, RequestContext};
use http::Request;
use serde_json::json;
use tokio::task::JoinSet;

use crate::servers::{EngineServer, Postgres, postgres_url};
use crate::support::durable::{fixture_over, revocation, session};
use crate::support::{Answer, Fixture, send, unique};

const GUIDE: &str = include_str!("../../src/docs/guide/many_nodes.md");

/// An owner and a role that runs the service, with what the guide says that they need, and no more.
struct Roles {
    names: TableNames,
    owner: String,
    app: String,
}

impl Roles {
    async fn new() -> Self {
        let [schema, owner, app] = ["t", "owner", "app"].map(unique);
        let (_, grants) = GUIDE.split_once("```sql\n").unwrap();
        let (grants, _) = grants.split_once("```").unwrap();
        let grants = grants
            .replace("countersign_owner", &owner)
            .replace("countersign_app", &app)
            .replace("SCHEMA auth", &format!("SCHEMA {schema}"));
        let roles = Self { names: TableNames::default().schema(schema), owner, app };
        admin(&grants).await;
        roles
    }

    /// The same, whose owner has migrated.
    async fn migrated() -> Self {
        let roles = Self::new().await;
        roles.node(&roles.owner).migrate().await.unwrap();
        roles
    }

    fn node(&self, role: &str) -> PostgresStore {
        let options = PostgresOptions::default().tables(self.names.clone());
        PostgresStore::connect_with(&url_of(role), options).unwrap()
    }
}

fn url_of(role: &str) -> String {
    postgres_url().replace("countersign@", &format!("{role}@"))
}

async fn admin(statements: &str) {
    let pool = Postgres::pool().await;
    sqlx::raw_sql(sqlx::AssertSqlSafe(statements)).execute(&pool).await.unwrap();
}

/// The texts of an error and of what has caused it.
fn told(error: &Error) -> String {
    let mut told = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        told = format!("{told}: {error}");
        source = error.source();
    }
    told
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_role_that_may_change_rows_alone_runs_what_the_owner_has_migrated() {
    let roles = Roles::new().await;
    let (owner, app) = (roles.node(&roles.owner), roles.node(&roles.app));
    assert!(!app.is_current().await.unwrap());
    let error = app.migrate().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(told(&error).contains("permission denied for schema"), "{}", told(&error));
    owner.migrate().await.unwrap();
    app.migrate().await.unwrap();
    assert!(app.is_current().await.unwrap());
    conformance::check_entity_store(Arc::new(app.clone())).await;
    conformance::check_session_store(Arc::new(app.clone())).await;
    conformance::check_key_store(Arc::new(app.clone())).await;

    let fixture = fixture_over(app.clone()).await;
    fixture.clock.set(SystemClock.now());
    let housekeeping = fixture.tokens.start().await.unwrap();
    fixture.user("ops", json!([])).await;
    fixture.user_token("ops").await;
    let token = fixture.session(|new| new).await;
    let server = fixture.serve().await;
    exchange(&server, &token).await.expect(201);
    delete(&server, &token).await.expect(204);
    fixture.tokens.purge_expired().await.unwrap();
    housekeeping.shutdown().await;
}

#[tokio::test]
async fn a_store_that_connects_itself_keeps_to_the_tables_that_it_is_told() {
    let database = Postgres::new().await;
    let options = PostgresOptions::default().tables(database.names.clone());
    let store = PostgresStore::connect_with(&postgres_url(), options).unwrap();
    let session = session(SystemClock.now());
    SessionStore::insert(&store, session.clone(), SystemClock.now()).await.unwrap();
    assert!(SessionStore::get(&database.node().await, &session.key()).await.unwrap().is_some());
}

async fn exchange(server: &crate::support::Server, token: &str) -> Answer {
    server.post(&format!("/authentication-tokens/{token}/exchange"), None, &json!({})).await
}

async fn delete(server: &crate::support::Server, token: &str) -> Answer {
    let path = format!("/authentication-tokens/{token}");
    send(server.address, Request::delete(path).body("").unwrap()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_the_server_allows_few_connections_requests_share_those_that_there_are() {
    let roles = Roles::migrated().await;
    admin(&format!("ALTER ROLE {} CONNECTION LIMIT 6", roles.app)).await;
    let store = roles.node(&roles.app);
    let fixture = fixture_over(store.clone()).await;
    fixture.tokens.catch_up().await.unwrap();
    let mut callers = JoinSet::new();
    for _ in 0..60 {
        let store = store.clone();
        callers.spawn(async move {
            let now = SystemClock.now();
            for _ in 0..20 {
                let session = session(now);
                SessionStore::insert(&store, session.clone(), now).await?;
                SessionStore::get(&store, &session.key()).await?;
            }
            store.publish(revocation()).await
        });
    }
    for called in callers.join_all().await {
        called.unwrap();
    }
}

#[tokio::test]
async fn a_pool_of_a_given_size_makes_no_more_connections() {
    let database = Postgres::new().await;
    let name = unique("app");
    let url = format!("{}?application_name={name}", postgres_url());
    let options = PostgresOptions::default().tables(database.names.clone()).max_connections(2);
    let store = PostgresStore::connect_with(&url, options.clone()).unwrap();
    let mut callers = JoinSet::new();
    for _ in 0..20 {
        let store = store.clone();
        callers
            .spawn(async move { EntityStore::get(&store, &EntityId::user("ops").unwrap()).await });
    }
    for called in callers.join_all().await {
        called.unwrap();
    }
    let count = "SELECT count(*) FROM pg_stat_activity WHERE application_name = $1";
    let count = sqlx::query_scalar::<_, i64>(count).bind(&name);
    assert_eq!(count.fetch_one(&Postgres::pool().await).await.unwrap(), 2);
    let error = PostgresStore::connect_with(&url, options.max_connections(0)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_repeatable_read_races_have_one_winner_and_no_outage() {
    races_have_one_winner_and_no_outage("repeatable read").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_serializable_races_have_one_winner_and_no_outage() {
    races_have_one_winner_and_no_outage("serializable").await;
}

async fn races_have_one_winner_and_no_outage(level: &str) {
    const RACERS: usize = 16;
    let roles = Roles::new().await;
    let level = |role| format!("ALTER ROLE {role} SET default_transaction_isolation = '{level}';");
    admin(&[level(&roles.owner), level(&roles.app)].concat()).await;
    let mut migrating = JoinSet::new();
    for _ in 0..4 {
        let owner = roles.node(&roles.owner);
        migrating.spawn(async move { owner.migrate().await });
    }
    for migrated in migrating.join_all().await {
        migrated.unwrap();
    }
    let mut nodes = Vec::new();
    for _ in 0..2 {
        let fixture = fixture_over(roles.node(&roles.app)).await;
        nodes.push((fixture.serve().await, fixture));
    }
    nodes[0].1.machine("aa-1", "a-known-secret").await;
    for _ in 0..10 {
        let token = nodes[0].1.session(|new| new).await;
        let exchanging = (0..RACERS).map(|racer| exchange(&nodes[racer % 2].0, &token));
        let statuses = statuses_of(exchanging).await;
        assert_eq!(statuses.iter().filter(|status| **status == 201).count(), 1, "{statuses:?}");
        assert!(statuses.iter().all(|status| [201, 404].contains(status)), "{statuses:?}");

        let token = nodes[0].1.session(|new| new).await;
        let statuses =
            statuses_of((0..RACERS).map(|racer| delete(&nodes[racer % 2].0, &token))).await;
        assert!(statuses.contains(&204), "{statuses:?}");
        assert!(statuses.iter().all(|status| [204, 404].contains(status)), "{statuses:?}");

        let resetting = (0..RACERS / 2).map(|racer| reset(&nodes[racer % 2].1));
        for reset in futures_util::future::join_all(resetting).await {
            reset.unwrap();
        }
    }
}

async fn statuses_of(answers: impl Iterator<Item = impl Future<Output = Answer>>) -> Vec<u16> {
    let answers = futures_util::future::join_all(answers).await;
    answers.iter().map(|answer| answer.status().as_u16()).collect()
}

async fn reset(fixture: &Fixture) -> Result<(), Error> {
    let machine = EntityId::machine("aa-1").unwrap();
    let context = RequestContext::without_address();
    fixture.tokens.reset_secret(Actor::Host, &machine, None, &context).await.map(drop)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_cannot_be_used_is_an_error_that_names_the_cause() {
    let url = postgres_url();
    let role = unique("app");
    admin(&format!("CREATE ROLE {role} LOGIN CONNECTION LIMIT 0")).await;
    let (address, _) = url.rsplit_once('/').unwrap();
    let server = EngineServer::postgres();
    let standby = server.standby();
    for (url, cause) in [
        ("postgres://app:se-cret@127.0.0.1:1/app".to_owned(), "refused"),
        ("postgres://app:se-cret@nowhere.invalid/app".to_owned(), "lookup"),
        (format!("{address}/{}", unique("d")), "does not exist"),
        (url_of("nobody"), "\"nobody\" does not exist"),
        (url_of(&role), "too many connections for role"),
        (format!("{url}?sslmode=require"), "TLS"),
        (standby.url(), "no primary"),
    ] {
        let store = PostgresStore::connect(&url).unwrap();
        let error = store.migrate().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        let told = told(&error);
        assert!(told.contains(cause), "{url}: {told}");
        assert!(!format!("{told} {error:?}").contains("se-cret"), "{told}");
    }
}

#[tokio::test]
async fn what_a_store_cannot_be_made_with_is_rejected() {
    let error = PostgresStore::connect("mysql://nowhere").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration);
    let hosts = PostgresStore::connect("postgres://app@one,two/app").unwrap_err();
    assert!(hosts.to_string().contains("several hosts"), "{hosts}");
    let no_name = TableNames::default().prefix("x; DROP TABLE users");
    let options = PostgresOptions::default().tables(no_name);
    let error = PostgresStore::connect_with(&postgres_url(), options).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration);
    let options = PostgresOptions::default().transaction_pooler("mysql://app:se-cret@nowhere");
    assert!(!format!("{options:?}").contains("se-cret"), "{options:?}");
    let error = PostgresStore::connect_with(&postgres_url(), options).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration);
}

#[test]
fn a_store_that_is_made_without_a_runtime_is_rejected() {
    let error = PostgresStore::connect("postgres://app@db.example.com/app").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration);
}

#[tokio::test]
async fn a_start_over_a_database_out_of_reach_names_no_password() {
    let store = PostgresStore::connect("postgres://app:se-cret@127.0.0.1:1/app").unwrap();
    let token = AuthenticationToken::generate().unwrap();
    let error = SessionStore::get(&store, &token.key()).await.unwrap_err();
    assert!(!format!("{error:?}").contains("se-cret"), "{error:?}");
}
