//! The statements that are the same on both engines.

use std::sync::Arc;

use sqlx::{AssertSqlSafe, SqlSafeStr, SqlStr};

use crate::service::model::subject::Subject;
use crate::service::store::SessionFilter;
use crate::service::store::sql::Tables;
use crate::token::claims::SubjectType;

/// What the engines say each in their own way.
#[derive(Clone, Copy, Debug)]
pub(in crate::service::store) struct Dialect {
    /// Tells whether there is a table of migrations.
    pub(in crate::service::store) has_migrations: &'static str,
    /// Makes a purge leave alone what somebody else is at, where the engine locks rows.
    pub(in crate::service::store) skip_locked: &'static str,
    /// Makes it compare names by their bytes.
    pub(in crate::service::store) by_bytes: &'static str,
    /// The engine's present, in microseconds; the same throughout a statement.
    pub(in crate::service::store) time: &'static str,
    /// The function that returns the lesser of two numbers.
    pub(in crate::service::store) earlier: &'static str,
    /// The condition that a server has to meet for what it says to be believed. Where it does not, the
    /// statement fails.
    pub(in crate::service::store) if_primary: &'static str,
    /// The condition of entries of the feed that readers have no more use for, once they have ended.
    pub(in crate::service::store) is_past: &'static str,
}

/// The statements that both engines understand, with the names of the tables filled in.
///
/// None takes anything but parameters from outside: names were checked before.
#[derive(Clone, Debug)]
pub(in crate::service::store) struct Statements {
    /// Whether there is a table of migrations.
    pub(in crate::service::store) has_migrations: SqlStr,
    pub(in crate::service::store) get_version: SqlStr,
    pub(in crate::service::store) get_time: SqlStr,
    pub(in crate::service::store) get_sealing_check: SqlStr,
    pub(in crate::service::store) put_sealing_check: SqlStr,
    pub(in crate::service::store) insert_entity: SqlStr,
    pub(in crate::service::store) get_entity: SqlStr,
    pub(in crate::service::store) replace_entity: SqlStr,
    pub(in crate::service::store) list_entities: SqlStr,
    pub(in crate::service::store) list_entities_of_organization: SqlStr,
    pub(in crate::service::store) remove_entity: SqlStr,
    pub(in crate::service::store) insert_session: SqlStr,
    pub(in crate::service::store) get_session: SqlStr,
    pub(in crate::service::store) replace_session: SqlStr,
    pub(in crate::service::store) take_session: SqlStr,
    pub(in crate::service::store) remove_session: SqlStr,
    customers_sessions: SubjectStatements,
    started_sessions: SubjectStatements,
    pub(in crate::service::store) get_keys: SqlStr,
    pub(in crate::service::store) insert_keys: SqlStr,
    pub(in crate::service::store) replace_keys: SqlStr,
    pub(in crate::service::store) purge_sessions: SqlStr,
    pub(in crate::service::store) purge_revocations: SqlStr,
    lists: [SqlStr; 4],
}

impl Statements {
    pub(in crate::service::store) fn new(tables: &Tables, dialect: &Dialect) -> Self {
        let Dialect { has_migrations, skip_locked, by_bytes, time, earlier, if_primary, is_past } =
            *dialect;
        let is_past = tables.fill_in(is_past);
        let migrations = tables.table("migrations");
        let sealing_check = tables.table("sealing_check");
        let entities = tables.table("entities");
        let sessions = tables.table("sessions");
        let revocations = tables.table("revocations");
        let keys = tables.table("signing_keys");
        Self {
            has_migrations: statement(format!(
                "{} WHERE {if_primary}",
                tables.fill_in(has_migrations)
            )),
            get_version: statement(format!(
                "SELECT coalesce(max(version), 0) FROM {migrations} WHERE {if_primary}"
            )),
            get_time: statement(format!("SELECT {time} WHERE {if_primary}")),
            get_sealing_check: statement(format!(
                "SELECT record FROM {sealing_check} WHERE {if_primary}"
            )),
            put_sealing_check: statement(format!(
                "INSERT INTO {sealing_check} (id, record) VALUES (1, $1) \
                 ON CONFLICT (id) DO UPDATE SET record = excluded.record"
            )),
            insert_entity: statement(format!(
                "INSERT INTO {entities} \
                 (subject_type, name, version, record, organization_id, distinct_name) \
                 VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING"
            )),
            get_entity: statement(format!(
                "SELECT record FROM {entities} \
                 WHERE subject_type = $1 AND name = $2 AND {if_primary}"
            )),
            replace_entity: statement(format!(
                "UPDATE {entities} SET version = $3, record = $4, organization_id = $5 \
                 WHERE subject_type = $1 AND name = $2 AND version = $6"
            )),
            list_entities: list_entities(&entities, by_bytes, if_primary),
            list_entities_of_organization: list_entities(
                &entities,
                by_bytes,
                &format!("organization_id = $4 AND {if_primary}"),
            ),
            remove_entity: statement(format!(
                "DELETE FROM {entities} WHERE subject_type = $1 AND name = $2"
            )),
            insert_session: statement(format!(
                "INSERT INTO {sessions} (key, version, id, customer_id, organization_id, \
                 created_at, expires_at, kept_until, record, subject, started_by) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT DO NOTHING"
            )),
            get_session: statement(format!(
                "SELECT record FROM {sessions} WHERE key = $1 AND {if_primary}"
            )),
            replace_session: statement(format!(
                "UPDATE {sessions} SET version = $2, id = $3, customer_id = $4, \
                 organization_id = $5, created_at = $6, expires_at = $7, kept_until = $8, \
                 record = $9, subject = $10, started_by = $11 \
                 WHERE key = $1 AND version = $12"
            )),
            take_session: statement(format!(
                "DELETE FROM {sessions} WHERE key = $1 AND version = $2 RETURNING record"
            )),
            remove_session: statement(format!(
                "DELETE FROM {sessions} WHERE id = $1 RETURNING record"
            )),
            customers_sessions: SubjectStatements::new(&sessions, "subject", if_primary),
            started_sessions: SubjectStatements::new(&sessions, "started_by", if_primary),
            get_keys: statement(format!("SELECT record FROM {keys} WHERE {if_primary}")),
            insert_keys: statement(format!(
                "INSERT INTO {keys} (id, version, record) VALUES (1, $1, $2) ON CONFLICT DO NOTHING"
            )),
            replace_keys: statement(format!(
                "UPDATE {keys} SET version = $1, record = $2 WHERE version = $3"
            )),
            purge_sessions: statement(format!(
                "DELETE FROM {sessions} WHERE key IN (SELECT key FROM {sessions} \
                 WHERE kept_until <= {earlier}($1, {time}) LIMIT $2 {skip_locked})"
            )),
            purge_revocations: statement(format!(
                "DELETE FROM {revocations} WHERE id IN (SELECT id FROM {revocations} \
                 WHERE until <= {earlier}($1, {time}) AND {is_past} LIMIT $2 {skip_locked})"
            )),
            lists: [
                list(&sessions, by_bytes, if_primary),
                list(&sessions, by_bytes, &format!("customer_id = $7 AND {if_primary}")),
                list(&sessions, by_bytes, &format!("organization_id = $7 AND {if_primary}")),
                list(
                    &sessions,
                    by_bytes,
                    &format!("customer_id = $7 AND organization_id = $8 AND {if_primary}"),
                ),
            ],
        }
    }

