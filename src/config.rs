//! Every setting, once: its flag, environment variable, default and help.

mod access;
mod address;
mod client;
mod command_line;
mod export;
mod relay;
mod tls;
mod value;

use std::ffi::OsStr;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::TypedValueParser;
use clap::error::ErrorKind;
use clap::{Arg, Args, Command, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use crate::api::feed::FeedOptions;
use crate::api::grpc::GrpcOptions;
use crate::api::rest::{AllowedHosts, RestOptions};
use crate::engine::EngineOptions;
use crate::ledger::{Checkpoints, Currency, Shards};
use crate::store::{Location, StoreOptions};
use crate::telemetry;
pub use access::{AccessArgs, TokenTask, TokensFileArgs};
pub use address::Address;
pub use client::{Secret, ServiceArgs};
pub use command_line::one_line;
pub use export::{ExportArgs, ExportFormat, FilterArgs, ReconcileArgs, SpanArgs};
pub use relay::RelayArgs;
pub use tls::{ClientTlsArgs, TlsArgs, TlsFiles};
use value::{checkpoints, host_name, milliseconds, shards};

/// Those who may watch the ledger at the same time, by both APIs together. It bounds the memory that they can use: each
/// holds one page of the feed.
const WATCHERS_MAX: usize = 512;

/// The ledger that game engines charge and pay into: a JSON REST API and a gRPC service over one database.
///
/// With no command, it serves. Most settings are a flag and an environment variable; the flag wins. A variable that is
/// set but empty counts as not set. `wallet COMMAND --help` shows what a command takes.
#[derive(Clone, Debug, Parser)]
#[command(name = "wallet", version, args_conflicts_with_subcommands = true)]
pub struct CommandLine {
    #[command(subcommand)]
    task: Option<Task>,
    #[command(flatten)]
    settings: Settings,
}

/// What the program is asked to do.
#[derive(Clone, Debug, Subcommand)]
pub enum Task {
    /// Serve both APIs until told to stop (the default)
    Serve(Box<Settings>),
    /// Ask a running service whether it is up: exit code 0 if it is, 1 if not
    Healthcheck(HealthcheckArgs),
    /// Make the ledger, or bring its tables up to date, and end: what `serve` does before it serves
    ///
    /// On PostgreSQL, the owner of the tables runs it, so that `serve` needs no right to make any.
    Init(InitArgs),
    /// Recompute every balance, sequence and hash of the ledger; works while it is served
    Verify(VerifyArgs),
    /// Copy the ledger to a new file, verified; works while it is served
    Backup {
        /// The file to make; one that is there already is never overwritten
        file: PathBuf,
        #[command(flatten)]
        database: DatabaseArgs,
    },
    /// Make the database from a backup, verified; refuses if there is a database already
    Restore {
        /// The backup
        file: PathBuf,
        #[command(flatten)]
        database: DatabaseArgs,
    },
    /// Post each entry of a running service to a URL, in signed batches, until told to stop
    ///
    /// The batches are webhooks (<https://www.standardwebhooks.com>). The secret to sign with is in the variable
    /// `WALLET_RELAY_SECRET`, or in a file; the token for the service is in the variable `WALLET_TOKEN`.
    Relay(Box<RelayArgs>),
    /// Write the ledger's entries as CSV or NDJSON; works while it is served
    Export(ExportArgs),
    /// Compare what a game provider says happened with the ledger; works while it is served
    Reconcile(ReconcileArgs),
    /// Copy a ledger to another database, verified, and prove that both are equal
    ///
    /// With the same number of shards every commit is copied as it is, and old checkpoints hold. With another number
    /// the entries are written into new chains. A copy that was interrupted goes on where it stopped.
    Migrate(MigrateArgs),
    /// Make, list and revoke the tokens of those who may call
    #[command(subcommand)]
    Token(TokenTask),
    /// Print the OpenAPI 3.1 description of the REST API
    Openapi {
        /// The currency of the examples, by its ISO 4217 code
        #[arg(long, env = "WALLET_CURRENCY", default_value = "EUR", value_name = "CODE")]
        currency: Currency,
    },
    /// Print a script that completes this program's command line in a shell
    Completions {
        /// The shell
        shell: Shell,
    },
}

impl Task {
    /// Checks what no setting shows by itself.
    ///
    /// # Errors
    /// Why the settings do not belong together.
    fn check(&self) -> Result<(), &'static str> {
        match self {
            Self::Export(ExportArgs { span, .. }) | Self::Reconcile(ReconcileArgs { span, .. }) => span.check(),
            _ => Ok(()),
        }
    }
}

