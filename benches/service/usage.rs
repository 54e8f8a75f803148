//! What Linux says that a process has used.

use std::fs;
use std::time::Instant;

/// Ticks of `/proc/*/stat` in a second: the same for programs on every architecture that the service runs on.
const TICKS_PER_SECOND: f64 = 100.0;

/// What the service and this load generator have used since they started, or within a window.
#[derive(Clone, Copy)]
pub struct Usage {
    at: Instant,
    /// Seconds of processor time; within a window, cores.
    pub service: f64,
    pub load: f64,
    /// Bytes that the service sent to the disk.
    pub written: f64,
}

impl Usage {
    pub fn of(pid: u32) -> Self {
        let service = processor_seconds(&format!("/proc/{pid}/stat"));
        let load = processor_seconds("/proc/self/stat");
        Self { at: Instant::now(), service, load, written: field(&format!("/proc/{pid}/io"), "write_bytes:") }
    }

    pub fn since(self, before: Self) -> Self {
        let seconds = (self.at - before.at).as_secs_f64();
        Self {
            service: (self.service - before.service) / seconds,
            load: (self.load - before.load) / seconds,
            written: self.written - before.written,
            ..self
        }
    }
}

fn processor_seconds(path: &str) -> f64 {
    let stat = fs::read_to_string(path).expect("Linux says what a process used");
    // The name of the program, in brackets, may hold anything.
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11).take(2);
    fields.filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / TICKS_PER_SECOND
}

/// The resident memory of a process in MiB: the present amount (`VmRSS:`) or the highest so far (`VmHWM:`).
pub fn memory_mib(pid: u32, name: &str) -> f64 {
    field(&format!("/proc/{pid}/status"), name) / 1024.0
}

fn field(path: &str, name: &str) -> f64 {
    let text = fs::read_to_string(path).expect("Linux says what a process used");
    let line = text.lines().find_map(|line| line.strip_prefix(name)).expect("the field is there");
    line.split_whitespace().next().and_then(|number| number.parse().ok()).expect("a number")
}
