//! What was measured, for people and for programs.

use serde_json::{Value, json};

use super::footprint::Footprint;
use super::measure::Measure;
use super::row::{Row, Series, Spread};
use super::sample::{Latencies, Sample};
use super::usage::Usage;

pub struct Report<'a> {
    /// The programs that are compared, by name; empty if only the present one is measured.
    pub programs: &'a [(&'static str, String)],
    pub rows: &'a [Row],
    /// In the order in which it was measured.
    pub plan: &'a [Measure],
    pub series: &'a Series,
    pub footprint: &'a Footprint,
    pub skipped: &'a [String],
}

/// All rounds of one thing.
pub struct Summary {
    pub rate: Spread,
    /// Of all rounds together; empty if they are not known.
    latencies: Latencies,
    /// Cores that the service and this load generator kept busy, and bytes written an operation: medians.
    usage: Option<(f64, f64, f64)>,
}

impl Summary {
    pub fn of(samples: &[Sample]) -> Option<Self> {
        let rate = Spread::of(samples.iter().map(Sample::rate))?;
        let mut latencies = Latencies::new();
        for sample in samples {
            latencies.add(&sample.latencies);
        }
        let median = |of: fn(&Sample, Usage) -> f64| {
            let used = samples.iter().filter_map(|sample| Some(of(sample, sample.usage?)));
            Spread::of(used).map(|spread| spread.median)
        };
        let written = median(|sample, usage| usage.written / sample.operations.max(1.0));
        let cores = median(|_, usage| usage.service).zip(median(|_, usage| usage.load));
        let usage = cores.zip(written).map(|((service, load), written)| (service, load, written));
        Some(Self { rate, latencies, usage })
    }

    /// A percentile of the latency, in milliseconds.
    pub fn percentile(&self, percentile: f64) -> Option<f64> {
        (!self.latencies.is_empty()).then(|| self.latencies.percentile(percentile))
    }
}

impl Report<'_> {
    fn summaries(&self) -> impl Iterator<Item = (Measure, Summary)> {
        self.plan.iter().filter_map(|measure| Some((*measure, Summary::of(self.series.get(measure)?)?)))
    }

    pub fn print(&self) {
        for (name, program) in self.programs {
            println!("{name}: {program}\n");
        }
        println!("| row | what | median | least | most | must | aim | reached |");
        println!("|---|---|---|---|---|---|---|---|");
        for row in self.rows {
            let limit = |limit: Option<f64>| limit.map(number).unwrap_or_default();
            let (name, title, must, aim) = (&row.name, row.title(), limit(row.must), limit(row.aim));
            match row.spread(self.series) {
                Some(Spread { least, median, most }) => {
                    let (reached, median) = (row.reached(median), number(median));
                    println!(
                        "| {name} | {title} | {median} | {} | {} | {must} | {aim} | {reached} |",
                        number(least),
                        number(most)
                    );
                }
                None => println!("| {name} | {title} | skipped | | | {must} | {aim} | |"),
            }
        }
        println!("\n| measured | a second | least | most | p50 ms | p99 ms | service cores | load cores | written B |");
        println!("|---|---|---|---|---|---|---|---|---|");
        for (measure, summary) in self.summaries() {
            let Spread { least, median, most } = summary.rate;
            let [p50, p99] = [50.0, 99.0].map(|at| summary.percentile(at).map(number).unwrap_or_default());
            let usage = summary.usage.map_or_else(
                || " | | |".to_owned(),
                |(service, load, written)| format!(" {service:.2} | {load:.2} | {written:.0} |"),
            );
            println!("| {measure} | {median:.0} | {least:.0} | {most:.0} | {p50} | {p99} |{usage}");
        }
        if !self.footprint.0.is_empty() {
            println!("\n| footprint | |\n|---|---|");
        }
        for (name, value) in &self.footprint.0 {
            println!("| {name} | {} |", number(*value));
        }
        for skipped in self.skipped {
            println!("\nskipped: {skipped}");
        }
    }

    pub fn json(&self) -> Value {
        let spread = |spread: Spread| json!({"median": spread.median, "least": spread.least, "most": spread.most});
        let rows = self.rows.iter().map(|row| {
            let value = row.spread(self.series);
            json!({
                "name": row.name, "title": row.title(), "value": value.map(spread), "must": row.must, "aim": row.aim,
                "less_is_better": row.less_is_better, "reached": value.map(|value| row.reached(value.median)),
            })
        });
        let measured = self.summaries().map(|(measure, summary)| {
            let percentiles = [50.0, 90.0, 99.0, 99.9, 100.0].map(|at| summary.percentile(at));
            json!({
                "name": measure.to_string(), "per_second": spread(summary.rate),
                "rounds": self.series[&measure].iter().map(Sample::rate).collect::<Vec<_>>(),
                "latency_ms": {"p50": percentiles[0], "p90": percentiles[1], "p99": percentiles[2],
                               "p99.9": percentiles[3], "max": percentiles[4]},
                "service_cores": summary.usage.map(|usage| usage.0),
                "load_cores": summary.usage.map(|usage| usage.1),
                "written_bytes_per_operation": summary.usage.map(|usage| usage.2),
            })
        });
        let footprint: serde_json::Map<_, _> =
            self.footprint.0.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
        let programs: serde_json::Map<_, _> =
            self.programs.iter().map(|(name, program)| ((*name).to_owned(), json!(program))).collect();
        json!({
            "programs": programs, "cores": std::thread::available_parallelism().map_or(0, usize::from),
            "rows": rows.collect::<Vec<_>>(), "measured": measured.collect::<Vec<_>>(),
            "footprint": footprint, "skipped": self.skipped,
        })
    }
}

/// Three digits that matter.
fn number(value: f64) -> String {
    match value.abs() {
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        1.0.. => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}
