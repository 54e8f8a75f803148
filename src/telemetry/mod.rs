//! Logs, to standard error: for a person on a terminal, as JSON otherwise.

mod throttle;

use std::panic;
use std::sync::Mutex;

use tracing_appender::non_blocking::{NonBlocking, WorkerGuard};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

pub use throttle::Throttle;

/// Sends this process's logs to standard error from now on, until the guard is dropped. Panics are logged as well.
///
/// A thread of its own writes them: no caller waits for a slow terminal or a full pipe. If far more is logged than can
/// be written, lines are lost rather than commands delayed.
///
/// # Errors
/// If `filter` is not one.
pub fn init(filter: &str, json: bool) -> Result<WorkerGuard, ParseError> {
    let filter = EnvFilter::builder().parse(filter)?;
    let (writer, guard) = NonBlocking::new(std::io::stderr());
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer);
    if json {
        subscriber.json().flatten_event(true).with_span_list(false).init();
    } else {
        subscriber.with_target(false).init();
    }
    log_panics();
    Ok(guard)
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
