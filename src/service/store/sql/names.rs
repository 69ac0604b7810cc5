//! What tables are called, checked before it becomes part of a statement.

use crate::error::Error;

const MAX_LEN: usize = 32;

/// The names of a store's tables, for a database that also has tables of the host.
///
/// ```
/// use countersign::store::TableNames;
///
/// let names = TableNames::default().schema("auth").prefix("tokens_");
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct TableNames {
    schema: Option<String>,
    prefix: String,
}

impl Default for TableNames {
    fn default() -> Self {
        Self { schema: None, prefix: "countersign_".to_owned() }
    }
}

impl TableNames {
    /// Sets the schema of the tables. Default: the first one in the connection's `search_path`. SQLite has no
    /// schemas.
    pub fn schema(mut self, schema: impl Into<String>) -> Self {
        self.schema = Some(schema.into());
        self
    }

    /// Sets the prefix of the tables' names. Default: `countersign_`.
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Checks the names: they become part of statements.
    pub(in crate::service::store) fn check(&self) -> Result<Tables, Error> {
        let schema_is_good = self.schema.as_deref().is_none_or(is_name);
        if schema_is_good && is_name(&self.prefix) {
            Ok(Tables { schema: self.schema.clone(), prefix: self.prefix.clone() })
        } else {
            let problem = "a schema and a prefix of tables are 1 to 32 lowercase letters, digits \
                           and underscores, and begin with no digit";
            Err(Error::configuration(problem))
        }
    }
}

fn is_name(text: &str) -> bool {
    (1..=MAX_LEN).contains(&text.len())
        && !text.starts_with(|first: char| first.is_ascii_digit())
        && text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_'))
}

/// Names that were checked, and are safe in a statement.
#[derive(Clone, Debug)]
pub(in crate::service::store) struct Tables {
    pub(in crate::service::store) schema: Option<String>,
    pub(in crate::service::store) prefix: String,
}

impl Tables {
    /// `"auth".countersign_sessions`
    pub(in crate::service::store) fn table(&self, name: &str) -> String {
        match &self.schema {
            Some(schema) => format!("\"{schema}\".{}{name}", self.prefix),
            None => format!("{}{name}", self.prefix),
        }
    }

    /// Fills in a script that makes tables: `{table:sessions}` and, for indexes, `{prefix}`, with
    /// `{schema}` before it where one is named that is there.
    pub(in crate::service::store) fn fill_in(&self, script: &str) -> String {
        let schema = self.schema.as_ref().map(|schema| format!("\"{schema}\"."));
        let mut filled = script
            .replace("{schema}", schema.as_deref().unwrap_or_default())
            .replace("{prefix}", &self.prefix);
        for name in [
            "entities",
            "sessions",
            "revocations",
            "feed_history",
            "signing_keys",
            "sealing_check",
            "migrations",
        ] {
            filled = filled.replace(&format!("{{table:{name}}}"), &self.table(name));
        }
        filled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_more_than_a_name_are_rejected() {
        for bad in
            ["", "a b", "x; DROP TABLE users", "\"", "1st", "Ünder", "UPPER", &"a".repeat(33)]
        {
            assert!(TableNames::default().prefix(bad).check().is_err(), "{bad:?}");
            assert!(TableNames::default().schema(bad).check().is_err(), "{bad:?}");
        }
        let good = TableNames::default().schema("auth").prefix("t1_").check().unwrap();
        assert_eq!(good.table("sessions"), "\"auth\".t1_sessions");
    }
}
