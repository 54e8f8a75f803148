//! Who may call, and what: by token, on both APIs.

mod attempts;
mod audit;
mod certificates;
mod command_line;
mod matrix;
mod reload;
mod secrets;
mod streams;

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use tonic::Request;
use wallet::access::{Scope, Token, TokensFile};
use wallet::ledger::{Caller, Timestamp};

use crate::support::app::App;

/// When tokens of tests are made, and when those that have expired did.
const MADE: Timestamp = Timestamp::from_microseconds(1_767_323_045_000_000);

/// A tokens file in a folder of its own.
pub struct Tokens {
    dir: TempDir,
}

impl Tokens {
    /// An empty file.
    pub fn new() -> Self {
        let tokens = Self { dir: tempfile::tempdir().expect("a folder") };
        tokens.write(&TokensFile::read_or_new(&tokens.path()).expect("a new file"));
        tokens
    }

    pub fn path(&self) -> PathBuf {
        self.dir.path().join("tokens.toml")
    }

    pub fn folder(&self) -> &Path {
        self.dir.path()
    }

    /// Adds a token, and returns its text.
    pub fn add(&self, name: &str, scope: Scope) -> String {
        self.add_until(name, scope, None)
    }

    pub fn add_until(&self, name: &str, scope: Scope, expires: Option<Timestamp>) -> String {
        let token = Token::generate().expect("random numbers");
        let file = self.file().with_token(&caller(name), scope, token.hash(), MADE, expires).expect("a token");
        self.write(&file);
        token.reveal().to_owned()
    }

    pub fn revoke(&self, name: &str) {
        let (file, count) = self.file().without(&caller(name), None, MADE).expect("a file");
        assert!(count > 0, "{name} has no token");
        self.write(&file);
    }

    fn file(&self) -> TokensFile {
        TokensFile::read(&self.path()).expect("a file")
    }

    fn write(&self, file: &TokensFile) {
        let partial = self.dir.path().join("partial");
        fs::write(&partial, file.text()).expect("a file");
        fs::rename(partial, self.path()).expect("a file");
    }

    /// A service that takes these tokens, and believes this machine about whom it calls for.
    pub async fn serve(&self) -> App {
        App::spawn_with(|settings| {
            settings.access.tokens_file = Some(self.path());
            settings.access.trusted_proxies = vec!["127.0.0.1/32".parse().expect("a network")];
        })
        .await
    }
}

pub fn caller(name: &str) -> Caller {
    Caller::new(name).expect("a name")
}

pub fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

/// A call with a token.
pub fn with_token<T>(message: T, token: &str) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", bearer(token).parse().expect("a token"));
    request
}
