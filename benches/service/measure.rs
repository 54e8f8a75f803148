//! Everything that can be measured, by name.

use std::fmt;

use super::wallets::Ids;

/// One thing to measure. The numbers are callers, each with one command in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Measure {
    /// Commits of bare SQLite, one after the other.
    Bare,
    /// The engine without an API, over a ledger with `entries` entries. For 0, a new ledger is made.
    Ledger {
        callers: usize,
        entries: u64,
        ids: Ids,
    },
    /// The same with one command in a transaction.
    OneByOne(usize),
    /// The running program.
    Service(Load),
    /// The same, started with a tokens file; its callers send a token. No load of it follows the feed.
    GuardedService(Load),
    /// The older program that `--baseline` names.
    OldService(Load),
    /// Charges by `pgbench`.
    PgBench(PgBench),
    /// The running program, with its ledger on PostgreSQL.
    PostgresService {
        load: Load,
        standby: bool,
    },
    /// Two running programs with one ledger on PostgreSQL: commands in flight on a stream to each.
    TwoPostgresServices(usize),
    Flask(usize),
    FlaskWal(usize),
}

/// How `pgbench` charges.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PgBench {
    pub clients: usize,
    pub form: Form,
    /// Whether each commit waits for a standby.
    pub standby: bool,
}

/// A charge in SQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Form {
    /// A transaction of five statements.
    Statements,
    /// One call of a function on the server.
    Function,
}

/// What the callers of a running program do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Load {
    Healthcheck(usize),
    Rest(usize),
    /// All charge one wallet.
    RestHot(usize),
    /// At half of the rate that as many callers reached in a closed loop before.
    RestPaced(usize),
    Reads(usize),
    /// Reads of a wallet with a million entries as it was at a random moment.
    Past(usize),
    /// Reads while as many others charge.
    ReadsBesideCharges(usize),
    GrpcHealth(usize),
    Grpc(usize),
    /// Commands in flight on one stream.
    Transact(usize),
    /// Charges by REST, while one watcher follows all, and so many more follow one user each. If there are such, one
    /// more does not read.
    Watched {
        callers: usize,
        users: usize,
    },
    /// One reader of the whole ledger, from the beginning.
    FeedGrpc,
    FeedEvents,
}

impl From<Load> for Measure {
    fn from(load: Load) -> Self {
        Self::Service(load)
    }
}

impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Bare => f.write_str("bare SQLite commit"),
            Self::Ledger { callers, entries, ids } => {
                write!(f, "ledger only, {callers} in flight")?;
                if entries > 0 {
                    write!(f, ", {entries} entries there")?;
                }
                f.write_str(if ids == Ids::Random { ", random event ids" } else { "" })
            }
            Self::OneByOne(callers) => write!(f, "ledger only, {callers} in flight, one a transaction"),
            Self::Service(load) => load.fmt(f),
            Self::GuardedService(load) => write!(f, "{load}, with a token"),
            Self::OldService(load) => write!(f, "{load}, old program"),
            Self::PgBench(pgbench) => pgbench.fmt(f),
            Self::PostgresService { load, standby } => {
                write!(f, "{load}, on PostgreSQL{}", if standby { " with a standby" } else { "" })
            }
            Self::TwoPostgresServices(in_flight) => write!(f, "Transact, 2 processes, {in_flight} in flight each"),
            Self::Flask(callers) => write!(f, "Flask + sqlite3, {callers} callers"),
            Self::FlaskWal(callers) => write!(f, "Flask + sqlite3 with WAL, {callers} callers"),
        }
    }
}

impl fmt::Display for PgBench {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { clients, form, standby } = self;
        let form = match form {
            Form::Statements => "5 statements",
            Form::Function => "1 function",
        };
        write!(f, "pgbench, {form}, {clients} clients{}", if *standby { ", with a standby" } else { "" })
    }
}

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Healthcheck(callers) => write!(f, "REST healthcheck, {callers} connections"),
            Self::Rest(1) => f.write_str("REST charge, one caller"),
            Self::Rest(callers) => write!(f, "REST charge, {callers} connections"),
            Self::RestHot(callers) => write!(f, "REST charge, {callers} connections, one hot wallet"),
            Self::RestPaced(callers) => write!(f, "REST charge, {callers} connections, at half of their top rate"),
            Self::Reads(callers) => write!(f, "REST read, {callers} connections"),
            Self::Past(callers) => write!(f, "REST read of the past, {callers} connections"),
            Self::ReadsBesideCharges(callers) => write!(f, "REST read, {callers} connections, while as many charge"),
            Self::GrpcHealth(callers) => write!(f, "gRPC health check, {callers} in flight"),
            Self::Grpc(callers) => write!(f, "gRPC charge, {callers} in flight"),
            Self::Transact(in_flight) => write!(f, "Transact, {in_flight} in flight"),
            Self::Watched { callers, users: 0 } => write!(f, "REST charge, {callers} connections, one watcher"),
            Self::Watched { callers, users } => {
                write!(f, "REST charge, {callers} connections, {users} watchers of a user, one of all, one stuck")
            }
            Self::FeedGrpc => f.write_str("entries read, WatchEntries"),
            Self::FeedEvents => f.write_str("entries read, Server-Sent Events"),
        }
    }
}