    /// Returns the statements about the sessions of a subject. Customers start none.
    pub(in crate::service::store) fn of_subject(&self, subject: &Subject) -> &SubjectStatements {
        match subject.subject_type() {
            SubjectType::Customer => &self.customers_sessions,
            SubjectType::User | SubjectType::Machine => &self.started_sessions,
        }
    }

    /// Returns the list that a filter asks for, and what to bind behind time, limit, offset, the greatest count and
    /// the position. One statement a filter, so that each reads an index of its own.
    pub(in crate::service::store) fn list<'a>(
        &self,
        filter: &'a SessionFilter,
    ) -> (SqlStr, Vec<&'a str>) {
        let customer = filter.customer_id.as_ref().map(|id| id.as_str());
        let organization = filter.organization_id.as_ref().map(|id| id.as_str());
        let [all, customers, organizations, both] = &self.lists;
        let list = match (customer, organization) {
            (None, None) => all,
            (Some(_), None) => customers,
            (None, Some(_)) => organizations,
            (Some(_), Some(_)) => both,
        };
        (list.clone(), customer.into_iter().chain(organization).collect())
    }
}

/// What is asked about the sessions of a subject, by the column that has it.
#[derive(Clone, Debug)]
pub(in crate::service::store) struct SubjectStatements {
    pub(in crate::service::store) count: SqlStr,
    pub(in crate::service::store) select: SqlStr,
}

impl SubjectStatements {
    fn new(sessions: &str, column: &str, if_primary: &str) -> Self {
        Self {
            count: statement(format!(
                "SELECT count(*) FROM (SELECT 1 FROM {sessions} \
                 WHERE {column} = $1 AND expires_at > $2 AND {if_primary} LIMIT $3) AS live"
            )),
            select: statement(format!(
                "SELECT expires_at, key, record FROM {sessions} \
                 WHERE {column} = $1 AND expires_at >= $2 AND (expires_at, key) > ($2, $3) \
                 AND {if_primary} ORDER BY expires_at, key LIMIT $4"
            )),
        }
    }
}

fn list_entities(entities: &str, by_bytes: &str, restriction: &str) -> SqlStr {
    statement(format!(
        "SELECT name, record FROM {entities} \
         WHERE subject_type = $1 AND name {by_bytes} > $2 AND {restriction} \
         ORDER BY name {by_bytes} LIMIT $3"
    ))
}

/// The total and the page in one statement, hence of one moment. It has a row if the page has none.
///
/// A session that was used up has an expiry before 1970, and is in none of the indexes.
fn list(sessions: &str, by_bytes: &str, restriction: &str) -> SqlStr {
    let live =
        format!("FROM {sessions} WHERE expires_at > 0 AND expires_at > $1 AND {restriction}");
    statement(format!(
        "SELECT counted.total, page.record \
         FROM (SELECT count(*) AS total FROM (SELECT 1 {live} LIMIT $4) AS live) AS counted \
         LEFT JOIN (SELECT created_at, id, record {live} AND (created_at, id {by_bytes}) > ($5, $6) \
         ORDER BY created_at, id {by_bytes} LIMIT $2 OFFSET $3) AS page ON true \
         ORDER BY page.created_at, page.id {by_bytes}"
    ))
}

pub(in crate::service::store) fn statement(sql: String) -> SqlStr {
    AssertSqlSafe(Arc::<str>::from(sql)).into_sql_str()
}
