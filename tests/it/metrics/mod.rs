//! The metrics, as Prometheus scrapes them: their form, what moves each, and who answers where.

mod door;
mod scrape;
mod values;

use std::net::SocketAddr;

use wallet::config::{Address, Settings};
use wallet::server::Timeouts;

use self::scrape::Scrape;
use crate::support::app::App;

/// A service whose metrics can be asked for, on any free port.
async fn spawn_with(change: impl FnOnce(&mut Settings)) -> App {
    spawn_with_timeouts(change, Timeouts::default()).await
}

async fn spawn_with_timeouts(change: impl FnOnce(&mut Settings), timeouts: Timeouts) -> App {
    let change = |settings: &mut Settings| {
        settings.metrics_addr = Some(Address::from(SocketAddr::from(([127, 0, 0, 1], 0))));
        change(settings);
    };
    App::spawn_with_timeouts(change, timeouts).await
}

/// Where the service's metrics are.
fn addr(app: &App) -> SocketAddr {
    app.metrics.expect("metrics are on")
}

/// The service's metrics, as they are now.
async fn scrape(app: &App) -> Scrape {
    Scrape::of(addr(app)).await
}
