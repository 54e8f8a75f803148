//! Every setting, once: its flag, environment variable, default and help.

use std::io::IsTerminal;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::api::grpc::GrpcOptions;
use crate::api::rest::RestOptions;
use crate::engine::EngineOptions;
use crate::ledger::{Checkpoint, Currency};
use crate::store::Location;

/// The exit code of a command line that cannot be followed (`EX_USAGE` of BSD's `sysexits.h`).
pub const EXIT_USAGE: u8 = 64;

/// The ledger that game engines charge and pay into: a JSON REST API and a gRPC service over one database.
///
/// With no command, it serves. Every setting is a flag and an environment variable; the flag wins.
#[derive(Clone, Debug, Parser)]
#[command(name = "wallet", version)]
pub struct CommandLine {
    #[command(subcommand)]
    pub command: Option<Task>,
    #[command(flatten)]
    pub settings: Settings,
}

/// What the program is asked to do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Subcommand)]
pub enum Task {
    /// Serve both APIs until told to stop (the default)
    #[default]
    Serve,
    /// Ask a running service whether it is up: exit code 0 if it is, 1 if not
    Healthcheck,
    /// Recompute every balance, sequence and hash of the ledger; works while it is served
    Verify {
        /// Fail if anything up to this saved checkpoint has changed
        #[arg(long, value_name = "COMMIT:HASH")]
        checkpoint: Option<Checkpoint>,
    },
    /// Copy the ledger to a new file, verified; works while it is served
    Backup {
        /// The file to make; one that is there already is never overwritten
        file: PathBuf,
    },
    /// Make the database from a backup, verified; refuses if there is a database already
    Restore {
        /// The backup
        file: PathBuf,
    },
    /// Print the OpenAPI 3.1 description of the REST API
    Openapi,
}

/// The settings, checked.
#[derive(Clone, Debug, Args)]
pub struct Settings {
    /// Where the REST API listens
    #[arg(long, env = "WALLET_HTTP_ADDR", default_value = "127.0.0.1:5000", value_name = "IP:PORT", global = true)]
    pub http_addr: SocketAddr,

    /// Where the gRPC service listens
    #[arg(long, env = "WALLET_GRPC_ADDR", default_value = "127.0.0.1:50051", value_name = "IP:PORT", global = true)]
    pub grpc_addr: SocketAddr,

    /// The database; an SQLite file is made if it is missing
    #[arg(long, env = "WALLET_DATABASE_URL", default_value = "sqlite://wallet.db", value_name = "URL", global = true)]
    pub database_url: Location,

    /// The currency of every wallet, by its ISO 4217 code; stored at the first start and fixed from then on
    #[arg(long, env = "WALLET_CURRENCY", default_value = "EUR", value_name = "CODE", global = true)]
    pub currency: Currency,

    /// How long a command waits while another process holds the database's write lock, in milliseconds
    #[arg(long, env = "WALLET_LOCK_TIMEOUT_MS", default_value_t = 5_000, value_name = "MS", global = true,
          value_parser = milliseconds)]
    pub lock_timeout_ms: u64,

    /// How long one commit may take before the health check reports down, in milliseconds
    #[arg(long, env = "WALLET_STALL_TIMEOUT_MS", default_value_t = 5_000, value_name = "MS", global = true,
          value_parser = milliseconds)]
    pub stall_timeout_ms: u64,

    /// How long a REST command may queue before 503 DEADLINE, in milliseconds
    #[arg(long, env = "WALLET_COMMAND_TIMEOUT_MS", default_value_t = 10_000, value_name = "MS", global = true,
          value_parser = milliseconds)]
    pub command_timeout_ms: u64,

    /// Commands that may wait; one more is answered BUSY
    #[arg(long, env = "WALLET_QUEUE_CAPACITY", default_value_t = 16_384, value_name = "N", global = true,
          value_parser = clap::value_parser!(u32).range(1..=1_048_576))]
    pub queue_capacity: u32,

    /// Commands that share one transaction at the most
    #[arg(long, env = "WALLET_BATCH_SIZE_MAX", default_value_t = 1_024, value_name = "N", global = true,
          value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub batch_size_max: u32,

    /// Connections that each API holds at the most; more wait until one closes
    #[arg(long, env = "WALLET_CONNECTIONS_MAX", default_value_t = 16_384, value_name = "N", global = true,
          value_parser = clap::value_parser!(u32).range(1..=1_048_576))]
    pub connections_max: u32,

    /// How long a connection may be idle between requests before it is closed, in milliseconds
    #[arg(long, env = "WALLET_IDLE_TIMEOUT_MS", default_value_t = 75_000, value_name = "MS", global = true,
          value_parser = milliseconds)]
    pub idle_timeout_ms: u64,

    /// Spin for up to 1 ms for a lone caller: less latency, for 1.5 processors instead of 0.7 while it sends
    #[arg(long, env = "WALLET_SPIN", default_value_t = true, value_name = "BOOL", global = true,
          action = clap::ArgAction::Set)]
    pub spin: bool,

    /// What to log: a level (error, warn, info, debug, trace) or a filter of `tracing-subscriber`
    #[arg(long, env = "WALLET_LOG", default_value = "info", value_name = "FILTER", global = true)]
    pub log: String,

    /// How to write logs: `auto` is text on a terminal and JSON otherwise
    #[arg(long, env = "WALLET_LOG_FORMAT", default_value = "auto", value_enum, global = true)]
    pub log_format: LogFormat,
}

fn milliseconds(text: &str) -> Result<u64, &'static str> {
    text.parse().map_err(|_| "needs whole milliseconds, such as 5000")
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
        CommandLine::try_parse_from(["wallet"]).expect("the defaults are valid").settings
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
        }
    }

    /// The limits of the REST API.
    #[must_use]
    pub fn rest(&self) -> RestOptions {
        RestOptions { command_timeout: Duration::from_millis(self.command_timeout_ms), ..RestOptions::default() }
    }

    /// The limits of the gRPC API.
    #[must_use]
    pub fn grpc(&self) -> GrpcOptions {
        GrpcOptions::default()
    }
}
