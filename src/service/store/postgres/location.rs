//! The URL of a database: read strictly, since what the driver does not know it leaves out.

use sqlx::postgres::PgConnectOptions;

use crate::error::Error;

/// The parameters that the driver reads.
const PARAMETERS: [&str; 17] = [
    "application_name",
    "dbname",
    "host",
    "hostaddr",
    "options",
    "password",
    "port",
    "ssl-ca",
    "ssl-cert",
    "ssl-key",
    "ssl-mode",
    "ssl-root-cert",
    "sslcert",
    "sslkey",
    "sslmode",
    "sslrootcert",
    "statement-cache-capacity",
];

/// Reads a URL. No error quotes it: it may hold a password.
pub(super) fn read_url(url: &str) -> Result<PgConnectOptions, Error> {
    let location = ["postgres://", "postgresql://"].iter().find_map(|it| url.strip_prefix(it));
    let Some(location) = location else {
        return Err(invalid("a URL of a Postgres database begins with postgres://"));
    };
    let (location, query) = location.split_once('?').unwrap_or((location, ""));
    let authority = location.split('/').next().unwrap_or_default();
    let (_, hosts) = authority.rsplit_once('@').unwrap_or(("", authority));
    let parameters: Vec<_> = query.split('&').filter(|parameter| !parameter.is_empty()).collect();
    let names_hosts = |parameter: &&&str| {
        ["host=", "hostaddr=", "port="].iter().any(|name| parameter.starts_with(name))
    };
    let named = parameters.iter().filter(names_hosts);
    if hosts.contains(',') || named.into_iter().any(|hosts| has_comma(hosts)) {
        return Err(invalid(
            "several hosts in a URL of a Postgres database are not supported: name one that leads to \
             the primary",
        ));
    }
    for parameter in &parameters {
        check_parameter(parameter.split('=').next().unwrap_or_default(), query)?;
    }
    let options: PgConnectOptions = url
        .parse()
        .map_err(|error| invalid("not a URL of a Postgres database").with_source(error))?;
    Ok(options)
}

fn has_comma(text: &str) -> bool {
    text.contains(',') || text.to_ascii_lowercase().contains("%2c")
}

fn check_parameter(name: &str, query: &str) -> Result<(), Error> {
    if PARAMETERS.contains(&name) || name.starts_with("options[") {
        return Ok(());
    }
    if name == "target_session_attrs" {
        return Err(invalid(
            "target_session_attrs is not supported in a URL of a Postgres database: only a primary \
             is used, whatever it says",
        ));
    }
    // A `?` in a password that is not encoded makes a query of the rest of it, up to the host.
    let is_name = name.bytes().all(|byte| byte.is_ascii_lowercase() || b"-_".contains(&byte));
    let named = if is_name && !query.contains('@') { name } else { "a parameter" };
    Err(invalid(format!("{named} is not supported in a URL of a Postgres database")))
}

fn invalid(problem: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::configuration(problem)
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    #[test]
    fn what_is_wrong_with_a_url_is_named_and_no_password_is() {
        for (url, problem) in [
            ("mysql://app:se-cret@db/app", "begins with postgres://"),
            ("db.example.com", "begins with postgres://"),
            ("postgres://app:se-cret@db:port/app", "invalid port"),
            ("postgres://app:se-cret@db:99999/app", "invalid port"),
            ("postgres://app:se-cret@db/app?sslmode=perhaps", "ssl_mode"),
            ("postgres://app:se-cret@db/app?statement-cache-capacity=x", "invalid digit"),
            ("postgres://app:se-cret@one,two/app", "several hosts"),
            ("postgres://app:se-cret@one:5432,two:5432/app", "several hosts"),
            ("postgres://app:se-cret@/app?host=one,two", "several hosts"),
            ("postgres://app:se-cret@/app?host=one%2Ctwo", "several hosts"),
            ("postgres://app:se-cret@db/app?port=1,2", "several hosts"),
            ("postgres://app@db/app?target_session_attrs=read-write", "target_session_attrs"),
            ("postgres://app@db/app?connect_timeout=3", "connect_timeout is not supported"),
            ("postgres://app:12?se-cret@db/app", "a parameter is not supported"),
            ("postgres://app:12?se-cret=1&x@db/app", "a parameter is not supported"),
        ] {
            let error = read_url(url).unwrap_err();
            let source = error.source().map_or(String::new(), ToString::to_string);
            let told = format!("{error}: {source}");
            assert!(told.contains(problem), "{url}: {told}");
            assert!(!format!("{told} {error:?}").contains("cret"), "{url}: {error:?}");
        }
    }

    #[test]
    fn what_the_driver_reads_is_accepted() {
        for url in [
            "postgres://app@db.example.com/app",
            "postgresql://app:p%2Cq@[::1]:5433/app?sslmode=require&application_name=tokens",
            "postgres://app@%2Fvar%2Frun%2Fpostgresql/app",
            "postgres:///app?host=/var/run/postgresql&options[search_path]=auth",
        ] {
            read_url(url).unwrap();
        }
    }
}
