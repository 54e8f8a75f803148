//! Notices a warning that comes with a success.
//!
//! Who cancels a backend that waits for the synchronous standby gets its commit answered as done, with a warning: it is
//! on one disk alone. sqlx takes such a warning for a matter of the log, and tells nobody else. So it is caught there.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tracing::instrument::WithSubscriber as _;
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Dispatch, Event, Level, Metadata, Subscriber};

/// Where sqlx logs what the server tells beside its answers.
const TARGET: &str = "sqlx::postgres::notice";

/// Catches the warnings of statements that are run one after another.
pub(super) struct Warnings {
    dispatch: Dispatch,
    seen: Arc<AtomicBool>,
}

impl Warnings {
    pub(super) fn new() -> Self {
        let seen = Arc::new(AtomicBool::new(false));
        Self { dispatch: Dispatch::new(Catcher(Arc::clone(&seen))), seen }
    }

    /// Runs `work`. Returns what it returns, and whether a warning came.
    pub(super) async fn catch<T>(&self, work: impl Future<Output = T>) -> (T, bool) {
        self.seen.store(false, Ordering::Relaxed);
        let result = work.with_subscriber(self.dispatch.clone()).await;
        (result, self.seen.load(Ordering::Relaxed))
    }
}

/// Takes note of warnings, and drops all else.
struct Catcher(Arc<AtomicBool>);

impl Subscriber for Catcher {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if self.enabled(metadata) { Interest::always() } else { Interest::never() }
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == TARGET && *metadata.level() <= Level::WARN
    }

    fn max_level_hint(&self) -> Option<tracing::level_filters::LevelFilter> {
        Some(tracing::level_filters::LevelFilter::WARN)
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        if self.enabled(event.metadata()) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_warning_of_the_server_is_caught_and_nothing_else_is() {
        let warnings = Warnings::new();
        let log = |what: u8| match what {
            0 => tracing::event!(target: "sqlx::postgres::notice", Level::WARN, message = "canceling wait"),
            1 => tracing::event!(target: "sqlx::postgres::notice", Level::INFO, message = "relation exists, skipping"),
            _ => tracing::warn!("of something else"),
        };
        for (what, expected) in [(0, true), (1, false), (2, false), (0, true)] {
            assert_eq!(warnings.catch(async { log(what) }).await.1, expected, "{what}");
        }
    }
}
