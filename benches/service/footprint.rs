//! The footprint of the service: memory, bytes on disk, start-up time, time to verify.

use std::fs;

use super::http::ChargeCaller;
use super::ledger::Template;
use super::load;
use super::process::{LedgerUrl, Program};
use super::sample::Window;
use super::service::Service;
use super::usage::{Usage, memory_mib};
use super::wallets::{Ids, Share};

/// Facts by name, each measured once.
#[derive(Default)]
pub struct Footprint(pub Vec<(String, f64)>);

impl Footprint {
    pub fn add(&mut self, name: impl Into<String>, value: f64) {
        self.0.push((name.into(), value));
    }

    /// The memory and the disk writes of a service after all loads. `program` goes before each name.
    pub fn add_service(&mut self, program: &str, service: &Service) {
        let pid = service.pid();
        let name = |what: &str| format!("{program}{what}");
        self.add(name("resident memory idle (MiB; must stay under 64)"), service.idle_mib);
        let peak = "resident memory under load, at the most (MiB; must stay under 256)";
        self.add(name(peak), memory_mib(pid, "VmHWM:"));
        let written = Usage::of(pid).written / service.wallets.entries() as f64;
        self.add(name("bytes written an entry, all loads together"), written);
    }

    /// Starts the service over a large ledger, charges it, and verifies it.
    pub async fn add_large(&mut self, size: u64, template: &Template, window: Window) {
        let bytes = fs::metadata(&template.path).expect("it is there").len() as f64;
        let name = |what: &str| format!("{what}, {size} entries there");
        self.add("bytes on disk an entry", bytes / template.wallets.entries() as f64);
        let service =
            Service::start(Program::Present, LedgerUrl::Sqlite(template.path.clone()), &template.wallets, None);
        self.add(name("start-up (ms)"), service.start_up.as_secs_f64() * 1e3);
        self.add(name("resident memory idle (MiB)"), service.idle_mib);
        let shares = Share::deal(&service.wallets, 64, Ids::Rising);
        load::closed(ChargeCaller::connect_all(&service.http, shares).await, window).await;
        self.add(name("resident memory under load, at the most (MiB)"), memory_mib(service.pid(), "VmHWM:"));
        let took = service.finish().await;
        self.add(name("verify (s)"), took.as_secs_f64());
    }
}
