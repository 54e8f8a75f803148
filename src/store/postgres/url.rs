//! Where a PostgreSQL ledger is: a URL with one host or several.

use std::fmt;
use std::str::FromStr;

use sqlx::postgres::PgConnectOptions;

/// A URL of PostgreSQL. Behind `@` it may have several hosts, each with its port, with commas between: the ledger is at
/// the one that takes writes.
#[derive(Clone, Debug)]
pub struct PostgresUrl {
    /// One for each host.
    hosts: Vec<PgConnectOptions>,
    /// The URL without its password and its parameters.
    shown: String,
}

/// Two URLs that lead to the same hosts and database.
impl PartialEq for PostgresUrl {
    fn eq(&self, other: &Self) -> bool {
        self.shown == other.shown
    }
}

impl Eq for PostgresUrl {}

/// The parameters that a URL may have behind `?`.
const PARAMETERS: [&str; 12] = [
    "application_name",
    "dbname",
    "host",
    "hostaddr",
    "options",
    "password",
    "port",
    "sslcert",
    "sslkey",
    "sslmode",
    "sslrootcert",
    "user",
];

/// What URLs of PostgreSQL begin with.
const SCHEMES: [&str; 2] = ["postgres://", "postgresql://"];

impl PostgresUrl {
    /// Whether a text is to be read as a URL of PostgreSQL.
    pub(in crate::store) fn is_one(text: &str) -> bool {
        SCHEMES.iter().any(|scheme| text.starts_with(scheme))
    }

    /// How to connect to each host.
    pub(super) fn hosts(&self) -> &[PgConnectOptions] {
        &self.hosts
    }
}

/// Why it is no URL of PostgreSQL.
impl FromStr for PostgresUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let rest = SCHEMES.iter().find_map(|scheme| text.strip_prefix(scheme));
        let rest = rest.ok_or_else(|| "it must begin with postgres://".to_owned())?;
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let (before, parameters) = path.split_once('?').unwrap_or((path, ""));
        // What follows may be a part of the password.
        if rest.contains('#') || before.contains('@') || (!authority.contains('@') && parameters.contains('@')) {
            return Err("within a part, such as the password, `/`, `?`, `#` and `@` must be percent-encoded".to_owned());
        }
        // The library would pass over a parameter that it does not know, and so over one that asks for security.
        let mut names = Vec::new();
        for parameter in parameters.split('&').filter(|parameter| !parameter.is_empty()) {
            let name = parameter.split_once('=').map_or(parameter, |(name, _)| name);
            if !PARAMETERS.contains(&name) {
                return Err(format!("the parameter `{name}` is not known; those that are: {}", PARAMETERS.join(", ")));
            }
            if names.contains(&name) {
                return Err(format!("the parameter `{name}` is there twice"));
            }
            names.push(name);
        }
        let (user, hosts) = authority.rsplit_once('@').map_or(("", authority), |(user, hosts)| (user, hosts));
        let at = if user.is_empty() { "" } else { "@" };
        let one = |host: &str| {
            if host.is_empty() && hosts.contains(',') {
                return Err("a host is missing".to_owned());
            }
            // What the library says of it may hold the password.
            let parsed = format!("postgres://{user}{at}{host}{path}").parse::<PgConnectOptions>();
            parsed.map_err(|_| format!("the host `{host}`, the user or a parameter cannot be read"))
        };
        let hosts: Vec<PgConnectOptions> = hosts.split(',').map(one).collect::<Result<_, _>>()?;
        let Some(database) = hosts[0].get_database().map(str::to_owned) else {
            return Err("the name of the database is missing".to_owned());
        };
        let host = |options: &PgConnectOptions| match options.get_socket() {
            Some(socket) => format!("{}", socket.display()),
            None => format!("{}:{}", options.get_host(), options.get_port()),
        };
        let shown: Vec<String> = hosts.iter().map(host).collect();
        let shown = format!("postgres://{}@{}/{database}", hosts[0].get_username(), shown.join(","));
        Ok(Self { hosts, shown })
    }
}

/// The URL without its password and its parameters.
impl fmt::Display for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENCODE: &str = "within a part, such as the password, `/`, `?`, `#` and `@` must be percent-encoded";

    #[test]
    fn a_url_has_one_host_or_several_and_never_shows_its_password() {
        for (text, hosts, shown) in [
            ("postgres://wallet:secret@db/ledger", 1, "postgres://wallet@db:5432/ledger"),
            ("postgresql://wallet@db:5433/ledger?sslmode=require", 1, "postgres://wallet@db:5433/ledger"),
            (
                "postgres://wallet:a%40b@a,b:5433,[::1]:5434/ledger",
                3,
                "postgres://wallet@a:5432,b:5433,[::1]:5434/ledger",
            ),
        ] {
            let url: PostgresUrl = text.parse().unwrap();
            assert_eq!((url.hosts().len(), url.to_string().as_str()), (hosts, shown));
        }
    }

    #[test]
    fn what_is_no_url_is_refused_without_its_password() {
        for (text, expected) in [
            ("mysql://x", "it must begin with postgres://"),
            ("postgres://u:secret@a,,b/x", "a host is missing"),
            ("postgres://u:secret@db:port/x", "the host `db:port`, the user or a parameter cannot be read"),
            ("postgres://u:secret@db", "the name of the database is missing"),
            (
                "postgres://u:secret@db/x?sslmode=require&host=a&sslmode=disable",
                "the parameter `sslmode` is there twice",
            ),
            ("postgres://u:sec/secret@db/x", ENCODE),
            ("postgres://u:sec@secret/secret@db/x", ENCODE),
            ("postgres://u:sec?secret@db/x", ENCODE),
            ("postgres://u:sec#secret@db/x", ENCODE),
        ] {
            assert_eq!(text.parse::<PostgresUrl>().unwrap_err(), expected, "{text}");
        }
    }
}
