//! Logs, to standard error: for a person on a terminal, as JSON otherwise.

use tracing_appender::non_blocking::{NonBlocking, WorkerGuard};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

use crate::config::LogFormat;

/// Sends this process's logs to standard error from now on, until the guard is dropped.
///
/// A thread of its own writes them: no caller waits for a slow terminal or a full pipe. If far more is logged than can be
/// written, lines are lost rather than money held up.
///
/// # Errors
/// If `filter` is not one.
pub fn init(filter: &str, format: LogFormat) -> Result<WorkerGuard, ParseError> {
    let filter = EnvFilter::builder().parse(filter)?;
    let (writer, guard) = NonBlocking::new(std::io::stderr());
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer);
    if format.is_json() {
        subscriber.json().flatten_event(true).with_span_list(false).init();
    } else {
        subscriber.with_target(false).init();
    }
    Ok(guard)
}