/// Reads the URL of a ledger. It may hold a password, so an error does not show it.
#[derive(Clone)]
struct LocationParser;

impl TypedValueParser for LocationParser {
    type Value = Location;

    fn parse_ref(&self, command: &Command, arg: Option<&Arg>, value: &OsStr) -> Result<Location, clap::Error> {
        let read = value.to_str().ok_or_else(|| "it is not UTF-8".to_owned());
        let read = read.and_then(|url| url.parse::<Location>().map_err(|error| error.to_string()));
        let name = arg.map(ToString::to_string).unwrap_or_default();
        read.map_err(|why| {
            command.clone().error(ErrorKind::ValueValidation, format!("invalid value for '{name}': {why}"))
        })
    }
}

/// Which ledger.
#[derive(Clone, Debug, Args)]
pub struct DatabaseArgs {
    /// The ledger: `sqlite://FILE`, or `postgres://USER@HOST,…/NAME`. `serve` makes it if it is missing
    #[arg(
        id = "database_url",
        long = "database-url",
        env = "WALLET_DATABASE_URL",
        default_value = "sqlite://wallet.db",
        value_name = "URL",
        value_parser = LocationParser
    )]
    pub url: Location,
}

/// Which ledger is made, and how.
#[derive(Clone, Debug, Args)]
pub struct InitArgs {
    #[command(flatten)]
    pub database: DatabaseArgs,
    /// The currency of every wallet, by its ISO 4217 code; fixed when the ledger is made
    #[arg(long, env = "WALLET_CURRENCY", default_value = "EUR", value_name = "CODE")]
    pub currency: Currency,
    /// The shards of a PostgreSQL ledger, from 1 to 256; 1 if it is not given. Fixed when the ledger is made
    #[arg(long, env = "WALLET_SHARDS", value_name = "N", value_parser = shards)]
    pub shards: Option<Shards>,
}

/// Which service is asked for its health.
#[derive(Clone, Debug, Args)]
pub struct HealthcheckArgs {
    /// Where its REST API listens; by default where the service of this database does, or else `WALLET_HTTP_ADDR` says
    #[arg(long, value_name = "HOST:PORT")]
    pub http_addr: Option<Address>,
    /// Where to ask if no service of this database is found
    #[arg(long, env = "WALLET_HTTP_ADDR", default_value = "127.0.0.1:5000", value_name = "HOST:PORT", hide = true)]
    pub http_addr_default: Address,
    /// The CAs of the service's certificate in PEM, if it speaks TLS and is not the service of this database
    #[arg(long, env = "WALLET_TLS_CA", value_name = "FILE")]
    pub tls_ca: Option<PathBuf>,
    #[command(flatten)]
    pub database: DatabaseArgs,
}

/// What is verified, against what.
#[derive(Clone, Debug, Args)]
pub struct VerifyArgs {
    /// Fail if anything up to this saved checkpoint has changed: its text, or the JSON that the API answered
    #[arg(long, value_name = "CHECKPOINT", value_parser = checkpoints)]
    pub checkpoint: Option<Checkpoints>,
    /// Print the report as JSON
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub database: DatabaseArgs,
}

/// What is copied, and where.
#[derive(Clone, Debug, Args)]
pub struct MigrateArgs {
    /// The ledger that is copied; nothing in it changes. Stop its services first
    #[arg(long, value_name = "URL", value_parser = LocationParser)]
    pub from: Location,
    /// Where to; a database without a ledger, or with the beginning of this copy
    #[arg(long, value_name = "URL", value_parser = LocationParser)]
    pub to: Location,
    /// The shards of the copy, from 1 to 256; as many as the source has if it is not given
    #[arg(long, value_name = "N", value_parser = shards)]
    pub shards: Option<Shards>,
    /// Print the report as JSON
    #[arg(long)]
    pub json: bool,
}

