//! How long nobody was answered, trouble by trouble.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use super::load::Gap;

/// The gaps of all rounds.
#[derive(Default)]
pub struct Table(BTreeMap<&'static str, Vec<Row>>);

/// The gap of one round.
#[derive(Clone, Copy)]
struct Row {
    /// The longest time without an answer of a service that ran all the time.
    gap: Duration,
    /// How much of it was after a primary took writes again, if there was none.
    late: Option<Duration>,
}

impl Table {
    /// Notes a round, in which a primary took writes at that moment, or the first service had the trouble and the
    /// primary none. Returns what is to be said of it.
    pub fn note(&mut self, trouble: &'static str, gaps: [Gap; 2], writable: Option<Instant>) -> String {
        let of = |gap: Gap| {
            let late = writable.map(|writable| gap.ended.saturating_duration_since(writable).min(gap.length));
            Row { gap: gap.length, late }
        };
        let rows = gaps.map(of);
        let row = match writable {
            Some(_) => Row { gap: rows[0].gap.max(rows[1].gap), late: rows[0].late.max(rows[1].late) },
            None => rows[1],
        };
        let late = row.late.map_or(String::new(), |late| format!(", {late:.2?} of it with a primary"));
        let said = format!("{trouble}: no answer for {:.2?}{late}", row.gap);
        self.0.entry(trouble).or_default().push(row);
        said
    }
}

/// The least, the median and the greatest, in seconds.
fn span(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    let Some(last) = times.len().checked_sub(1) else { return "-".to_owned() };
    let [least, median, greatest] = [0, last / 2, last].map(|place| times[place].as_secs_f64());
    format!("{least:.2} / {median:.2} / {greatest:.2}")
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| trouble | rounds | no answer, s | of it with a primary that takes writes, s |")?;
        writeln!(f, "|---|---|---|---|")?;
        for (trouble, rows) in &self.0 {
            let (gaps, late) = (rows.iter().map(|row| row.gap), rows.iter().filter_map(|row| row.late));
            writeln!(f, "| {trouble} | {} | {} | {} |", rows.len(), span(gaps.collect()), span(late.collect()))?;
        }
        Ok(())
    }
}
