//! How far a long command is, on standard error.

use std::io::{IsTerminal as _, stderr};

use indicatif::{ProgressBar, ProgressStyle};

use crate::store::Step;

/// Shows how far a copy or an audit is: a bar on a terminal. Dropped, it takes the bar away.
pub struct Progress {
    bar: Option<ProgressBar>,
    /// What the bar shows, or the last line said.
    shown: Option<Shown>,
    /// Whether lines are written where there is no terminal.
    writes_lines: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Shown {
    Copying { tenths: u64 },
    Verifying,
}

impl Progress {
    /// On a terminal alone.
    #[must_use]
    pub fn on_terminal() -> Self {
        Self { bar: None, shown: None, writes_lines: false }
    }

    /// On a terminal, and in a log as a line for each tenth of a copy and one for the audit.
    #[must_use]
    pub fn everywhere() -> Self {
        Self { bar: None, shown: None, writes_lines: true }
    }

    /// Shows a step.
    pub fn show(&mut self, step: Step) {
        if stderr().is_terminal() {
            self.draw(step);
        } else if self.writes_lines {
            self.write(step);
        }
    }

    fn draw(&mut self, step: Step) {
        let (shown, template, done, of) = match step {
            Step::Copying { done, of } => {
                (Shown::Copying { tenths: 0 }, "copying {bar:40} {percent:>3} %, {eta} left", done, of)
            }
            Step::Verifying { done, of } => {
                let template = "verifying {bar:20} {percent:>3} % of {human_len} entries, {per_sec:0}, {eta} left";
                (Shown::Verifying, template, done, of)
            }
        };
        if self.shown != Some(shown) {
            self.clear();
            self.shown = Some(shown);
        }
        let style = || ProgressStyle::with_template(template).expect("the template is valid");
        let bar = self.bar.get_or_insert_with(|| ProgressBar::new(of).with_style(style()));
        bar.set_length(of);
        bar.set_position(done);
    }

    fn write(&mut self, step: Step) {
        let (shown, line) = match step {
            Step::Copying { done, of } => {
                let tenths = done * 10 / of.max(1);
                (Shown::Copying { tenths }, format!("copied {} %", tenths * 10))
            }
            Step::Verifying { .. } => (Shown::Verifying, "verifying".to_owned()),
        };
        if self.shown != Some(shown) && shown != (Shown::Copying { tenths: 0 }) {
            eprintln!("{line}");
        }
        self.shown = Some(shown);
    }

    fn clear(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}