/// What is logged, and how.
#[derive(Clone, Debug, Args)]
pub struct LogArgs {
    /// What to log: a level (error, warn, info, debug, trace, off), or `TARGET=LEVEL` for a part, separated by commas
    #[arg(id = "log", long = "log", env = "WALLET_LOG", default_value = "info", value_name = "FILTER",
          value_parser = telemetry::check_filter)]
    pub filter: String,

    /// How to write logs: `auto` is text on a terminal and JSON otherwise
    #[arg(
        id = "log_format",
        long = "log-format",
        env = "WALLET_LOG_FORMAT",
        default_value = "auto",
        value_enum,
        value_name = "FORMAT"
    )]
    pub format: LogFormat,
}

/// The settings of `serve`, checked.
#[derive(Clone, Debug, Args)]
pub struct Settings {
    /// Where the REST API listens
    #[arg(long, env = "WALLET_HTTP_ADDR", default_value = "127.0.0.1:5000", value_name = "HOST:PORT")]
    pub http_addr: Address,

    /// Where the gRPC service listens
    #[arg(long, env = "WALLET_GRPC_ADDR", default_value = "127.0.0.1:50051", value_name = "HOST:PORT")]
    pub grpc_addr: Address,

    /// Where /metrics answers, in Prometheus' text form, to whoever asks; off by default. To be kept private: it has no
    /// tokens and no TLS
    #[arg(long, env = "WALLET_METRICS_ADDR", value_name = "HOST:PORT")]
    pub metrics_addr: Option<Address>,

    /// Host names, with commas between, by which browsers may use the API's page; addresses and localhost always may
    #[arg(long, env = "WALLET_ALLOWED_HOSTS", value_name = "NAME,…", value_delimiter = ',', value_parser = host_name)]
    pub allowed_hosts: Vec<String>,

    #[command(flatten)]
    pub access: AccessArgs,

    #[command(flatten)]
    pub tls: TlsArgs,

    #[command(flatten)]
    pub database: DatabaseArgs,

    /// The currency of every wallet, by its ISO 4217 code; stored at the first start and fixed from then on
    #[arg(long, env = "WALLET_CURRENCY", default_value = "EUR", value_name = "CODE")]
    pub currency: Currency,

    /// The shards of a PostgreSQL ledger, from 1 to 256; 1 if it is not given. Fixed when the ledger is made
    #[arg(long, env = "WALLET_SHARDS", value_name = "N", value_parser = shards)]
    pub shards: Option<Shards>,

