//! Copies a ledger to another database, and proves that the copy is equal.

mod compare;
mod history;
mod target;

use std::fmt::{self, Display};
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use self::target::{Target, TargetRefused};
use super::Usage;
use super::maintenance::error_json;
use super::progress::Progress;
use crate::config::MigrateArgs;
use crate::ledger::{Finding, Genesis, Heads, LedgerReport};
use crate::store::{Location, Step};
pub use compare::Unequal;

/// Copies the ledger, and prints a report.
///
/// The source is verified first, and the target at the end. The number of shards decides how: if it stays, every commit
/// is copied as it is, and old checkpoints hold; else the entries are written into new chains that are anchored on the
/// source's heads. A copy that was interrupted goes on where it stopped.
///
/// # Errors
/// If it was not done, or something in the source or in the copy is wrong.
pub fn run(args: &MigrateArgs, print: fn(&dyn Display) -> Result<()>) -> Result<()> {
    let started = Instant::now();
    let migrated = migrate(args);
    if !args.json {
        return print(&migrated?);
    }
    let mut report = match &migrated {
        Ok(report) => report.json(),
        Err(error) => error_json(error),
    };
    report["Seconds"] = json!(started.elapsed().as_secs_f64());
    print(&report)?;
    migrated.map(|_| ())
}

/// What was done.
struct Report<'a> {
    args: &'a MigrateArgs,
    /// What is in the target.
    copy: LedgerReport,
    /// The heads of the source that was copied.
    source: Heads,
    /// How many entries were written now; the others were there already.
    written: u64,
    /// How many entries the source has got in the meantime.
    newer: i64,
}

fn migrate(args: &MigrateArgs) -> Result<Report<'_>> {
    let MigrateArgs { from, to, shards, .. } = args;
    if from == to {
        return Err(Usage("--from and --to name the same database; name two".to_owned()).into());
    }
    // Dropped last, after all that has the source open.
    let _held = from.hold()?;
    let mut reader = from.bulk_reader().context("nothing was copied from the source")?;
    let _reserved = (from.reserve(false)?, to.reserve(true)?);
    let mut progress = Progress::everywhere();
    let source = audit(from, &mut progress)?.context("the source is wrong; nothing was copied")?;
    let heads = source.heads;
    let own = reader.genesis();
    let is_same = shards.is_none_or(|shards| shards == own.shards);
    let anchored = || Genesis { shards: shards.unwrap_or(own.shards), anchor: Some(heads.hash()), ..own };
    let genesis = if is_same { own } else { anchored() };
    let mut target = Target::open(to, genesis)?;
    let of = heads.entries().unsigned_abs();
    let mut show = |done| progress.show(Step::Copying { done, of });
    let copied = if is_same {
        target.check_beginning(reader.as_mut())?;
        history::copy(reader.as_mut(), &heads, &mut target, &mut show)
    } else {
        history::replay(reader.as_mut(), &heads, &mut target, &mut show)
    };
    let again = "the copy is not whole; run the same command again, and it goes on";
    let replays = copied.map_err(|error| if error.is::<TargetRefused>() { error } else { error.context(again) })?;
    let written = target.close();
    let copy = audit(to, &mut progress)?.context("the copy is wrong; remove it")?;
    let is_longer = copy.heads.iter().zip(&replays).any(|((_, end), copied)| end.commit_id > copied.head().commit_id);
    ensure!(!is_longer, TargetRefused::Served(to.clone()));
    compare::check(reader.as_mut(), to.copy_reader()?.as_mut(), &heads, &copy, &replays)?;
    Target::open(to, genesis)?.mark_whole()?;
    let newer = reader.heads()?.entries() - heads.entries();
    Ok(Report { args, copy, source: heads, written, newer })
}

fn audit(ledger: &Location, progress: &mut Progress) -> Result<Result<LedgerReport, Finding>> {
    Ok(ledger.audit(None, &mut |step| progress.show(step))?)
}

impl Report<'_> {
    fn json(&self) -> serde_json::Value {
        let LedgerReport { heads, wallets, currency } = &self.copy;
        json!({
            "success": true,
            "From": self.args.from.to_string(),
            "To": self.args.to.to_string(),
            "Wallets": wallets,
            "Entries": heads.entries(),
            "Written": self.written,
            "Shards": heads.iter().count(),
            "Currency": currency.code(),
            "SourceCheckpoint": self.source.checkpoints().to_string(),
            "Checkpoint": heads.checkpoints().to_string(),
            "NewerInSource": self.newer,
        })
    }
}

impl Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { args, copy, source, written, newer } = self;
        writeln!(f, "migrated from {} to {}: {written} entries were written now; both are equal", args.from, args.to)?;
        if *newer > 0 {
            writeln!(f, "the source was served meanwhile and has {newer} newer entries, which are not copied")?;
        }
        writeln!(f, "source checkpoint: {}", source.checkpoints())?;
        write!(f, "{copy}")
    }
}
