//! Who may call, and the tokens file that says so.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use ipnet::IpNet;

use super::value::{caller, lifetime, network};
use crate::access::{Scope, TokenId};
use crate::ledger::Caller;

/// Who may call the service.
#[derive(Clone, Debug, Args)]
pub struct AccessArgs {
    /// Those who may call, in a file that `wallet token` makes; by default, everybody may do everything
    #[arg(long, env = "WALLET_TOKENS_FILE", value_name = "FILE")]
    pub tokens_file: Option<PathBuf>,

    /// Proxies that are believed when they say in X-Forwarded-For for whom they call: addresses and networks
    #[arg(long, env = "WALLET_TRUSTED_PROXIES", value_name = "ADDRESS,…", value_delimiter = ',',
          value_parser = network)]
    pub trusted_proxies: Vec<IpNet>,

    /// Describe the gRPC service to whoever asks (server reflection), so that grpcurl needs no files
    #[arg(long, env = "WALLET_REFLECTION", default_value_t = true, value_name = "BOOL",
          action = clap::ArgAction::Set)]
    pub reflection: bool,
}

/// Which tokens file.
#[derive(Clone, Debug, Args)]
pub struct TokensFileArgs {
    /// The tokens file
    #[arg(id = "file_of_tokens", long = "tokens-file", env = "WALLET_TOKENS_FILE", value_name = "FILE")]
    pub path: PathBuf,
}

/// What is done with tokens. A service that runs reads the file again by itself.
#[derive(Clone, Debug, Subcommand)]
pub enum TokenTask {
    /// Make a token, and print it on the last line: it is shown only this once
    ///
    /// A caller may have several valid tokens. To replace one: make a new one of the same name, hand it to the caller,
    /// and revoke the old one by its id.
    New {
        /// The caller's name, which its entries and the audit log have
        #[arg(long, value_name = "NAME", value_parser = caller)]
        name: Caller,
        /// What the caller may do
        #[arg(long, value_name = "SCOPE")]
        scope: Scope,
        /// How long the token is valid, such as 90d or 12h; by default until it is revoked
        #[arg(long, value_name = "DURATION", value_parser = lifetime)]
        expires: Option<i64>,
        #[command(flatten)]
        file: TokensFileArgs,
    },
    /// List the tokens there are: names, scopes and times; no secrets
    List {
        /// Print the list as JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        file: TokensFileArgs,
    },
    /// Revoke the valid tokens of a caller: all of them, or the one with an id
    Revoke {
        /// The caller's name
        #[arg(value_parser = caller)]
        name: Caller,
        /// The token's id, as `wallet token list` shows it
        #[arg(long, value_name = "ID")]
        id: Option<TokenId>,
        #[command(flatten)]
        file: TokensFileArgs,
    },
}
