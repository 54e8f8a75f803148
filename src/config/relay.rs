//! The settings of `relay`.

use std::path::PathBuf;

use axum::http::Uri;
use clap::Args;

use super::value::{kind, milliseconds, target_url, user_id};
use super::{LogArgs, ServiceArgs};
use crate::ledger::{Kind, UserId};

/// What is relayed, from where and to whom.
#[derive(Clone, Debug, Args)]
pub struct RelayArgs {
    /// Where entries are posted to: an https URL, or an http one of this machine
    #[arg(long, env = "WALLET_RELAY_TO", hide_env_values = true, value_name = "URL", value_parser = target_url)]
    pub to: Uri,

    /// Where the relay keeps how far it is; made if it is missing, and for one relay alone
    #[arg(long, env = "WALLET_RELAY_CURSOR_FILE", default_value = "wallet-relay.json", value_name = "FILE")]
    pub cursor_file: PathBuf,

    /// The file with the secret to sign with (`whsec_…`), instead of `WALLET_RELAY_SECRET`; of several, all sign
    #[arg(long, env = "WALLET_RELAY_SECRET_FILE", value_name = "FILE")]
    pub secret_file: Option<PathBuf>,

    /// Where a new cursor file begins: a cursor, or `now`; without it, at the ledger's first entry
    #[arg(long, env = "WALLET_RELAY_AFTER", value_name = "CURSOR")]
    pub after: Option<String>,

    /// Only entries of this user
    #[arg(long = "user", env = "WALLET_RELAY_USER", value_name = "ID", value_parser = user_id)]
    pub user_id: Option<UserId>,

    /// Only entries of these kinds, separated by commas, such as `charge,win`
    #[arg(long = "kind", env = "WALLET_RELAY_KIND", value_name = "KIND", value_delimiter = ',', value_parser = kind)]
    pub kinds: Vec<Kind>,

    /// Entries of one post at the most
    #[arg(long, env = "WALLET_RELAY_BATCH_SIZE", default_value_t = 100, value_name = "N",
          value_parser = clap::value_parser!(u16).range(1..=1_000))]
    pub batch_size: u16,

    /// How long the first entry of a post waits for more
    #[arg(long, env = "WALLET_RELAY_LINGER_MS", default_value_t = 100, value_name = "DURATION",
          value_parser = milliseconds)]
    pub linger_ms: u64,

    /// How long one post may take
    #[arg(long, env = "WALLET_RELAY_TIMEOUT_MS", default_value_t = 15_000, value_name = "DURATION",
          value_parser = milliseconds)]
    pub timeout_ms: u64,

    /// The longest wait between two attempts
    #[arg(long, env = "WALLET_RELAY_RETRY_MAX_MS", default_value_t = 60_000, value_name = "DURATION",
          value_parser = milliseconds)]
    pub retry_max_ms: u64,

    /// Post over http, without encryption, to another machine as well
    #[arg(long, env = "WALLET_RELAY_INSECURE_HTTP", default_value_t = false, value_name = "BOOL",
          num_args = 0..=1, default_missing_value = "true", require_equals = true, action = clap::ArgAction::Set)]
    pub insecure_http: bool,

    #[command(flatten)]
    pub service: ServiceArgs,

    #[command(flatten)]
    pub logs: LogArgs,
}
