//! The service's feed, as batches.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio::time::{Instant, timeout_at};
use tonic::{Code, Response, Status, Streaming};

use super::batch::Batch;
use super::retry::Retry;
use crate::api::grpc::WALLET_CURRENCY;
use crate::api::grpc::proto::{EntryKind, WatchEntriesRequest, WatchEntriesResponse};
use crate::cli::client::{self, Client};
use crate::config::RelayArgs;
use crate::ledger::{Currency, Entry, UserId};

/// How long a feed may be silent: it sends a sign of life every 15 s.
const SILENCE_MAX: Duration = Duration::from_secs(45);

/// The service's feed, followed over every connection that breaks.
pub struct Feed {
    client: Client,
    user_id: Option<i64>,
    kinds: Vec<i32>,
    batch_size: usize,
    linger: Duration,
    /// What the feed goes on behind.
    cursor: String,
    open: Option<OpenFeed>,
    retry: Retry,
}

/// What comes next.
pub enum Next {
    Batch(Batch),
    /// No entry that is asked for, up to this cursor.
    Nothing {
        cursor: String,
    },
}

/// A feed that the service is sending.
struct OpenFeed {
    responses: Streaming<WatchEntriesResponse>,
    currency: Currency,
}

/// What was read of a feed.
struct Collected {
    entries: Vec<Entry>,
    cursor: String,
    currency: Currency,
}

impl Feed {
    /// The feed that the settings ask for, from `cursor` on.
    pub fn new(client: Client, args: &RelayArgs, cursor: &str) -> Self {
        Self {
            client,
            user_id: args.user_id.map(UserId::get),
            kinds: args.kinds.iter().map(|kind| EntryKind::from(*kind).into()).collect(),
            batch_size: args.batch_size.into(),
            linger: Duration::from_millis(args.linger_ms),
            cursor: cursor.to_owned(),
            open: None,
            retry: Retry::new("service", Duration::from_millis(args.retry_max_ms)),
        }
    }

    /// Lets the service go until more is asked for.
    pub fn close(&mut self) {
        self.open = None;
    }

    /// Waits for what comes next, over every connection that breaks.
    ///
    /// # Errors
    /// If the service refuses to be followed, or sends what this version does not know.
    pub async fn next(&mut self) -> Result<Next> {
        loop {
            match self.collect().await? {
                Ok(Collected { entries, cursor, currency }) => {
                    self.retry.succeeded();
                    self.cursor.clone_from(&cursor);
                    if entries.is_empty() {
                        return Ok(Next::Nothing { cursor });
                    }
                    return Ok(Next::Batch(Batch::new(&entries, cursor, currency)?));
                }
                Err(status) => {
                    self.open = None;
                    refuse_final(&status)?;
                    let wait = self.retry.failed(&client::cause(&status));
                    tokio::time::sleep(wait).await;
                }
            }
        }
    }

    /// Reads until a batch is full or has waited long enough, or until the service says that there is nothing. What was
    /// read before a feed broke is a batch as well.
    async fn collect(&mut self) -> Result<Result<Collected, Status>> {
        let (batch_size, linger) = (self.batch_size, self.linger);
        let OpenFeed { responses, currency } = match self.opened().await? {
            Ok(open) => open,
            Err(status) => return Ok(Err(status)),
        };
        let mut collected = Collected { entries: Vec::new(), cursor: String::new(), currency: *currency };
        let mut deadline = Instant::now() + SILENCE_MAX;
        while collected.entries.len() < batch_size {
            let broken = match timeout_at(deadline, responses.message()).await {
                Ok(Ok(Some(WatchEntriesResponse { entry: Some(entry), cursor }))) => {
                    if collected.entries.is_empty() {
                        deadline = Instant::now() + linger;
                    }
                    collected.entries.push(Entry::try_from(&entry)?);
                    collected.cursor = cursor;
                    continue;
                }
                Ok(Ok(Some(WatchEntriesResponse { entry: None, cursor }))) => {
                    collected.cursor = cursor;
                    break;
                }
                Err(_) if !collected.entries.is_empty() => break,
                Err(_) => Status::unavailable("the feed is silent"),
                Ok(Ok(None)) => Status::unavailable("the feed ended"),
                Ok(Err(status)) => status,
            };
            if collected.entries.is_empty() {
                return Ok(Err(broken));
            }
            self.open = None;
            break;
        }
        Ok(Ok(collected))
    }

    /// The open feed, which is opened now if there is none.
    async fn opened(&mut self) -> Result<Result<&mut OpenFeed, Status>> {
        if self.open.is_none() {
            let request = WatchEntriesRequest {
                after: Some(self.cursor.clone()).filter(|cursor| !cursor.is_empty()),
                user_id: self.user_id,
                kinds: self.kinds.clone(),
            };
            let response = match self.client.watch_entries(request).await {
                Ok(response) => response,
                Err(status) => return Ok(Err(status)),
            };
            let currency = currency(&response)?;
            self.open = Some(OpenFeed { responses: response.into_inner(), currency });
        }
        Ok(Ok(self.open.as_mut().expect("it is open")))
    }
}

/// The ledger's currency, as the service tells it: a wrong one would write amounts a hundred times too large.
fn currency<T>(response: &Response<T>) -> Result<Currency> {
    let told = response.metadata().get(WALLET_CURRENCY).and_then(|code| code.to_str().ok());
    let code = told.context("the service does not tell its currency: is it a wallet of another version?")?;
    Ok(code.parse()?)
}

/// Ends the relay if another attempt would be refused as this one was.
fn refuse_final(status: &Status) -> Result<()> {
    match status.code() {
        Code::InvalidArgument => bail!(
            "the service refuses the cursor (of the cursor file, or of --after) or the filter: {}",
            status.message()
        ),
        Code::Unauthenticated | Code::PermissionDenied => {
            bail!("the service refuses the token of WALLET_TOKEN: {}", status.message())
        }
        _ => Ok(()),
    }
}
