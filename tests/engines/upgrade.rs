//! Releases side by side over Postgres and over Redis.

use countersign::AuthenticationToken;
use sqlx::AssertSqlSafe;

use crate::servers::{EngineServer, Postgres};
use crate::support::releases::{
    Change, Kept, NextRelease, a_migration_moves_names_into_organizations,
    a_node_goes_on_beside_the_next_release, a_record_of_a_later_form_is_an_error_for_its_own_use,
};

fn key_of(token: &AuthenticationToken) -> Vec<u8> {
    token.key().as_bytes().to_vec()
}

#[async_trait::async_trait]
impl NextRelease for Postgres {
    async fn publish(&self, until: u64, record: &str) {
        let insertion = format!(
            "INSERT INTO {}.countersign_revocations (until, record) VALUES ($1, $2)",
            self.schema
        );
        sqlx::query(AssertSqlSafe(insertion))
            .bind(until.cast_signed())
            .bind(record)
            .execute(&Self::pool().await)
            .await
            .unwrap();
    }

    async fn rewrite(&self, kind: Kept<'_>, change: Change) {
        let (table, condition) = match kind {
            Kept::Session(_) => ("sessions", "key = $1"),
            Kept::User(_) => ("entities", "name = convert_from($1, 'UTF8')"),
        };
        let key = match kind {
            Kept::Session(token) => key_of(token),
            Kept::User(name) => name.as_bytes().to_vec(),
        };
        let table = format!("{}.countersign_{table}", self.schema);
        let pool = Self::pool().await;
        let read = format!("SELECT record FROM {table} WHERE {condition}");
        let record: String =
            sqlx::query_scalar(AssertSqlSafe(read)).bind(&key).fetch_one(&pool).await.unwrap();
        let write = format!("UPDATE {table} SET record = $2 WHERE {condition}");
        sqlx::query(AssertSqlSafe(write))
            .bind(&key)
            .bind(change(&record))
            .execute(&pool)
            .await
            .unwrap();
    }
}

#[async_trait::async_trait]
impl NextRelease for EngineServer {
    async fn publish(&self, _until: u64, record: &str) {
        let feed = "countersign:{revocations}";
        let _: String = self.redis_command(&["XADD", feed, "*", "record", record]).await;
    }

    async fn rewrite(&self, kind: Kept<'_>, change: Change) {
        use base64::Engine as _;
        let key = match kind {
            Kept::Session(token) => {
                let key = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(key_of(token));
                format!("countersign:session:{key}")
            }
            Kept::User(name) => format!("countersign:entity:user:{name}"),
        };
        let record: String = self.redis_command(&["HGET", &key, "record"]).await;
        let _: i64 = self.redis_command(&["HSET", &key, "record", &change(&record)]).await;
    }
}

#[tokio::test]
async fn over_postgres_a_node_goes_on_beside_the_next_release() {
    let database = Postgres::new().await;
    a_node_goes_on_beside_the_next_release(async || database.node().await, &database).await;
}

#[tokio::test]
async fn over_postgres_a_record_of_a_later_form_is_an_error_for_its_own_use() {
    let database = Postgres::new().await;
    a_record_of_a_later_form_is_an_error_for_its_own_use(async || database.node().await, &database)
        .await;
}

#[tokio::test]
async fn in_postgres_names_become_unique_within_organizations() {
    let database = Postgres::new().await;
    let store = database.node().await;
    let put_back = async || {
        let schema = &database.schema;
        let earlier = format!(
            "UPDATE {schema}.countersign_entities SET name = split_part(name, chr(31), 1), \
                 distinct_name = split_part(distinct_name, chr(31), 1), \
                 organization_id = NULL;
             DELETE FROM {schema}.countersign_migrations WHERE version >= 1000;"
        );
        sqlx::raw_sql(AssertSqlSafe(earlier)).execute(&Postgres::pool().await).await.unwrap();
    };
    let migrate = async || store.migrate().await.unwrap();
    a_migration_moves_names_into_organizations(&store, put_back, migrate).await;
}

async fn redis() -> EngineServer {
    let server = EngineServer::redis();
    server.redis_node().migrate().await.unwrap();
    server
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_redis_a_node_goes_on_beside_the_next_release() {
    let server = redis().await;
    a_node_goes_on_beside_the_next_release(async || server.redis_node(), &server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_redis_a_record_of_a_later_form_is_an_error_for_its_own_use() {
    let server = redis().await;
    a_record_of_a_later_form_is_an_error_for_its_own_use(async || server.redis_node(), &server)
        .await;
}
