//! Releases side by side over one SQLite file.

use countersign::store::Store as _;
use countersign::{
    AuthenticationToken, Entity, EntityId, ErrorKind, OrganizationId, Password, RequestContext,
};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};

use crate::support::PASSWORD;
use crate::support::durable::{File, fixture_over};
use crate::support::log::Log;
use crate::support::releases::{
    Change, Kept, NextRelease, a_migration_moves_names_into_organizations,
    a_node_goes_on_beside_the_next_release, a_record_of_a_later_form_is_an_error_for_its_own_use,
};

async fn pool(file: &File) -> SqlitePool {
    SqlitePool::connect_with(SqliteConnectOptions::new().filename(file.path())).await.unwrap()
}

fn key_of(token: &AuthenticationToken) -> Vec<u8> {
    token.key().as_bytes().to_vec()
}

#[async_trait::async_trait]
impl NextRelease for File {
    async fn publish(&self, until: u64, record: &str) {
        sqlx::query("INSERT INTO countersign_revocations (until, record) VALUES ($1, $2)")
            .bind(until.cast_signed())
            .bind(record)
            .execute(&pool(self).await)
            .await
            .unwrap();
    }

    async fn rewrite(&self, kind: Kept<'_>, change: Change) {
        let pool = pool(self).await;
        match kind {
            Kept::Session(token) => {
                let read = "SELECT record FROM countersign_sessions WHERE key = $1";
                let record: String =
                    sqlx::query_scalar(read).bind(key_of(token)).fetch_one(&pool).await.unwrap();
                sqlx::query("UPDATE countersign_sessions SET record = $1 WHERE key = $2")
                    .bind(change(&record))
                    .bind(key_of(token))
                    .execute(&pool)
                    .await
                    .unwrap();
            }
            Kept::User(name) => {
                let read = "SELECT record FROM countersign_entities WHERE name = $1";
                let record: String =
                    sqlx::query_scalar(read).bind(name).fetch_one(&pool).await.unwrap();
                sqlx::query("UPDATE countersign_entities SET record = $1 WHERE name = $2")
                    .bind(change(&record))
                    .bind(name)
                    .execute(&pool)
                    .await
                    .unwrap();
            }
        }
    }
}

#[tokio::test]
async fn over_a_file_a_node_goes_on_beside_the_next_release() {
    let file = File::new();
    a_node_goes_on_beside_the_next_release(async || file.node().await, &file).await;
}

#[tokio::test]
async fn over_a_file_a_record_of_a_later_form_is_an_error_for_its_own_use() {
    let file = File::new();
    a_record_of_a_later_form_is_an_error_for_its_own_use(async || file.node().await, &file).await;
}

#[tokio::test]
async fn in_a_file_names_become_unique_within_organizations() {
    let file = File::new();
    let store = file.node().await;
    let put_back = async || {
        let earlier = "UPDATE countersign_entities SET name = substr(name, 1, instr(name, char(31)) - 1),
                           distinct_name = substr(distinct_name, 1, instr(distinct_name, char(31)) - 1)
                           WHERE instr(name, char(31)) > 0;
                       UPDATE countersign_entities SET organization_id = NULL;
                       DELETE FROM countersign_migrations WHERE version >= 1000;";
        sqlx::raw_sql(earlier).execute(&pool(&file).await).await.unwrap();
    };
    let migrate = async || store.migrate().await.unwrap();
    a_migration_moves_names_into_organizations(&store, put_back, migrate).await;
}

#[tokio::test]
async fn whom_an_older_release_writes_under_a_name_alone_passes_for_nobody_without_an_organization()
{
    let file = File::new();
    let fixture = fixture_over(file.node().await).await;
    let tokens = &fixture.tokens;
    let hash = tokens.hash_password(Password::new(PASSWORD).unwrap()).await.unwrap();
    let home = OrganizationId::new("org_1").unwrap();
    tokens.register(Entity::user("jane", hash).unwrap().organization(home)).await.unwrap();
    let stray = "UPDATE countersign_entities SET name = 'jane'";
    sqlx::query(stray).execute(&pool(&file).await).await.unwrap();
    let log = Log::default();
    let _listening = log.listen();
    let id = EntityId::user("jane").unwrap();
    assert!(tokens.find_entity(&id).await.unwrap().is_none());
    assert_eq!(log.errors().len(), 1, "an operator is told");
    let password = Password::new(PASSWORD).unwrap();
    let context = RequestContext::without_address();
    let rejected = tokens.issue_user_token("jane", password, &context).await.unwrap_err();
    assert_eq!(rejected.kind(), ErrorKind::InvalidCredentials);
}

#[tokio::test]
async fn a_release_starts_over_the_tables_of_the_next_one_and_not_over_those_that_it_would_harm() {
    for (version, is_good) in [(1_999, true), (2_000, false)] {
        let file = File::new();
        let store = file.node().await;
        let later = "INSERT INTO countersign_migrations VALUES ($1)";
        sqlx::query(later).bind(version).execute(&pool(&file).await).await.unwrap();
        assert_eq!(store.is_current().await.unwrap(), is_good);
        let migrated = store.migrate().await.map_err(|error| error.kind());
        assert_eq!(migrated.is_ok(), is_good);
        assert!(is_good || migrated == Err(ErrorKind::Configuration));
    }
}