    /// Start although the ledger's last commit is more than a minute ahead of the clock
    #[arg(long, env = "WALLET_ACCEPT_CLOCK", default_value_t = false, value_name = "BOOL",
          num_args = 0..=1, default_missing_value = "true", require_equals = true, action = clap::ArgAction::Set)]
    pub accept_clock: bool,

    /// How long SQLite's WAL may become before it is begun again, in MiB
    #[arg(long, env = "WALLET_WAL_SIZE_MAX_MIB", default_value_t = 64, value_name = "MIB",
          value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub wal_size_max_mib: u32,

    /// How long a command waits while another process holds the database's write lock
    #[arg(long, env = "WALLET_LOCK_TIMEOUT_MS", default_value_t = 5_000, value_name = "DURATION",
          value_parser = milliseconds)]
    pub lock_timeout_ms: u64,

    /// How long one commit may take before the health check reports down
    #[arg(long, env = "WALLET_STALL_TIMEOUT_MS", default_value_t = 5_000, value_name = "DURATION",
          value_parser = milliseconds)]
    pub stall_timeout_ms: u64,

    /// How long a REST command may wait for its decision, or a read for its answer, before 503 DEADLINE
    #[arg(long, env = "WALLET_COMMAND_TIMEOUT_MS", default_value_t = 10_000, value_name = "DURATION",
          value_parser = milliseconds)]
    pub command_timeout_ms: u64,

    /// Commands that may wait; one more is answered BUSY
    #[arg(long, env = "WALLET_QUEUE_CAPACITY", default_value_t = 16_384, value_name = "N",
          value_parser = clap::value_parser!(u32).range(1..=1_048_576))]
    pub queue_capacity: u32,

    /// Commands that share one transaction at the most
    #[arg(long, env = "WALLET_BATCH_SIZE_MAX", default_value_t = 1_024, value_name = "N",
          value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub batch_size_max: u32,

    /// Connections that each API holds at the most; more wait until one closes
    #[arg(long, env = "WALLET_CONNECTIONS_MAX", default_value_t = 16_384, value_name = "N",
          value_parser = clap::value_parser!(u32).range(1..=1_048_576))]
    pub connections_max: u32,

    /// How long a connection may be idle between requests before it is closed
    #[arg(long, env = "WALLET_IDLE_TIMEOUT_MS", default_value_t = 75_000, value_name = "DURATION",
          value_parser = milliseconds)]
    pub idle_timeout_ms: u64,

    /// Spin for up to 1 ms for a lone caller: less latency, for 1.5 processors instead of 0.7 while it sends
    #[arg(long, env = "WALLET_SPIN", default_value_t = true, value_name = "BOOL",
          action = clap::ArgAction::Set)]
    pub spin: bool,

    /// Take REST amounts computed with floats: 0.30000000000000004 is 0.30; off by 1/10000 minor unit at the most
    #[arg(long, env = "WALLET_LEGACY_FLOATS", default_value_t = false, value_name = "BOOL",
          action = clap::ArgAction::Set)]
    pub legacy_floats: bool,

    /// Those who may watch the ledger at the same time. It has no flag.
    #[arg(skip = WATCHERS_MAX)]
    pub watchers_max: usize,

    /// How readers of the feed are treated. A test shortens it.
    #[arg(skip)]
    pub feed: FeedOptions,

    #[command(flatten)]
    pub logs: LogArgs,
}

/// How logs are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    Auto,
    Text,
    Json,
}

impl LogFormat {
    /// Whether standard error gets JSON.
    #[must_use]
    pub fn is_json(self) -> bool {
        match self {
            Self::Auto => !std::io::stderr().is_terminal(),
            Self::Text => false,
            Self::Json => true,
        }
    }
}

impl Settings {
    /// The settings of an environment in which nothing is set.
    ///
    /// # Panics
    /// Never: the defaults are valid.
    #[must_use]
    pub fn defaults() -> Self {
        match CommandLine::parse(["wallet"], &|_: &OsStr| true) {
            Ok(Task::Serve(settings)) => *settings,
            other => unreachable!("no arguments and no variables: {other:?}"),
        }
    }

    /// How the store is opened.
    #[must_use]
    pub fn store(&self) -> StoreOptions {
        let wal_size_max = u64::from(self.wal_size_max_mib) << 20;
        StoreOptions { shards: self.shards, wal_size_max, ..StoreOptions::new(self.currency) }
    }

    /// How the engine batches and waits.
    #[must_use]
    pub fn engine(&self) -> EngineOptions {
        EngineOptions {
            queue_capacity: usize::try_from(self.queue_capacity).unwrap_or(usize::MAX),
            batch_size_max: usize::try_from(self.batch_size_max).unwrap_or(usize::MAX),
            lock_timeout: Duration::from_millis(self.lock_timeout_ms),
            stall_timeout: Duration::from_millis(self.stall_timeout_ms),
            spin: self.spin,
            watchers_max: self.watchers_max,
        }
    }

    /// The limits of the REST API.
    #[must_use]
    pub fn rest(&self) -> RestOptions {
        RestOptions {
            command_timeout: Duration::from_millis(self.command_timeout_ms),
            legacy_floats: self.legacy_floats,
            feed: self.feed,
            ..RestOptions::default()
        }
    }

    /// The names under which a page may move something.
    #[must_use]
    pub fn allowed_hosts(&self) -> AllowedHosts {
        self.allowed_hosts.iter().cloned().collect()
    }

    /// The limits of the gRPC API.
    #[must_use]
    pub fn grpc(&self) -> GrpcOptions {
        GrpcOptions { feed: self.feed, reflection: self.access.reflection, ..GrpcOptions::default() }
    }
}
