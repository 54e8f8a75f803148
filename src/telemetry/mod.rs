//! Logs, to standard error: for a person on a terminal, as JSON otherwise.

mod throttle;

use std::error::Error;
use std::sync::{Mutex, OnceLock};
use std::{iter, panic};

use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, WorkerGuard};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::{LevelFilter, ParseError};
use tracing_subscriber::fmt::writer::MakeWriterExt as _;

pub use throttle::Throttle;

/// The target of the audit log. Its lines are logged unless the filter says `off`, or names this target.
pub const AUDIT: &str = "wallet.audit";
static AUDIT_LOST: OnceLock<ErrorCounter> = OnceLock::new();

/// The levels, for a person to read.
const LEVELS: &str = "error, warn, info, debug, trace, off";

/// Sends this process's logs to standard error from now on, until the guard is dropped. Panics are logged as well.
///
/// Threads of their own write them: no caller waits for a slow terminal or a full pipe. If far more is logged than can
/// be written, lines are lost rather than commands delayed. The audit log has a queue of its own, which other lines do
/// not fill, and what it loses is counted ([`audit_lines_lost`]).
///
/// # Panics
/// If `filter` did not pass [`check_filter`], or if this process sends its logs somewhere already.
pub fn init(filter: &str, json: bool) -> [WorkerGuard; 2] {
    let filter = parse_filter(filter).expect("the filter was checked");
    let (writer, guard) = NonBlocking::new(std::io::stderr());
    let (audit, audit_guard) = NonBlocking::new(std::io::stderr());
    let _ = AUDIT_LOST.set(audit.error_counter());
    let writer = audit.with_filter(|line| line.target() == AUDIT).or_else(writer);
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer);
    if json {
        subscriber.json().flatten_event(true).with_span_list(false).init();
    } else {
        subscriber.with_target(false).init();
    }
    log_panics();
    [guard, audit_guard]
}

/// How many lines of the audit log were lost since the start, because they could not be written fast enough.
#[must_use]
pub fn audit_lines_lost() -> usize {
    AUDIT_LOST.get().map_or(0, ErrorCounter::dropped_lines)
}

/// Returns the filter if it is one: a level, or `TARGET=LEVEL` for a part, separated by commas.
///
/// `tracing-subscriber` takes a misspelt level for the name of a part, and would then log nothing else. So each part
/// must come with its level here.
///
/// # Errors
/// What is wrong with it.
pub fn check_filter(text: &str) -> Result<String, String> {
    for directive in text.split(',') {
        let level = directive.rsplit('=').next().map(str::trim).filter(|level| !level.is_empty());
        if level.is_none_or(|level| level.parse::<LevelFilter>().is_err()) {
            return Err(format!("'{directive}' is no level, and no TARGET=LEVEL; levels are {LEVELS}"));
        }
    }
    parse_filter(text).map(|_| text.to_owned()).map_err(|error| error.to_string())
}

/// Errors of parts that the filter does not name are logged as well, and so is the audit log, unless it says `off`.
fn parse_filter(text: &str) -> Result<EnvFilter, ParseError> {
    let is_off = text.split(',').any(|directive| directive.trim().eq_ignore_ascii_case("off"));
    let audit = if is_off { String::new() } else { format!(",{AUDIT}=info") };
    EnvFilter::builder().parse(format!("error{audit},{text}"))
}

/// Logs each panic where it happens, and counts those that repeat.
fn log_panics() {
    let throttle = Mutex::new(Throttle::default());
    panic::set_hook(Box::new(move |panic| {
        let Some(suppressed) = throttle.lock().ok().and_then(|mut throttle| throttle.pass()) else { return };
        let location = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(
            panic = panic.payload_as_str().unwrap_or("no message"),
            location,
            suppressed,
            "a bug: panicked"
        );
    }));
}

/// An error and what it came from, in one line. What an error says of its source is not said again.
#[must_use]
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let errors = iter::successors(Some(error), |error| (*error).source());
    let mut parts: Vec<String> = errors.map(ToString::to_string).collect();
    parts.dedup_by(|source, error| error.ends_with(source.as_str()));
    parts.join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_error_says_of_its_source_is_said_once() {
        let error = anyhow::Error::msg("it is full").context("cannot write").context("the store failed: cannot write");
        assert_eq!(chain(error.as_ref()), "the store failed: cannot write: it is full");
    }

    #[test]
    fn a_filter_names_a_level_for_each_part() {
        for filter in ["info", "OFF", "warn,wallet=debug", "wallet::engine=trace", "[a{b}]=debug"] {
            assert_eq!(check_filter(filter).as_deref(), Ok(filter));
        }
        for filter in ["", "loud", "wallet", "info,loud", "info,", "wallet=loud", "wallet=", "=nonsense=", "[a"] {
            assert!(check_filter(filter).is_err(), "{filter}");
        }
    }

    #[test]
    fn what_the_filter_does_not_name_still_logs_its_errors() {
        for (filter, shown) in [("wallt=debug", "error"), ("info", "info"), ("off", "off")] {
            let parsed = parse_filter(filter).unwrap().to_string();
            assert_eq!(parsed.split(',').next_back(), Some(shown), "{parsed}");
        }
    }

    #[test]
    fn the_audit_log_is_written_unless_it_is_switched_off() {
        for (filter, audited) in [("warn", true), ("wallet=error", true), ("off", false), ("wallet.audit=off", false)] {
            let parsed = parse_filter(filter).unwrap().to_string();
            assert_eq!(parsed.contains("wallet.audit=info"), audited, "{parsed}");
        }
    }
}
