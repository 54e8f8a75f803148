//! The file in which a relay keeps how far it is.

use std::fs::{self, File, TryLockError};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};

use super::batch::Batch;
use crate::cli::path::{folder, follow_links, sync_name};
use crate::config::RelayArgs;
use crate::ledger::{Kind, UserId};
use crate::store::private_file;

/// The form of the file, in its first field.
const FORMAT: &str = "wallet-relay/1";

/// What a relay takes from where to where. A cursor means nothing to another one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Route {
    pub server: String,
    to: String,
    user: Option<i64>,
    kinds: Vec<String>,
}

impl Route {
    /// The route that the settings ask for.
    pub fn new(args: &RelayArgs) -> Self {
        let mut kinds: Vec<Kind> = args.kinds.clone();
        kinds.sort_unstable();
        kinds.dedup();
        Self {
            server: args.service.url(),
            to: args.to.to_string(),
            user: args.user_id.map(UserId::get),
            kinds: kinds.into_iter().map(|kind| kind.name().to_owned()).collect(),
        }
    }
}

/// What the file holds.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    format: String,
    route: Route,
    /// All before this cursor was delivered.
    delivered: String,
    /// The batch that comes next and may have been posted: if it is posted again, then as it was.
    pending: Option<Batch>,
}

/// The file in which a relay keeps how far it is. Only its owner may read it: it has entries, and the receiver's whole
/// URL. No other relay can use it meanwhile.
#[derive(Debug)]
pub struct CursorFile {
    path: PathBuf,
    content: Content,
    /// Not the file itself, which each change replaces.
    _lock: File,
}

impl CursorFile {
    /// Opens the file of the relay with this route. A link is followed. If it is missing, the relay begins behind
    /// `after`, and the file is made when the service has taken that.
    ///
    /// # Errors
    /// If it cannot be read and written, another process uses it, or it belongs to another relay.
    pub fn open(path: &Path, route: &Route, after: Option<&str>) -> Result<Self> {
        let path = &follow_links(path);
        let shown = path.display();
        let lock = lock(path)?;
        match fs::read(path) {
            Ok(bytes) => {
                let content = parse(&bytes).with_context(|| {
                    format!("the cursor file {shown} is broken; bring it back, or move it away to begin anew")
                })?;
                check_route(&content.route, route).with_context(|| format!("cannot use the cursor file {shown}"))?;
                if after.is_some() {
                    tracing::warn!(cursor_file = %shown, "the cursor file exists: --after has no effect");
                }
                Ok(Self { path: path.to_owned(), content, _lock: lock })
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let (format, route, delivered) =
                    (FORMAT.to_owned(), route.clone(), after.unwrap_or_default().to_owned());
                let content = Content { format, route, delivered, pending: None };
                Ok(Self { path: path.to_owned(), content, _lock: lock })
            }
            Err(error) => Err(error).with_context(|| format!("cannot read the cursor file {shown}")),
        }
    }

    /// The batch that is to be posted before all else.
    pub fn pending(&self) -> Option<&Batch> {
        self.content.pending.as_ref()
    }

    /// Where the feed goes on: behind the pending batch, if there is one.
    pub fn reached(&self) -> &str {
        self.pending().map_or(&self.content.delivered, |batch| &batch.cursor)
    }

    /// Notes a batch before it is posted for the first time.
    ///
    /// # Errors
    /// If that cannot be written.
    pub fn begin(&mut self, batch: &Batch) -> Result<()> {
        self.content.pending = Some(batch.clone());
        self.write()
    }

    /// Notes that the pending batch was delivered.
    ///
    /// # Errors
    /// If that cannot be written: then it is pending still.
    pub fn finish(&mut self) -> Result<()> {
        let Some(batch) = self.content.pending.take() else { return Ok(()) };
        self.content.delivered = batch.cursor;
        self.write()
    }

    /// Notes that there is nothing to deliver before this cursor.
    ///
    /// # Errors
    /// If that cannot be written.
    pub fn advance(&mut self, cursor: String) -> Result<()> {
        // A new file is made also when the service has nothing behind its first cursor.
        if self.content.delivered == cursor && self.path.exists() {
            return Ok(());
        }
        self.content.delivered = cursor;
        self.write()
    }

    /// Replaces the file: whatever happens, there is the old one or the new one, and whole.
    fn write(&self) -> Result<()> {
        let write = || {
            let partial = sibling(&self.path, "-partial");
            let mut file = private_file::open(&partial)?;
            file.set_len(0)?;
            file.write_all(&serde_json::to_vec_pretty(&self.content)?)?;
            file.sync_all()?;
            fs::rename(&partial, &self.path)?;
            sync_name(&self.path)
        };
        write().with_context(|| format!("cannot write the cursor file {}", self.path.display()))
    }
}

/// Reads the content of a file.
fn parse(bytes: &[u8]) -> Result<Content> {
    let content: Content = serde_json::from_slice(bytes)?;
    if content.format != FORMAT {
        bail!("its format is not {FORMAT}");
    }
    if content.pending.as_ref().is_some_and(|batch| !batch.is_whole()) {
        bail!("the pending batch is not what its id was made from");
    }
    Ok(content)
}

/// Refuses the file of another relay. It may be the same relay whose service or receiver has moved: only its operator
/// knows.
fn check_route(found: &Route, wanted: &Route) -> Result<()> {
    let differs = if found.server != wanted.server {
        format!("server is {}, not {}", found.server, wanted.server)
    } else if found.to != wanted.to {
        "receiver is another URL".to_owned()
    } else if found.user != wanted.user || found.kinds != wanted.kinds {
        "filter by user and kind is another".to_owned()
    } else {
        return Ok(());
    };
    bail!("it is of a relay whose {differs}; give another --cursor-file, or edit its `route` if it means the same")
}

/// Takes the lock of the file at `path`, which need not exist.
fn lock(path: &Path) -> Result<File> {
    let shown = path.display();
    if !folder(path).is_dir() {
        bail!("the folder of the cursor file {shown} does not exist");
    }
    let lock = private_file::open(&sibling(path, "-lock"));
    let lock = lock.with_context(|| format!("cannot lock the cursor file {shown}"))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => bail!("another relay uses the cursor file {shown}"),
        Err(TryLockError::Error(error)) => Err(error).with_context(|| format!("cannot lock the cursor file {shown}")),
    }
}

/// The path of a file that belongs to the one at `path`.
fn sibling(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
