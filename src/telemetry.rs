//! Logs, to standard error: for a person on a terminal, as JSON otherwise.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

use crate::config::LogFormat;

/// Sends this process's logs to standard error from now on.
///
/// # Errors
/// If `filter` is not one.
pub fn init(filter: &str, format: LogFormat) -> Result<(), ParseError> {
    let filter = EnvFilter::builder().parse(filter)?;
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    if format.is_json() {
        subscriber.json().flatten_event(true).with_span_list(false).init();
    } else {
        subscriber.with_target(false).init();
    }
    Ok(())
}
