//! What is footprint beside the table: memory, disk, start-up, verification.

use std::fs;

use super::http::ChargeCaller;
use super::ledger::Template;
use super::load::{self, Window};
use super::process::{Service, Usage, memory_mib};
use super::wallets::{COUNT, Ids, Share};

/// Facts by name, each measured once.
#[derive(Default)]
pub struct Footprint(pub Vec<(String, f64)>);

impl Footprint {
    pub fn add(&mut self, name: impl Into<String>, value: f64) {
        self.0.push((name.into(), value));
    }

    /// The memory of the service that everything was measured on.
    pub fn service(&mut self, service: &Service) {
        self.add("resident memory idle (MiB; must stay under 64)", service.idle_mib);
        self.add(
            "resident memory under load, at the most (MiB; must stay under 256)",
            memory_mib(service.pid(), "VmHWM:"),
        );
        let charges = service.wallets.entries() - COUNT - 1;
        if charges > 0 {
            self.add("bytes written an entry, all loads together", Usage::of(service.pid()).written / charges as f64);
        }
    }

    /// Starts the service over a large ledger, charges it, and verifies it.
    pub async fn large(&mut self, size: u64, template: &Template, window: Window) {
        let bytes = fs::metadata(&template.path).expect("it is there").len() as f64;
        let name = |what: &str| format!("{what}, {size} entries there");
        self.add("bytes on disk an entry", bytes / template.wallets.entries() as f64);
        let service = Service::start(&template.path, &template.wallets);
        self.add(name("start-up (ms)"), service.start_up.as_secs_f64() * 1e3);
        self.add(name("resident memory idle (MiB)"), service.idle_mib);
        let shares = Share::deal(&service.wallets, 64, Ids::Rising);
        load::closed(ChargeCaller::all(service.http, shares).await, window).await;
        self.add(name("resident memory under load, at the most (MiB)"), memory_mib(service.pid(), "VmHWM:"));
        let took = tokio::task::block_in_place(|| service.verify());
        self.add(name("verify (s)"), took.as_secs_f64());
    }
}
