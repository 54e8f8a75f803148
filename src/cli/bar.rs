//! How far a command is, as a bar on standard error. Nothing is shown where that is no terminal.

use std::io::Read;

use indicatif::{ProgressBar, ProgressFinish, ProgressStyle};

const OF_ENTRIES: &str = "{msg} {bar:40} {percent:>3} %, {human_pos} entries, {per_sec}, {eta} left";
const OF_BYTES: &str = "{msg} {bar:40} {percent:>3} %, {bytes}, {bytes_per_sec}, {eta} left";
const OF_A_STREAM: &str = "{msg} {bytes}, {bytes_per_sec}";

/// A bar of so many entries. It disappears when dropped.
pub struct Bar(ProgressBar);

impl Bar {
    pub fn of_entries(what: &'static str, entries: u64) -> Self {
        Self(bar(ProgressBar::new(entries), OF_ENTRIES, what))
    }

    /// So much more is done.
    pub fn add(&self, done: u64) {
        self.0.inc(done);
    }
}

/// Shows how far `input` is read, of so many bytes if that is known, until it is dropped.
pub fn reading(what: &'static str, input: impl Read, bytes: Option<u64>) -> impl Read {
    let bar = match bytes {
        Some(bytes) => bar(ProgressBar::new(bytes), OF_BYTES, what),
        None => bar(ProgressBar::no_length(), OF_A_STREAM, what),
    };
    bar.wrap_read(input)
}

fn bar(bar: ProgressBar, template: &str, what: &'static str) -> ProgressBar {
    let style = ProgressStyle::with_template(template).expect("the template is valid");
    bar.with_style(style).with_message(what).with_finish(ProgressFinish::AndClear)
}
