//! Puts a running program under one of the loads.

use std::time::Duration;

use super::load::{self, Caller};
use super::measure::Load;
use super::sample::{Sample, Window};
use super::service::Service;
use super::wallets::{Ids, Share};
use super::{feed, grpc, http};

/// Measures once. `top_rate` is what a paced load goes by.
pub async fn drive(service: &Service, load: Load, top_rate: f64, time: Duration) -> Sample {
    let (pid, wallets) = (service.pid(), &service.wallets);
    let shares = |callers| Share::deal(wallets, callers, Ids::Rising);
    match load {
        Load::Healthcheck(callers) => {
            closed(pid, http::HealthCaller::connect_all(&service.http, callers).await, time).await
        }
        Load::Rest(callers) => {
            closed(pid, http::ChargeCaller::connect_all(&service.http, shares(callers)).await, time).await
        }
        Load::RestHot(callers) => {
            let shares = Share::hot(wallets, callers);
            closed(pid, http::ChargeCaller::connect_all(&service.http, shares).await, time).await
        }
        Load::RestPaced(callers) => {
            let callers = http::ChargeCaller::connect_all(&service.http, shares(callers)).await;
            let window = Window::of(time);
            load::metered(pid, window, load::paced(callers, (top_rate / 2.0).max(1.0), window)).await
        }
        Load::Reads(callers) => {
            closed(pid, http::ReadCaller::connect_all(&service.http, shares(callers)).await, time).await
        }
        Load::Past(callers) => {
            let history = service.history.as_ref().expect("the wallet was given a history");
            closed(pid, http::PastCaller::connect_all(&service.http, callers, history).await, time).await
        }
        Load::ReadsBesideCharges(callers) => {
            let readers = http::ReadCaller::connect_all(&service.http, shares(callers)).await;
            let others = http::ChargeCaller::connect_all(&service.http, shares(callers)).await;
            let window = Window::of(time);
            let reads = load::metered(pid, window, load::closed(readers, window));
            tokio::join!(reads, load::closed(others, window)).0
        }
        Load::GrpcHealth(callers) => {
            closed(pid, grpc::HealthCaller::connect_all(service.grpc.addr, callers).await, time).await
        }
        Load::Grpc(callers) => {
            closed(pid, grpc::ChargeCaller::connect_all(&service.grpc, shares(callers)).await, time).await
        }
        Load::Watched { callers, users } => {
            let _watchers = feed::watch(service.grpc.addr, users).await;
            closed(pid, http::ChargeCaller::connect_all(&service.http, shares(callers)).await, time).await
        }
        Load::FeedGrpc => {
            let window = Window::of(time);
            load::metered(pid, window, feed::read_grpc(service.grpc.addr, window)).await
        }
        Load::FeedEvents => {
            let window = Window::of(time);
            load::metered(pid, window, feed::read_events(service.http.addr, window)).await
        }
        Load::Transact(in_flight) => {
            let channel = grpc::connect(service.grpc.addr).await;
            let share = shares(1).pop().expect("a share");
            let window = Window::of(time);
            load::metered(pid, window, grpc::transact(&service.grpc, channel, share, in_flight, window)).await
        }
    }
}

/// Charges over one stream to each of two processes that serve the same ledger. The processor time is that of the
/// first.
pub async fn transact_over_both(one: &Service, other: &Service, in_flight: usize, time: Duration) -> Sample {
    let mut shares = Share::deal(&one.wallets, 2, Ids::Rising).into_iter();
    let (first, second) = (shares.next().expect("a share"), shares.next().expect("another"));
    let (channel, other_channel) = (grpc::connect(one.grpc.addr).await, grpc::connect(other.grpc.addr).await);
    let window = Window::of(time);
    let by_one = load::metered(one.pid(), window, grpc::transact(&one.grpc, channel, first, in_flight, window));
    let by_other = grpc::transact(&other.grpc, other_channel, second, in_flight, window);
    let (by_one, by_other) = tokio::join!(by_one, by_other);
    by_one.and(&by_other)
}

async fn closed<C: Caller>(pid: u32, callers: Vec<C>, time: Duration) -> Sample {
    let window = Window::of(time);
    load::metered(pid, window, load::closed(callers, window)).await
}
